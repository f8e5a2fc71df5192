"""The data of one run in a view: the library's folds, and the end of each node's text."""

from __future__ import annotations

import shlex
import threading
from collections import deque
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace
from rich.cells import cell_len

from rxruns._display._text import duration
from rxruns._display._visible import one_line
from rxruns.costs import CostTotals, Prices
from rxruns.events import NodeEvent, NodeLLMCall, NodeOutputDelta, NodeStarted, RunEvent
from rxruns.lifecycle import Connected, LifecycleEvent, Reconnecting
from rxruns.models import NodeStatus, RunStatus
from rxruns.state import NodeState, RunState
from rxruns.state._nodes import summary

PIECES = 32
"""Text deltas kept of a node: a line of a wide terminal. More of them don't fit into the processor's nearest
cache, and cost as much as the rest of the view."""

KEEP = 240
"""Characters kept of a delta, on average: more than the width of a terminal."""

LONG_WAIT = 60.0
"""Seconds after which a view shows how long a node has waited."""

UNANSWERED = 2.0
"""Seconds after which a view names the command that answers a node: most calls are answered by programs."""

_LONGEST_ID = 64

_AT_ONCE = 32
"""Events folded at a time: folding each event between text deltas takes a third longer, because of cache
misses."""


class Exit(IntEnum):
    """The exit codes of commands."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    NOT_FOLLOWED = 3
    NOT_PENDING = 4
    INTERRUPTED = 130
    CLOSED_PIPE = 141


NO_EVENT = "no events"


def answer_command(run_id: UUID | None, node_id: str = "") -> str:
    """Return the command that answers what a node, or any node, waits for, to be pasted into a shell.

    >>> print(answer_command(UUID(int=7), "two words"))
    rxruns answer 00000000-0000-0000-0000-000000000007 --node 'two words'
    """
    is_shown = 0 < len(node_id) <= _LONGEST_ID and one_line(node_id) == node_id  # as it is
    return f"rxruns answer {run_id}" + (f" --node {shlex.quote(node_id)}" if is_shown else "")


def early_end(seq: int) -> str:
    """Return the message about a run whose events stop before its end."""
    return f"the events end before the run, with seq {seq}"


class Row(NamedTuple):
    """A node's line in the table; `seconds` is None if unknown."""

    node_id: str
    status: str
    seconds: float | None = None
    tokens: int = 0
    costs: CostTotals | None = None
    text: str = ""


