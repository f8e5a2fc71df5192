"""The state of a run that was not executed here, read from its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from rxruns.devserver._json import is_object
from rxruns.devserver._record import NodeRecord, RunRecord

__all__ = ["record_from_log"]

_RUN_ENDS = {"run_completed": "succeeded", "run_failed": "failed", "run_canceled": "canceled"}
_UNKNOWN_PLAN = "0" * 64


def record_from_log(
    run_id: UUID, events: Iterable[Mapping[str, Any]], types: Mapping[str, str] | None = None
) -> RunRecord:
    """Read the state of a run from its events. `types` are the node types of a known plan.

    Nodes of unknown type count as ``llm.responses``; ids that no spec can have (a fan-out's items) are not
    listed, but what they cost is counted.
    """
    record = RunRecord(run_id, _UNKNOWN_PLAN)
    for name, kind in (types or {}).items():
        record.nodes[name] = NodeRecord(name, kind)
    for event in events:
        _take(record, event)
    return record


def _take(record: RunRecord, event: Mapping[str, Any]) -> None:
    kind, name = event.get("type"), event.get("node_id")
    record.plan_hash = event.get("plan_hash") or record.plan_hash
    if kind in _RUN_ENDS:
        record.end(_RUN_ENDS[kind], event.get("ts", ""))
        record.outputs = _part(event, "outputs").get("content")
    elif isinstance(kind, str) and kind.startswith("node_") and isinstance(name, str):
        node = record.nodes.get(name)
        if node is None:
            listed = name.isidentifier()
            node = record.nodes[name] = NodeRecord(name, "llm.responses", listed=listed)
        _take_node(node, kind, event)
        record.refresh()


def _take_node(node: NodeRecord, kind: str, event: Mapping[str, Any]) -> None:
    match kind:
        case "node_started":
            node.status, node.started_at = "running", event.get("ts")
        case "node_succeeded":
            node.status, node.ended_at = "succeeded", event.get("ts")
        case "node_failed":
            node.status, node.ended_at, node.error = "failed", event.get("ts"), event.get("error")
        case "node_output":
            node.output = _part(event, "output").get("content")
        case "node_llm_call" | "node_tool_call" | "node_user_ask" | "node_waiting":
            _take_step(node, kind, _part(event, kind.removeprefix("node_")))
        case "node_tool_result" | "node_user_answer":
            _take_result(node, _part(event, kind.removeprefix("node_")))
        case _:
            pass  # deltas add nothing to the state


def _part(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = whole.get(name)
    return part if is_object(part) else {}


def _take_step(node: NodeRecord, kind: str, payload: Mapping[str, Any]) -> None:
    step = node.step_of(payload.get("step", 0), payload.get("request_id", ""))
    if kind == "node_llm_call":
        step.llm_call = dict(payload)
    elif kind == "node_waiting":
        step.waiting = dict(payload)
        node.status = "waiting"
        node.pending = [item["tool_call"] for item in payload.get("pending_tool_calls", ())]
    else:
        step.tool_calls.append(payload["tool_call"])


def _take_result(node: NodeRecord, payload: Mapping[str, Any]) -> None:
    step = node.step_of(payload.get("step", 0), payload.get("request_id", ""))
    call = _part(payload, "tool_call")
    output = payload.get("output", payload.get("answer", ""))
    step.tool_results.append({"tool_call": call, "output": output})
    node.pending = [pending for pending in node.pending if pending.get("id") != call.get("id")]
    if node.status == "waiting" and not node.pending:
        node.status = "running"
