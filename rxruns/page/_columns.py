"""A run's events as columns: what a browser parses fastest, and a third of the log's size."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import msgspec

from rxruns.events import NodeOutputDelta, RunEvent, UnknownEvent

_ENVELOPE = ("type", "run_id", "seq", "ts", "node_id", "envelope_version")
_SAFE = 2**53
"""Beyond it a whole number is another one in JavaScript."""


class Columns:
    """Events, one list for each of their parts. Names of types and nodes are written once.

    A text delta is its text, with what else it says (kind, model) by number; any other event its payload.
    """

    def __init__(self) -> None:
        self.seq: list[int] = []
        self.at: list[float] = []
        self.type: list[int] = []
        self.node: list[int] = []
        self.shape: list[int] = []
        self.body: list[Any] = []
        self.types: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        self.shapes: dict[tuple[str, str | None, str | None], int] = {}

    def append(self, event: RunEvent, began: datetime) -> None:
        """Add an event; its time is counted in milliseconds from ``began``."""
        node_id: str | None = getattr(event, "node_id", None)
        self.seq.append(event.seq)
        self.at.append(milliseconds(event.ts, began))
        self.type.append(self.types.setdefault(event.type, len(self.types)))
        self.node.append(-1 if node_id is None else self.nodes.setdefault(node_id, len(self.nodes)))
        if isinstance(event, NodeOutputDelta):
            delta = event.delta
            shape = (delta.kind, delta.model, delta.response_id)
            self.shape.append(self.shapes.setdefault(shape, len(self.shapes)))
            self.body.append(delta.text_delta)
        else:
            self.shape.append(-1)
            self.body.append(_payload(event))

    def content(self) -> dict[str, Any]:
        """What is written into the page."""
        names = {"types": list(self.types), "shapes": list(self.shapes)}
        columns = ("seq", "at", "type", "node", "shape", "body")
        return names | {name: getattr(self, name) for name in columns}


def milliseconds(at: datetime, began: datetime) -> float:
    """From ``began`` to ``at``, with microseconds as the fraction; whole where there are none."""
    passed = round((at - began).total_seconds() * 1000, 3)
    return int(passed) if passed.is_integer() else passed


def _payload(event: RunEvent) -> Any:
    record = event.record if isinstance(event, UnknownEvent) else msgspec.to_builtins(event)
    return {key: _exact(value) for key, value in record.items() if key not in _ENVELOPE} or None


def _exact(value: object) -> Any:
    """The same in JSON, with numbers as text that JavaScript could not hold."""
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_exact(item) for item in cast("list[object]", value)]
    return str(value) if isinstance(value, int) and abs(value) > _SAFE else value
