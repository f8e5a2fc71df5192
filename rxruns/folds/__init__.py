"""Folds: values with ``step`` and ``combine``, so that parts of the events can be folded in different places.

A fold is an immutable value. ``step(event)`` gives the next one; ``combine(other)`` gives what both parts
together come to. :class:`~rxruns.costs.CostTotals` is one, :class:`RunStates` and :class:`NodeSpans` are
here, and any class of yours with these two methods is one. :class:`By` makes one for each key of another,
:class:`Together` folds several in one pass. :func:`fold_logs` folds recorded logs on this
machine, :mod:`rxruns.dask` spreads folds over a cluster.

A fold may say more in its class:

- ``event_types``: the events that its ``step`` looks at, classes or categories of :mod:`rxruns.events`. All
  others it has to leave without effect, so that whoever reads a log may pass over lines that hold none of
  them. Without it, every event is needed.
- ``whole_runs = True``: the events of one run have to come one after the other, in the same place. Without
  it, a run may be cut anywhere and its parts combined.

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
>>> [found.__name__ for found in known_types(checked_fold(Failures()))]
['NodeFailed']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from rxruns._fold import Fold, checked_fold, known_types, needs_whole_runs
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeEvent, RunEvent, TerminalEvent
from rxruns.folds._by import By
from rxruns.folds._logs import fold_logs
from rxruns.folds._together import Together
from rxruns.state import NodeSpan, RunState
from rxruns.state._growing import Growing
from rxruns.state._spans import OpenSpans

__all__ = [
    "By",
    "Fold",
    "NodeSpans",
    "RunStates",
    "Together",
    "checked_fold",
    "fold_logs",
    "known_types",
    "needs_whole_runs",
]


_V = TypeVar("_V")


class RunStates(Mapping[UUID, RunState]):
    """The state of each run, by its id: an immutable value that the events of many runs are folded into.

    Args:
        initial: what each run begins with; ``RunState(costs=CostTotals(prices))`` begins with prices.
        states: what to go on from.

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
        self._states = Growing(states)

    def step(self, event: RunEvent) -> RunStates:
        """The states after ``event``: this very value for one that its run has seen, by ``seq``."""
        before = self._states.find(event.run_id) or self._initial
        after = before.step(event)
        return self if after is before else self._with(self._states.having(event.run_id, after))

    def combine(self, other: RunStates) -> RunStates:
        """The states of both.

        Raises:
            InvalidArgumentError: a run is in both. A state can not be made from the states of two parts.
        """
        return self._with(_united(self._states, other._states))

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

    def _with(self, states: Growing[UUID, RunState]) -> RunStates:
        found = RunStates.__new__(RunStates)
        found._initial, found._states = self._initial, states
        return found


class _RunSpans(NamedTuple):
    """The spans of one run that have ended, and those that are open."""

    ended: tuple[NodeSpan, ...]
    going_on: OpenSpans


class NodeSpans:
    """From when to when each node of many runs worked: what ``ops.node_spans`` emits, as an immutable value.

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
        """Run by run: those that have ended, in the order of their ends, then those that are open."""
        return tuple(span for run in self._runs.values() for span in (*run.ended, *run.going_on.end()))

    def step(self, event: RunEvent) -> NodeSpans:
        """The spans after ``event``: this very value if it neither begins, ends nor changes one."""
        run = self._runs.find(event.run_id) or _RunSpans((), OpenSpans(event.run_id))
        if isinstance(event, NodeEvent) and not run.going_on.ignores(event):
            spans = run.going_on.copy()
            ended = tuple(span for span in spans.step(event) if span.ended_at is not None)
        elif isinstance(event, TerminalEvent):
            spans, ended = OpenSpans(event.run_id), tuple(run.going_on.end(event.ts))
        else:
            return self
        return _spans(self._runs.having(event.run_id, _RunSpans(run.ended + ended, spans)))

    def combine(self, other: NodeSpans) -> NodeSpans:
        """The spans of both.

        Raises:
            InvalidArgumentError: a run is in both. A span can not be made from the spans of two parts.
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
            f"run_id: the events of run {min(twice)} were folded in two parts, which can not be combined; "
            "its log has to be in one file, and in no second one",
            field="run_id",
        )
    if not one:
        return other
    return Growing({**one, **other}) if other else one


def _spans(runs: Growing[UUID, _RunSpans]) -> NodeSpans:
    found = NodeSpans()
    found._runs = runs
    return found
