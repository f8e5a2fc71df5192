"""All runs of a service: created, recorded elsewhere, or written by a test."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec

from rxruns._display._files import owner_only
from rxruns._errors import must_be
from rxruns._loopback import Refusal
from rxruns.devserver._active import Settings
from rxruns.devserver._engine import Execution
from rxruns.devserver._json import is_array, is_object
from rxruns.devserver._lint import lint
from rxruns.devserver._log import EventLog
from rxruns.devserver._plan import Plan, SpecRefused, compile_spec, missing_inputs
from rxruns.devserver._record import TASKS_TOOL, RunRecord, flat_steps, tasks_of
from rxruns.devserver._recorded import record_from_log
from rxruns.devserver._results import take_results
from rxruns.errors import InvalidArgumentError

__all__ = ["Run", "Runs"]

_CREATE = {
    "spec",
    "plan_hash",
    "input",
    "model_override",
    "model_overrides",
    "options",
    "session_id",
    "stream",
}
_OVERRIDES = ("model_override", "model_overrides")
_ALL = frozenset({"steps", "tool_calls"})


class Run:
    """One run: its log and, if it was executed here, the record of the engine."""

    def __init__(self, log: EventLog, plan: Plan | None = None) -> None:
        self.log = log
        self.run_id: UUID = log.run_id
        self.plan = plan
        self.record: RunRecord | None = None
        self.execution: Execution | None = None
        self.kept: dict[str, Any] | None = None
        self.status: str | None = None
        self.key: str | None = None

    def response(self, include: frozenset[str]) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}``."""
        with self.log.changed:
            if self.kept is not None:
                return {key: item for key, item in self.kept.items() if key != "steps" or include}
            answer = self._state().response(include)
            return answer | ({"status": self.status} if self.status else {})

    def pending_tools(self) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}/pending-tools``."""
        with self.log.changed:
            return self._state().pending_tools()

    def steps(self) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}/steps``."""
        return {"steps": flat_steps(self.response(_ALL))}

    def tool_call(self, step: str, tool_id: str) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}/steps/{step}/tool-calls/{tool_id}``. Refuses with 404."""
        for found in flat_steps(self.response(_ALL)):
            results = [item for item in found["tool_results"] if item["tool_call"]["id"] == tool_id]
            for item in found["tool_calls"]:
                if (str(found["step"]), item["tool_call"]["id"]) == (step, tool_id):
                    found_call = {"node_id": found["node_id"], "step": found["step"], **item}
                    return found_call | ({"tool_result": results[0]} if results else {})
        raise Refusal(404, "NOT_FOUND", f"step {step} has no tool call {tool_id}")

    def tasks(self) -> dict[str, Any]:
        """Return the body of ``GET /runs/{id}/tasks``: the last task list that the tool wrote."""
        steps = flat_steps(self.response(_ALL))
        calls = [item["tool_call"] for step in steps for item in step["tool_calls"]]
        written = [call["arguments"] for call in calls if call["name"] == TASKS_TOOL]
        return {"tasks": tasks_of(written[-1]) if written else []}

    def take_results(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Accept tool results; see :func:`take_results`."""
        with self.log.changed:
            return take_results(self._state(), self.log, body)

    def _state(self) -> RunRecord:
        if self.record is not None:
            return self.record
        return record_from_log(self.run_id, self.log.events(), self.plan.types if self.plan else None)


