"""The state of a run's nodes, and of all of them by id. :mod:`rxruns.state` makes them public."""

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
        said: its text since its last start as a rope: ``len(said)`` is cheap, :attr:`text` joins it.
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
        """All that the node has said since its last start, also after its end. Joined at each call."""
        return str(self.said)

    def step_to(self, event: RunEvent) -> NodeState:
        """The node after one of its events: this very value if that changes nothing."""
        change = _CHANGES.get(type(event))
        return self if change is None else change(self, event)

    def ended(self, status: str, ts: datetime | None, error: NodeError | None = None) -> NodeState:
        """The node at its end: nothing is pending any more."""
        return replace(self, status=status, ended_at=ts, error=error, pending_tools=(), questions=())

    def at_run_end(self, ts: datetime) -> NodeState:
        """The node when its run ended: canceled if it was open. What never started has no end."""
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


def said_after(said: Rope, event: NodeStarted | NodeOutputDelta) -> Rope:
    """A node's text after one of its events: all that it has said since its last start.

    Its end doesn't matter: text that comes later is still of the attempt that has ended.
    """
    if type(event) is not NodeOutputDelta:
        return _NOTHING
    piece = event.delta.text_delta
    return said.plus(piece) if piece else said


_NOTHING = Rope()


def _started(node: NodeState, event: NodeStarted) -> NodeState:
    """Its next attempt."""
    return NodeState(
        id=node.id,
        attempt=node.attempt + 1,
        started_at=event.ts,
        said=said_after(node.said, event),
        output=node.output,
    )


def _said(node: NodeState, event: NodeOutputDelta) -> NodeState:
    said = said_after(node.said, event)
    return node if said is node.said else replace(node, said=said)


def _asked(node: NodeState, event: NodeUserAsk) -> NodeState:
    asked = (Question(node.id, event.user_ask),) if node.status in _OPEN else ()
    return replace(node, step=event.user_ask.step, questions=node.questions + asked)


def _waiting(node: NodeState, event: NodeWaiting) -> NodeState:
    waiting = event.waiting
    pending = tuple(
        PendingTool(node.id, waiting.step, waiting.request_id, call.tool_call)
        for call in waiting.pending_tool_calls
    )
    return replace(node, status=NodeStatus.WAITING, step=waiting.step, pending_tools=pending)


def _answered(node: NodeState, result: ToolCallResult | UserAnswer) -> NodeState:
    """After the last result that it waits for it goes on."""
    call_id = result.tool_call.id
    # Nothing is looked for where there is nothing: that would take as long as the rest.
    pending = node.pending_tools and tuple(
        tool for tool in node.pending_tools if tool.tool_call.id != call_id
    )
    questions = node.questions and tuple(
        asked for asked in node.questions if asked.user_ask.tool_call.id != call_id
    )
    goes_on = node.status == NodeStatus.WAITING and not pending
    status = NodeStatus.RUNNING if goes_on else node.status
    return replace(node, status=status, step=result.step, pending_tools=pending, questions=questions)


# By type: a question whether an event is of another class takes longer than some of the answers.
_CHANGES: dict[type[RunEvent], Callable[[NodeState, Any], NodeState]] = {
    NodeStarted: _started,
    NodeOutputDelta: _said,
    NodeLLMCall: lambda node, event: replace(node, step=event.llm_call.step),
    NodeToolCall: lambda node, event: replace(node, step=event.tool_call.step),
    NodeToolResult: lambda node, event: _answered(node, event.tool_result),
    NodeWaiting: _waiting,
    NodeUserAsk: _asked,
    NodeUserAnswer: lambda node, event: _answered(node, event.user_answer),
    NodeOutput: lambda node, event: replace(node, output=event.output),
    NodeSucceeded: lambda node, event: node.ended(NodeStatus.SUCCEEDED, event.ts),
    NodeFailed: lambda node, event: node.ended(NodeStatus.FAILED, event.ts, event.error),
}
