"""One run of a source, read to its end."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import click
from reactivex import Observable
from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
from rich.text import Text

from rxruns import operators as ops
from rxruns._display._text import counted
from rxruns._display._visible import one_line
from rxruns._streams._run_events import block_on
from rxruns.cli._panel import Exit
from rxruns.cli._sources import Source, described, naming
from rxruns.errors import RunsError
from rxruns.events import RunEvent


def of_one_run(
    source: Source, run_id: UUID | None, flag: str = "--run"
) -> Callable[[Observable[RunEvent]], Observable[RunEvent]]:
    """Return an operator that selects the events of one run, or fails with a usage error that names runs.

    Args:
        source: of the events.
        run_id: the run; None for the only one.
        flag: the flag that selects a run.
    """
    found: set[UUID] = set()

    def check(event: RunEvent) -> None:
        found.add(event.run_id)
        if run_id is None and len(found) > 1:
            raise click.UsageError(f"{source} has several runs, for example {runs()}; select one with {flag}")

    def check_found() -> None:
        if run_id is not None and found and run_id not in found:
            raise click.UsageError(f"{source} has no event of run {run_id}, but of {runs()}")

    def runs() -> str:
        return " and ".join(sorted(map(str, found))[:2])

    def selected(events: Observable[RunEvent]) -> Observable[RunEvent]:
        checked = events.pipe(ops.do_action(check, on_completed=check_found))
        return checked if run_id is None else checked.pipe(ops.filter(lambda event: event.run_id == run_id))

    return selected


def read_all(events: Observable[RunEvent], source: Source, add: Callable[[RunEvent], object]) -> None:
    """Pass each event to a function, and show their number on a terminal.

    Raises:
        RunsError: the events ended early.
    """
    console, count = Console(stderr=True), _Count()
    with Progress(
        SpinnerColumn(), count, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        progress.add_task("reading", total=None)

        def taken(event: RunEvent) -> None:
            add(event)
            count.events += 1

        with naming(source):
            block_on(events.pipe(ops.do_action(taken)))


class _Count(ProgressColumn):
    """The number of events, read at each refresh."""

    events: int = 0

    def render(self, task: Task) -> Text:
        return Text(counted(self.events, "event"))


def exit_of(error: RunsError | None) -> Exit:
    """Print the error that ended a run's events early, if there is one, and return the exit code."""
    if error is None:
        return Exit.SUCCEEDED
    click.echo(one_line(f"rxruns: {described(error)}"), err=True)
    return Exit.NOT_FOLLOWED
