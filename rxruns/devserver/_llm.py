"""Execute an llm node: the steps of the simulated model, its deltas, its tool calls and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec

from rxruns.devserver import _model
from rxruns.devserver._active import ActiveRun
from rxruns.devserver._log import artifact
from rxruns.devserver._plan import rendered
from rxruns.devserver._record import TASKS_TOOL, NodeRecord, StepRecord, tasks_of
from rxruns.devserver._shaping import shaped
from rxruns.devserver._spec import tools_of

__all__ = ["run"]


def run(execution: ActiveRun, node: Mapping[str, Any], record: NodeRecord, model: str, **local: Any) -> str:
    """Execute one llm node and return its text.

    Args:
        execution: the run.
        node: from the plan.
        record: of the node.
        model: its name.
        local: placeholders besides those of the run, such as the item of a fan-out.

    Raises:
        ModelFault: the model refused.
        Stopped: the run ended meanwhile.
    """
    return _Call(execution, node, record, model, local).text()


class _Call:
    def __init__(
        self,
        execution: ActiveRun,
        node: Mapping[str, Any],
        record: NodeRecord,
        model: str,
        local: Mapping[str, Any],
    ) -> None:
        self.execution, self.node, self.record, self.model = execution, node, record, model
        self.tools = tools_of(node)
        self.prompt = self._prompt(local)
        self.mode = node.get("tool_execution", {}).get("mode", "server")

    def text(self) -> str:
        results: list[tuple[str, str]] = []
        step = 0
        if self.tools:
            for step in range(_model.rounds(self.prompt)):
                results += self._use_tools(step)
            step += 1
        return self._respond(step, results)

    def _prompt(self, local: Mapping[str, Any]) -> str:
        values = self.execution.values(**local)
        parts = [self.node.get(name) for name in ("system", "user", "input")]
        texts = [
            part if isinstance(part, str) else msgspec.json.encode(part).decode() for part in parts if part
        ]
        if "item" in local and not any("{{" in text for text in texts):
            texts.append("{{item}}")
        return "\n".join(rendered(text, values) for text in texts)

    def _respond(self, step: int, results: Sequence[tuple[str, str]]) -> str:
        seed = self.execution.settings.seed
        reply, reason = shaped(
            _model.reply(seed, self.model, self.prompt, results),
            self.node,
            partial(_model.fitting, seed, self.model, self.prompt),
        )
        request_id = str(uuid4())
        response_id = f"resp_{request_id[:8]}"
        if self.execution.overrides.get("stream") or self.node.get("stream", True):
            self._stream(reply, response_id)
        self._called(step, request_id, reason, reply.usage, response_id)
        return reply.text

    def _stream(self, reply: _model.Reply, response_id: str) -> None:
        emit, pause = self.execution.emit, self.execution.pause
        ends = {"model": self.model, "response_id": response_id}
        emit("node_output_delta", node_id=self.record.id, delta={"kind": "message_start"} | ends)
        for token in reply.tokens:
            pause(self.execution.settings.delay)
            delta = {"kind": "message_delta", "text_delta": token}
            emit("node_output_delta", node_id=self.record.id, delta=delta)
        emit("node_output_delta", node_id=self.record.id, delta={"kind": "message_stop"} | ends)

    def _called(
        self, step: int, request_id: str, stop: str, usage: Mapping[str, int], response_id: str | None = None
    ) -> StepRecord:
        call = {
            "step": step,
            "request_id": request_id,
            "provider": _model.provider_of(self.model),
            "model": self.model,
            "response_id": response_id or f"resp_{request_id[:8]}",
            "stop_reason": stop,
            "usage": dict(usage),
        }
        with self.execution.log.changed:
            self.execution.emit("node_llm_call", node_id=self.record.id, llm_call=call)
            taken = self.record.step_of(step, request_id)
            taken.llm_call = call
            return taken

    def _use_tools(self, number: int) -> list[tuple[str, str]]:
        seed = self.execution.settings.seed
        calls, usage = _model.call_tools(seed, self.model, self.prompt, number, self.tools)
        self.execution.pause(self.execution.settings.delay)
        with self.execution.log.changed:
            step = self._called(number, str(uuid4()), "tool_use", usage)
            for call in calls:
                self._request(step, call)
            if self.mode != "client":
                for call in calls:
                    if call.name != _model.USER_ASK:
                        self._answer(step, call)
            self._wait(step, [call for call in calls if self._is_for_client(call)])
            return [(result["tool_call"]["name"], result["output"]) for result in step.tool_results]

    def _is_for_client(self, call: _model.ToolRequest) -> bool:
        return self.mode == "client" or call.name == _model.USER_ASK

    def _request(self, step: StepRecord, call: _model.ToolRequest) -> None:
        request: dict[str, Any] = {
            "step": step.step,
            "request_id": step.request_id,
            "tool_call": call.on_wire(),
        }
        if call.name == _model.USER_ASK:
            request |= msgspec.json.decode(call.arguments)
            self.execution.emit("node_user_ask", node_id=self.record.id, user_ask=request)
        else:
            self.execution.emit("node_tool_call", node_id=self.record.id, tool_call=request)
        step.tool_calls.append(call.on_wire())

    def _answer(self, step: StepRecord, call: _model.ToolRequest) -> None:
        output = _model.run_tool(self.execution.settings.seed, call)
        result = {"tool_call": {"id": call.id, "name": call.name}, "output": output}
        envelope = {"step": step.step, "request_id": step.request_id}
        self.execution.emit("node_tool_result", node_id=self.record.id, tool_result=envelope | result)
        step.tool_results.append(result)
        if call.name == TASKS_TOOL:
            listed = artifact("task_list.v0", tasks_of(call.arguments), inline=False)
            self.execution.emit("task_list_updated", plan_hash=self.execution.plan.hash, task_list=listed)

    def _wait(self, step: StepRecord, calls: Sequence[_model.ToolRequest]) -> None:
        if not calls:
            return
        pending = [call.on_wire() for call in calls]
        waiting = {
            "step": step.step,
            "request_id": step.request_id,
            "pending_tool_calls": [{"tool_call": call} for call in pending],
            "reason": "tool_results",
        }
        self.execution.emit("node_waiting", node_id=self.record.id, waiting=waiting)
        step.waiting = waiting
        self.record.pending, self.record.status = pending, "waiting"
        self.execution.record.refresh()
        self.execution.wait_until(lambda: not self.record.pending)
