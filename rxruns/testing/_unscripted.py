"""Answers to requests without a step, made from the events that the fake has sent so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from rxruns.events import RunEvent
from rxruns.state import RunState
from rxruns.testing._request import Request
from rxruns.testing._steps import Call, Step, refuses, replies

_PLAN_HASH = "0" * 64


def call_of(request: Request) -> Call | None:
    """Return the call of the API that a request makes; None for any other."""
    match [request.method, *request.path.split("/")]:
        case ["POST", *_, "runs"]:
            return "create"
        case ["POST", *_, "compile"]:
            return "compile"
        case ["POST", *_, "lint"]:
            return "lint"
        case ["GET", *_, "runs", _]:
            return "status"
        case ["GET", *_, "runs", _, "events"]:
            return "events"
        case ["GET", *_, "runs", _, "pending-tools"]:
            return "pending"
        case ["POST", *_, "runs", _, "tool-results"]:
            return "results"
        case ["GET", *_, "runs", _, "steps", _, "tool-calls", _]:
            return "tool_call"
        case ["GET", *_, "runs", _, "steps"]:
            return "steps"
        case ["GET", *_, "runs", _, "tasks"]:
            return "tasks"
        case _:
            return None


def unscripted(call: Call | None, request: Request, run_id: UUID, sent: Sequence[RunEvent]) -> Step:
    """Answer a call about a run, of which these events were sent."""
    state = RunState()
    for event in sent:
        if event.run_id == run_id:
            state = state.step(event)
    about: dict[str, Any] = {
        "run_id": run_id,
        "status": state.status,
        "plan_hash": state.plan_hash or _PLAN_HASH,
    }
    costs: dict[str, Any] = {"total_usd_cents": 0, "line_items": []}
    match call:
        case "create":
            return replies(about, 201, to="create")
        case "status":
            return replies(about | {"cost_summary": costs}, to="status")
        case "pending":
            return replies({"run_id": run_id, "pending": _pending(state)}, to="pending")
        case "results":
            accepted = len(request.json["results"])
            return replies({"accepted": accepted, "status": state.status}, to="results")
        case _:
            message = f"the script has no answer to {request.method} {request.path}: add replies(..., to=...)"
            return refuses(404, "NOT_FOUND", message)


def _pending(state: RunState) -> list[dict[str, Any]]:
    nodes: dict[str, dict[str, Any]] = {}
    for tool in state.pending_tools:
        about: dict[str, Any] = {"node_id": tool.node_id, "step": tool.step, "request_id": tool.request_id}
        node = nodes.setdefault(tool.node_id, about | {"tool_calls": []})
        node["tool_calls"].append({"tool_call": tool.tool_call})
    return list(nodes.values())
