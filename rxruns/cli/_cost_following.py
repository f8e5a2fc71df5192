"""The costs of runs, event by event: from the service, from pipes and from logs with an error."""

from __future__ import annotations

import reactivex
from reactivex import Observable
from rich.console import Console
from rich.progress import Progress

from rxruns import operators as ops
from rxruns._streams._run_events import block_on
from rxruns.cli._sources import Service, Source
from rxruns.errors import RunsError
from rxruns.events import RunEvent
from rxruns.folds._run_cost import RunCost, RunCosts

__all__ = ["follow_costs"]

AT_ONCE = 8
"""Runs that are read at the same time."""


def follow_costs(
    sources: list[Source], empty: RunCost, service: Service
) -> tuple[dict[Source, RunCosts], dict[Source, str]]:
    """Return the costs in each source, and the reasons why sources could not be read to their end."""
    found: dict[Source, RunCosts] = {source: {} for source in sources}
    errors: dict[Source, str] = {}

    def count(source: Source) -> Observable[RunEvent]:
        costs = found[source]

        def add(event: RunEvent) -> None:
            costs[event.run_id] = costs.get(event.run_id, empty).step(event)

        def failed(error: Exception, _: Observable[RunEvent]) -> Observable[RunEvent]:
            if not isinstance(error, RunsError):
                raise error
            errors[source] = f"{error}{'; the events before it are counted' if costs else ''}"
            return reactivex.empty()

        events = service.events(source, wait=False).pipe(ops.tap(add))
        return events.pipe(ops.ignore_elements(), ops.catch(failed))

    stderr = Console(stderr=True)
    with Progress(
        console=stderr, transient=True, disable=len(sources) < 2 or not stderr.is_terminal
    ) as progress:
        task = progress.add_task("reading", total=len(found))
        ended = ops.do_action(on_completed=lambda: progress.advance(task))
        read = reactivex.from_iterable(sources).pipe(ops.map(lambda source: count(source).pipe(ended)))
        block_on(read.pipe(ops.merge(max_concurrent=AT_ONCE)))
    return found, errors
