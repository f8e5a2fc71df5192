"""The operator from events to finished spans."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable, abc

from rxruns._arguments import check_flag, check_text
from rxruns._errors import InvalidArgumentError
from rxruns.costs import CostTotals, Prices
from rxruns.events import RunCompiled, RunEvent, RunStarted, TerminalEvent
from rxruns.operators._stateful import Handlers, stateful
from rxruns.otel._calls import Options
from rxruns.otel._making import Maker
from rxruns.otel._run import OpenRun
from rxruns.otel._sdk import ReadableSpan

__all__ = ["spans"]


def spans(
    *, name: str | None = None, content: bool = False, prices: Prices | None = None
) -> Callable[[Observable[RunEvent]], Observable[ReadableSpan]]:
    """Emit a span when it ends: a tool call, a model call, an attempt of a node, and at last the run itself.

    ::

        -started-draft(start)-call-draft(end)-completed-|
        ----------------------c----n----------r---------|     c: chat gpt-5, n: draft, r: invoke_workflow

    The trace id is the run's UUID, and the id of each span follows from the run, the node, the attempt and
    the call. So the same events give the same spans: live or from a log, once or again after a crash. A
    backend that keeps spans by their ids has each of them once.

    Feed each run from its first event. Merged runs stay apart; a run that has ended is forgotten. When the
    source completes, spans that have not ended are not emitted: follow or read the run again from its start.

    Args:
        name: the workflow's, for the name of the root span. Events don't have it.
        content: also export what models and people wrote: the text of answers, arguments and results of
            tools, questions. Texts are cut after 8,192 characters.
        prices: by (provider, model), for the cost of model calls.

    Raises:
        InvalidArgumentError: an argument is invalid.

    ``on_error`` receives an :class:`~rxruns.errors.InvalidArgumentError` if the first event of a run is
    missing, because ids of later spans would depend on it.

    >>> import reactivex
    >>> from rxruns import ops, otel
    >>> from rxruns.testing import events
    >>> log = events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=20).succeeds()
    >>> found = reactivex.from_iterable(log).pipe(otel.spans(name="report"), ops.to_list()).run()
    >>> [span.name for span in found]
    ['chat gpt-5', 'draft', 'invoke_workflow report']
    >>> f"{found[0].context.trace_id:032x}" == log.run_id.hex
    True
    """
    if name is not None:
        check_text("name", name)
    check_flag("content", content)
    costs = CostTotals(prices)

    def handlers(observer: abc.ObserverBase[ReadableSpan]) -> Handlers[RunEvent]:
        options = Options(Maker(), costs, content, name)
        runs: dict[int, OpenRun] = {}

        def on_next(event: RunEvent) -> None:
            key = event.run_id.int
            run = runs.get(key)
            if run is None:
                if not _is_first(event):
                    observer.on_error(_late(event))
                    return
                run = runs[key] = OpenRun(event, options)
            ended = run.step(event)
            if ended:
                if isinstance(event, TerminalEvent):
                    del runs[key]
                for span in ended:
                    observer.on_next(span)

        return on_next, observer.on_completed

    return stateful(handlers)


def _is_first(event: RunEvent) -> bool:
    """Return True for an event that no event of a node precedes, also if a bad line before it was skipped."""
    return event.seq == 1 or isinstance(event, RunCompiled | RunStarted)


def _late(event: RunEvent) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"run {event.run_id}: otel.spans needs a run from its first event, got seq {event.seq} first; "
        "follow it with after_seq=0, and put other operators after otel.spans",
        field="source",
    )