class Panel:
    """One run. Its reader's thread calls :meth:`update` and :meth:`note`; another thread reads.

    Folding a text delta into a :class:`RunState` costs more than reading it from the network, and four in
    five events are deltas. A view shows one line of text, so only the end of it is kept. The other events are
    queued and folded when a value is read, or when enough have arrived.

    Args:
        run_id: the run, if it is known before its first event.
        prices: by (provider, model), for the cost.
        pieces: the number of text deltas kept of each node.
    """

    def __init__(
        self, run_id: UUID | None = None, prices: Prices | None = None, pieces: int = PIECES
    ) -> None:
        self._run_id = run_id
        self._pieces = pieces
        self._texts: dict[str, deque[str | None]] = {}  # None: a delta without text
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
        self.can_be_answered = False
        self.settled = ""

    def update(self, event: RunEvent) -> None:
        """Take in an event."""
        self.last = event
        if isinstance(event, NodeOutputDelta):
            try:
                self._texts[event.node_id].append(event.delta.text_delta)
                return
            except KeyError:  # the first event of its node
                self._texts[event.node_id] = deque([event.delta.text_delta], maxlen=self._pieces)
        elif isinstance(event, NodeStarted):
            self._texts[event.node_id] = deque(maxlen=self._pieces)
        self._unfolded.append(event)
        if len(self._unfolded) >= _AT_ONCE:
            self._fold()

    def note(self, value: LifecycleEvent) -> None:
        """Take in a change of the connection."""
        if isinstance(value, Reconnecting):
            self.reconnects += 1
            self.trouble = f"reconnecting in {value.delay:.1f} s: {value.cause}"
        else:
            self.trouble = ""
        if isinstance(value, Connected):
            self._run_id = value.run_id
            self.is_connected = True

    def settle(self, status: str, after: int) -> None:
        """Take in the service's status of a run whose terminal event was not received.

        Args:
            status: as the service reports it; ignored unless the run has ended.
            after: the requested ``after_seq``.
        """
        if status not in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED):
            return
        self._state = replace(self.state, final_status=status)
        self.settled = f"no events after seq {self.last_seq or after}; the service reports it as {status}"

    def _fold(self) -> None:
        with self._folding:
            while self._unfolded:
                event = self._unfolded.popleft()
                self._state = self._state.step(event)
                if isinstance(event, NodeEvent):
                    self._note_wait(event)
                if isinstance(event, NodeLLMCall):
                    costs = self._costs.get(event.node_id, self._empty)
                    self._costs[event.node_id] = costs.step(event)

    def _note_wait(self, event: NodeEvent) -> None:
        node = self._state.nodes.get(event.node_id)
        if node is not None and node.status == NodeStatus.WAITING:
            self._waiting.setdefault(event.node_id, event.ts)
        else:
            self._waiting.pop(event.node_id, None)

    def waited(self, now: datetime | None, at_least: float = LONG_WAIT) -> dict[str, float]:
        """Return the seconds that nodes have waited, by id, of those that wait for a minute or longer.

        Args:
            now: the current time; None for the time of the last event.
            at_least: the seconds, instead of a minute.
        """
        self._fold()
        if self.state.final_status is not None:
            return {}
        waits = {id: self.seconds(since, None, now) for id, since in self._waiting.copy().items()}
        return {id: seconds for id, seconds in waits.items() if seconds is not None and seconds >= at_least}

    def commands(self, now: datetime | None, width: int, most: int) -> list[str]:
        """Return the commands that answer the waiting nodes of a live run, each in at most `width` columns.

        For more than `most` nodes, or a node whose id doesn't fit, it is the one that shows all calls.
        """
        if not self.can_be_answered or most < 1:
            return []
        nodes = list(self.waited(now, UNANSWERED))
        if len(nodes) > most:
            nodes = [""]
        commands = [answer_command(self.run_id, node) for node in nodes]
        whole = answer_command(self.run_id)
        return list(dict.fromkeys(text if cell_len(text) <= width else whole for text in commands))

    @property
    def state(self) -> RunState:
        """The state of the run, without the texts of its nodes."""
        self._fold()
        return self._state

    @property
    def run_id(self) -> UUID | None:
        """The run; None until it is known."""
        return self.state.run_id or self._run_id

    @property
    def last_seq(self) -> int:
        """``seq`` of the last event, 0 for none."""
        return 0 if self.last is None else self.last.seq

    @property
    def status(self) -> str:
        """The run's status; ``"connecting"`` before the first event, ``"lost"`` after an error."""
        if self.error is not None:
            return "lost"
        is_known = self.is_connected or self.last is not None or self.state.final_status is not None
        return self.state.status if is_known else "connecting"

    @property
    def exit_code(self) -> Exit:
        """The exit code for the run as it is now."""
        if self.state.final_status is None or self.error is not None:
            followed = self.is_partial and self.error is None
            return Exit.SUCCEEDED if followed else Exit.NOT_FOLLOWED
        return Exit.SUCCEEDED if self.state.final_status == RunStatus.SUCCEEDED else Exit.FAILED

    def text(self, node_id: str) -> str:
        """Return the end of a node's text since its start."""
        # Atomic for the thread that appends: joining and filtering run in C.
        return "".join(filter(None, self._texts.get(node_id, ())))[-KEEP * self._pieces :]

    def costs(self, node_id: str) -> CostTotals:
        """Return the costs of a node's calls."""
        self._fold()
        return self._costs.get(node_id, self._empty)

    def rows(self, now: datetime | None) -> list[Row]:
        """Return the nodes in the order of the plan, then the others in the order of their first events.

        Args:
            now: the current time, for running nodes; None for the time of the last event.
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
        """Return the seconds from start to end, or to now; None without a start."""
        latest = now if self.last is None else max(self.last.ts, now or self.last.ts)
        until = ended_at or latest
        return None if started_at is None or until is None else (until - started_at).total_seconds()

    def _row(self, node: NodeState, now: datetime | None) -> Row:
        costs = self.costs(node.id)
        seconds = self.seconds(node.started_at, node.ended_at, now)
        waited = self.waited(now).get(node.id)
        text = summary(node, self.text(node.id))
        text = text if waited is None else f"for {duration(waited)}: {text}"
        return Row(node.id, node.status, seconds, costs.total_tokens, costs, text)
