"""The bytes for all contestants: event logs as the service writes them, one run each.

``stream``: as in a streaming run, four events in five are text deltas.
``alike``: all 28 types, equally often.
``deltas``: 99 events in a hundred are text deltas, as in runs with long texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle, islice
from random import Random
from typing import Any

RUN_ID = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"
MIXES = ("stream", "alike")

_CALL_ID = "3d2f1c5a-93a4-4c38-8f2b-1f9f6f1a5b33"
_HASH = "4be1c5a3b6d90277f1e8ad3c5b9e02f4a7d6c81b3e5f90a2c4d6e8f0b1a3c5d7"
_MODEL = {
    "provider": "anthropic",
    "model": "claude-sonnet-4-5",
    "response_id": "msg_01XFDUDYJgAACzvnptvVoYEL",
}
_ARTIFACT = {"artifact_key": "node_output.v0", "info": {"bytes": 1834, "sha256": _HASH, "included": False}}
_STEP = {"step": 1, "request_id": _CALL_ID}
_TOOL_CALL = {"id": "call_9f2", "name": "search", "arguments": '{"query":"reactive streams","limit":5}'}
_ERROR = {"code": "rate_limited", "message": "the provider refused the request"}
_WORDS = (
    "the",
    " stream",
    " of",
    " events",
    " goes",
    " on,",
    " naïve",
    " but",
    " ordered",
    ".\n\n",
    ' "quoted"',
    " 流れ",
)

_PLAN: dict[str, dict[str, Any]] = {
    "run_compiled": {},
    "run_started": {},
    "task_list_updated": {"task_list": _ARTIFACT},
    "memory_updated": {"memory": _ARTIFACT, "memory_key": "notes"},
}
_NODE: dict[str, dict[str, Any]] = {
    "node_started": {},
    "node_llm_call": {
        "llm_call": _STEP
        | _MODEL
        | {
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1293, "output_tokens": 402, "total_tokens": 1695},
        }
    },
    "node_tool_call": {"tool_call": _STEP | {"tool_call": _TOOL_CALL}},
    "node_tool_result": {
        "tool_result": _STEP | {"tool_call": _TOOL_CALL, "output": '{"hits":["a","b","c"],"total":3}'}
    },
    "node_waiting": {
        "waiting": _STEP | {"pending_tool_calls": [{"tool_call": _TOOL_CALL}], "reason": "tool_results"}
    },
    "node_user_ask": {
        "user_ask": _STEP
        | {
            "tool_call": _TOOL_CALL,
            "question": "Which report do you mean?",
            "options": [{"label": "The first"}, {"label": "The second", "description": "of 2025"}],
            "allow_freeform": True,
        }
    },
    "node_user_answer": {
        "user_answer": _STEP | {"tool_call": _TOOL_CALL, "answer": "The second", "is_freeform": False}
    },
    "node_output": {"output": _ARTIFACT},
    "node_succeeded": {},
    "node_failed": {"error": _ERROR},
}
_SCHEDULER: dict[str, dict[str, Any]] = {
    "scheduler_started": {
        "topic": "review",
        "participants": [{"agent_id": "critic", "role": "reviewer"}, {"agent_id": "author"}],
        "policy": {"max_rounds": 4, "max_concurrency": 2, "max_steps": 40, "timeout_ms": 60000},
    },
    "scheduler_round_started": {"round_index": 2},
    "scheduler_coordinator_started": {"model": "claude-sonnet-4-5"},
    "scheduler_coordinator_completed": {"decision": {"next": ["critic"], "why": "open points"}},
    "scheduler_agent_started": {"agent_id": "critic", "agent_run_id": _CALL_ID, "input": "Read the draft."},
    "scheduler_agent_completed": {"agent_id": "critic", "status": "succeeded", "summary": "Two points."},
    "scheduler_message_sent": {"message_id": _CALL_ID, "to": "author"},
    "scheduler_message_received": {"message_id": _CALL_ID, "from": "critic"},
    "scheduler_round_completed": {"round_index": 2, "pending": 1},
    "scheduler_stopped": {"reason": "consensus"},
}
_TERMINAL: dict[str, dict[str, Any]] = {
    "run_completed": {"outputs": _ARTIFACT},
    "run_failed": {"error": _ERROR},
    "run_canceled": {"error": _ERROR},
}
_DELTA = "node_output_delta"


def lines(mix: str, events: int, *, run_id: str = RUN_ID, ends: bool = True) -> Iterator[bytes]:
    """The lines of one run's log, each with its newline: a period of some thousand, repeated.

    The mix ``alike`` contains terminal events; with `ends`, only the last line is terminal, so that all of
    them can be streamed.
    """
    period = [
        (head, tail)
        for wire_type, head, tail in _period(mix, run_id)
        if not (ends and wire_type in _TERMINAL)
    ]
    for seq, (head, tail) in zip(range(1, events + (not ends)), cycle(period), strict=False):
        yield b"%b%d%b" % (head, seq, tail)
    if ends:
        head, tail = _split_line("run_completed", Random(7), run_id)
        yield b"%b%d%b" % (head, events, tail)


def chunks(mix: str, events: int, size: int, run_id: str = RUN_ID) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, cut anywhere; 0: one event to a piece."""
    if size == 0:
        yield from lines(mix, events, run_id=run_id)
        return
    pending = bytearray()
    for line in lines(mix, events, run_id=run_id):
        pending += line
        while len(pending) >= size:
            yield bytes(pending[:size])
            del pending[:size]
    if pending:
        yield bytes(pending)


@lru_cache(maxsize=4)
def _period(mix: str, run_id: str) -> list[tuple[str, bytes, bytes]]:
    random = Random(7)
    types = _alike() if mix == "alike" else _streaming(random, 99 if mix == "deltas" else 4)
    return [(wire_type, *_split_line(wire_type, random, run_id)) for wire_type in islice(types, 5_040)]


def _split_line(wire_type: str, random: Random, run_id: str) -> tuple[bytes, bytes]:
    """The parts of a line before and after its ``seq``."""
    head = b'{"envelope_version":"v2","seq":'
    record: dict[str, Any] = {
        "type": wire_type,
        "run_id": run_id,
        "ts": f"2026-01-31T12:{random.randrange(60):02d}:07.{random.randrange(1000):03d}Z",
    }
    if wire_type in _PLAN or wire_type in _TERMINAL:
        record["plan_hash"] = _HASH
    else:
        record["node_id"] = random.choice(("draft", "summarize", "fact_check"))
    record |= _payload(wire_type, random)
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return head, f",{text[1:]}\n".encode()


def _streaming(random: Random, deltas: int) -> Iterator[str]:
    others = cycle([name for name in (*_PLAN, *_NODE, *_SCHEDULER) if name not in ("node_failed",)])
    while True:
        burst = [_DELTA] * deltas + [next(others)]
        random.shuffle(burst)
        yield from burst


def _alike() -> Iterator[str]:
    yield from cycle((*_PLAN, *_NODE, _DELTA, *_SCHEDULER, *_TERMINAL))


def _payload(wire_type: str, random: Random) -> dict[str, Any]:
    if wire_type == _DELTA:
        text = random.choice(_WORDS)
        return {"delta": {"kind": "message_delta", "text_delta": text}}
    if wire_type in _SCHEDULER:
        return {wire_type: _SCHEDULER[wire_type]}
    return _PLAN.get(wire_type) or _NODE.get(wire_type) or _TERMINAL.get(wire_type) or {}
