"""Builders of events of a node that waits for tools or for a person."""

from __future__ import annotations

from uuid import UUID

from rxruns.events import (
    NodeOutput,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    NodeWaiting,
    PayloadArtifact,
    PayloadInfo,
    PendingToolCall,
    ToolCall,
    ToolCallRequest,
    ToolCallResult,
    ToolCallWithArguments,
    UserAnswer,
    UserAsk,
    UserAskOption,
    Waiting,
)
from tests.making import CALL_ID, HASH, NOON, RUN

OUTPUT = PayloadArtifact(artifact_key="o", info=PayloadInfo(bytes=2, sha256=HASH, included=False))


def call(name: str = "add", id: str = "call_1", arguments: str = "{}") -> ToolCallWithArguments:
    return ToolCallWithArguments(id=id, name=name, arguments=arguments)


def tool_call(seq: int, *, step: int = 0, node_id: str = "draft") -> NodeToolCall:
    request = ToolCallRequest(step=step, request_id=CALL_ID, tool_call=call())
    return NodeToolCall(run_id=RUN, seq=seq, ts=NOON, node_id=node_id, tool_call=request)


def waiting(
    seq: int, *calls: ToolCallWithArguments, step: int = 0, node_id: str = "draft", run_id: UUID = RUN
) -> NodeWaiting:
    pending = tuple(PendingToolCall(tool_call=one) for one in calls or (call(),))
    waits = Waiting(step=step, request_id=CALL_ID, pending_tool_calls=pending, reason="tool_results")
    return NodeWaiting(run_id=run_id, seq=seq, ts=NOON, node_id=node_id, waiting=waits)


def tool_result(
    seq: int, id: str = "call_1", *, step: int = 0, node_id: str = "draft", run_id: UUID = RUN
) -> NodeToolResult:
    called = ToolCall(id=id, name="add")
    result = ToolCallResult(step=step, request_id=CALL_ID, tool_call=called, output="3")
    return NodeToolResult(run_id=run_id, seq=seq, ts=NOON, node_id=node_id, tool_result=result)


def user_ask(seq: int, id: str = "call_2", *, allow_freeform: bool = True) -> NodeUserAsk:
    ask = UserAsk(
        step=0,
        request_id=CALL_ID,
        tool_call=call("user_ask", id),
        question="Continue?",
        allow_freeform=allow_freeform,
        options=(UserAskOption(label="yes"), UserAskOption(label="no")),
    )
    return NodeUserAsk(run_id=RUN, seq=seq, ts=NOON, node_id="draft", user_ask=ask)


def user_answer(seq: int, id: str = "call_2") -> NodeUserAnswer:
    given = UserAnswer(
        step=0,
        request_id=CALL_ID,
        tool_call=ToolCall(id=id, name="user_ask"),
        answer="yes",
        is_freeform=False,
    )
    return NodeUserAnswer(run_id=RUN, seq=seq, ts=NOON, node_id="draft", user_answer=given)


def node_output(seq: int, node_id: str = "draft") -> NodeOutput:
    return NodeOutput(run_id=RUN, seq=seq, ts=NOON, node_id=node_id, output=OUTPUT)
