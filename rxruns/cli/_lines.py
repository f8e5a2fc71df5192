"""The lines printed for events where no table is drawn."""

from __future__ import annotations

from rxruns._display._text import duration
from rxruns._display._visible import one_line
from rxruns.cli._panel import Panel
from rxruns.cli._table import totals
from rxruns.costs._spent import spent
from rxruns.events import (
    NodeEvent,
    NodeFailed,
    NodeLLMCall,
    NodeStarted,
    NodeSucceeded,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    NodeWaiting,
    RunCompleted,
    RunEvent,
    TerminalEvent,
)

PIECES = 1_000
"""Text deltas of a node that are printed when it ends."""


def line(event: RunEvent, panel: Panel) -> str:
    """Return the line of an event that its panel has taken in; empty for most, such as text deltas."""
    if isinstance(event, TerminalEvent):
        return event.type.replace("_", " ") + _why(event)
    what = _of_node(event, panel) if isinstance(event, NodeEvent) else ""
    return f"{one_line(event.node_id)} {what}" if isinstance(event, NodeEvent) and what else ""


def summary(panel: Panel) -> str:
    """Return the final line of a run."""
    state = panel.state
    seconds = panel.seconds(state.started_at, state.ended_at, None)
    time = "" if seconds is None else f"{duration(seconds)}, "
    return one_line(f"run {panel.run_id} {panel.status}  {time}{spent(state.costs)}")


def _why(event: TerminalEvent) -> str:
    if isinstance(event, RunCompleted):
        return ""
    return f": {one_line(event.error.message)}"  # type: ignore[attr-defined]


def _of_node(event: NodeEvent, panel: Panel) -> str:
    """Return what happened to a node, in a few words."""
    match event:
        case NodeStarted():
            return "started"
        case NodeSucceeded():
            text = one_line(panel.text(event.node_id))
            return f"succeeded: {text}" if text else "succeeded"
        case NodeFailed():
            return f"failed: {one_line(event.error.message)}"
        case NodeLLMCall():
            spent = panel.costs(event.node_id)
            return f"called {one_line(event.llm_call.model or 'a model')}, {totals(spent)}"
        case NodeToolCall():
            call = event.tool_call.tool_call
            return f"asks for {one_line(f'{call.name}({call.arguments})')}"
        case NodeToolResult():
            return f"got {one_line(event.tool_result.output)}"
        case NodeWaiting():
            return f"waits: {one_line(event.waiting.reason)}"
        case NodeUserAsk():
            return f"asks: {one_line(event.user_ask.question)}"
        case NodeUserAnswer():
            return f"was answered: {one_line(event.user_answer.answer)}"
        case _:
            return ""
