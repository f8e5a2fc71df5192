"""The run that the screenshots show: a fan-out with a retry, a failure, and a node that waits for a person.

The same events each time, from a seeded generator; no model wrote its texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from rxruns import Price
from rxruns.events import (
    LLMCall,
    NodeError,
    NodeFailed,
    NodeLLMCall,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    NodeToolCall,
    NodeToolResult,
    NodeUserAsk,
    NodeWaiting,
    OutputDelta,
    PendingToolCall,
    RunCompiled,
    RunEvent,
    RunStarted,
    TokenUsage,
    ToolCall,
    ToolCallRequest,
    ToolCallResult,
    ToolCallWithArguments,
    UserAsk,
    UserAskOption,
    Waiting,
)

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
CALL = UUID("3d2f1c5a-93a4-4c38-8f2b-1f9f6f1a5b33")
BEGAN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
PLAN = "4be1c5a3b6d90277f1e8ad3c5b9e02f4a7d6c81b3e5f90a2c4d6e8f0b1a3c5d7"
PRICES = {
    ("anthropic", "claude-sonnet-4-5"): Price(3, 15),
    ("openai", "gpt-4o-mini"): Price("0.15", "0.60"),
}
SONNET = ("anthropic", "claude-sonnet-4-5")
MINI = ("openai", "gpt-4o-mini")
TALE = (
    "The tide follows the moon, a little late, and the harbour follows the tide. Boats wait; the timetable "
    "does not. What the gauges say agrees with the almanac to within a hand, except in a storm. "
)
SEARCH = ToolCallWithArguments(id="call_1", name="search_archive", arguments='{"query":"harbour gauges"}')
ASK = ToolCallWithArguments(id="call_2", name="user_ask", arguments='{"question":"Publish the report?"}')
QUESTION = (
    "The storm of 1953 is left out, because its source could not be read. Publish the report without it?"
)


def events(sources: int = 9) -> list[RunEvent]:
    """The run so far, in the order of its log; ``sources`` are read side by side."""
    random = Random(53)
    timed: list[tuple[float, type[RunEvent], dict[str, Any]]] = [
        (0, RunCompiled, {"plan_hash": PLAN}),
        (0.02, RunStarted, {"plan_hash": PLAN}),
    ]
    timed += node("outline", 0.1, 4.2, SONNET, 812, 40, random)
    timed += searched("archive", 0.1, 6.8, random)
    began = 7.0
    for number in range(sources):
        name = f"sources.read[{number}]"
        starts, lasts = began + 0.4 * number, random.uniform(2.5, 9)
        if number == 3:
            timed += failed(name, starts, 2.2, "rate_limited", "the provider refused the request: 429")
            starts += 3.0
        if number == 6:
            timed += failed(name, starts, 6.5, "unreadable", "page 1953-02-01 is blank: no text after OCR")
            continue
        timed += node(name, starts, lasts, MINI, random.randrange(900, 4000), 24, random)
    timed += node("sources", began - 0.1, 15.4, None, 0, 0, random)
    timed += node("report", 22.5, 14.6, SONNET, 6120, 90, random)
    timed += asking("approve", 37.3)
    return list(numbered(timed))


def numbered(timed: list[tuple[float, type[RunEvent], dict[str, Any]]]) -> Iterator[RunEvent]:
    """Events in the order of their times."""
    for place, (at, kind, fields) in enumerate(sorted(timed, key=lambda item: item[0])):
        yield kind(run_id=RUN, seq=place + 1, ts=BEGAN + timedelta(seconds=round(at, 3)), **fields)


def node(
    name: str, at: float, lasts: float, model: tuple[str, str] | None, read: int, words: int, random: Random
) -> Iterator[tuple[float, type[RunEvent], dict[str, Any]]]:
    """A node that says its words, is metered, and succeeds."""
    yield at, NodeStarted, {"node_id": name}
    tale = TALE.split()
    place = random.randrange(len(tale))
    for number in range(words):
        word = tale[(place + number) % len(tale)] + " "
        delta = OutputDelta(kind="message_delta", text_delta=word)
        yield at + 0.5 + (lasts - 0.7) * number / words, NodeOutputDelta, {"node_id": name, "delta": delta}
    if model is not None:
        usage = TokenUsage(input_tokens=read, output_tokens=words * 9)
        call = LLMCall(
            step=0, request_id=CALL, provider=model[0], model=model[1], stop_reason="end_turn", usage=usage
        )
        yield at + lasts - 0.1, NodeLLMCall, {"node_id": name, "llm_call": call}
    yield at + lasts, NodeSucceeded, {"node_id": name}


def failed(
    name: str, at: float, lasts: float, code: str, message: str
) -> Iterator[tuple[float, type[RunEvent], dict[str, Any]]]:
    """An attempt that fails."""
    yield at, NodeStarted, {"node_id": name}
    yield at + lasts, NodeFailed, {"node_id": name, "error": NodeError(message=message, code=code)}


def searched(
    name: str, at: float, lasts: float, random: Random
) -> Iterator[tuple[float, type[RunEvent], dict[str, Any]]]:
    """A node that waits for a tool of the client's in its midst."""
    step: dict[str, Any] = {"step": 0, "request_id": CALL}
    first, *rest = node(name, at, lasts, MINI, 430, 18, random)
    request = ToolCallRequest(**step, tool_call=SEARCH)
    waiting = Waiting(**step, pending_tool_calls=(PendingToolCall(tool_call=SEARCH),), reason="tool_results")
    done = ToolCall(id=SEARCH.id, name=SEARCH.name)
    result = ToolCallResult(**step, tool_call=done, output='{"hits":9,"oldest":"1871"}')
    yield first
    yield at + 0.9, NodeToolCall, {"node_id": name, "tool_call": request}
    yield at + 1.0, NodeWaiting, {"node_id": name, "waiting": waiting}
    yield at + 3.6, NodeToolResult, {"node_id": name, "tool_result": result}
    yield from ((max(when, at + 3.7), kind, fields) for when, kind, fields in rest)


def asking(name: str, at: float) -> Iterator[tuple[float, type[RunEvent], dict[str, Any]]]:
    """A node that asks a person and has no answer yet."""
    step: dict[str, Any] = {"step": 0, "request_id": CALL}
    options = (UserAskOption(label="publish"), UserAskOption(label="wait for the source"))
    ask = UserAsk(**step, tool_call=ASK, question=QUESTION, allow_freeform=True, options=options)
    waiting = Waiting(**step, pending_tool_calls=(PendingToolCall(tool_call=ASK),), reason="user_ask")
    yield at, NodeStarted, {"node_id": name}
    yield at + 0.4, NodeUserAsk, {"node_id": name, "user_ask": ask}
    yield at + 0.4, NodeWaiting, {"node_id": name, "waiting": waiting}
