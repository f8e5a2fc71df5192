"""The attempts of a run's nodes, tracked from their events: ``ops.node_spans``, folds, pages and charts."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from rxruns.costs import CostTotals, Prices
from rxruns.events import (
    NodeEvent,
    NodeFailed,
    NodeLLMCall,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    RunEvent,
    TerminalEvent,
)
from rxruns.models import NodeStatus
from rxruns.state import NodeSpan, NodeState, RunState

Wait: TypeAlias = tuple[datetime, datetime | None]
"""The start and the end of a wait; None while the node waits."""

_UNPRICED = CostTotals()


class Attempt(Struct, frozen=True):
    """One attempt of a node so far.

    Attributes:
        run_id: the run.
        node: the node's state in this attempt, without its text.
        seen_at: ``ts`` of the first event seen; the start itself may be missing.
        tokens: total tokens of its model calls.
        waits: when the node waited, in order.
    """

    run_id: UUID
    node: NodeState
    seen_at: datetime
    tokens: int = 0
    waits: tuple[Wait, ...] = ()

    @property
    def span(self) -> NodeSpan:
        """The attempt as the public value."""
        node = self.node
        return NodeSpan(
            run_id=self.run_id,
            node_id=node.id,
            attempt=node.attempt,
            started_at=node.started_at,
            ended_at=node.ended_at,
            status=node.status,
            error=node.error,
            tokens=self.tokens,
        )

    def step(self, event: NodeEvent) -> Attempt:
        """Return the attempt after an event of its node."""
        tokens = self.tokens
        if isinstance(event, NodeLLMCall):
            tokens += _UNPRICED.step(event).total_tokens
        return self._next(self.node.step_to(event), tokens, event.ts)

    def canceled(self, ts: datetime) -> Attempt:
        """Return the attempt as the end of its run, or another start of its node, leaves it."""
        return self._next(self.node.ended(NodeStatus.CANCELED, ts), self.tokens, ts)

    def _next(self, node: NodeState, tokens: int, ts: datetime) -> Attempt:
        waits = self.waits
        if node.status != self.node.status:
            if self.node.status == NodeStatus.WAITING:
                waits = (*waits[:-1], (waits[-1][0], ts))
            if node.status == NodeStatus.WAITING:
                waits = (*waits, (ts, None))
        return Attempt(self.run_id, node, self.seen_at, tokens, waits)


class SpanTracker:
    """The open attempts of one run, and the number of attempts of each node."""

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id
        self._open: dict[str, Attempt] = {}
        self._attempts: dict[str, int] = {}

    def copy(self) -> SpanTracker:
        """Return an independent tracker with the same attempts."""
        tracker = SpanTracker(self._run_id)
        tracker._open, tracker._attempts = self._open.copy(), self._attempts.copy()
        return tracker

    def ignores(self, event: NodeEvent) -> bool:
        """Return True if the event neither begins, ends nor changes an attempt."""
        if event.node_id not in self._attempts:
            return False
        if isinstance(event, NodeOutputDelta):
            return True  # the most frequent event
        # Events after a node's end belong to no attempt.
        return event.node_id not in self._open and not isinstance(event, NodeStarted)

    def step(self, event: NodeEvent) -> tuple[Attempt, ...]:
        """Take in an event; return the attempts that begin or end with it."""
        node_id = event.node_id
        if self.ignores(event):
            return ()
        if isinstance(event, NodeStarted):
            cut = self._open.pop(node_id, None)
            begun = self._begin(event, event.ts)
            return (begun,) if cut is None else (cut.canceled(event.ts), begun)
        attempt = (self._open.get(node_id) or self._begin(event, None)).step(event)
        if isinstance(event, NodeSucceeded | NodeFailed):
            del self._open[node_id]
            return (attempt,)
        self._open[node_id] = attempt
        return ()

    def open_attempt(self, node_id: str) -> Attempt | None:
        """Return the attempt of a node that has not ended."""
        return self._open.get(node_id)

    def open_attempts(self) -> list[Attempt]:
        """Return the attempts that have not ended."""
        return list(self._open.values())

    def end(self, ts: datetime) -> list[Attempt]:
        """Cancel the open attempts at the end of the run, and return them."""
        canceled = [attempt.canceled(ts) for attempt in self._open.values()]
        self._open.clear()
        return canceled

    def _begin(self, event: NodeEvent, started_at: datetime | None) -> Attempt:
        number = self._attempts[event.node_id] = self._attempts.get(event.node_id, 0) + 1
        node = NodeState(id=event.node_id, attempt=number, started_at=started_at)
        attempt = self._open[event.node_id] = Attempt(self._run_id, node, event.ts)
        return attempt


class RunHistory:
    """A run's state, every attempt and the costs of each node, and the times of the first and last event.

    For pages and charts. The live table of the command line keeps less, to be faster.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._no_costs = CostTotals(prices)
        self._tracker: SpanTracker | None = None
        self._ended: dict[str, list[Attempt]] = {}
        self._costs: dict[str, CostTotals] = {}
        self.state = RunState(costs=self._no_costs)
        self.began: datetime | None = None
        self.last: datetime | None = None

    def add(self, event: RunEvent) -> bool:
        """Take in an event. Return False for one that was seen before, by ``seq``.

        Raises:
            InvalidArgumentError: for an event of another run.
        """
        state = self.state.step(event)
        if state is self.state:
            return False
        self.state = state
        self.began = self.began or event.ts
        self.last = max(self.last or event.ts, event.ts)
        tracker = self._tracker = self._tracker or SpanTracker(event.run_id)
        if isinstance(event, NodeEvent):
            self._costs[event.node_id] = self.costs(event.node_id).step(event)
            self._keep(tracker.step(event))
        elif isinstance(event, TerminalEvent):
            self._keep(tracker.end(event.ts))
        return True

    def costs(self, node_id: str) -> CostTotals:
        """Return the costs of a node's calls."""
        return self._costs.get(node_id, self._no_costs)

    def attempts(self) -> dict[str, list[Attempt]]:
        """Return the attempts of each node, in order."""
        found = {node_id: list(ended) for node_id, ended in self._ended.items()}
        for attempt in self._tracker.open_attempts() if self._tracker else ():
            found.setdefault(attempt.node.id, []).append(attempt)
        return found

    def until(self, now: datetime | None) -> datetime | None:
        """Return the time up to which the run is drawn: `now` if it is open and `now` is later."""
        if self.last is None or now is None or self.state.final_status is not None:
            return self.last
        return max(self.last, now)

    def _keep(self, attempts: tuple[Attempt, ...] | list[Attempt]) -> None:
        for attempt in attempts:
            if attempt.node.ended_at is not None:
                self._ended.setdefault(attempt.node.id, []).append(attempt)
