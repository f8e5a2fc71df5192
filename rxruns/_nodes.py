"""The state of a run's nodes, and of all of them by id. :mod:`rxruns.state` makes them public."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from rxruns._growing import Growing
from rxruns._rope import Rope
from rxruns.events import (
    NodeError,
    NodeFailed,
    NodeLLMCall,
    NodeOutput,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    NodeWaiting,
    PayloadArtifact,
    RunEvent,
    ToolCallWithArguments,
    UserAsk,
)
from rxruns.models import NodeStatus

__all__ = ["NodeState", "Nodes", "PendingTool", "Question"]

_OPEN = frozenset({NodeStatus.PENDING, NodeStatus.RUNNING, NodeStatus.WAITING})


class PendingTool(Struct, frozen=True):
    """A tool call that waits for its result, and what its submission has to name."""

    node_id: str
    step: int
    request_id: UUID
    tool_call: ToolCallWithArguments


class Question(Struct, frozen=True):
    """A question to a person that is not answered yet."""

    node_id: str
    user_ask: UserAsk


class NodeState(Struct, frozen=True, kw_only=True):
    """What is known of one node.

    Attributes:
        id: the node's id.
        status: as of :class:`~rxruns.models.NodeStatus`. A node whose start was not seen counts as running.
        attempt: how often it has started; each start clears text, error and end.
        started_at: ``ts`` of its last ``node_started``.
        ended_at: ``ts`` of its end, or of its run's while it was open.
        step: the last step that an event named, counted from 0.
        said: its text as a rope: ``len(said)`` is cheap, :attr:`text` joins it.
        error: why it failed.
        output: its artifact, as in ``node_output``.
        pending_tools: the calls that it waits for.
        questions: what it asked a person and has no answer to.
    """

    id: str
    status: str = NodeStatus.RUNNING
    attempt: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    step: int | None = None
    said: Rope = Rope()
    error: NodeError | None = None
    output: PayloadArtifact | None = None
    pending_tools: tuple[PendingTool, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def text(self) -> str:
        """All that the node has said since it started. Joined each time it is asked for."""
        return str(self.said)

    def step_to(self, event: RunEvent) -> NodeState:
        """The node after one of its events: this very value if that changes nothing."""
        if isinstance(event, NodeOutputDelta):  # four in five events: a pattern takes longer
            piece = event.delta.text_delta
            return replace(self, said=self.said.plus(piece)) if piece else self
        match event:
            case NodeLLMCall(llm_call=payload) | NodeToolCall(tool_call=payload):
                return replace(self, step=payload.step)
            case NodeStarted(ts=ts):
                return NodeState(id=self.id, attempt=self.attempt + 1, started_at=ts, output=self.output)
            case NodeSucceeded(ts=ts):
                return self.ended(NodeStatus.SUCCEEDED, ts)
            case NodeFailed(ts=ts, error=error):
                return self.ended(NodeStatus.FAILED, ts, error)
            case NodeOutput(output=output):
                return replace(self, output=output)
            case NodeWaiting() | NodeUserAsk():
                return self._waiting(event)
            case NodeToolResult(tool_result=result) | NodeUserAnswer(user_answer=result):
                return self._answered(result.tool_call.id, result.step)
            case _:
                return self

    def ended(self, status: str, ts: datetime | None, error: NodeError | None = None) -> NodeState:
        """The node at its end: nothing is pending any more."""
        return replace(self, status=status, ended_at=ts, error=error, pending_tools=(), questions=())

    def at_run_end(self, ts: datetime) -> NodeState:
        """The node when its run ended: canceled if it was open. What never started has no end."""
        if self.status not in _OPEN:
            return self
        return self.ended(NodeStatus.CANCELED, ts if self.started_at is not None else None)

    def _waiting(self, event: NodeWaiting | NodeUserAsk) -> NodeState:
        if isinstance(event, NodeUserAsk):
            asked = (Question(self.id, event.user_ask),) if self.status in _OPEN else ()
            return replace(self, step=event.user_ask.step, questions=self.questions + asked)
        waiting = event.waiting
        pending = tuple(
            PendingTool(self.id, waiting.step, waiting.request_id, call.tool_call)
            for call in waiting.pending_tool_calls
        )
        return replace(self, status=NodeStatus.WAITING, step=waiting.step, pending_tools=pending)

    def _answered(self, call_id: str, step: int) -> NodeState:
        """A result came. After the last one the node goes on."""
        pending = tuple(tool for tool in self.pending_tools if tool.tool_call.id != call_id)
        questions = tuple(asked for asked in self.questions if asked.user_ask.tool_call.id != call_id)
        goes_on = self.status == NodeStatus.WAITING and not pending
        status = NodeStatus.RUNNING if goes_on else self.status
        return replace(self, status=status, step=step, pending_tools=pending, questions=questions)


class Nodes(Growing[str, NodeState]):
    """Nodes by id, in the order of their first events; immutable."""

    __slots__ = ()
