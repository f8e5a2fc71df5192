"""``rxruns watch``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import click
import reactivex
from reactivex import Observable

from rxruns.cli._following import follow, report, settle, timeout_option
from rxruns.cli._panel import Exit, Panel
from rxruns.cli._prices import with_prices
from rxruns.cli._replay import show
from rxruns.cli._selecting import Selection, with_selection
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.cli._view import RunView
from rxruns.client import RunsClient
from rxruns.costs import Prices
from rxruns.errors import RunsError
from rxruns.events import RunEvent
from rxruns.lifecycle import Connected, LifecycleEvent

_LOG = logging.getLogger(__name__)


@click.command(
    short_help="Follow runs and show their nodes.",
    epilog="""\b
Example: rxruns watch 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11 --prices prices.json
         rxruns watch RUN_ID RUN_ID --timeout 60 || echo "failed, or still running"
         rxruns watch run.ndjson    (as `rxruns replay` does)
""",
)
@source_argument("sources", nargs=-1)
@with_selection
@timeout_option
@with_prices
@with_service
def watch(
    sources: tuple[Source, ...],
    selection: Selection,
    timeout: float | None,
    prices: Prices | None,
    service: Service,
) -> Exit:
    """Follow runs and show the status, time, tokens, cost and text of their nodes.

    In a pipe, or with NO_COLOR, each event is printed as a line. Ctrl-C stops watching without canceling the
    runs. A recorded log is replayed at its original speed.
    """
    run_ids = [source for source in sources if isinstance(source, UUID)]
    logs = [source for source in sources if isinstance(source, Path)]
    if logs and run_ids:
        raise click.UsageError("RUN_ID|FILE must be runs or recorded logs, not both")
    if logs:
        events = reactivex.merge(*(selection.read(service, log, speed=1.0) for log in logs))
        chosen = selection.chosen(events, keep_run=True)
        return show(chosen, logs, prices, timeout=timeout, is_partial=not selection.follows)
    client = service.client
    with RunView(prices) as view:
        runs: dict[Panel, Observable[RunEvent]] = {}
        for one in dict.fromkeys(run_ids):
            panel = view.panel(one)
            panel.is_partial = not selection.follows
            panel.can_be_answered = True
            needs_plan = view.is_live or selection.nodes
            on_lifecycle = noting(panel, client, selection) if needs_plan else panel.note
            events = selection.read(service, one, on_lifecycle)
            runs[panel] = selection.chosen(events, keep_run=True)
        follow(view, runs, timeout, lambda panel: settle(panel, client, selection.after))
    return report(view.panels, timeout)


def noting(panel: Panel, client: RunsClient, selection: Selection) -> Callable[[LifecycleEvent], None]:
    """Return a callback that passes lifecycle events to a panel, and on connecting the nodes of the plan.

    Without the run's first events, planned nodes can't be distinguished from nodes that have ended.
    """

    def note(value: LifecycleEvent) -> None:
        panel.note(value)
        if not isinstance(value, Connected) or value.run_id is None:
            return
        try:
            nodes = [node.id for node in client.get(value.run_id).nodes]
        except RunsError:
            return  # the view works without them
        missing = selection.missing(nodes, f"run {value.run_id}") if nodes else ""
        if missing:
            _LOG.warning(missing)
        if selection.is_whole:
            panel.planned = tuple(id for id in nodes if not selection.nodes or id in selection.nodes)

    return note
