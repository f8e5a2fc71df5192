"""``rxruns timeline``: a run as a page or a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from reactivex import Observable

from rxruns._display._text import counted
from rxruns._display._visible import one_line
from rxruns.cli._panel import NO_EVENT, Exit, early_end
from rxruns.cli._prices import with_prices
from rxruns.cli._reading import exit_of, of_one_run, read_all
from rxruns.cli._refreshing import Following, note_of, summary
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.costs import Prices
from rxruns.errors import RunsError
from rxruns.events import RunEvent, TerminalEvent
from rxruns.page import RunPage

SUFFIXES = (".html", ".png", ".svg")


def _output(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    if path.suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"must end in .html, .png or .svg, got {str(path)!r}.")
    if not path.parent.is_dir():
        raise click.BadParameter(f"must be in an existing folder, got {str(path)!r}.")
    if not os.access(path.parent, os.W_OK):
        raise click.BadParameter(f"must be in a writable folder, got {str(path)!r}.")
    return path


@click.command(
    short_help="Draw a run as a page or a picture.",
    epilog="""\b
Example: rxruns timeline run.ndjson -o run.html
         rxruns timeline 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11 -o run.html --refresh 2
         rxruns timeline run.ndjson -o run.png --prices list
""",
)
@source_argument()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_output,
    help="A page (.html) or a picture (.png, .svg); replaced if it exists.",
)
@click.option(
    "--refresh",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="Follow the run and rewrite the page at this interval until it ends. The page reloads itself.",
)
@click.option(
    "--run", "run_id", metavar="RUN_ID", type=click.UUID, help="The run to draw, of a log with several."
)
@with_prices
@with_service
def timeline(
    source: Source,
    output: Path,
    refresh: float | None,
    run_id: UUID | None,
    prices: Prices | None,
    service: Service,
) -> Exit:
    """Draw a run or a recorded log: its nodes over time, errors, text and costs.

    The page is one file and needs no network. An open run is drawn as it is now, or followed with --refresh.
    The exit code is 0 when the file is written, whatever the status of the run, and 3 if a log ends early.
    """
    if refresh is not None and (output.suffix.lower() != ".html" or isinstance(source, Path)):
        raise click.UsageError("--refresh needs a run id and -o FILE.html")
    draw = _page if output.suffix.lower() == ".html" else _picture()
    chosen = of_one_run(source, run_id)
    if refresh is not None:
        return Following(output, prices, refresh).run(chosen(service.events(source)))
    events, error = _read(chosen(service.events(source, wait=False)), source)
    if error is not None and not events:
        raise error
    if not events and isinstance(source, Path):
        click.echo(one_line(f"rxruns: {source}: {NO_EVENT}"), err=True)
        return Exit.NOT_FOLLOWED
    now = datetime.now(UTC) if isinstance(source, UUID) else None
    click.echo(draw(output, events, prices, now, note_of(error)), err=True)
    if error is None and isinstance(source, Path) and not any(isinstance(e, TerminalEvent) for e in events):
        click.echo(f"rxruns: run {events[-1].run_id}: {early_end(events[-1].seq)}", err=True)
        return Exit.NOT_FOLLOWED
    return exit_of(error)


def _read(read: Observable[RunEvent], source: Source) -> tuple[list[RunEvent], RunsError | None]:
    """Return the events that can be read, and the error that ended them early."""
    events: list[RunEvent] = []
    try:
        read_all(read, source, events.append)
    except RunsError as error:
        return events, error
    return events, None


Draw = Callable[[Path, list[RunEvent], "Prices | None", "datetime | None", "str | None"], str]


def _page(
    path: Path, events: list[RunEvent], prices: Prices | None, now: datetime | None, note: str | None
) -> str:
    page = RunPage(prices)
    for event in events:
        page.add(event)
    page.write(path, now=now, note=note)
    return summary(path, page, len(events))


def _picture() -> Draw:
    """Return the function that draws a picture, if its extra is installed."""
    try:
        from rxruns import charts  # noqa: PLC0415  (needs an extra)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("altair", "vl_convert"):
            raise
        raise click.UsageError(f"{error}. A page (.html) needs no extra.") from error

    def draw(
        path: Path, events: list[RunEvent], prices: Prices | None, now: datetime | None, note: str | None
    ) -> str:
        chart: Any = charts.overview(events, prices, now=now)
        charts.save(chart, path)
        return one_line(f"{path}: {counted(len(events), 'event')}")

    return draw
