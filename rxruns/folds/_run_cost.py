"""The cost of one run, as ``rxruns cost`` folds it."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from msgspec import Struct

from rxruns.events import NodeLLMCall, RunEvent, RunStarted, TerminalEvent

__all__ = ["RunCost", "RunCosts"]


class RunCost(Struct, frozen=True):
    """The cost of one run, and how far its events were read.

    Attributes:
        costs: a fold of its model calls.
        calls: the number of model calls.
        last_seq: the largest ``seq`` of the events.
        has_ended: the terminal event is among them.
    """

    event_types: ClassVar[tuple[type[RunEvent], ...]] = (NodeLLMCall, RunStarted, TerminalEvent)

    costs: Any
    calls: int = 0
    last_seq: int = 0
    has_ended: bool = False

    def step(self, event: RunEvent) -> RunCost:
        """The cost after ``event``; `self` for a start, if events of the run are known."""
        if self.last_seq and isinstance(event, RunStarted):
            return self
        return RunCost(
            self.costs.step(event),
            self.calls + isinstance(event, NodeLLMCall),
            max(self.last_seq, event.seq),
            self.has_ended or isinstance(event, TerminalEvent),
        )

    def combine(self, other: RunCost) -> RunCost:
        """The cost of both parts."""
        return RunCost(
            self.costs.combine(other.costs),
            self.calls + other.calls,
            max(self.last_seq, other.last_seq),
            self.has_ended or other.has_ended,
        )


RunCosts: TypeAlias = dict[UUID, RunCost]
"""By run: a log may hold several."""
