"""The page of a run as a file that is written again and again, and what is said of files that are written."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

import click
from reactivex import Observable
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from rxruns._display._text import counted, status_label
from rxruns._display._visible import one_line
from rxruns.cli._panel import Exit
from rxruns.cli._sources import described
from rxruns.costs import Prices
from rxruns.errors import RunsError
from rxruns.events import RunEvent
from rxruns.page import RunPage

__all__ = ["Following", "note_of", "said", "told"]


def told(error: RunsError | None) -> Exit:
    """Say why not all of a run was read, if so; and the exit code of that."""
    if error is None:
        return Exit.SUCCEEDED
    click.echo(one_line(f"rxruns: {described(error)}"), err=True)
    return Exit.NOT_FOLLOWED


def note_of(error: RunsError | None) -> str | None:
    """What a page says of it."""
    return None if error is None else f"Not all of the run could be read: {error}"


def said(path: Path, page: RunPage, events: int) -> str:
    """What there is to say of a page that was written."""
    return one_line(f"{path}: {counted(events, 'event')}, {status_label(page.state.status)}")


class Following:
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
        click.echo(one_line(f"writing {self._path} every {self._refresh:g} s    (Ctrl-C stops)"), err=True)
        subscription = source.subscribe(self._events.put, self._fail, self._ended.set)
        note: str | None = "Nobody follows the run any more: this page stopped with it."
        try:
            self._follow()
            note = note_of(self._error) if isinstance(self._error, RunsError) else None
        finally:
            subscription.dispose()
            self._write(None, note)
            click.echo(said(self._path, self._page, self._count), err=True)
        if self._error is not None and not isinstance(self._error, RunsError):
            raise self._error
        return told(self._error)

    def _follow(self) -> None:
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("connecting", total=None)
            while not self._ended.wait(self._refresh):
                self._write(self._refresh, None)
                progress.update(task, description=said(self._path, self._page, self._count))

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
