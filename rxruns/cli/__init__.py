"""The command line: click and rich over the library, with no logic of its own.

Exit codes: 0 succeeded, 1 the run failed or was canceled, 2 usage, 3 could not be followed to the end, 130
Ctrl-C, 141 who read the output has gone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module

import click

from rxruns._streams._reader import GAVE_UP
from rxruns._version import __version__
from rxruns.cli._output import OutputError, close_quietly
from rxruns.cli._panel import Exit
from rxruns.cli._printable import printable
from rxruns.cli._sources import described
from rxruns.errors import (
    InvalidArgumentError,
    RunFailedError,
    RunsError,
    StreamError,
    WorkflowValidationError,
)

__all__ = ["cli", "run"]


COMMANDS = ("watch", "events", "cost", "timeline", "start", "replay", "demo", "serve")
"""Each is the function of this name in the module of this name, with an underscore before it."""


class _Commands(click.Group):
    """Imports a command when it is asked for: the embedded service and rich take a third of a start."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"rxruns.cli._{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = get_close_matches(args[0], COMMANDS, n=1)
        if near and args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}: did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Exit codes: 0 succeeded, 1 the run failed or was canceled, 2 usage, 3 could not be
followed to the end, 130 Ctrl-C, 141 who read the output has gone.
""",
)
@click.version_option(__version__, prog_name="rxruns")
def cli() -> None:
    """Follow LLM workflow runs, from a terminal.

    The service is the one that MODELRELAY_API_KEY and MODELRELAY_API_BASE_URL name.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code.

    >>> run(["--version"])
    rxruns, version ...
    0
    """
    nul = next((argument for argument in arguments or () if "\0" in argument), None)
    if nul is not None:  # a system never passes one, a program may
        what = f"an argument must not have a NUL character, got {nul!r}"
        return _tell(InvalidArgumentError(what), Exit.USAGE)
    try:
        with _told_warnings() as told:
            result = cli.main(args=arguments, prog_name="rxruns", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OutputError as error:
        if error.path is None:
            close_quietly()
        return Exit.CLOSED_PIPE if error.is_closed_pipe else _tell(error, Exit.NOT_FOLLOWED)
    except OSError as error:  # a full disk, say
        return _tell(OutputError(error.strerror or str(error), path=error.filename), Exit.NOT_FOLLOWED)
    except RunFailedError as error:
        return _tell(error, Exit.FAILED)
    except (InvalidArgumentError, WorkflowValidationError) as error:
        return _tell(error, Exit.USAGE)
    except RunsError as error:
        return _tell(error, Exit.NOT_FOLLOWED)
    code = result if isinstance(result, int) else Exit.SUCCEEDED
    return max(code, Exit.NOT_FOLLOWED) if told.lacks_events else code


def _tell(error: Exception, code: Exit) -> Exit:
    """Say on standard error what went wrong. Further lines are indented, so that none looks like ours."""
    text = described(error)
    if isinstance(error, StreamError) and error.last_seq:
        text += f"; go on with --after {error.last_seq}"
    click.echo("rxruns: " + "\n  ".join(map(printable, text.split("\n"))), err=True)
    return code


class _Told(logging.Handler):
    """Shows what the library warns of, such as reconnects, but for what an error says as well.

    Attributes:
        lacks_events: a log was cut, or events of it were dropped.
    """

    lacks_events = False

    def emit(self, record: logging.LogRecord) -> None:
        self.lacks_events |= getattr(record, "is_incomplete", False)
        if record.name != GAVE_UP.name:
            # Not `click.echo`, which writes past what rich puts there to keep a table and lines apart.
            sys.stderr.write(f"rxruns: {printable(record.getMessage())}\n")


@contextmanager
def _told_warnings() -> Generator[_Told]:
    handler, logger = _Told(logging.WARNING), logging.getLogger("rxruns")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