class Runs:
    """The runs by id. With a directory, each log is kept in ``<run_id>.ndjson`` there."""

    def __init__(self, directory: Path | None, settings: Settings) -> None:
        self._directory, self._settings = directory, settings
        self._lock = threading.RLock()
        self._runs: dict[UUID, Run] = {}
        self._plans: dict[str, Plan] = {}
        self._keys: dict[str, Run] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            for path in sorted(directory.glob("*.run.json")):
                try:
                    self._restore(path)
                except (KeyError, TypeError, ValueError, Refusal) as error:
                    message = f"{path} was not written by this service: {error!r}; move it away"
                    raise InvalidArgumentError(message, field="directory") from error

    def lint(self, spec: Mapping[str, Any], *, compile: bool) -> dict[str, Any]:
        """Return the body of ``POST /workflows/lint``."""
        kind = spec.get("kind")
        answer: dict[str, Any] = {"lint_issues": lint(spec)} | (
            {"kind": kind} if isinstance(kind, str) else {}
        )
        if not compile:
            return answer
        try:
            plan = self.compile(spec)
        except Refusal as refused:
            return answer | {"compile_issues": refused.issues}
        return answer | {"compile_issues": [], "plan_hash": plan.hash, "plan_json": plan.spec}

    def compile(self, spec: Any, overrides: Mapping[str, Any] | None = None) -> Plan:
        """Check a spec and keep its plan, so that runs can be created from its hash. Refuses with 400."""
        try:
            plan = compile_spec(spec, overrides)
        except SpecRefused as refused:
            raise Refusal(400, "VALIDATION_ERROR", "invalid workflow spec", issues=refused.issues) from None
        with self._lock:
            return self._plans.setdefault(plan.hash, plan)

    def create(self, body: Mapping[str, Any]) -> Run:
        """Start a run, or return the one that was started with the same idempotency key."""
        _check_request(body)
        options: Mapping[str, Any] = body.get("options") or {}
        key = str(options.get("idempotency_key") or "").strip()
        with self._lock:
            if key and key in self._keys:
                return self._keys[key]
            plan = self._plan(body)
            wrong = missing_inputs(plan, body.get("input") or {}) | _wrong_overrides(plan, body)
            if wrong:
                raise Refusal(400, "VALIDATION_ERROR", "the run can't be started", wrong)
            run = self._started(plan, body, key)
            if key:
                self._keys[key] = run
            return run

    def get(self, run_id: UUID) -> Run:
        """Return a run, from the directory if needed. Refuses with 404."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None and self._directory is not None:
                path = self._log_path(run_id)
                if path is not None and path.is_file():
                    run = self._read(run_id, path)
                    _finish_recorded(run)
            if run is None:
                raise Refusal(404, "NOT_FOUND", f"there is no run {run_id}")
            return run

    def add(self, run_id: UUID) -> Run:
        """Add a run without events."""
        with self._lock:
            if run_id in self._runs:
                raise must_be("run_id", "an id that isn't in use", str(run_id))
            run = self._runs[run_id] = Run(EventLog(run_id))
            return run

    def add_log(self, lines: Iterable[bytes]) -> list[Run]:
        """Add the runs of recorded lines: repeated events are dropped, gaps stay."""
        found: dict[UUID, Run] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            event, run_id = _envelope(line, number)
            if event is None or run_id is None:
                continue
            if run_id not in found:
                found[run_id] = self.add(run_id)
            log = found[run_id].log
            if not log.ended and event["seq"] > log.last_seq:
                log.append(event)
        for run in found.values():
            _finish_recorded(run)
        return list(found.values())

    def stop(self) -> None:
        """Stop all executions, and wake all readers of logs."""
        for run in self._all():
            if run.execution is not None:
                run.execution.stop()
            with run.log.changed:
                run.log.changed.notify_all()

    def close(self) -> None:
        """Stop all executions, wait for their threads, and close the files."""
        self.stop()
        for run in self._all():
            if run.execution is not None:
                run.execution.join()
            run.log.close()

    def _all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())

    def _plan(self, body: Mapping[str, Any]) -> Plan:
        if "spec" in body:
            return self.compile(body["spec"], body)
        try:
            plan = self._plans[str(body["plan_hash"]).lower()]
        except KeyError:
            raise Refusal(
                404, "NOT_FOUND", f"there is no plan {body['plan_hash']}: compile it first"
            ) from None
        return self.compile(_as_sent(plan), body)  # it may have been made for a run that brought its models

    def _started(self, plan: Plan, body: Mapping[str, Any], key: str) -> Run:
        run_id = uuid4()
        path = self._log_path(run_id)
        run = self._runs[run_id] = Run(EventLog(run_id, path), plan)
        run.record, run.key = RunRecord(run_id, plan.hash), key
        run.execution = Execution(
            plan, run.log, run.record, body.get("input") or {}, body, self._settings, lambda: self._keep(run)
        )
        self._keep(run)
        run.execution.start()
        return run

    def _log_path(self, run_id: UUID) -> Path | None:
        # The text of a parsed UUID: a request can't name another path.
        return None if self._directory is None else self._directory / f"{run_id}.ndjson"

    def _keep(self, run: Run) -> None:
        """Write a file beside the log for the rest of the state: the spec, the key and the final response."""
        if self._directory is None or run.plan is None or run.record is None:
            return
        kept: dict[str, Any] = {"spec": _as_sent(run.plan), "idempotency_key": run.key}
        if run.execution is not None:
            overrides = run.execution.overrides
            kept["overrides"] = {name: overrides[name] for name in _OVERRIDES if name in overrides}
        if run.log.ended:
            kept["answer"] = run.record.response(_ALL)
        path = self._directory / f"{run.run_id}.run.json"
        fresh = path.with_suffix(".new")
        with open(fresh, "wb", opener=owner_only) as file:
            file.write(msgspec.json.encode(kept))
        fresh.replace(path)

    def _restore(self, path: Path) -> None:
        run_id = UUID(path.name.removesuffix(".run.json"))
        kept = msgspec.json.decode(path.read_bytes())
        plan = self.compile(kept["spec"], kept.get("overrides"))
        log_path = path.with_name(f"{run_id}.ndjson")
        run = self._read(run_id, log_path)
        run.plan, run.kept, run.key = plan, kept.get("answer"), kept["idempotency_key"]
        if run.key:
            self._keys[run.key] = run
        if not run.log.ended:
            error = {"message": "the service was stopped before the run ended", "code": "INTERRUPTED"}
            event = run.log.append({"type": "run_failed", "plan_hash": plan.hash, "error": error})
            with open(log_path, "ab", opener=owner_only) as file:
                file.write(msgspec.json.encode(event) + b"\n")

    def _read(self, run_id: UUID, path: Path) -> Run:
        run = Run(EventLog(run_id))
        whole = path.read_bytes() if path.exists() else b""
        if whole and not whole.endswith(b"\n") and path.with_suffix(".run.json").exists():
            # Ours, and cut when the service died: the next line must not continue it.
            whole = whole[: whole.rfind(b"\n") + 1]
            path.write_bytes(whole)
        for number, line in enumerate(whole.split(b"\n"), 1):
            event, found = _envelope(line, number) if line.strip() else (None, None)
            if event is not None and found == run_id and event["seq"] > run.log.last_seq:
                run.log.append(event)
        self._runs[run_id] = run
        return run


def _finish_recorded(run: Run) -> None:
    if not run.log.ended:
        # The rest will never come: followers must learn that the run is over.
        run.status = "canceled"
        run.log.end()


def _envelope(line: bytes, number: int) -> tuple[dict[str, Any] | None, UUID | None]:
    """Return the event of a recorded line and its run id; None and None for a keep-alive."""
    try:
        event = msgspec.json.decode(line)
        if is_object(event) and event.get("type") == "keepalive":
            return None, None
        run_id = UUID(event["run_id"])
        if not isinstance(event["seq"], int):
            raise TypeError("seq")
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        message = f"line {number} of the log is not an event with run_id and seq: {line[:80]!r}"
        raise InvalidArgumentError(message, field=f"line {number}") from error
    return event, run_id


def _as_sent(plan: Plan) -> dict[str, Any]:
    return dict(plan.spec) | {"nodes": list(plan.nodes.values())}


def _check_request(body: Mapping[str, Any]) -> None:
    wrong = dict.fromkeys(sorted(body.keys() - _CREATE), "is not known")
    if ("spec" in body) == ("plan_hash" in body):
        wrong["spec"] = "either spec or plan_hash is required"
    for name in ("input", "model_overrides", "options"):
        if not is_object(body.get(name, {})):
            wrong[name] = "expected an object"
    if not isinstance(body.get("stream", False), bool):
        wrong["stream"] = "expected true or false"
    if not isinstance(body.get("model_override", ""), str):
        wrong["model_override"] = "expected text"
    try:
        nil = "session_id" in body and UUID(body["session_id"]).int == 0
    except (ValueError, AttributeError, TypeError):
        nil = True
    if nil:
        wrong["session_id"] = "expected a UUID that is not nil"
    overrides: object = body.get("model_overrides", {})
    if is_object(overrides) and not (
        is_object(overrides.get("nodes", {})) and is_array(overrides.get("fanout_subnodes", []))
    ):
        wrong["model_overrides"] = "expected nodes: an object, fanout_subnodes: a list"
    if wrong:
        raise Refusal(400, "INVALID_INPUT", "invalid request", wrong)


def _wrong_overrides(plan: Plan, body: Mapping[str, Any]) -> dict[str, str]:
    overrides: Mapping[str, Any] = body.get("model_overrides") or {}
    nodes: Mapping[str, Any] = overrides.get("nodes", {})
    subnodes: Sequence[Any] = overrides.get("fanout_subnodes", [])
    wrong = {f"model_overrides.nodes.{name}": "no such node" for name in nodes.keys() - plan.nodes.keys()}
    for name, model in nodes.items():
        if not isinstance(model, str) or not model.strip():
            wrong[f"model_overrides.nodes.{name}"] = "expected a model's name"
    known = [(name, node["subnode"]["id"]) for name, node in plan.nodes.items() if "subnode" in node]
    for place, item in enumerate(subnodes):
        named = (item.get("parent_id"), item.get("subnode_id")) if is_object(item) else None
        if named not in known or not isinstance(item.get("model"), str):
            wrong[f"model_overrides.fanout_subnodes[{place}]"] = "expected parent_id, subnode_id and model"
    return wrong
