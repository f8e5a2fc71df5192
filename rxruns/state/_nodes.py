"""The state of a run's nodes. :mod:`rxruns.state` makes it public."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

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
    ToolCallResult,
    ToolCallWithArguments,
    UserAnswer,
    UserAsk,
)
from rxruns.models import NodeStatus
from rxruns.state._growing import Growing
from rxruns.state._rope import Rope

_OPEN = frozenset({NodeStatus.PENDING, NodeStatus.RUNNING, NodeStatus.WAITING})


class PendingTool(Struct, frozen=True):
    """A tool call without a result, with the ids that its submission needs."""

    node_id: str
    step: int
    request_id: UUID
    tool_call: ToolCallWithArguments


class Question(Struct, frozen=True):
    """An unanswered question to a person."""

    node_id: str
    user_ask: UserAsk


class NodeState(Struct, frozen=True, kw_only=True):
    """The state of one node.

    Attributes:
        id: the node's id.
        status: as of :class:`~rxruns.models.NodeStatus`. A node whose start was not seen counts as running.
        attempt: the number of its starts; each start clears text, error and end.
        started_at: ``ts`` of its last ``node_started``.
        ended_at: ``ts`` of its end, or of its run's end if it was open.
        step: the step of its last event, counted from 0.
        error: the error of a failed node.
        output: its artifact, as in ``node_output``.
        pending_tools: the calls that it waits for.
        questions: its unanswered questions to a person.
    """

    id: str
    status: str = NodeStatus.RUNNING
    attempt: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    step: int | None = None
    error: NodeError | None = None
    output: PayloadArtifact | None = None
    pending_tools: tuple[PendingTool, ...] = ()
    questions: tuple[Question, ...] = ()
    _text: Rope = Rope()

    @property
    def text(self) -> str:
        """The text since the node's last start, including text after its end; joined at each access."""
        return str(self._text)

    def step_to(self, event: RunEvent) -> NodeState:
        """Return the node after one of its events; `self` if nothing changed."""
        if isinstance(event, NodeOutputDelta):
            text = text_after(self._text, event)
            return self if text is self._text else replace(self, _text=text)
        change = _CHANGES.get(type(event))
        return self if change is None else change(self, event)

    def ended(self, status: str, ts: datetime | None, error: NodeError | None = None) -> NodeState:
        """Return the node at its end, with nothing pending."""
        return replace(self, status=status, ended_at=ts, error=error, pending_tools=(), questions=())

    def at_run_end(self, ts: datetime) -> NodeState:
        """Return the node at the end of its run: canceled if it was open. Without a start it has no end."""
        if self.status not in _OPEN:
            return self
        return self.ended(NodeStatus.CANCELED, ts if self.started_at is not None else None)


class Nodes(Growing[str, NodeState]):
    """Nodes by id, in the order of their first events; immutable."""

    __slots__ = ()


def summary(node: NodeState, text: str = "") -> str:
    """Return the most urgent fact of a node: its error, its question, the tools it waits for, or `text`."""
    if node.error is not None:
        return node.error.message
    if node.questions:
        return f"asks: {node.questions[0].user_ask.question}"
    if node.pending_tools:
        return f"waits for {', '.join(pending.tool_call.name for pending in node.pending_tools)}"
    return text


def text_after(text: Rope, event: NodeStarted | NodeOutputDelta) -> Rope:
    """Return a node's text after one of its events: the text since its last start.

    Text after the node's end belongs to the attempt that has ended.
    """
    if isinstance(event, NodeStarted):
        return _NOTHING
    piece = event.delta.text_delta
    return text.plus(piece) if piece else text


_NOTHING = Rope()


def _started(node: NodeState, event: NodeStarted) -> NodeState:
    """Return the next attempt of a node, without text."""
    return NodeState(
        id=node.id,
        attempt=node.attempt + 1,
        started_at=event.ts,
        output=node.output,
    )


def _question(node: NodeState, event: NodeUserAsk) -> NodeState:
    questions = (Question(node.id, event.user_ask),) if node.status in _OPEN else ()
    return replace(node, step=event.user_ask.step, questions=node.questions + questions)


def _waiting(node: NodeState, event: NodeWaiting) -> NodeState:
    waiting = event.waiting
    pending = tuple(
        PendingTool(node.id, waiting.step, waiting.request_id, call.tool_call)
        for call in waiting.pending_tool_calls
    )
    return replace(node, status=NodeStatus.WAITING, step=waiting.step, pending_tools=pending)


def _answered(node: NodeState, result: ToolCallResult | UserAnswer) -> NodeState:
    """Return the node without the answered call; it runs again if no other is pending."""
    id = result.tool_call.id
    pending = tuple(tool for tool in node.pending_tools if tool.tool_call.id != id)
    questions = tuple(question for question in node.questions if question.user_ask.tool_call.id != id)
    resumes = node.status == NodeStatus.WAITING and not pending
    status = NodeStatus.RUNNING if resumes else node.status
    return replace(node, status=status, step=result.step, pending_tools=pending, questions=questions)


_CHANGES: dict[type[RunEvent], Callable[[NodeState, Any], NodeState]] = {
    NodeStarted: _started,
    NodeLLMCall: lambda node, event: replace(node, step=event.llm_call.step),
    NodeToolCall: lambda node, event: replace(node, step=event.tool_call.step),
    NodeToolResult: lambda node, event: _answered(node, event.tool_result),
    NodeWaiting: _waiting,
    NodeUserAsk: _question,
    NodeUserAnswer: lambda node, event: _answered(node, event.user_answer),
    NodeOutput: lambda node, event: replace(node, output=event.output),
    NodeSucceeded: lambda node, event: node.ended(NodeStatus.SUCCEEDED, event.ts),
    NodeFailed: lambda node, event: node.ended(NodeStatus.FAILED, event.ts, event.error),
}
