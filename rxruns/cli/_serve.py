"""``rxruns serve``."""

from __future__ import annotations

from pathlib import Path

import click

from rxruns.devserver import DevServer


@click.command(epilog="Example: rxruns serve --port 8080 --directory ./runs    (runs outlive a restart)")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, IPv4 or IPv6.")
@click.option("--port", default=8080, show_default=True, help="Port to listen on; 0 for a free one.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Store the log of each run here, as NDJSON.",
)
@click.option("--api-key", envvar="MODELRELAY_API_KEY", help="The API key to accept. Default: a random one.")
@click.option(
    "--allow-host",
    "allow_hosts",
    metavar="NAME",
    multiple=True,
    help="A Host that clients may use besides localhost and IP addresses; may be repeated.",
)
@click.option("--delay", default=0.02, show_default=True, help="Seconds between two tokens.")
@click.option("--seed", default=0, show_default=True, help="Seed of the simulated model's texts.")
def serve(
    host: str,
    port: int,
    directory: Path | None,
    api_key: str | None,
    allow_hosts: tuple[str, ...],
    delay: float,
    seed: int,
) -> None:
    """Run an embedded runs service with a simulated model. Ctrl-C stops it."""
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
        # Only a random key is printed: the user's own is a secret.
        click.echo(f"  export MODELRELAY_API_KEY={server.api_key if api_key is None else '<your key>'}")
        server.wait_closed()
