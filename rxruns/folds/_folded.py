"""A fold with the cursors of the events in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from rxruns._fold import Fold
from rxruns.events import RunEvent
from rxruns.state._growing import Growing

__all__ = ["Folded"]

_F = TypeVar("_F", bound=Fold)


class Folded(Struct, Generic[_F], frozen=True):
    """A fold and the cursor of each run in it: one immutable value to store, so that the two can't differ.

    Attributes:
        value: the fold.
        cursors: the ``seq`` of the last event that it includes, by run id.

    >>> from rxruns import CostTotals
    >>> from rxruns.testing import events
    >>> log = events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=20)
    >>> folded = Folded(CostTotals())
    >>> for event in [*log, *log]:  # the same events again change nothing
    ...     folded = folded.step(event)
    >>> folded.value.total_tokens, list(folded.cursors.values())
    (20, [4])
    """

    value: _F
    cursors: Mapping[UUID, int] = Growing()

    def step(self, event: RunEvent) -> Folded[_F]:
        """Return the fold and cursors after ``event``; `self` for one up to its run's cursor."""
        if event.seq <= self.cursors.get(event.run_id, 0):
            return self
        cursors = self.cursors if isinstance(self.cursors, Growing) else Growing(self.cursors)
        return Folded(self.value.step(event), cursors.having(event.run_id, event.seq))
