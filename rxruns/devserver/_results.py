"""Accept tool results for a waiting node, or refuse them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rxruns._loopback import Refusal
from rxruns.devserver._json import is_array, is_object
from rxruns.devserver._log import EventLog
from rxruns.devserver._model import USER_ASK
from rxruns.devserver._record import NodeRecord, RunRecord

__all__ = ["take_results"]

_FIELDS = {"node_id", "step", "request_id", "results"}
_FAILED = "Error: "
"""The beginning of the output of a failed call, also of a question, which then goes to the model."""


def take_results(record: RunRecord, log: EventLog, body: Mapping[str, Any]) -> dict[str, Any]:
    """Write the results into the log, which resumes the node, and return the body of the response.

    Some of the pending calls are enough: the node keeps waiting for the rest. Hold the log's lock.

    Raises:
        Refusal: 400 for a bad payload, 404 when nothing is pending, 409 for another step or request id.
    """
    results = _checked(body)
    node = record.nodes.get(body["node_id"])
    if node is None or not node.pending:
        raise Refusal(404, "NOT_FOUND", f"no tool calls are pending at node {body['node_id']}")
    step = node.steps[-1]
    if body["step"] != step.step or str(body["request_id"]).lower() != step.request_id.lower():
        message = f"node {node.id} waits at step {step.step}, request {step.request_id}"
        raise Refusal(409, "CONFLICT", message)
    events = [_event(node, place, item) for place, item in enumerate(results)]
    if len({item["tool_call"]["id"] for item in results}) < len(results):
        raise Refusal(400, "INVALID_INPUT", "a tool call is answered twice", {"results": "duplicate id"})
    for item, (name, payload) in zip(results, events, strict=True):
        log.append({"type": f"node_{name}", "node_id": node.id, name: payload})
        step.tool_results.append(item)
    answered = {item["tool_call"]["id"] for item in results}
    node.pending = [call for call in node.pending if call["id"] not in answered]
    if not node.pending:
        node.status = "running"
    record.refresh()
    log.changed.notify_all()
    return {"accepted": len(results), "status": record.status}


def _checked(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    wrong = dict.fromkeys(body.keys() - _FIELDS, "is not known")
    wrong |= dict.fromkeys(_FIELDS - body.keys(), "is required")
    if not isinstance(body.get("node_id", ""), str):
        wrong["node_id"] = "expected text"
    if not isinstance(body.get("request_id", ""), str):
        wrong["request_id"] = "expected a UUID"
    if isinstance(step := body.get("step", 0), bool) or not isinstance(step, int) or step < 0:
        wrong["step"] = "expected a whole number from 0"
    results = body.get("results", [])
    if not is_array(results) or not results:
        wrong.setdefault("results", "expected at least one result")
        results = []
    for place, item in enumerate(results):
        call = item.get("tool_call") if is_object(item) else None
        if not is_object(call) or not all(isinstance(call.get(key), str) for key in ("id", "name")):
            wrong[f"results[{place}].tool_call"] = "expected an object with id and name"
        elif not isinstance(item.get("output"), str) or not isinstance(item.get("error", ""), str):
            wrong[f"results[{place}].output"] = "expected text"
    if wrong:
        raise Refusal(400, "INVALID_INPUT", "invalid tool results", wrong)
    return results


def _event(node: NodeRecord, place: int, item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    step, call = node.steps[-1], item["tool_call"]
    pending = {known["id"]: known["name"] for known in node.pending}
    if pending.get(call["id"]) != call["name"]:
        wrong = {f"results[{place}].tool_call": f"{call['name']} {call['id']} is not pending"}
        raise Refusal(400, "INVALID_INPUT", "a result for a tool call that is not pending", wrong)
    answered = {"id": call["id"], "name": call["name"]}
    payload: dict[str, Any] = {"step": step.step, "request_id": step.request_id, "tool_call": answered}
    if call["name"] == USER_ASK and not item["output"].startswith(_FAILED):
        return "user_answer", payload | _answer(place, item["output"])
    payload["output"] = item["output"]
    if "error" in item:
        payload["error"] = item["error"]
    return "tool_result", payload


def _answer(place: int, output: str) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(output)
    except msgspec.DecodeError:
        answer = None
    if (
        not is_object(answer)
        or not isinstance(answer.get("answer"), str)
        or not answer["answer"].strip()
        or not isinstance(answer.get("is_freeform"), bool)
    ):
        wrong = {f"results[{place}].output": 'expected JSON {"answer": text, "is_freeform": true or false}'}
        raise Refusal(400, "INVALID_INPUT", "an answer of the user is malformed", wrong)
    return {"answer": answer["answer"], "is_freeform": answer["is_freeform"]}
