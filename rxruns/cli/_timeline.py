"""``rxruns timeline``: a run as a page or a picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

import click
from reactivex import Observable
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from rxruns import operators as ops
from rxruns._display import counted, status_label
from rxruns.cli._panel import Exit
from rxruns.cli._prices import with_prices
from rxruns.cli._printable import printable
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.costs import Prices
from rxruns.errors import RunsError
from rxruns.events import RunEvent
from rxruns.page import RunPage
from rxruns.source import block_on

__all__ = ["timeline"]

SUFFIXES = (".html", ".png", ".svg")
STEP = 1_000
"""Events between two looks at the progress."""


def _output(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    if path.suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"{str(path)!r} has to end in .html, .png or .svg.")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r}.")
    return path


@click.command(
    short_help="Draw a run: a page, or a picture.",
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
    help="A page (.html) or a picture (.png, .svg), replaced if it is there.",
)
@click.option(
    "--refresh",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="Follow the run: write the page again that often, until it has ended. The page reloads itself.",
)
@click.option("--run", "run_id", metavar="RUN_ID", type=click.UUID, help="Which run of a log with several.")
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
    """Draw a run, or a recorded log: its nodes over time, what went wrong, what it says and costs.

    The page is one file and needs no network. A run that goes on is drawn as it is now, or followed with
    --refresh. Exits with 0 when the file is written, however the run went.
    """
    if refresh is not None and (output.suffix.lower() != ".html" or isinstance(source, Path)):
        raise click.UsageError("--refresh follows a run into a page: give a run id, and -o FILE.html")
    draw = _page if output.suffix.lower() == ".html" else _picture()
    chosen = _chosen(source, run_id)
    if refresh is not None:
        return _Following(output, prices, refresh).run(chosen(service.events(source)))
    events, error = _read(chosen(service.events(source, wait=False)))
    if error is not None and not events:
        raise error
    now = datetime.now(UTC) if isinstance(source, UUID) else None
    told = draw(output, events, prices, now, _note(error))
    click.echo(told, err=True)
    return _told(error)


def _told(error: RunsError | None) -> Exit:
    if error is None:
        return Exit.SUCCEEDED
    click.echo(printable(f"rxruns: {error}"), err=True)
    return Exit.NOT_FOLLOWED


def _note(error: RunsError | None) -> str | None:
    return None if error is None else f"Not all of the run could be read: {error}"


def _chosen(source: Source, run_id: UUID | None) -> Callable[[Observable[RunEvent]], Observable[RunEvent]]:
    """The events of one run, or a usage error that names two."""
    found: set[UUID] = set()

    def check(event: RunEvent) -> None:
        found.add(event.run_id)
        if len(found) > 1:
            one, other = sorted(map(str, found))
            raise click.UsageError(
                f"{source} holds several runs, such as {one} and {other}: choose with --run"
            )

    if run_id is not None:
        return ops.filter(lambda event: event.run_id == run_id)
    return ops.do_action(check)


def _read(source: Observable[RunEvent]) -> tuple[list[RunEvent], RunsError | None]:
    """What can be read, and why that is not all."""
    events: list[RunEvent] = []
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} events"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)

        def add(event: RunEvent) -> None:
            events.append(event)
            if len(events) % STEP == 0:
                progress.update(task, completed=len(events))

        try:
            block_on(source.pipe(ops.do_action(add)))
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
    return _said(path, page, len(events))


def _said(path: Path, page: RunPage, events: int) -> str:
    return printable(f"{path}: {counted(events, 'event')}, {status_label(page.state.status)}")


def _picture() -> Draw:
    """How a picture is drawn, if what it needs is installed."""
    try:
        from rxruns import charts  # noqa: PLC0415  (needs an extra)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("altair", "vl_convert"):
            raise
        raise click.UsageError(f"{error}. A page (.html) needs nothing more.") from error

    def draw(
        path: Path, events: list[RunEvent], prices: Prices | None, now: datetime | None, note: str | None
    ) -> str:
        chart: Any = charts.overview(events, prices, now=now)
        charts.save(chart, path)
        return printable(f"{path}: {counted(len(events), 'event')}")

    return draw


class _Following:
    """Writes the page of a run again and again. The reader's thread puts events into a queue; this one takes
    them out, folds and writes, so that a slow disk holds nobody up.
    """

    def __init__(self, path: Path, prices: Prices | None, refresh: float) -> None:
        self._path = path
        self._refresh = refresh
        self._page = RunPage(prices)
        self._events: SimpleQueue[RunEvent] = SimpleQueue()
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._count = 0

    def run(self, source: Observable[RunEvent]) -> Exit:
        """Until the run has ended, could not be followed, or Ctrl-C."""
        click.echo(printable(f"writing {self._path} every {self._refresh:g} s    (Ctrl-C stops)"), err=True)
        subscription = source.subscribe(self._events.put, self._fail, self._ended.set)
        note: str | None = "Nobody follows the run any more: this page stopped with it."
        try:
            while not self._ended.wait(self._refresh):
                self._write(self._refresh, None)
            note = _note(self._error) if isinstance(self._error, RunsError) else None
        finally:
            subscription.dispose()
            self._write(None, note)
        if self._error is not None and not isinstance(self._error, RunsError):
            raise self._error
        click.echo(_said(self._path, self._page, self._count), err=True)
        return _told(self._error)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._ended.set()

    def _write(self, refresh: float | None, note: str | None) -> None:
        try:
            while True:
                self._page.add(self._events.get_nowait())
                self._count += 1
        except Empty:
            self._page.write(self._path, now=datetime.now(UTC), refresh=refresh, note=note)
