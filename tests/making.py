"""Events for tests, made by short calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from rxruns.events import (
    LLMCall,
    NodeError,
    NodeFailed,
    NodeLLMCall,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    OutputDelta,
    PayloadArtifact,
    PayloadInfo,
    RunCanceled,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunStarted,
    TokenUsage,
    UnknownEvent,
)

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
OTHER_RUN = UUID("0b6b2c1e-52a7-4f0e-8f5a-7f6e7a4a0c22")
CALL_ID = UUID("3d2f1c5a-93a4-4c38-8f2b-1f9f6f1a5b33")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HASH = "0" * 64


def _envelope(seq: int, run_id: UUID) -> dict[str, Any]:
    return {"run_id": run_id, "seq": seq, "ts": NOON}


def run_started(seq: int = 1, run_id: UUID = RUN) -> RunStarted:
    return RunStarted(**_envelope(seq, run_id), plan_hash=HASH)


def run_completed(seq: int = 9, run_id: UUID = RUN) -> RunCompleted:
    outputs = PayloadArtifact(artifact_key="out", info=PayloadInfo(bytes=2, sha256=HASH, included=False))
    return RunCompleted(**_envelope(seq, run_id), plan_hash=HASH, outputs=outputs)


def run_failed(seq: int = 9, run_id: UUID = RUN) -> RunFailed:
    return RunFailed(**_envelope(seq, run_id), plan_hash=HASH, error=NodeError(message="no luck"))


def run_canceled(seq: int = 9, run_id: UUID = RUN) -> RunCanceled:
    return RunCanceled(**_envelope(seq, run_id), plan_hash=HASH, error=NodeError(message="by a person"))


def node_started(node_id: str = "draft", seq: int = 2, run_id: UUID = RUN) -> NodeStarted:
    return NodeStarted(**_envelope(seq, run_id), node_id=node_id)


def node_succeeded(node_id: str = "draft", seq: int = 5, run_id: UUID = RUN) -> NodeSucceeded:
    return NodeSucceeded(**_envelope(seq, run_id), node_id=node_id)


def node_failed(node_id: str = "draft", seq: int = 5, run_id: UUID = RUN) -> NodeFailed:
    return NodeFailed(**_envelope(seq, run_id), node_id=node_id, error=NodeError(message="no luck"))


def delta(text: str = "hi", node_id: str = "draft", seq: int = 3, run_id: UUID = RUN) -> NodeOutputDelta:
    return NodeOutputDelta(
        **_envelope(seq, run_id), node_id=node_id, delta=OutputDelta(kind="message_delta", text_delta=text)
    )


def unknown(seq: int = 4, run_id: UUID = RUN, **fields: Any) -> UnknownEvent:
    record = {"type": "news", "run_id": str(run_id), "seq": seq, "ts": "2026-01-31T12:00:00Z"} | fields
    return UnknownEvent(**_envelope(seq, run_id), record=record)


def llm_call(
    provider: str | None = "openai",
    model: str | None = "gpt-5",
    *,
    usage: TokenUsage | None = None,
    seq: int = 4,
    run_id: UUID = RUN,
) -> NodeLLMCall:
    call = LLMCall(step=0, request_id=CALL_ID, provider=provider, model=model, usage=usage)
    return NodeLLMCall(**_envelope(seq, run_id), node_id="draft", llm_call=call)


def tokens(read: int | None = None, written: int | None = None, total: int | None = None) -> TokenUsage:
    return TokenUsage(input_tokens=read, output_tokens=written, total_tokens=total)


def in_turn(*events: RunEvent) -> list[RunEvent]:
    """Renumber events, a second apart."""
    return [
        replace(event, seq=place + 1, ts=NOON + timedelta(seconds=place))
        for place, event in enumerate(events)
    ]
