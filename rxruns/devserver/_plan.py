"""A checked spec, ready to execute: its nodes, their dependencies, and its hash."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from rxruns.devserver._json import is_array, is_object
from rxruns.devserver._spec import PLACEHOLDER, Issue, check, needs, overriding, placeholders

__all__ = [
    "Plan",
    "SpecRefused",
    "child_names",
    "compile_spec",
    "missing_inputs",
    "model_of",
    "pointed",
    "rendered",
]

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


_STEM = 50
"""The most characters that the ids of a fan-out's children share: an id has 64, and a number follows."""


class SpecRefused(Exception):
    """The spec has issues."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__(f"{len(issues)} issues")
        self.issues = issues


@dataclass(frozen=True)
class Plan:
    """An executable spec. `hash` is the SHA-256 of its canonical JSON, with the node types of responses."""

    spec: Mapping[str, Any]
    hash: str
    nodes: Mapping[str, Mapping[str, Any]]
    needs: Mapping[str, frozenset[str]]

    @property
    def types(self) -> dict[str, str]:
        """The node types of ``GET /runs/{id}``, by node id."""
        return {name: _answered(node["type"]) for name, node in self.nodes.items()}


def compile_spec(spec: Any, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Check a spec and order its nodes. The model overrides of a run count as models of its nodes.

    Raises:
        SpecRefused: with every issue.

    >>> llm = {"id": "a", "type": "llm", "model": "gpt-4o"}
    >>> spec = {"kind": "workflow", "nodes": [llm], "outputs": [{"name": "out", "from": "a"}]}
    >>> compile_spec(spec).spec["nodes"][0]["type"]
    'llm.responses'
    """
    issues = check(spec, overrides)
    if issues:
        raise SpecRefused(issues)
    nodes = {node["id"]: node for node in spec["nodes"]}
    plan = spec | {"nodes": [_compiled(node) for node in spec["nodes"]]}
    canonical = msgspec.json.encode(plan, order="deterministic")
    waits = {name: frozenset(needs(node, set(nodes))) for name, node in nodes.items()}
    return Plan(plan, sha256(canonical).hexdigest(), nodes, waits)


def missing_inputs(plan: Plan, given: Mapping[str, Any]) -> dict[str, str]:
    """Return messages about the inputs of a run, by field: missing, or of the wrong type."""
    declared = {item["name"]: item for item in plan.spec.get("inputs", ())}
    wrong: dict[str, str] = {}
    for name, item in declared.items():
        if name not in given:
            if item.get("required") and "default" not in item:
                wrong[f"input.{name}"] = "is required"
        elif not _fits(given[name], item.get("type")):
            wrong[f"input.{name}"] = f"expected {item['type']}"
    known = set(plan.nodes) | set(declared) | set(given)
    for node in plan.nodes.values():
        subnode: Mapping[str, Any] = node.get("subnode", {})
        local: set[str] = {"item"} if subnode else set()
        texts = [part.get(name) for part in (node, subnode) for name in ("system", "user", "input")]
        used = placeholders([text for text in texts if text is not None]) | {node.get("items_from_input")}
        for name in used - known - local - {None}:
            wrong[f"input.{name}"] = f"is used by node {node['id']}, but not given"
    return wrong


def model_of(
    plan: Plan, node: Mapping[str, Any], overrides: Mapping[str, Any], parent: str | None = None
) -> str:
    """Return the model of a node; an override for the node wins over one for the run."""
    return str(overriding(overrides, node["id"], parent) or node.get("model") or plan.spec.get("model"))


def child_names(plan: Plan) -> dict[str, str]:
    """Return the beginning of the ids of each fan-out's children; ``_`` and a number follow.

    Children have node ids like any other node's, and none that another node has.

    >>> fan_out = {"id": "each", "type": "map.fanout", "subnode": {"id": "one"}}
    >>> child_names(Plan({}, "", {"each": fan_out, "each_one_0": {"id": "each_one_0"}}, {}))
    {'each': 'each_one_2'}
    """
    taken = {name.rpartition("_")[0] for name in plan.nodes}
    found: dict[str, str] = {}
    for name, node in plan.nodes.items():
        if "subnode" in node:
            stem = f"{name}_{node['subnode']['id']}"[:_STEM]
            numbered = (f"{stem[: _STEM - 6]}_{number}" for number in itertools.count(2))
            found[name] = next(one for one in itertools.chain([stem], numbered) if one not in taken)
            taken.add(found[name])
    return found


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """Fill in the placeholders: text unchanged, anything else as JSON.

    >>> rendered("{{a}} and {{ b }}", {"a": "x", "b": [1]})
    'x and [1]'
    """

    def fill(match: Any) -> str:
        value = values.get(match[1])
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    return PLACEHOLDER.sub(fill, text)


def pointed(value: Any, pointer: str | None) -> Any:
    """Resolve a JSON Pointer in the output of a node.

    A model's text is looked into as JSON where it is that, else as ``{"text": text}`` or as a response with
    ``/output/0/content/0/text``.

    Raises:
        LookupError: nothing is there.

    >>> pointed('{"items": [1, 2]}', "/items"), pointed("hi", "/text")
    ([1, 2], 'hi')
    """
    if not pointer:
        return value
    if not isinstance(value, str):
        return _walk(value, pointer)
    message = {"role": "assistant", "content": [{"type": "text", "text": value}]}
    try:
        return _walk(msgspec.json.decode(value), pointer)
    except (msgspec.DecodeError, LookupError):
        return _walk({"text": value, "output": [message]}, pointer)


def _walk(value: Any, pointer: str) -> Any:
    for step in pointer[1:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if is_array(value) and key.isdecimal():
            value = value[int(key)]
        elif is_object(value):
            value = value[key]
        else:
            raise LookupError(key)
    return value


def _compiled(node: Mapping[str, Any]) -> dict[str, Any]:
    compiled = dict(node) | {"type": _answered(node["type"])}
    if "subnode" in node:
        compiled["subnode"] = _compiled(node["subnode"])
    return compiled


def _answered(kind: str) -> str:
    return "llm.responses" if kind == "llm" else kind


def _fits(value: Any, kind: object) -> bool:
    expected = _TYPES.get(kind) if isinstance(kind, str) else None
    if expected is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, expected)
