"""The figures of a run that a comparison uses, folded from its events without their texts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from rxruns._display._text import duration
from rxruns.costs import CostTotals, Prices
from rxruns.costs._spent import spent
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeEvent, NodeOutputDelta, NodeToolCall, NodeUserAsk, OutputDelta, RunEvent
from rxruns.state._growing import Growing
from rxruns.state._spans import Attempt, RunHistory

__all__ = ["FiguresFold", "NodeFigures", "RunFigures"]

_NO_TEXT = OutputDelta(kind="message_delta")


class NodeFigures(Struct, frozen=True, kw_only=True):
    """A node of a compared run.

    Attributes:
        node_id: the node.
        status: as of :class:`~rxruns.models.NodeStatus`.
        attempts: the number of its attempts.
        duration: seconds from the start of its first attempt to the end of its last, or to the last event of
            the run while it is open; None if its start was not seen.
        costs: the costs of its model calls.
        tools: the names of the called tools, in order; ``user_ask`` for questions to a person.
    """

    node_id: str
    status: str
    attempts: int = 1
    duration: float | None = None
    costs: CostTotals = CostTotals()
    tools: tuple[str, ...] = ()


class RunFigures(Struct, frozen=True, kw_only=True):
    """A compared run.

    Attributes:
        run_id: the run.
        status: as of :class:`~rxruns.models.RunStatus`.
        duration: seconds from ``run_started`` to the end, or to the last event of an open run; None if the
            start was not seen.
        costs: the costs of its model calls.
        nodes: by id, in the order of their first events.
    """

    run_id: UUID
    status: str
    duration: float | None = None
    costs: CostTotals = CostTotals()
    nodes: Mapping[str, NodeFigures] = Growing()

    def __str__(self) -> str:
        time = "" if self.duration is None else f"{duration(self.duration)}, "
        return f"run {self.run_id} {self.status}  {time}{spent(self.costs)}"


class FiguresFold:
    """Folds the events of one run into its figures.

    Args:
        prices: by (provider, model).
        name: the argument that the events belong to, for errors.
    """

    def __init__(self, prices: Prices | None, name: str) -> None:
        self._history = RunHistory(prices)
        self._name = name
        self._run_id: UUID | None = None
        self._nodes: set[str] = set()
        self._delta: NodeOutputDelta | None = None
        self._tools: dict[str, list[str]] = {}

    @property
    def history(self) -> RunHistory:
        """The run after the events so far, without its texts."""
        if self._delta is not None:
            self._history.add(replace(self._delta, delta=_NO_TEXT))
        return self._history

    def add(self, event: RunEvent) -> None:
        """Take in an event.

        Raises:
            InvalidArgumentError: for an event of another run.
        """
        if self._run_id is None:
            self._run_id = event.run_id
        elif self._run_id.int != event.run_id.int:
            raise InvalidArgumentError(
                f"{self._name} must be the events of one run, got events of run {self._run_id} and of run "
                f"{event.run_id}; select those of one run_id",
                field=self._name,
            )
        if isinstance(event, NodeOutputDelta):
            self._take_delta(event)
        elif self._history.add(event) and isinstance(event, NodeEvent):
            self._nodes.add(event.node_id)
            if isinstance(event, NodeToolCall):
                self._tools.setdefault(event.node_id, []).append(event.tool_call.tool_call.name)
            elif isinstance(event, NodeUserAsk):
                self._tools.setdefault(event.node_id, []).append(event.user_ask.tool_call.name)

    def _take_delta(self, event: NodeOutputDelta) -> None:
        """Fold a node's first delta. Of the others the latest is enough: four in five events are deltas."""
        if event.node_id not in self._nodes:
            self._nodes.add(event.node_id)
            self._history.add(replace(event, delta=_NO_TEXT))
        elif self._delta is None or self._delta.seq < event.seq:
            self._delta = event

    def figures(self) -> RunFigures:
        """Return the figures after the events so far.

        Raises:
            InvalidArgumentError: there was no event.
        """
        history, state = self.history, self.history.state
        if state.run_id is None:
            raise InvalidArgumentError(
                f"{self._name} must be the events of a run, got no event", field=self._name
            )
        attempts = history.attempts()
        nodes = {
            node_id: NodeFigures(
                node_id=node_id,
                status=node.status,
                attempts=len(attempts[node_id]),
                duration=_duration(attempts[node_id], history.last),
                costs=history.costs(node_id),
                tools=tuple(self._tools.get(node_id, ())),
            )
            for node_id, node in state.nodes.items()
        }
        return RunFigures(
            run_id=state.run_id,
            status=state.status,
            duration=_seconds(state.started_at, state.ended_at or history.last),
            costs=state.costs,
            nodes=Growing(nodes),
        )


def _duration(attempts: list[Attempt], last: datetime | None) -> float | None:
    return _seconds(attempts[0].node.started_at, attempts[-1].node.ended_at or last)


def _seconds(started_at: datetime | None, ended_at: datetime | None) -> float | None:
    return None if started_at is None or ended_at is None else (ended_at - started_at).total_seconds()
