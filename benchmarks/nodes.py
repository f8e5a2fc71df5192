"""The cost of a node in the state and the page of a run of 20,000 and of 100,000 nodes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from benchmarks.measuring import Sample, side_by_side
from rxruns.events import (
    LLMCall,
    NodeLLMCall,
    NodeStarted,
    NodeSucceeded,
    PayloadArtifact,
    PayloadInfo,
    RunCompleted,
    RunEvent,
    RunStarted,
    TokenUsage,
)
from rxruns.page import RunPage
from rxruns.state import RunState

FEW, MANY = 20_000, 100_000
_BEGAN = datetime(2026, 1, 31, tzinfo=UTC)
_HASH = "0" * 64


class _Envelope(Struct):
    """The fields of the next event."""

    seq: int = 0

    def next(self) -> dict[str, object]:
        self.seq += 1
        return {"run_id": UUID(int=1), "seq": self.seq, "ts": _BEGAN + timedelta(milliseconds=self.seq)}


def measure(rounds: int) -> dict[str, dict[str, list[Sample]]]:
    """Samples by the number of nodes, of folding a run into its state and of making its page."""
    logs = {f"{count:,}": log(count) for count in (FEW, MANY)}
    return {
        "run_state": side_by_side({name: lambda log=log: _fold(log) for name, log in logs.items()}, rounds),
        "page": side_by_side({name: lambda log=log: _page(log) for name, log in logs.items()}, rounds),
    }


def log(nodes: int) -> list[RunEvent]:
    """A run whose nodes all start, then each calls a model and ends."""
    envelope, ids = _Envelope(), [f"n{number}" for number in range(nodes)]
    usage = TokenUsage(input_tokens=3, output_tokens=5)
    call = LLMCall(step=0, request_id=UUID(int=2), provider="openai", model="gpt-5", usage=usage)
    events: list[RunEvent] = [RunStarted(**envelope.next(), plan_hash=_HASH)]
    events += [NodeStarted(**envelope.next(), node_id=node_id) for node_id in ids]
    for node_id in ids:
        events.append(NodeLLMCall(**envelope.next(), node_id=node_id, llm_call=call))
        events.append(NodeSucceeded(**envelope.next(), node_id=node_id))
    outputs = PayloadArtifact(artifact_key="a", info=PayloadInfo(bytes=0, sha256=_HASH, included=False))
    return [*events, RunCompleted(**envelope.next(), plan_hash=_HASH, outputs=outputs)]


def _fold(events: Sequence[RunEvent]) -> RunState:
    state = RunState()
    for event in events:
        state = state.step(event)
    return state


def _page(events: Sequence[RunEvent]) -> str:
    page = RunPage()
    for event in events:
        page.add(event)
    return page.html()
