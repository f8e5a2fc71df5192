"""What a log says so far: the nodes at work, their steps, the calls that have no result."""

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
    """The nodes at work, in the order in which they started."""
    found: dict[str, None] = {}
    for event in events:
        if isinstance(event, NodeStarted):
            found[event.node_id] = None
        elif isinstance(event, NodeSucceeded | NodeFailed):
            found.pop(event.node_id, None)
    return list(found)


def llm_calls(events: Sequence[RunEvent], node_id: str) -> int:
    """How often a model answered the node."""
    return sum(isinstance(event, NodeLLMCall) and event.node_id == node_id for event in events)


def tool_calls(events: Sequence[RunEvent]) -> int:
    """How many tool calls and questions the run has had."""
    return sum(isinstance(event, NodeToolCall | NodeUserAsk) for event in events)


def unanswered(events: Sequence[RunEvent], node_id: str) -> list[ToolCallWithArguments]:
    """The node's calls and questions without a result, oldest first."""
    found: dict[str, ToolCallWithArguments] = {}
    for event in events:
        match event:
            case NodeToolCall(tool_call=asked) | NodeUserAsk(user_ask=asked) if event.node_id == node_id:
                found[asked.tool_call.id] = asked.tool_call
            case NodeToolResult(tool_result=given) | NodeUserAnswer(user_answer=given):
                found.pop(given.tool_call.id, None)
            case _:
                pass
    return list(found.values())
