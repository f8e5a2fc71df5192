"""Follow runs to their ends, each beside the others, and say how it went."""

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
from rxruns.cli._panel import Exit, Panel, early_end
from rxruns.cli._view import RunView
from rxruns.client import RunsClient
from rxruns.errors import RunsError
from rxruns.events import RunEvent

__all__ = ["follow", "report", "settle", "timeout_option"]

timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop following after that long, and exit with 3. The runs go on.",
)


def follow(
    view: RunView,
    runs: Mapping[Panel, Observable[RunEvent]],
    timeout: float | None = None,
    ended: Callable[[Panel], None] = lambda panel: None,
) -> None:
    """Show each run to its end. One that can not be followed ends alone.

    Args:
        timeout: seconds after which nothing more is shown; None for no limit.
        ended: is told of each run whose events are complete, on the thread that brought them.

    Raises:
        Exception: what is no fault of a run, such as a closed pipe.
    """
    ends = reactivex.merge(*(_shown(view, panel, events, ended) for panel, events in runs.items()))
    block_on(ends if timeout is None else ends.pipe(ops.take_until(reactivex.timer(timeout))))


def settle(panel: Panel, client: RunsClient, after: int) -> None:
    """Ask the service how a run ended whose events are complete without its end: that came earlier, say.

    A stream completes so on the service's word that the run has ended, which is all that is known of it.
    """
    if panel.is_partial or panel.state.final_status is not None or panel.run_id is None:
        return
    try:
        panel.settle(client.get(panel.run_id).status, after)
    except RunsError as error:
        panel.error = error


def report(panels: Iterable[Panel], timeout: float | None = None) -> Exit:
    """The worst exit code; why a run was not followed to its end, or that it had ended before, is said on
    standard error.
    """
    known = list(panels) or [Panel()]
    for panel in known:
        why = _why(panel, timeout) if panel.exit_code == Exit.NOT_FOLLOWED else panel.settled
        if why:
            run = "no run" if panel.run_id is None else f"run {panel.run_id}"
            click.echo(one_line(f"rxruns: {run}: {why}"), err=True)
    return max(panel.exit_code for panel in known)


def _why(panel: Panel, timeout: float | None) -> str:
    """Why a run was not followed to its end, and how to go on."""
    go_on = f"; go on with --after {panel.last_seq}" if panel.last_seq else ""
    if panel.error is not None:
        return f"{panel.error}{go_on}"
    if timeout is not None:
        was = "no event had come" if panel.last is None else f"it was {panel.status}"
        waited = panel.waited(datetime.now(UTC))
        was += f" for {duration(max(waited.values()))}" if waited else ""
        return f"stopped following after {timeout:g} s, {was}{go_on}"
    return early_end(panel.last_seq) if panel.last_seq else "no event came"


def _shown(
    view: RunView, panel: Panel, events: Observable[RunEvent], ended: Callable[[Panel], None]
) -> Observable[RunEvent]:
    """The end of these events, and nothing before it: each operator that an event passes costs."""
    update = view.updating(panel)

    def subscribe(
        observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        def guarded(event: RunEvent) -> None:
            try:
                update(event)
            except Exception as error:  # a closed pipe, say
                observer.on_error(error)

        # A table is drawn by another thread; only a line that is printed can fail here.
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
