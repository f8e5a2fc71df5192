"""A run's page, rewritten while the run continues, and the lines that report written files."""

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
from rxruns.cli._reading import exit_of
from rxruns.costs import Prices
from rxruns.errors import RunsError
from rxruns.events import RunEvent
from rxruns.page import RunPage


def note_of(error: RunsError | None) -> str | None:
    """Return the error as a page's note."""
    return None if error is None else f"The run could not be read to its end: {error}"


def summary(path: Path, page: RunPage, events: int) -> str:
    """Return a line about a page that was written."""
    return one_line(f"{path}: {counted(events, 'event')}, {status_label(page.state.status)}")


class Following:
    """Writes the page of a run repeatedly.

    The reader's thread puts events into a queue; this thread folds and writes, so that a slow disk doesn't
    delay the reader.
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
        """Write until the run ends, fails to be followed, or Ctrl-C."""
        click.echo(one_line(f"writing {self._path} every {self._refresh:g} s    (Ctrl-C stops)"), err=True)
        subscription = source.subscribe(self._events.put, self._fail, self._ended.set)
        note: str | None = "This page is no longer updated: following the run was stopped."
        try:
            self._follow()
            note = note_of(self._error) if isinstance(self._error, RunsError) else None
        finally:
            subscription.dispose()
            self._write(None, note)
            click.echo(summary(self._path, self._page, self._count), err=True)
        if self._error is not None and not isinstance(self._error, RunsError):
            raise self._error
        return exit_of(self._error)

    def _follow(self) -> None:
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("connecting", total=None)
            while not self._ended.wait(self._refresh):
                self._write(self._refresh, None)
                progress.update(task, description=summary(self._path, self._page, self._count))

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
