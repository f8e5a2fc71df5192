"""An executing run as its nodes see it: the log they write, the values they read, and the end of the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rxruns.devserver._log import EventLog, artifact
from rxruns.devserver._plan import Plan
from rxruns.devserver._record import NodeRecord, RunRecord, as_object

__all__ = ["ActiveRun", "Settings", "Stopped"]


@dataclass(frozen=True)
class Settings:
    """Settings of the simulated model: the seed of its texts, and seconds between two tokens."""

    seed: int = 0
    delay: float = 0.0


class Stopped(Exception):
    """The run ended while a node was running."""


class ActiveRun:
    """One executing run. All changes are made under the lock of its log."""

    def __init__(
        self,
        plan: Plan,
        log: EventLog,
        record: RunRecord,
        inputs: Mapping[str, Any],
        overrides: Mapping[str, Any],
        settings: Settings,
    ) -> None:
        self.plan: Plan = plan
        self.log: EventLog = log
        self.record: RunRecord = record
        self.settings: Settings = settings
        self.inputs: Mapping[str, Any] = inputs
        self.overrides: Mapping[str, Any] = overrides
        self.outputs: dict[str, Any] = {}
        self.stopped: threading.Event = threading.Event()

    def emit(self, type_: str, **fields: Any) -> str:
        """Append an event and return its time. Raises Stopped when the run is over."""
        with self.log.changed:
            if self.stopped.is_set():
                raise Stopped
            return str(self.log.append({"type": type_} | fields)["ts"])

    def pause(self, seconds: float) -> None:
        """Wait. Raises Stopped when the run is over, or ends meanwhile."""
        if self.stopped.wait(seconds) if seconds > 0 else self.stopped.is_set():
            raise Stopped

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for a change under the lock. Raises Stopped when the run is over."""
        self.log.changed.wait_for(lambda: ready() or self.stopped.is_set())
        if self.stopped.is_set():
            raise Stopped

    def values(self, **local: Any) -> dict[str, Any]:
        """Return the values of placeholders: inputs with their defaults, outputs of the nodes that ended."""
        declared = self.plan.spec.get("inputs", ())
        defaults = {item["name"]: item.get("default") for item in declared}
        with self.log.changed:
            return defaults | dict(self.inputs) | self.outputs | local

    def begin(self, node: NodeRecord) -> None:
        """Start a node."""
        with self.log.changed:
            node.started_at = self.emit("node_started", node_id=node.id)
            node.status = "running"
            self.record.refresh()

    def succeed(self, node: NodeRecord, value: Any) -> None:
        """End a node with its output."""
        with self.log.changed:
            payload = artifact("node_output.v0", as_object(value))
            self.emit("node_output", node_id=node.id, output=payload)
            node.output = value
            node.ended_at = self.emit("node_succeeded", node_id=node.id)
            node.status = "succeeded"
            self.record.refresh()
