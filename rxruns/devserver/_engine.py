"""Execute a plan: each node on a thread of its own, as soon as the nodes that it depends on ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rxruns.devserver import _llm
from rxruns.devserver._active import ActiveRun, Settings, Stopped
from rxruns.devserver._json import decoded, is_array, is_object
from rxruns.devserver._log import EventLog, artifact
from rxruns.devserver._model import ModelFault
from rxruns.devserver._plan import Plan, child_names, model_of, pointed
from rxruns.devserver._predicate import fulfils
from rxruns.devserver._record import NodeRecord, RunRecord

__all__ = ["Execution", "NodeFault"]

FANOUT_THREADS = 4


class NodeFault(Exception):
    """A node failed; the run fails with it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Execution(ActiveRun):
    """Runs the nodes of a plan. `on_end` is called under the lock after the last event."""

    def __init__(
        self,
        plan: Plan,
        log: EventLog,
        record: RunRecord,
        inputs: Mapping[str, Any],
        overrides: Mapping[str, Any],
        settings: Settings,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(plan, log, record, inputs, overrides, settings)
        self._on_end = on_end
        self._started: set[str] = set()
        self._active = 0
        self._threads: list[threading.Thread] = []
        self._timers: list[threading.Timer] = []
        self._expired: set[str] = set()
        self._children = child_names(plan)
        for name, kind in plan.types.items():
            record.nodes[name] = NodeRecord(name, kind)

    def start(self) -> None:
        """Write the first two events and start the first nodes."""
        with self.log.changed:
            self.emit("run_compiled", plan_hash=self.plan.hash)
            self.emit("run_started", plan_hash=self.plan.hash)
            for name, node in self.plan.nodes.items():
                if "timeout_ms" in node:
                    self._limit_time(name, node["timeout_ms"] / 1000)
            self._advance()

    def cancel(self, message: str, code: str = "CANCELED") -> bool:
        """End the run as canceled; False when it had ended before."""
        return self._end("run_canceled", "canceled", error={"message": message, "code": code})

    def stop(self) -> None:
        """Stop executing: nothing more is written."""
        with self.log.changed:
            self.stopped.set()
            for timer in self._timers:
                timer.cancel()
            self.log.changed.notify_all()

    def join(self) -> None:
        """Wait for the threads, after `stop`."""
        for thread in [*self._threads, *self._timers]:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()

    def _advance(self) -> None:
        with self.log.changed:
            if self.stopped.is_set():
                return
            most = self.plan.spec.get("max_parallelism") or len(self.plan.nodes)
            for name in self.plan.nodes:
                if name not in self._started and self._active < most and self._ready(name):
                    self._started.add(name)
                    self._active += 1
                    self._spawn(self._run, name)
            if len(self.outputs) == len(self.plan.nodes):
                self._complete()

    def _ready(self, name: str) -> bool:
        if self.plan.needs[name] <= self.outputs.keys() or name in self._expired:
            return True
        node = self.plan.nodes[name]
        limit = 1 if node["type"] == "join.any" else node.get("limit")
        return limit is not None and len(self._matching(node)) >= limit

    def _matching(self, node: Mapping[str, Any]) -> list[str]:
        """Return the ended dependencies of a join that fulfil its predicate, the first to end first."""
        needed, predicate = self.plan.needs[node["id"]], node.get("predicate")
        return [name for name, value in self.outputs.items() if name in needed and fulfils(predicate, value)]

    def _limit_time(self, name: str, seconds: float) -> None:
        def expire() -> None:
            with self.log.changed:
                self._expired.add(name)
            self._advance()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _spawn(self, target: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name="devserver-node", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _run(self, name: str) -> None:
        if self._guarded((name,), partial(self._execute, name)):
            self._advance()

    def _guarded(self, names: Sequence[str], work: Callable[[], None]) -> bool:
        """Return True if the work succeeded. Its error fails the nodes, and with them the run."""
        try:
            work()
        except Stopped:
            return False
        except (ModelFault, NodeFault) as fault:
            self._fail(names, {"message": str(fault), "code": fault.code})
            return False
        except Exception as error:  # a bug in here must end the run too, or its readers wait for ever
            self._fail(names, {"message": f"{type(error).__name__}: {error}", "code": "INTERNAL"})
            raise
        return True

    def _execute(self, name: str) -> None:
        node, record = self.plan.nodes[name], self.record.nodes[name]
        self.begin(record)
        match node["type"]:
            case "llm":
                value: Any = _llm.run(self, node, record, model_of(self.plan, node, self.overrides))
            case "transform.json":
                value = self._transform(node)
            case "map.fanout":
                value = self._fan_out(node)
            case _:
                value = self._joined(node)
        with self.log.changed:
            self.succeed(record, value)
            self.outputs[name] = value
            self._active -= 1

    def _joined(self, node: Mapping[str, Any]) -> dict[str, Any]:
        with self.log.changed:
            taken = self._matching(node)[: 1 if node["type"] == "join.any" else node.get("limit")]
            if node["type"] == "join.any" and not taken:
                raise NodeFault("no node fulfils the predicate", "NO_MATCH")
            # In the order of the spec, so that the same outputs read the same in whatever order they came.
            return {name: self.outputs[name] for name in self.plan.nodes if name in taken}

    def _transform(self, node: Mapping[str, Any]) -> dict[str, Any]:
        if "object" in node:
            return {key: self._taken(source) for key, source in node["object"].items()}
        merged: dict[str, Any] = {}
        for source in node["merge"]:
            part = decoded(self._taken(source))
            if not is_object(part):
                raise NodeFault(f"{source['from']}: only objects can be merged", "INVALID_ITEMS")
            merged |= part
        return merged

    def _taken(self, source: Mapping[str, Any]) -> Any:
        return _found(self.values()[source["from"]], source.get("pointer"), source["from"])

    def _fan_out(self, node: Mapping[str, Any]) -> list[Any]:
        origin = node.get("items_from") or node["items_from_input"]
        items = decoded(self._taken({"from": origin, "pointer": node.get("items_pointer")}))
        items = decoded(_found(items, node.get("items_path"), origin))
        if not is_array(items):
            raise NodeFault(f"{origin}: expected a list of items", "INVALID_ITEMS")
        found: list[Any] = [None] * len(items)
        turns = iter(range(len(items)))

        def work() -> None:
            for place in turns:  # shared by the workers: the iterator of a range gives each place once
                name = f"{self._children[node['id']]}_{place}"
                one = partial(self._one, name, node, items[place], found, place)
                if not self._guarded((name, node["id"]), one):
                    return

        workers = min(node.get("max_parallelism") or FANOUT_THREADS, len(items))
        with self.log.changed:
            threads = [self._spawn(work) for _ in range(workers)]
        for thread in threads:
            thread.join()
        self.pause(0)
        return found

    def _one(self, name: str, node: Mapping[str, Any], item: Any, found: list[Any], place: int) -> None:
        subnode = node["subnode"]
        with self.log.changed:
            self.record.nodes[name] = record = NodeRecord(name, "llm.responses")
            self.begin(record)
        model = model_of(self.plan, subnode, self.overrides, node["id"])
        found[place] = _llm.run(self, subnode, record, model, item=item)
        self.succeed(record, found[place])

    def _complete(self) -> None:
        try:
            outputs = {item["name"]: self._taken(item) for item in self.plan.spec["outputs"]}
        except NodeFault as fault:
            error = {"message": f"output {fault}", "code": fault.code}
            self._end("run_failed", "failed", error=error)
            return
        self.record.outputs = outputs
        self._end("run_completed", "succeeded", outputs=artifact("run_outputs.v0", outputs))

    def _fail(self, names: Sequence[str], error: dict[str, Any]) -> None:
        with self.log.changed:
            if self.stopped.is_set():
                return
            for name in names:
                node = self.record.nodes[name]
                node.ended_at = self.emit("node_failed", node_id=name, error=error)
                node.status, node.error = "failed", error
            self._end("run_failed", "failed", error=error)

    def _end(self, type_: str, status: str, **fields: Any) -> bool:
        with self.log.changed:
            if self.stopped.is_set():
                return False
            # All under the lock: a client that has read the last event finds the run ended.
            self.record.end(status, self.emit(type_, plan_hash=self.plan.hash, **fields))
            self.stop()
            self._on_end()
            return True


def _found(value: Any, pointer: str | None, origin: str) -> Any:
    try:
        return pointed(value, pointer)
    except LookupError as error:
        raise NodeFault(f"{origin}: nothing at {pointer}", "POINTER_NOT_FOUND") from error
