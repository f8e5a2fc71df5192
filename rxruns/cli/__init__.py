"""The command line: click and rich over the library, with no logic of its own.

Exit codes: 0 succeeded, 1 the run failed or was canceled, or a limit was exceeded, 2 usage error, 3 a run
could not be followed to its end, 4 a call isn't pending any more, 130 Ctrl-C, 141 the output pipe was closed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module

import click

from rxruns._display._visible import one_line
from rxruns._errors import must_be
from rxruns._streams._logging import GAVE_UP
from rxruns._version import __version__
from rxruns.cli._output import OutputError, close_quietly
from rxruns.cli._panel import Exit
from rxruns.cli._sources import described
from rxruns.errors import (
    InvalidArgumentError,
    RunFailedError,
    RunsError,
    StreamError,
    WorkflowValidationError,
)

__all__ = ["cli", "run"]


COMMANDS = (
    "watch",
    "answer",
    "events",
    "cost",
    "compare",
    "timeline",
    "export",
    "start",
    "replay",
    "demo",
    "serve",
)
"""Each is a function of this name, in the module of this name with an underscore before it."""


class _Commands(click.Group):
    """Imports a command when it is used: the embedded service and rich take a third of the start time."""

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
Exit codes: 0 succeeded, 1 the run failed or was canceled, or a limit was exceeded, 2 usage
error, 3 a run could not be followed to its end, 4 nothing waits for an answer, 130 Ctrl-C,
141 the output pipe was closed.
""",
)
@click.version_option(__version__, prog_name="rxruns")
def cli() -> None:
    """Start, follow and inspect LLM workflow runs.

    MODELRELAY_API_KEY and MODELRELAY_API_BASE_URL select the service.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    >>> run(["--version"])
    rxruns, version ...
    0
    """
    nul = next((argument for argument in arguments or () if "\0" in argument), None)
    if nul is not None:  # a system never passes one, a program may
        return _fail(must_be("argument", "text without NUL characters", nul), Exit.USAGE)
    try:
        with printed_warnings() as warnings:
            result = cli.main(args=arguments, prog_name="rxruns", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OutputError as error:
        if error.path is None:
            close_quietly()
        return Exit.CLOSED_PIPE if error.is_closed_pipe else _fail(error, Exit.NOT_FOLLOWED)
    except OSError as error:  # a full disk, say
        return _fail(OutputError(error.strerror or str(error), path=error.filename), Exit.NOT_FOLLOWED)
    except RunFailedError as error:
        return _fail(error, Exit.FAILED)
    except (InvalidArgumentError, WorkflowValidationError) as error:
        return _fail(error, Exit.USAGE)
    except RunsError as error:
        return _fail(error, Exit.NOT_FOLLOWED)
    code = result if isinstance(result, int) else Exit.SUCCEEDED
    return max(code, Exit.NOT_FOLLOWED) if warnings.is_incomplete else code


def _fail(error: Exception, code: Exit) -> Exit:
    """Print an error to stderr. Its further lines are indented, so that none looks like one of ours."""
    text = described(error)
    if isinstance(error, StreamError) and error.last_seq:
        text += f"; resume with --after {error.last_seq}"
    click.echo("rxruns: " + "\n  ".join(map(one_line, text.split("\n"))), err=True)
    return code


class _Warnings(logging.Handler):
    """Prints the library's warnings, such as reconnects, except those that an error repeats.

    Attributes:
        is_incomplete: a log was cut, or events of it were dropped.
    """

    is_incomplete = False

    def emit(self, record: logging.LogRecord) -> None:
        self.is_incomplete |= getattr(record, "is_incomplete", False)
        if record.name != GAVE_UP.name:
            # Not `click.echo`, which bypasses the stream by which rich keeps a table and lines apart.
            sys.stderr.write(f"rxruns: {one_line(record.getMessage())}\n")


@contextmanager
def printed_warnings() -> Generator[_Warnings]:
    """Print the library's warnings inside the block."""
    handler, logger = _Warnings(logging.WARNING), logging.getLogger("rxruns")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
