"""What a command reads: a run at the service, or a recorded log. And the flags that name the service."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TextIO, TypeAlias, TypeVar
from uuid import UUID

import click
from click.shell_completion import CompletionItem
from reactivex import Observable

from rxruns import operators as ops
from rxruns._streams._following import OnInvalid, OnLifecycle
from rxruns._streams._recorded import recorded_events
from rxruns._streams._run_events import run_events
from rxruns.cli._files import read
from rxruns.client import RunsClient
from rxruns.errors import InvalidArgumentError, RunsError, StreamProtocolError
from rxruns.events import RunEvent

__all__ = [
    "Service",
    "Source",
    "described",
    "files",
    "log",
    "naming",
    "skip_option",
    "skipping",
    "source",
    "source_argument",
    "with_service",
]

Source: TypeAlias = UUID | Path
"""A run's id, or the path of a recorded log."""

_LOG = logging.getLogger(__name__)

SECRETS = ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN")

MOST_TOLD = 10
"""Lines that are left out with a word on each."""

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


def source(text: str) -> Source:
    """The run id or the file that an argument means: whatever is no UUID is a path, ``-`` standard input.

    Raises:
        click.BadParameter: there is no such file.
    """
    try:
        return UUID(text)
    except ValueError:
        return _log(text, "neither the id of a run (a UUID) nor a file that is there.")


def log(text: str) -> Path:
    """The recorded log that an argument means, ``-`` is standard input.

    Raises:
        click.BadParameter: there is no such file.
    """
    return _log(text, "no file that is there.")


def _log(text: str, otherwise: str) -> Path:
    path = Path("/dev/stdin" if text == "-" else text)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long, say
        raise click.BadParameter(f"{text!r} can't be read: {error.strerror}.") from error
    if is_folder:
        raise click.BadParameter(f"{text!r} is a folder: name a recorded log in it.")
    if not is_there:
        raise click.BadParameter(f"{text!r} is {otherwise}")
    if not os.access(path, os.R_OK):
        raise click.BadParameter(f"{text!r} can't be read: permission denied.")
    return path


@contextmanager
def naming(source: Source) -> Generator[None]:
    """Let an error of reading a log name its file, in what :func:`described` makes of it."""
    try:
        yield
    except RunsError as error:
        if isinstance(source, Path):
            error.add_note(str(source))
        raise


def described(error: Exception) -> str:
    """What an error says, after the file that it is about."""
    return "".join(f"{name}: " for name in getattr(error, "__notes__", ())) + str(error)


def source_argument(name: str = "source", *, nargs: int = 1) -> Callable[[F], F]:
    """The argument ``RUN_ID|FILE`` of a command, as a :data:`Source`; several with ``nargs=-1``."""
    return click.argument(
        name,
        metavar="RUN_ID|FILE" if nargs == 1 else "RUN_ID|FILE...",
        nargs=nargs,
        required=True,
        type=source,
        shell_complete=files,
    )


def files(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """What the shell completes a file with."""
    return [CompletionItem(typed, type="file")]


class Service:
    """The runs service that flags and environment name.

    Args:
        base_url: instead of ``MODELRELAY_API_BASE_URL``.
        key_file: whose first line is the key, instead of ``MODELRELAY_API_KEY``.
        on_invalid: what is done with lines that are no valid events.
    """

    def __init__(self, base_url: str | None, key_file: Path | None, on_invalid: OnInvalid = "raise") -> None:
        self._base_url = base_url
        self._key_file = key_file
        self._on_invalid: OnInvalid = on_invalid
        self._client: RunsClient | None = None

    @property
    def client(self) -> RunsClient:
        """Made when it is asked for, so that a recorded log needs no key; closed when the command ends.

        Raises:
            click.UsageError: there is no key.
            InvalidArgumentError: it can not be used.
        """
        if self._client is None:
            key = None if self._key_file is None else _first_line(self._key_file)
            if key is None and not any(os.environ.get(name, "").strip() for name in SECRETS):
                raise click.UsageError(f"no credentials: set {' or '.join(SECRETS)}, or give --key-file")
            client = RunsClient.from_env(api_key=key, base_url=self._base_url)
            self._client = click.get_current_context().with_resource(client)
        return self._client

    def events(
        self,
        source: Source,
        *,
        after_seq: int = 0,
        wait: bool = True,
        on_lifecycle: OnLifecycle | None = None,
        record: Path | None = None,
        speed: float | None = None,
    ) -> Observable[RunEvent]:
        """The events of a run; or of a recorded log, for ``after_seq``, ``record`` and ``speed`` alone.

        A run is recorded as it is received; from a log its events are encoded again.
        """
        if isinstance(source, UUID):
            return run_events(
                source,
                client=self.client,
                after_seq=after_seq,
                wait=wait,
                on_invalid=self._on_invalid,
                on_lifecycle=on_lifecycle,
                record=record,
            )
        log = recorded_events(source, speed=speed, on_invalid=self._on_invalid)
        if after_seq:
            log = log.pipe(ops.filter(lambda event: event.seq > after_seq))
        return log if record is None else log.pipe(ops.record(record))


def skipping() -> OnInvalid:
    """What leaves out lines that are no valid events, and says so of the first of them."""
    numbers = count(1)  # several runs may be read at once

    def skip(error: StreamProtocolError) -> None:
        number = next(numbers)
        if number <= MOST_TOLD:
            _LOG.warning("left out: %s", error)
        if number == MOST_TOLD:
            _LOG.warning("further lines that are no valid events are left out without a word")

    return skip


skip_option = click.option(
    "--skip-invalid", is_flag=True, help="Leave out lines that are no valid events; else the first ends it."
)


def with_service(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the flags of the service. It gets them as one argument, ``service``."""

    @click.option("--base-url", metavar="URL", help="Of the service; else MODELRELAY_API_BASE_URL.")
    @click.option(
        "--key-file",
        type=Path,
        shell_complete=files,
        help=f"Its first line is the API key; - is standard input. Else {' or '.join(SECRETS)}.",
    )
    @skip_option
    @functools.wraps(command)
    def with_flags(
        *arguments: Any, base_url: str | None, key_file: Path | None, skip_invalid: bool, **options: Any
    ) -> R:
        service = Service(base_url, key_file, skipping() if skip_invalid else "raise")
        return command(*arguments, service=service, **options)

    return with_flags


def _first_line(path: Path) -> str:
    """The key. Typed at a terminal it is not echoed.

    Raises:
        FileError: it can't be read.
    """
    stdin: TextIO | None = sys.stdin if str(path) == "-" else None
    if stdin is not None and stdin.isatty():
        return str(click.prompt("API key", hide_input=True, err=True)).strip()
    try:
        content = read(path).decode() if stdin is None else stdin.readline()
    except UnicodeDecodeError:
        raise InvalidArgumentError("key-file: this is no text (it is not shown)", field="key_file") from None
    return content.partition("\n")[0].strip()
