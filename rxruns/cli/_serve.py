"""``rxruns serve``."""

from __future__ import annotations

from pathlib import Path

import click

from rxruns.devserver import DevServer


@click.command(
    epilog="Example: rxruns serve --port 8080 --directory ./runs    (the same runs are there after a restart)"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen, IPv6 too.")
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep each run's log here, as NDJSON.",
)
@click.option("--api-key", envvar="MODELRELAY_API_KEY", help="The key to accept; made up if not given.")
@click.option(
    "--allow-host",
    "allow_hosts",
    metavar="NAME",
    multiple=True,
    help="A name that clients may call the service by, beside localhost and addresses. Repeatable.",
)
@click.option("--delay", default=0.02, show_default=True, help="Seconds between two tokens.")
@click.option("--seed", default=0, show_default=True, help="Of the simulated model's texts.")
def serve(
    host: str,
    port: int,
    directory: Path | None,
    api_key: str | None,
    allow_hosts: tuple[str, ...],
    delay: float,
    seed: int,
) -> None:
    """Run an embedded runs service: real HTTP, a simulated model.

    Ctrl-C stops it.
    """
    try:
        server = DevServer(
            host, port, directory, delay=delay, seed=seed, api_key=api_key, allow_hosts=allow_hosts
        ).start()
    except OSError as error:
        place = "" if error.filename is None else f": {error.filename}"
        raise click.UsageError(f"{error.strerror}{place}") from error
    with server:
        click.echo(f"serving on {server.url}    (Ctrl-C stops)")
        click.echo(f"  export MODELRELAY_API_BASE_URL={server.url}")
        # A key of the user's own is a secret; one that was made up for this server has to be told.
        click.echo(
            f"  export MODELRELAY_API_KEY={server.api_key if api_key is None else '<the one that you gave>'}"
        )
        server.wait_closed()
