"""Operators for a run in progress: its text, its state and the times of its nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc
from reactivex import operators as rx

from rxruns._arguments import check_kind
from rxruns.events import NodeEvent, NodeOutputDelta, NodeStarted, RunEvent, TerminalEvent
from rxruns.operators._fold import changes
from rxruns.operators._select import check_node_ids
from rxruns.operators._stateful import Handlers, stateful
from rxruns.state import NodeSpan, NodeText, RunState, Timed
from rxruns.state._nodes import text_after
from rxruns.state._rope import Rope
from rxruns.state._spans import SpanTracker

__all__ = ["event_time", "node_spans", "run_state", "text"]

_E = TypeVar("_E", bound=RunEvent)


def event_time() -> Callable[[Observable[_E]], Observable[Timed[_E]]]:
    """Pair each event with the time at which the service recorded it: wire ``ts``.

    ::

        -a--------b--|
        -(a,ts)---(b,ts)--|

    ``ops.timestamp`` pairs with the time of arrival, which is later after a reconnect.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> ts = datetime(2026, 1, 31, tzinfo=timezone.utc)
    >>> event = NodeStarted(run_id=UUID(int=1), seq=1, ts=ts, node_id="draft")
    >>> reactivex.of(event).pipe(event_time()).run().timestamp.isoformat()
    '2026-01-31T00:00:00+00:00'
    """

    def timed(event: _E) -> Timed[_E]:
        return Timed(event, event.ts)

    return rx.map(timed)


def run_state(initial: RunState | None = None) -> Callable[[Observable[RunEvent]], Observable[RunState]]:
    """Emit the state of the run after each event; with ``ops.last()``, the state at its end.

    ::

        -started-delta-succeeded-completed-|
        -s1------s2----s3--------s4--------|

    Events that the state already includes, by ``seq``, are skipped. So a fold that continues from a stored
    state equals the fold from the beginning, even if an event arrives twice.

    Args:
        initial: the state to continue from; ``RunState(costs=CostTotals(prices))`` starts with prices.

    An event of a second run ends the stream with an :class:`~rxruns.errors.InvalidArgumentError`; put
    ``ops.group_by(lambda event: event.run_id)`` before this operator for merged runs.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeSucceeded
    >>> node = {"run_id": UUID(int=1), "ts": datetime(2026, 1, 31, tzinfo=timezone.utc), "node_id": "draft"}
    >>> events = reactivex.of(NodeStarted(**node, seq=1), NodeSucceeded(**node, seq=2))
    >>> state = events.pipe(run_state()).run()
    >>> print(state.nodes["draft"].status, state.last_seq)
    succeeded 2
    """
    if initial is not None:
        check_kind("initial", initial, RunState, "a RunState or None")
    return changes(RunState() if initial is None else initial)


def text(*node_ids: str) -> Callable[[Observable[RunEvent]], Observable[NodeText]]:
    """Emit each piece of a node's text together with its text since its last start.

    ::

        -a:Hel-b:Oh-a:lo---|
        -a1----b1---a2-----|     a2.piece == "lo", a2.text == "Hello"

    Deltas without text, such as starts and stops, are skipped. ``.text`` is joined when it is read, so
    printing pieces costs only the pieces. Nodes and merged runs stay apart.

    A node that starts again starts with empty text; text that arrives after its end belongs to the attempt
    that ended, as in ``ops.run_state``. The text of a run is dropped when the run ends.

    Args:
        node_ids: the nodes to follow, as in ``ops.for_node``; all nodes by default.

    Raises:
        InvalidArgumentError: an id isn't text, or is empty.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import OutputDelta
    >>> node = {"run_id": UUID(int=1), "ts": datetime(2026, 1, 31, tzinfo=timezone.utc), "node_id": "draft"}
    >>> def delta(seq, piece):
    ...     return NodeOutputDelta(**node, seq=seq, delta=OutputDelta(kind="message_delta", text_delta=piece))
    >>> last = reactivex.of(delta(1, "Hel"), delta(2, "lo")).pipe(text()).run()
    >>> last.piece, last.text
    ('lo', 'Hello')
    """

    wanted = check_node_ids(node_ids)

    def handlers(observer: abc.ObserverBase[NodeText]) -> Handlers[RunEvent]:
        runs: dict[int, dict[str, Rope]] = {}
        nothing = Rope()

        def on_next(event: RunEvent) -> None:
            if isinstance(event, NodeOutputDelta):
                piece, node_id = event.delta.text_delta, event.node_id
                if piece and (not wanted or node_id in wanted):
                    nodes = runs.setdefault(event.run_id.int, {})
                    rope = nodes[node_id] = text_after(nodes.get(node_id, nothing), event)
                    observer.on_next(NodeText(event.run_id, node_id, piece, rope))
            elif isinstance(event, NodeStarted):
                nodes = runs.get(event.run_id.int, {})
                if event.node_id in nodes:
                    nodes[event.node_id] = text_after(nodes[event.node_id], event)
            elif isinstance(event, TerminalEvent):
                runs.pop(event.run_id.int, None)

        return on_next, observer.on_completed

    return stateful(handlers)


def node_spans(open_spans: bool = False) -> Callable[[Observable[RunEvent]], Observable[NodeSpan]]:
    """Emit the start, end and status of each node when it ends: a :class:`~rxruns.state.NodeSpan`.

    ::

        -a(start)-b(start)-a(end)-----b(end)-|
        -------------------a----------b------|

    The end of a run cancels its open nodes, as at the service. When the source completes, open spans are
    emitted without an end; on an error they are dropped. A node that starts again makes another span, with
    the next ``attempt``. Nodes and merged runs stay apart.

    Args:
        open_spans: also emit a span when it begins, without an end, for a live display.

    >>> from datetime import datetime, timedelta, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeSucceeded
    >>> began = datetime(2026, 1, 31, tzinfo=timezone.utc)
    >>> node = {"run_id": UUID(int=1), "node_id": "draft"}
    >>> ended = began + timedelta(seconds=1.5)
    >>> events = reactivex.of(NodeStarted(**node, seq=1, ts=began), NodeSucceeded(**node, seq=2, ts=ended))
    >>> span = events.pipe(node_spans()).run()
    >>> print(span.node_id, span.status, span.duration)
    draft succeeded 1.5
    """

    def handlers(observer: abc.ObserverBase[NodeSpan]) -> Handlers[RunEvent]:
        runs: dict[int, SpanTracker] = {}

        def on_next(event: RunEvent) -> None:
            run = event.run_id.int
            if isinstance(event, NodeEvent):
                tracker = runs.get(run)
                if tracker is None:
                    tracker = runs[run] = SpanTracker(event.run_id)
                for attempt in tracker.step(event):
                    if open_spans or attempt.node.ended_at is not None:
                        observer.on_next(attempt.span)
            elif isinstance(event, TerminalEvent) and run in runs:
                for attempt in runs.pop(run).end(event.ts):
                    observer.on_next(attempt.span)

        def on_completed() -> None:
            for tracker in runs.values():
                for attempt in tracker.open_attempts():
                    observer.on_next(attempt.span)
            observer.on_completed()

        return on_next, on_completed

    return stateful(handlers)
