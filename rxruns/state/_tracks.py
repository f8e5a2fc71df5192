"""When each node worked and when it waited, folded from its events."""

from __future__ import annotations

from datetime import datetime

from rxruns.costs import CostTotals, Prices
from rxruns.events import NodeError, NodeEvent, NodeLLMCall, NodeStarted, RunEvent, TerminalEvent
from rxruns.models import NodeStatus
from rxruns.state import NodeState, RunState

_WORKING = (NodeStatus.PENDING, NodeStatus.RUNNING, NodeStatus.WAITING)


class Attempt:
    """One attempt of a node. ``started_at`` is None where its start was not seen; ``seen_at`` is the first
    sign of it.
    """

    def __init__(self, number: int, seen_at: datetime, started_at: datetime | None) -> None:
        self.number = number
        self.seen_at = seen_at
        self.started_at = started_at
        self.ended_at: datetime | None = None
        self.status: str = NodeStatus.RUNNING
        self.error: NodeError | None = None
        self.tokens = 0
        self.waits: list[tuple[datetime, datetime | None]] = []

    def follow(self, status: str, at: datetime) -> None:
        """Take over a status, and note when waiting began or ended."""
        if status == self.status or self.ended_at is not None:
            return
        if self.status == NodeStatus.WAITING:
            self.waits[-1] = self.waits[-1][0], at
        if status == NodeStatus.WAITING:
            self.waits.append((at, None))
        self.status = status

    def end(self, status: str, at: datetime, error: NodeError | None = None) -> None:
        """It is over, if it was not before. What comes after its end changes nothing."""
        if self.ended_at is None:
            self.follow(status, at)
            self.ended_at, self.error = at, error


class Track:
    """All attempts of one node, and what they cost."""

    def __init__(self, costs: CostTotals) -> None:
        self.attempts: list[Attempt] = []
        self.costs = costs

    def step(self, event: NodeEvent, node: NodeState) -> None:
        """Take in an event, after which the node is ``node``."""
        if isinstance(event, NodeStarted):
            self.cancel(event.ts)
            self.attempts.append(Attempt(len(self.attempts) + 1, event.ts, event.ts))
            return
        if not self.attempts:
            self.attempts.append(Attempt(1, event.ts, None))
        attempt = self.attempts[-1]
        if isinstance(event, NodeLLMCall):
            before = self.costs.total_tokens
            self.costs = self.costs.step(event)
            if attempt.ended_at is None:
                attempt.tokens += self.costs.total_tokens - before
        if node.status in _WORKING:
            attempt.follow(node.status, event.ts)
        else:
            attempt.end(node.status, event.ts, node.error)

    def cancel(self, at: datetime) -> None:
        """Its run ended, or it started again, while it was open."""
        if self.attempts:
            self.attempts[-1].end(NodeStatus.CANCELED, at)


class RunTracks:
    """A run's state, the track of each of its nodes, and when its first and last events were recorded.

    All of it, for what is drawn afterwards or every few seconds; a view that is redrawn while a run goes on
    keeps less, to be faster.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._no_costs = CostTotals(prices)
        self.state = RunState(costs=self._no_costs)
        self.nodes: dict[str, Track] = {}
        self.began: datetime | None = None
        self.last: datetime | None = None

    def add(self, event: RunEvent) -> bool:
        """Take in an event; False for one that was seen before, by ``seq``, which changes nothing.

        Raises:
            InvalidArgumentError: for an event of another run.
        """
        state = self.state.step(event)
        if state is self.state:
            return False
        self.state = state
        self.began = self.began or event.ts
        self.last = max(self.last or event.ts, event.ts)
        if isinstance(event, NodeEvent):
            track = self.nodes.get(event.node_id)
            if track is None:
                track = self.nodes[event.node_id] = Track(self._no_costs)
            track.step(event, state.nodes[event.node_id])
        elif isinstance(event, TerminalEvent):
            for track in self.nodes.values():
                track.cancel(event.ts)
        return True
