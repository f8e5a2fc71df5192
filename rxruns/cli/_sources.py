"""The source of a command, a run or a recorded log, and the flags that select the service.

Uses HTTP and RxPY through ``rxruns`` alone, which imports them when a command needs them.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, TypeVar
from uuid import UUID

import click
from click.shell_completion import CompletionItem

import rxruns
from rxruns._arguments import OnInvalid
from rxruns.cli._files import read
from rxruns.errors import InvalidArgumentError, RunsError, StreamProtocolError
from rxruns.events import RunEvent

if TYPE_CHECKING:
    from reactivex import Observable

    from rxruns._streams._following import OnLifecycle

Source: TypeAlias = UUID | Path
"""A run's id, or the path of a recorded log."""

_LOG = logging.getLogger(__name__)

SECRETS = ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN")

MOST_WARNINGS = 10
"""Skipped lines with a warning each."""

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


def source(text: str) -> Source:
    """Return the run id or the path of an argument; ``-`` is standard input.

    Raises:
        click.BadParameter: there is no such file.
    """
    try:
        return UUID(text)
    except ValueError:
        return _log(text, "the id of a run (a UUID) or an existing file")


def log(text: str) -> Path:
    """Return the path of a recorded log; ``-`` is standard input.

    Raises:
        click.BadParameter: there is no such file.
    """
    return _log(text, "an existing file")


def _log(text: str, expectation: str) -> Path:
    path = Path("/dev/stdin" if text == "-" else text)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # for example a name that is too long
        raise click.BadParameter(f"{text!r} can't be read: {error.strerror}.") from error
    if is_folder:
        raise click.BadParameter(f"must be {expectation}, got the folder {text!r}.")
    if not is_there:
        raise click.BadParameter(f"must be {expectation}, got {text!r}.")
    if not os.access(path, os.R_OK):
        raise click.BadParameter(f"{text!r} can't be read: permission denied.")
    return path


@contextmanager
def naming(source: Source) -> Generator[None]:
    """Add the file's name to the errors of reading a log, for :func:`described`."""
    try:
        yield
    except RunsError as error:
        if isinstance(source, Path):
            error.add_note(str(source))
        raise


def described(error: Exception) -> str:
    """Return the message of an error, after the name of its file."""
    return "".join(f"{name}: " for name in getattr(error, "__notes__", ())) + str(error)


def source_argument(name: str = "source", *, nargs: int = 1) -> Callable[[F], F]:
    """Add the argument ``RUN_ID|FILE`` to a command, as a :data:`Source`; several with ``nargs=-1``."""
    return click.argument(
        name,
        metavar="RUN_ID|FILE" if nargs == 1 else "RUN_ID|FILE...",
        nargs=nargs,
        required=True,
        type=source,
        shell_complete=files,
    )


def files(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """Let the shell complete a file name."""
    return [CompletionItem(typed, type="file")]


class Service:
    """The runs service that flags and environment select.

    Args:
        base_url: instead of ``MODELRELAY_API_BASE_URL``.
        key_file: its first line is the key, instead of ``MODELRELAY_API_KEY``.
        on_invalid: the handling of invalid lines.
    """

    def __init__(self, base_url: str | None, key_file: Path | None, on_invalid: OnInvalid = "raise") -> None:
        self._base_url = base_url
        self._key_file = key_file
        self.on_invalid: OnInvalid = on_invalid
        self._client: rxruns.RunsClient | None = None

    @property
    def client(self) -> rxruns.RunsClient:
        """The client, made at its first use, because a log needs no key; closed when the command ends.

        Raises:
            click.UsageError: there is no key.
            InvalidArgumentError: the key is invalid.
        """
        if self._client is None:
            key = None if self._key_file is None else _first_line(self._key_file)
            if key is None and not any(os.environ.get(name, "").strip() for name in SECRETS):
                raise click.UsageError(f"no credentials: set {' or '.join(SECRETS)}, or pass --key-file")
            client = rxruns.RunsClient.from_env(api_key=key, base_url=self._base_url)
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
        """Return the events of a run; or of a log, which uses ``after_seq``, ``record`` and ``speed`` only.

        A run is recorded as received; the events of a log are encoded again.
        """
        if isinstance(source, UUID):
            return rxruns.run_events(
                source,
                client=self.client,
                after_seq=after_seq,
                wait=wait,
                on_invalid=self.on_invalid,
                on_lifecycle=on_lifecycle,
                record=record,
            )
        log = rxruns.recorded_events(source, speed=speed, on_invalid=self.on_invalid)
        if after_seq:
            log = log.pipe(rxruns.ops.filter(lambda event: event.seq > after_seq))
        return log if record is None else log.pipe(rxruns.ops.record(record))


def skipping() -> OnInvalid:
    """Return a callback that skips invalid lines, with a warning for each of the first ones."""
    numbers = count(1)  # several runs may be read at once

    def skip(error: StreamProtocolError) -> None:
        number = next(numbers)
        if number <= MOST_WARNINGS:
            _LOG.warning("skipped: %s", error)
        if number == MOST_WARNINGS:
            _LOG.warning("further invalid lines are skipped silently")

    return skip


skip_option = click.option(
    "--skip-invalid", is_flag=True, help="Skip invalid lines. Default: stop at the first one."
)


def with_service(command: Callable[..., R]) -> Callable[..., R]:
    """Add the flags of the service to a command, which gets them as one argument, ``service``."""

    @click.option("--base-url", metavar="URL", help="URL of the service. Default: MODELRELAY_API_BASE_URL.")
    @click.option(
        "--key-file",
        type=Path,
        shell_complete=files,
        help=f"File whose first line is the API key, or -. Default: {' or '.join(SECRETS)}.",
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
    """Return the key. A terminal doesn't echo it.

    Raises:
        FileError: it can't be read.
    """
    stdin: TextIO | None = sys.stdin if str(path) == "-" else None
    if stdin is not None and stdin.isatty():
        return str(click.prompt("API key", hide_input=True, err=True)).strip()
    try:
        content = read(path).decode() if stdin is None else stdin.readline()
    except UnicodeDecodeError:
        raise InvalidArgumentError(
            "key-file must be text in UTF-8 (its content is not shown)", field="key_file"
        ) from None
    return content.partition("\n")[0].strip()
