"""Specs that are plain mappings: checked like built ones, and sent with their unknown fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from msgspec import inspect as mi

from rxruns.workflow._check import typed
from rxruns.workflow._nodes import PLACEHOLDER
from rxruns.workflow._spec import WorkflowSpec


def checked(record: Mapping[str, Any], given: Iterable[str] = ()) -> tuple[WorkflowSpec, dict[str, Any]]:
    """Return the checked spec of a mapping, and the object to send: the mapping, its model in each llm node.

    Unknown fields are sent as they are, for the service to judge.

    Args:
        record: the spec as on the wire.
        given: names of the run's inputs: a text may use them undeclared.

    Raises:
        InvalidArgumentError: as of :meth:`WorkflowSpec.from_dict`, except for unknown fields.

    >>> node = {"id": "draft", "type": "llm", "user": "Hello", "seed": 7}
    >>> output = {"name": "text", "from": "draft"}
    >>> spec, sent = checked({"kind": "workflow", "model": "m", "nodes": [node], "outputs": [output]})
    >>> sent["nodes"][0]
    {'id': 'draft', 'type': 'llm', 'user': 'Hello', 'seed': 7, 'model': 'm'}
    """
    sent: dict[str, Any] = typed(record, dict[str, Any], "spec")
    spec = WorkflowSpec.from_dict(_known(with_used_inputs(sent, given), _spec_type()))
    if spec.model is not None:
        for node in sent["nodes"]:
            _give_model(node, spec.model)
    return spec, sent


def with_used_inputs(record: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """Declare the given inputs that a spec uses and doesn't declare.

    >>> node = {"id": "a", "type": "llm", "user": "About {{topic}}"}
    >>> with_used_inputs({"nodes": [node]}, ["topic", "tone"])["inputs"]
    [{'name': 'topic'}]
    """
    declared: object = record.get("inputs", [])
    if not isinstance(declared, list):
        return dict(record)
    members = cast("Sequence[Any]", declared)
    known = {cast("dict[str, Any]", item).get("name") for item in members if isinstance(item, dict)}
    used = _used_names(record.get("nodes"))
    added = [{"name": name} for name in given if name in used and name not in known]
    return {**record, "inputs": [*members, *added]} if added else dict(record)


def _used_names(nodes: object) -> set[str]:
    """Find the names in placeholders, and those of the inputs that fan-outs read their items from."""
    names: set[str] = set()
    pending: list[Any] = [nodes]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            names.update(PLACEHOLDER.findall(value))
        elif isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            names.update(name for name in [members.get("items_from_input")] if isinstance(name, str))
            pending += members.values()
        elif isinstance(value, list):
            pending += cast("Sequence[Any]", value)
    return names


@cache
def _spec_type() -> mi.Type:
    return mi.type_info(WorkflowSpec)


def _known(value: Any, kind: mi.Type) -> Any:
    """Return the value without the fields that its type doesn't have."""
    match kind:
        case mi.StructType() if isinstance(value, dict):
            types = {field.encode_name: field.type for field in kind.fields}
            members = cast("dict[str, Any]", value).items()
            known = {name: _known(member, types[name]) for name, member in members if name in types}
            return known | {name: member for name, member in members if name == kind.tag_field}
        case mi.UnionType():
            return _known(value, _chosen(value, kind))
        case mi.VarTupleType() if isinstance(value, list):
            return [_known(item, kind.item_type) for item in cast("Sequence[Any]", value)]
        case mi.DictType() if isinstance(value, dict):
            members = cast("dict[str, Any]", value).items()
            return {name: _known(member, kind.value_type) for name, member in members}
        case _:
            return value


def _chosen(value: Any, kind: mi.UnionType) -> mi.Type:
    """Choose the type of a union that fits a JSON object or array."""
    tag = cast("dict[str, Any]", value).get("type") if isinstance(value, dict) else None
    for option in kind.types:
        if isinstance(option, mi.StructType) and option.tag in (None, tag):
            return option
        if isinstance(option, mi.VarTupleType | mi.DictType):
            return option
    return mi.AnyType()


def _give_model(node: dict[str, Any], model: str) -> None:
    if node.get("type") == "llm" and node.get("model") is None:
        node["model"] = model
    if node.get("type") == "map.fanout":
        _give_model(node["subnode"], model)
