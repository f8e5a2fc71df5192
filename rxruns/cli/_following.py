"""Following runs to their ends, side by side, and reporting their outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import click
import reactivex
from reactivex import Observable, abc

from rxruns import operators as ops
from rxruns._display._text import duration
from rxruns._display._visible import one_line
from rxruns._streams._run_events import block_on
from rxruns.cli._panel import NO_EVENT, Exit, Panel, early_end
from rxruns.cli._view import RunView
from rxruns.client import RunsClient
from rxruns.errors import RunsError
from rxruns.events import RunEvent

timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop following after this time, and exit with 3. The runs are not canceled.",
)


def follow(
    view: RunView,
    runs: Mapping[Panel, Observable[RunEvent]],
    timeout: float | None = None,
    ended: Callable[[Panel], None] = lambda panel: None,
) -> None:
    """Show each run to its end. An error of one run doesn't end the others.

    Args:
        timeout: seconds after which following stops; None for no limit.
        ended: called with each run whose events are complete, on the thread that read them.

    Raises:
        Exception: any other than an error of a run, such as a closed pipe.
    """
    ends = reactivex.merge(*(_ends(view, panel, events, ended) for panel, events in runs.items()))
    block_on(ends if timeout is None else ends.pipe(ops.take_until(reactivex.timer(timeout))))


def settle(panel: Panel, client: RunsClient, after: int) -> None:
    """Ask the service for the status of a run whose events completed without a terminal event.

    That happens if the terminal event lies before ``--after``.
    """
    if panel.is_partial or panel.state.final_status is not None or panel.run_id is None:
        return
    try:
        panel.settle(client.get(panel.run_id).status, after)
    except RunsError as error:
        panel.error = error


def report(panels: Iterable[Panel], timeout: float | None = None) -> Exit:
    """Return the worst exit code, and print to stderr why a run was not followed to its end."""
    known = list(panels) or [Panel()]
    for panel in known:
        why = _why(panel, timeout) if panel.exit_code == Exit.NOT_FOLLOWED else panel.settled
        if why:
            run = "no run" if panel.run_id is None else f"run {panel.run_id}"
            click.echo(one_line(f"rxruns: {run}: {why}"), err=True)
    return max(panel.exit_code for panel in known)


def _why(panel: Panel, timeout: float | None) -> str:
    """Return the reason why a run was not followed to its end, and how to resume."""
    resume = f"; resume with --after {panel.last_seq}" if panel.last_seq else ""
    if panel.error is not None:
        return f"{panel.error}{resume}"
    if timeout is not None:
        was = "no event was received" if panel.last is None else f"it was {panel.status}"
        waited = panel.waited(datetime.now(UTC))
        was += f" for {duration(max(waited.values()))}" if waited else ""
        return f"stopped following after {timeout:g} s, {was}{resume}"
    return early_end(panel.last_seq) if panel.last_seq else NO_EVENT


def _ends(
    view: RunView, panel: Panel, events: Observable[RunEvent], ended: Callable[[Panel], None]
) -> Observable[RunEvent]:
    """Show the events, and return an Observable of their end alone: each further operator would cost time."""
    update = view.updating(panel)

    def subscribe(
        observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        def guarded(event: RunEvent) -> None:
            try:
                update(event)
            except Exception as error:  # a closed pipe, say
                observer.on_error(error)

        # A table is drawn by another thread; only printing a line can fail here.
        on_next = update if view.is_live else guarded

        def on_error(error: Exception) -> None:
            if not isinstance(error, RunsError):
                observer.on_error(error)
                return
            panel.error = error
            observer.on_completed()

        def on_completed() -> None:
            ended(panel)
            observer.on_completed()

        return events.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

    return Observable(subscribe)
