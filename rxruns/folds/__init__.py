"""Folds: values with ``step`` and ``combine``, so that parts of the events can be folded in different places.

A fold is an immutable value. ``step(event)`` returns the next one; ``combine(other)`` returns what both parts
add up to. :class:`~rxruns.costs.CostTotals` is a fold, :class:`RunStates` and :class:`NodeSpans` are defined
here, and so is any class of yours with these two methods. :class:`By` keeps one fold for each key,
:class:`Together` folds several in one pass. :func:`fold_logs` folds recorded logs on this machine;
:mod:`rxruns.dask` spreads folds over a cluster.

A fold may declare more in its class:

- ``event_types``: the events that its ``step`` uses, as classes or categories of :mod:`rxruns.events`.
  ``step`` must ignore all others, so that readers of a log may skip lines without them. Without it, every
  event is needed.
- ``whole_runs = True``: the events of one run must be folded in order, in one place. Without it, a run may be
  cut anywhere and its parts combined.

>>> from dataclasses import dataclass
>>> from rxruns.events import NodeFailed
>>> @dataclass(frozen=True)
... class Failures:
...     count: int = 0
...     event_types = (NodeFailed,)
...     def step(self, event: RunEvent) -> "Failures":
...         return Failures(self.count + 1) if isinstance(event, NodeFailed) else self
...     def combine(self, other: "Failures") -> "Failures":
...         return Failures(self.count + other.count)
>>> from rxruns.testing import events
>>> failures = Failures()
>>> for event in events.run().node("draft").fails():
...     failures = failures.step(event)
>>> failures
Failures(count=1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from rxruns._fold import Fold
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeEvent, RunEvent, TerminalEvent
from rxruns.folds._by import By
from rxruns.folds._folded import Folded
from rxruns.folds._logs import fold_logs
from rxruns.folds._together import Together
from rxruns.folds._window import Window
from rxruns.state import NodeSpan, RunState
from rxruns.state._growing import Growing
from rxruns.state._spans import SpanTracker

__all__ = [
    "By",
    "Fold",
    "Folded",
    "NodeSpans",
    "RunStates",
    "Together",
    "Window",
    "fold_logs",
]


_V = TypeVar("_V")


class RunStates(Mapping[UUID, RunState]):
    """The state of each run, by its id: an immutable value that the events of many runs are folded into.

    Args:
        initial: the state that each run begins with; ``RunState(costs=CostTotals(prices))`` has prices.
        states: the states to continue from.

    >>> from datetime import datetime, timezone
    >>> from rxruns.events import NodeStarted
    >>> event = NodeStarted(run_id=UUID(int=1), seq=2, ts=datetime.now(timezone.utc), node_id="draft")
    >>> states = RunStates().step(event)
    >>> states[UUID(int=1)].nodes["draft"].status, len(states)
    (<NodeStatus.RUNNING: 'running'>, 1)
    """

    __slots__ = ("_initial", "_states")

    whole_runs: ClassVar[bool] = True

    def __init__(
        self, initial: RunState | None = None, states: Mapping[UUID, RunState] | None = None
    ) -> None:
        self._initial = RunState() if initial is None else initial
        self._states = states if isinstance(states, Growing) else Growing(states)

    def step(self, event: RunEvent) -> RunStates:
        """Return the states after ``event``; `self` for an event that its run has seen, by ``seq``."""
        before = self._states.find(event.run_id) or self._initial
        after = before.step(event)
        return self if after is before else RunStates(self._initial, self._states.having(event.run_id, after))

    def combine(self, other: RunStates) -> RunStates:
        """Return the states of both.

        Raises:
            InvalidArgumentError: a run is in both. A state can't be made from the states of two parts.
        """
        return RunStates(self._initial, _united(self._states, other._states))

    def __getitem__(self, run_id: UUID) -> RunState:
        return self._states[run_id]

    def __iter__(self) -> Iterator[UUID]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __reduce__(self) -> tuple[Any, ...]:
        return RunStates, (self._initial, dict(self._states))

    def __repr__(self) -> str:
        return f"RunStates({dict(self._states)!r})"


class _RunSpans(NamedTuple):
    """The spans of one run that have ended, and the tracker of its open ones."""

    ended: tuple[NodeSpan, ...]
    tracker: SpanTracker


class NodeSpans:
    """When each node of many runs worked: the spans of ``ops.node_spans``, as an immutable value.

    >>> from datetime import datetime, timedelta, timezone
    >>> from rxruns.events import NodeStarted, NodeSucceeded
    >>> began = datetime(2026, 1, 31, tzinfo=timezone.utc)
    >>> node = {"run_id": UUID(int=1), "node_id": "draft"}
    >>> started = NodeStarted(**node, seq=1, ts=began)
    >>> ended = NodeSucceeded(**node, seq=2, ts=began + timedelta(seconds=1.5))
    >>> [(span.node_id, span.duration) for span in NodeSpans().step(started).step(ended).spans]
    [('draft', 1.5)]
    """

    __slots__ = ("_runs",)

    whole_runs: ClassVar[bool] = True

    def __init__(self) -> None:
        self._runs: Growing[UUID, _RunSpans] = Growing()

    @property
    def spans(self) -> tuple[NodeSpan, ...]:
        """Run by run: the ended spans in the order of their ends, then the open ones."""
        return tuple(
            span
            for run in self._runs.values()
            for span in (*run.ended, *(attempt.span for attempt in run.tracker.open_attempts()))
        )

    def step(self, event: RunEvent) -> NodeSpans:
        """Return the spans after ``event``; `self` if it neither begins, ends nor changes one."""
        run = self._runs.find(event.run_id) or _RunSpans((), SpanTracker(event.run_id))
        if isinstance(event, NodeEvent) and not run.tracker.ignores(event):
            tracker = run.tracker.copy()
            attempts = [attempt for attempt in tracker.step(event) if attempt.node.ended_at is not None]
        elif isinstance(event, TerminalEvent):
            tracker, attempts = SpanTracker(event.run_id), run.tracker.copy().end(event.ts)
        else:
            return self
        ended = run.ended + tuple(attempt.span for attempt in attempts)
        return _spans(self._runs.having(event.run_id, _RunSpans(ended, tracker)))

    def combine(self, other: NodeSpans) -> NodeSpans:
        """Return the spans of both.

        Raises:
            InvalidArgumentError: a run is in both. A span can't be made from the spans of two parts.
        """
        return _spans(_united(self._runs, other._runs))

    def __eq__(self, other: object) -> bool:
        return self.spans == other.spans if isinstance(other, NodeSpans) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.spans)

    def __reduce__(self) -> tuple[Any, ...]:
        return _spans, (self._runs,)

    def __repr__(self) -> str:
        return f"NodeSpans({len(self.spans)} of {len(self._runs)} runs)"


def _united(one: Growing[UUID, _V], other: Growing[UUID, _V]) -> Growing[UUID, _V]:
    twice = one.keys() & other.keys()
    if twice:
        raise InvalidArgumentError(
            f"run_id: the events of run {min(twice)} were folded in two parts, which can't be combined; "
            "keep the log of a run in one file",
            field="run_id",
        )
    return Growing({**one, **other}) if one and other else one or other


def _spans(runs: Growing[UUID, _RunSpans]) -> NodeSpans:
    found = NodeSpans()
    found._runs = runs
    return found
