"""The state of a run: the bodies of ``GET /runs/{id}`` and ``/pending-tools``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from rxruns.devserver._json import decoded, is_array, is_object
from rxruns.devserver._model import cents

__all__ = ["TASKS_TOOL", "NodeRecord", "RunRecord", "StepRecord", "as_object", "flat_steps", "tasks_of"]

TASKS_TOOL = "tasks.write"
"""The tool that writes the task list of the run."""

_OPEN = ("pending", "running", "waiting")


@dataclass
class StepRecord:
    """One model call of a node and its tool calls, as on the wire."""

    step: int
    request_id: str
    llm_call: dict[str, Any] | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tool_results: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waiting: dict[str, Any] | None = None

    def response(self, tool_calls: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"step": self.step, "request_id": self.request_id}
        if self.llm_call is not None:
            envelope = ("step", "request_id")
            answer["llm_call"] = {key: item for key, item in self.llm_call.items() if key not in envelope}
        if tool_calls:
            answer["tool_calls"] = [{"tool_call": call} for call in self.tool_calls]
            answer["tool_results"] = list(self.tool_results)
        if self.waiting is not None:
            answer["waiting"] = {
                "pending_tool_calls": self.waiting["pending_tool_calls"],
                "reason": self.waiting["reason"],
            }
        return answer


@dataclass
class NodeRecord:
    """One node. Ids that don't fit the contract aren't listed."""

    id: str
    type: str
    status: str = "pending"
    started_at: str | None = None
    ended_at: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    listed: bool = True
    steps: list[StepRecord] = field(default_factory=list[StepRecord])
    pending: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def response(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"id": self.id, "type": self.type, "status": self.status}
        for name in ("started_at", "ended_at", "error"):
            if getattr(self, name) is not None:
                answer[name] = getattr(self, name)
        if self.output is not None:
            answer["output"] = as_object(self.output)
        return answer

    def step_of(self, step: int, request_id: str) -> StepRecord:
        """Return the record of a step, a new one for a new step."""
        for known in self.steps:
            if (known.step, known.request_id) == (step, request_id):
                return known
        self.steps.append(StepRecord(step, request_id))
        return self.steps[-1]


@dataclass
class RunRecord:
    """One run. Hold the lock of its log to read or write it."""

    run_id: UUID
    plan_hash: str
    status: str = "running"
    nodes: dict[str, NodeRecord] = field(default_factory=dict[str, NodeRecord])
    outputs: dict[str, Any] | None = None

    def end(self, status: str, ts: str) -> None:
        """End the run: open nodes are canceled."""
        self.status = status
        for node in self.nodes.values():
            if node.status in _OPEN:
                node.status = "canceled"
                node.pending = []
                node.ended_at = ts if node.started_at else None

    def refresh(self) -> None:
        """Update the status: an open run waits when a node waits and none is running."""
        if self.status in _OPEN:
            at = {node.status for node in self.nodes.values()}
            self.status = "waiting" if "waiting" in at and "running" not in at else "running"

    def response(self, include: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}``."""
        lines = self._line_items()
        answer: dict[str, Any] = {
            "run_id": str(self.run_id),
            "status": self.status,
            "plan_hash": self.plan_hash,
            "cost_summary": {
                "total_usd_cents": sum(line["usd_cents"] for line in lines),
                "line_items": lines,
            },
            "summary": self._summary(lines),
            "nodes": [node.response() for node in self.nodes.values() if node.listed],
        }
        if self.outputs is not None:
            answer["outputs"] = self.outputs
        if include:
            answer["steps"] = [
                {"node_id": node.id, "steps": [step.response("tool_calls" in include) for step in node.steps]}
                for node in self.nodes.values()
                if node.listed and node.steps
            ]
        return answer

    def pending_tools(self) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}/pending-tools``."""
        waiting = [
            {
                "node_id": node.id,
                "step": node.steps[-1].step,
                "request_id": node.steps[-1].request_id,
                "tool_calls": [{"tool_call": call} for call in node.pending],
            }
            for node in self.nodes.values()
            if node.pending
        ]
        return {"run_id": str(self.run_id), "pending": waiting}

    def _calls(self) -> list[dict[str, Any]]:
        steps = [step for node in self.nodes.values() for step in node.steps]
        return [step.llm_call for step in steps if step.llm_call is not None]

    def _line_items(self) -> list[dict[str, Any]]:
        spent: dict[tuple[str, str], Counter[str]] = {}
        for call in self._calls():
            line = spent.setdefault((call.get("provider") or "", call.get("model") or ""), Counter())
            usage: dict[str, int] = call.get("usage") or {}
            line["requests"] += 1
            for name in ("input_tokens", "output_tokens"):
                line[name] += usage.get(name) or 0
        return [
            {
                "provider_id": provider,
                "model": model,
                "requests": line["requests"],
                "input_tokens": line["input_tokens"],
                "output_tokens": line["output_tokens"],
                "usd_cents": cents(provider, model, line["input_tokens"], line["output_tokens"]),
            }
            for (provider, model), line in spent.items()
        ]

    def _summary(self, lines: list[dict[str, Any]]) -> dict[str, int]:
        steps = [step for node in self.nodes.values() for step in node.steps]
        return {
            "total_steps": len(steps),
            "total_llm_calls": len(self._calls()),
            "total_tool_calls": sum(len(step.tool_calls) for step in steps),
            "total_input_tokens": sum(line["input_tokens"] for line in lines),
            "total_output_tokens": sum(line["output_tokens"] for line in lines),
            "total_cost_cents": sum(line["usd_cents"] for line in lines),
        }


def flat_steps(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of all nodes in the form of ``GET /runs/{id}/steps``."""
    return [
        {"node_id": node["node_id"]} | {name: part for name, part in step.items() if name != "waiting"}
        for node in answer.get("steps", ())
        for step in node["steps"]
    ]


def tasks_of(arguments: str) -> list[dict[str, Any]]:
    """Return the tasks in the arguments of a tool call; none if they have another form.

    >>> tasks_of('{"tasks": [{"content": "Read", "status": "pending", "more": 1}, {"content": 5}]}')
    [{'content': 'Read', 'status': 'pending'}]
    """
    written = decoded(arguments)
    tasks = written.get("tasks") if is_object(written) else None
    kept = ("content", "status", "active_form")
    trimmed = [{name: task[name] for name in kept if name in task} for task in tasks or () if is_object(task)]
    return [task for task in trimmed if {"content", "status"} <= task.keys() and _are_texts(task.values())]


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def as_object(value: Any) -> dict[str, Any]:
    """Return the output of a node as an object, as on the wire.

    >>> as_object("hi"), as_object([1]), as_object({"a": 1}), as_object(2)
    ({'text': 'hi'}, {'items': [1]}, {'a': 1}, {'value': 2})
    """
    if is_object(value):
        return value
    name = "text" if isinstance(value, str) else "items" if is_array(value) else "value"
    return {name: value}
