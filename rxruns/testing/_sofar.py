"""The state of a log: running nodes, their steps, the unanswered calls."""

from __future__ import annotations

from collections.abc import Sequence

from rxruns.events import (
    NodeFailed,
    NodeLLMCall,
    NodeStarted,
    NodeSucceeded,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    RunEvent,
    ToolCallWithArguments,
)


def open_nodes(events: Sequence[RunEvent]) -> list[str]:
    """Return the running nodes, in the order in which they started."""
    found: dict[str, None] = {}
    for event in events:
        if isinstance(event, NodeStarted):
            found[event.node_id] = None
        elif isinstance(event, NodeSucceeded | NodeFailed):
            found.pop(event.node_id, None)
    return list(found)


def llm_calls(events: Sequence[RunEvent], node_id: str) -> int:
    """Count the model calls of a node."""
    return sum(isinstance(event, NodeLLMCall) and event.node_id == node_id for event in events)


def tool_calls(events: Sequence[RunEvent]) -> int:
    """Count the tool calls and questions of the run."""
    return sum(isinstance(event, NodeToolCall | NodeUserAsk) for event in events)


def unanswered(events: Sequence[RunEvent], node_id: str) -> list[ToolCallWithArguments]:
    """Return the calls and questions of a node without a result, oldest first."""
    found: dict[str, ToolCallWithArguments] = {}
    for event in events:
        match event:
            case NodeToolCall(tool_call=request) | NodeUserAsk(user_ask=request) if event.node_id == node_id:
                found[request.tool_call.id] = request.tool_call
            case NodeToolResult(tool_result=given) | NodeUserAnswer(user_answer=given):
                found.pop(given.tool_call.id, None)
            case _:
                pass
    return list(found.values())
