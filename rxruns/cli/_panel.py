"""What a view knows of one run: the library's own folds, and the end of what each node says."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from rxruns._display._text import duration
from rxruns.costs import CostTotals, Prices
from rxruns.events import NodeEvent, NodeLLMCall, NodeOutputDelta, NodeStarted, RunEvent
from rxruns.lifecycle import Connected, LifecycleEvent, Reconnecting
from rxruns.models import NodeStatus, RunStatus
from rxruns.state import NodeState, RunState
from rxruns.state._nodes import summary

__all__ = ["LONG_WAIT", "Exit", "Panel", "Row", "early_end"]

PIECES = 32
"""Pieces of a node's text that are kept: those of a wide terminal's line. More of them would not fit into the
processor's nearest cache, and cost as much as all the rest of the view."""

KEEP = 240
"""Characters that are told of a piece, on average: more than a terminal is wide."""

LONG_WAIT = 60.0
"""Seconds after which a view shows how long a node has waited."""

_AT_ONCE = 32
"""So many events are folded together: one that comes between pieces of text finds no fold in the processor's
caches, and takes a third longer."""

_ENDED: dict[str, str] = {
    RunStatus.SUCCEEDED: "succeeded",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELED: "been canceled",
}


class Exit(IntEnum):
    """What a command's exit code says."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    NOT_FOLLOWED = 3
    INTERRUPTED = 130
    CLOSED_PIPE = 141


def early_end(seq: int) -> str:
    """What is printed of a run whose events stop before its end."""
    return f"the events end before the run, with seq {seq}"


class Row(NamedTuple):
    """A node as it is shown; `seconds` is None where they are not known."""

    node_id: str
    status: str
    seconds: float | None = None
    tokens: int = 0
    costs: CostTotals | None = None
    text: str = ""


class Panel:
    """One run. The thread that reads the run calls :meth:`update` and :meth:`note`, another one reads.

    Folding a piece of text into a :class:`RunState` costs more than reading it from the network, and four in
    five events are such pieces. Nobody sees more of them than fits in a line, so that is what is kept; the
    others are set aside until somebody looks, or enough have come. A page shows all text and each attempt:
    :class:`rxruns.state._tracks.RunTracks` folds every event, at its own pace.

    Args:
        run_id: the run, if it is known before its first event.
        prices: by (provider, model), for the cost.
        pieces: how many of each node's text are kept; a line that tells all of it takes more than a table.
    """

    def __init__(
        self, run_id: UUID | None = None, prices: Prices | None = None, pieces: int = PIECES
    ) -> None:
        self._run_id = run_id
        self._pieces = pieces
        self._said: dict[str, deque[str | None]] = {}  # starts and stops have no text
        self._empty = CostTotals(prices)
        self._costs: dict[str, CostTotals] = {}
        self._waiting: dict[str, datetime] = {}  # since when, by node
        self._state = RunState(costs=self._empty)
        self._unfolded: deque[RunEvent] = deque()
        self._folding = threading.Lock()
        self.last: RunEvent | None = None
        self.planned: tuple[str, ...] = ()
        self.reconnects = 0
        self.trouble = ""
        self.error: Exception | None = None
        self.is_connected = False
        self.is_partial = False
        self.settled = ""

    def update(self, event: RunEvent) -> None:
        """Take an event in."""
        self.last = event
        if type(event) is NodeOutputDelta:
            try:
                self._said[event.node_id].append(event.delta.text_delta)
                return
            except KeyError:  # the first event of its node
                self._said[event.node_id] = deque([event.delta.text_delta], maxlen=self._pieces)
        elif type(event) is NodeStarted:
            self._said[event.node_id] = deque(maxlen=self._pieces)
        self._unfolded.append(event)
        if len(self._unfolded) >= _AT_ONCE:
            self._fold()

    def note(self, value: LifecycleEvent) -> None:
        """Take in what happened to the connection."""
        if isinstance(value, Reconnecting):
            self.reconnects += 1
            self.trouble = f"reconnecting in {value.delay:.1f} s: {value.cause}"
        else:
            self.trouble = ""
        if isinstance(value, Connected):
            self._run_id = value.run_id
            self.is_connected = True

    def settle(self, status: str, after: int) -> None:
        """Take in the service's word that the run has ended, where its last event did not come.

        Args:
            status: what the service says; one that is no end changes nothing.
            after: the ``seq`` after which events were asked for.
        """
        if status not in _ENDED:
            return
        seq = self.last_seq or after
        self._state = replace(self.state, final_status=status)
        self.settled = f"no event came after seq {seq}; the service says that it had {_ENDED[status]}"

    def _fold(self) -> None:
        with self._folding:
            while self._unfolded:
                event = self._unfolded.popleft()
                self._state = self._state.step(event)
                if isinstance(event, NodeEvent):
                    self._note_wait(event)
                if type(event) is NodeLLMCall:
                    costs = self._costs.get(event.node_id, self._empty)
                    self._costs[event.node_id] = costs.step(event)

    def _note_wait(self, event: NodeEvent) -> None:
        node = self._state.nodes.get(event.node_id)
        if node is not None and node.status == NodeStatus.WAITING:
            self._waiting.setdefault(event.node_id, event.ts)
        else:
            self._waiting.pop(event.node_id, None)

    def waited(self, now: datetime | None) -> dict[str, float]:
        """Seconds by node, of those that have waited for a minute or longer.

        Args:
            now: None for the time of the last event.
        """
        self._fold()
        if self.state.final_status is not None:
            return {}
        waits = {id: self.seconds(since, None, now) for id, since in self._waiting.copy().items()}
        return {id: seconds for id, seconds in waits.items() if seconds is not None and seconds >= LONG_WAIT}

    @property
    def state(self) -> RunState:
        """What is known of the run, its nodes' texts apart."""
        self._fold()
        return self._state

    @property
    def run_id(self) -> UUID | None:
        """The run, None while nobody has named it."""
        return self.state.run_id or self._run_id

    @property
    def last_seq(self) -> int:
        """``seq`` of the last event, 0 for none."""
        return 0 if self.last is None else self.last.seq

    @property
    def status(self) -> str:
        """The run's; ``"connecting"`` while nothing is known, ``"lost"`` if it could not be followed."""
        if self.error is not None:
            return "lost"
        is_known = self.is_connected or self.last is not None or self.state.final_status is not None
        return self.state.status if is_known else "connecting"

    @property
    def exit_code(self) -> Exit:
        """What is to be said of the run when nothing follows."""
        if self.state.final_status is None or self.error is not None:
            followed = self.is_partial and self.error is None
            return Exit.SUCCEEDED if followed else Exit.NOT_FOLLOWED
        return Exit.SUCCEEDED if self.state.final_status == RunStatus.SUCCEEDED else Exit.FAILED

    def said(self, node_id: str) -> str:
        """The end of what a node has said since it started."""
        # The pieces are read without a moment for the other thread to add one: all this is C.
        return "".join(filter(None, self._said.get(node_id, ())))[-KEEP * self._pieces :]

    def costs(self, node_id: str) -> CostTotals:
        """What the calls of a node took."""
        self._fold()
        return self._costs.get(node_id, self._empty)

    def rows(self, now: datetime | None) -> list[Row]:
        """The nodes as they are planned, then any others in the order of their first events.

        Args:
            now: the time, for nodes at work; None for the time of the last event.
        """
        nodes = dict(self.state.nodes)
        planned = [(id, nodes.pop(id, None)) for id in self.planned]
        return [
            Row(id, NodeStatus.PENDING) if node is None else self._row(node, now)
            for id, node in [*planned, *nodes.items()]
        ]

    def seconds(
        self, started_at: datetime | None, ended_at: datetime | None, now: datetime | None
    ) -> float | None:
        """From start to end, or to now; None without a start."""
        latest = now if self.last is None else max(self.last.ts, now or self.last.ts)
        until = ended_at or latest
        return None if started_at is None or until is None else (until - started_at).total_seconds()

    def _row(self, node: NodeState, now: datetime | None) -> Row:
        costs = self.costs(node.id)
        seconds = self.seconds(node.started_at, node.ended_at, now)
        waited = self.waited(now).get(node.id)
        text = summary(node, self.said(node.id))
        text = text if waited is None else f"for {duration(waited)}: {text}"
        return Row(node.id, node.status, seconds, costs.total_tokens, costs, text)
