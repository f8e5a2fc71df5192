"""The state of a run, as values that events are folded into. No Rx: ``state = state.step(event)``.

:class:`RunState` is a whole run, :class:`NodeState` one of its nodes. :class:`NodeSpan` and :class:`NodeText`
are what ``ops.node_spans`` and ``ops.text`` emit. All of them are immutable and pickle. A :class:`RunState`
has its cursor in ``last_seq``, so that it can be stored and continued from.

>>> from datetime import datetime, timezone
>>> from rxruns.events import NodeStarted, RunStarted
>>> run = {"run_id": UUID(int=1), "ts": datetime.now(timezone.utc)}
>>> state = RunState()
>>> for event in [RunStarted(**run, seq=1, plan_hash="0" * 64), NodeStarted(**run, seq=2, node_id="draft")]:
...     state = state.step(event)
>>> print(state.status, state.nodes["draft"].status, state.last_seq)
running running 2
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from rxruns._display._text import clipped, duration, html_table, money, status_label
from rxruns.costs import CostTotals
from rxruns.errors import InvalidArgumentError
from rxruns.events import (
    NodeError,
    PayloadArtifact,
    PlanEvent,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunStarted,
    TerminalEvent,
)
from rxruns.models import NodeStatus, RunStatus
from rxruns.state._nodes import Nodes, NodeState, PendingTool, Question, summary
from rxruns.state._rope import Rope

__all__ = ["NodeSpan", "NodeState", "NodeText", "Nodes", "PendingTool", "Question", "RunState", "Timed"]

_T = TypeVar("_T")
_CELL_LENGTH = 80
"""Characters of a node's summary in a notebook's table."""


class Timed(NamedTuple, Generic[_T]):
    """A value and when it was recorded, with the names of RxPY's own ``ops.timestamp``."""

    value: _T
    timestamp: datetime


class NodeText(Struct, frozen=True):
    """A piece of a node's text, with all of its text.

    Attributes:
        run_id: the run.
        node_id: the node.
        piece: the new text: wire ``text_delta``.
    """

    run_id: UUID
    node_id: str
    piece: str
    _so_far: Rope

    @property
    def text(self) -> str:
        """The text since the node's last start, including text after its end. Joined at each access."""
        return str(self._so_far)


class NodeSpan(Struct, frozen=True, kw_only=True):
    """One attempt of a node, from its start to its end.

    Attributes:
        run_id: the run.
        node_id: the node.
        attempt: the number of the attempt, from 1.
        started_at: ``ts`` of its ``node_started``, None if that was not seen.
        ended_at: ``ts`` of its end or of its run's, None while it is open.
        status: as of :class:`~rxruns.models.NodeStatus`.
        error: the error of a failed node.
        tokens: total tokens of its model calls, as metered.
    """

    run_id: UUID
    node_id: str
    attempt: int = 1
    started_at: datetime | None = None
    ended_at: datetime | None = None
    status: str = NodeStatus.RUNNING
    error: NodeError | None = None
    tokens: int = 0

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None if one of them is unknown."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class RunState(Struct, frozen=True, kw_only=True):
    """The state of one run after some of its events.

    At the end of the run, its nodes equal those of ``GET /runs/{id}``.

    Attributes:
        run_id: the run, None before the first event.
        plan_hash: the hash of its plan.
        started_at: ``ts`` of ``run_started``.
        ended_at: ``ts`` of its terminal event.
        final_status: the status at its end, None while it is open.
        nodes: by id, the nodes with events.
        outputs: the run's artifact, as in ``run_completed``.
        error: the error of a failed or canceled run.
        costs: the costs of its model calls. ``RunState(costs=CostTotals(prices))`` has prices.
        last_seq: ``seq`` of the last event: the cursor of this value.
    """

    run_id: UUID | None = None
    plan_hash: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    final_status: str | None = None
    nodes: Nodes = Nodes()
    outputs: PayloadArtifact | None = None
    error: NodeError | None = None
    costs: CostTotals = CostTotals()
    last_seq: int = 0

    @property
    def status(self) -> str:
        """As of :class:`~rxruns.models.RunStatus`. An open run waits if a node waits and none is running."""
        if self.final_status is not None:
            return self.final_status
        statuses = {node.status for node in self.nodes.values()}
        waits = NodeStatus.WAITING in statuses and NodeStatus.RUNNING not in statuses
        return RunStatus.WAITING if waits else RunStatus.RUNNING

    @property
    def pending_tools(self) -> tuple[PendingTool, ...]:
        """The calls that nodes wait for, including ``user_ask``."""
        return tuple(tool for node in self.nodes.values() for tool in node.pending_tools)

    @property
    def questions(self) -> tuple[Question, ...]:
        """The unanswered questions of nodes to a person."""
        return tuple(question for node in self.nodes.values() for question in node.questions)

    def step(self, event: RunEvent) -> RunState:
        """Return the state after ``event``; `self` for an event that it has seen, by ``seq``.

        Raises:
            InvalidArgumentError: for an event of another run.
        """
        # Comparing the UUIDs themselves takes four times as long.
        if self.run_id is not None and event.run_id.int != self.run_id.int:
            raise InvalidArgumentError(
                f"run_id: an event of run {event.run_id} does not fit the state of run {self.run_id}; "
                "fold each run separately, for example with ops.group_by",
                field="run_id",
            )
        if event.seq <= self.last_seq:
            return self
        nodes, costs = self.nodes, self.costs
        node_id: str | None = getattr(event, "node_id", None)
        if node_id is None:
            if isinstance(event, PlanEvent):
                return self._planned(event)
        else:
            known = nodes.find(node_id)
            node = (known or NodeState(id=node_id)).step_to(event)
            if node is not known:
                nodes = nodes.having(node_id, node)
            costs = costs.step(event)
        return replace(self, run_id=event.run_id, nodes=nodes, costs=costs, last_seq=event.seq)

    def _planned(self, event: PlanEvent) -> RunState:
        """Return the state after an event of the run itself."""
        state = replace(self, run_id=event.run_id, plan_hash=event.plan_hash, last_seq=event.seq)
        if isinstance(event, RunStarted):
            return replace(state, started_at=event.ts)
        if not isinstance(event, TerminalEvent):
            return state
        nodes = {id: node.at_run_end(event.ts) for id, node in self.nodes.items()}
        state = replace(state, nodes=Nodes(nodes), ended_at=event.ts)
        if isinstance(event, RunCompleted):
            return replace(state, final_status=RunStatus.SUCCEEDED, outputs=event.outputs)
        failed = isinstance(event, RunFailed)
        return replace(
            state,
            final_status=RunStatus.FAILED if failed else RunStatus.CANCELED,
            error=event.error,  # type: ignore[attr-defined]
        )

    def _repr_html_(self) -> str:
        """The nodes as a table, for a notebook."""
        caption = f"run {self.run_id}: {status_label(self.status)}, {self.costs.total_tokens:,} tokens, "
        notes = [] if self.error is None else [f"run {self.status}: {self.error.message}"]
        rows = [
            (
                id,
                status_label(node.status),
                node.attempt,
                _took(node),
                clipped(summary(node, node.text), _CELL_LENGTH),
            )
            for id, node in self.nodes.items()
        ]
        header = ("node", "status", "attempt", "took", "text")
        return html_table(f"{caption}cost {money(self.costs.usd)}", header, rows, notes=notes)


def _took(node: NodeState) -> str:
    if node.started_at is None or node.ended_at is None:
        return ""
    return duration((node.ended_at - node.started_at).total_seconds())
