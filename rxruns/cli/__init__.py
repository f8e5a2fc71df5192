"""The command line: click and rich over the library, with no logic of its own.

Exit codes: 0 succeeded, 1 the run failed or was canceled, 2 usage, 3 could not be followed to the end, 130
Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from rxruns._version import __version__
from rxruns.cli._demo import demo
from rxruns.cli._serve import serve
from rxruns.errors import InvalidArgumentError, RunFailedError, RunsError

__all__ = ["cli", "run"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rxruns")
def cli() -> None:
    """Follow LLM workflow runs, from a terminal.

    \b
    rxruns demo      see it work, without an account or a network
    rxruns serve     an embedded runs service to develop against
    """


cli.add_command(demo)
cli.add_command(serve)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code.

    >>> run(["--version"])
    rxruns, version ...
    0
    """
    try:
        result = cli.main(args=arguments, prog_name="rxruns", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RunFailedError as error:
        click.echo(f"rxruns: {error}", err=True)
        return 1
    except InvalidArgumentError as error:
        click.echo(f"rxruns: {error}", err=True)
        return 2
    except RunsError as error:
        click.echo(f"rxruns: {error}", err=True)
        return 3
    return result if isinstance(result, int) else 0
