"""Checks of a spec. Each rule is a function that raises at the first mistake and names the node."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from rxruns._errors import InvalidArgumentError, must_be
from rxruns.workflow._edges import waits_for
from rxruns.workflow._nodes import (
    AnyNode,
    Input,
    JoinAllNode,
    JoinAnyNode,
    JoinCollectNode,
    LLMNode,
    MapFanoutNode,
    Output,
    Predicate,
    TransformJSONNode,
    placeholders,
    sources,
)
from rxruns.workflow._tools import tool_problem

_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_BYTES = (bytes, bytearray, memoryview)
ITEM = "item"
"""The placeholder for the item in a fan-out's subnode."""


def refuse(message: str, field: str) -> InvalidArgumentError:
    """Make the error of a rule that is broken."""
    return InvalidArgumentError(f"{field}: {message}", field=field)


def typed(value: object, expected: Any, field: str) -> Any:
    """Return a copy of the value as the type says: lists as tuples, dicts as structs."""
    try:
        # Bytes stay bytes, and are refused, instead of becoming base64.
        return msgspec.convert(msgspec.to_builtins(value, builtin_types=_BYTES), expected)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        message, inner = match.groups() if match else (str(error), "")
        raise refuse(message, f"{field}.{inner}".rstrip(".").replace(".[", "[")) from error
    except (TypeError, RecursionError) as error:
        raise refuse(f"the value isn't JSON: {error}", field) from error


def check_nodes(nodes: Sequence[AnyNode], inputs: Sequence[Input]) -> None:
    """Check that ids are distinct, that references lead to nodes or inputs, and that there is no cycle."""
    if not nodes:
        raise refuse("a workflow needs at least one node; add one with .llm(...)", "nodes")
    ids = _distinct("nodes", "id", [node.id for node in nodes])
    names = _distinct("inputs", "name", [declared.name for declared in inputs])
    for place, node in enumerate(nodes):
        _check_node(node, f"nodes[{place}]", ids, names)
    _check_cycles(nodes)


def check_outputs(outputs: Sequence[Output], ids: Collection[str]) -> None:
    """Check that there is an output, that names are distinct, and that each comes from a node."""
    if not outputs:
        last = list(ids)[-1]
        raise refuse(
            f'a workflow needs at least one output; add one with .output("text", from_="{last}")',
            "outputs",
        )
    _distinct("outputs", "name", [output.name for output in outputs])
    for place, output in enumerate(outputs):
        field = f"outputs[{place}]"
        _known(output.from_, ids, f"output {output.name!r}", f"{field}.from")
        _check_pointer(output.pointer, f"{field}.pointer")


def _distinct(field: str, attribute: str, names: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        where = f"{field}[{place}].{attribute}"
        if field == "nodes":
            _check_id(name, where)
        if name in places:
            raise refuse(f"{name!r} is taken by {field}[{places[name]}]; rename one of them", where)
        places[name] = place
    return places


def _check_id(name: str, field: str) -> None:
    if not _ID.fullmatch(name):
        form = "a lower-case letter, then lower-case letters, digits and underscores, at most 64 characters"
        raise must_be(field, form, name)


def _check_node(node: AnyNode, field: str, ids: Collection[str], inputs: Collection[str]) -> None:
    who = f"node {node.id!r}"
    for name in node.depends_on:
        if name == node.id:
            raise refuse(f"{who} depends on itself", f"{field}.depends_on")
        _known(name, ids, who, f"{field}.depends_on")
    for place, source in sources(node):
        _known(source.from_, ids, who, f"{field}.{place}.from")
        _check_pointer(source.pointer, f"{field}.{place}.pointer")
    _check_placeholders(node, who, field, {*ids, *inputs})
    match node:
        case LLMNode():
            _check_tools(node, field)
            _check_output(node, field)
        case JoinAllNode() | JoinAnyNode() | JoinCollectNode():
            _check_join(node, field)
        case TransformJSONNode():
            if bool(node.object) == bool(node.merge):
                raise refuse(f"{who} needs either object or merge", field)
        case _:
            _check_fanout(node, field, ids, inputs)


def _check_placeholders(node: AnyNode, who: str, field: str, known: Collection[str]) -> None:
    for place, name in placeholders(node):
        if name not in known:
            raise refuse(
                f"{who} reads {{{{{name}}}}}, which is neither a node nor an input; "
                f'declare it with .input("{name}"), or name one of {_listed(known)}',
                f"{field}.{place}",
            )
        if name == node.id:
            raise refuse(f"{who} reads its own text {{{{{name}}}}}", f"{field}.{place}")


def _check_tools(node: LLMNode, field: str) -> None:
    for place, tool in enumerate(node.tools):
        if problem := tool_problem(tool):
            raise refuse(f"node {node.id!r}: {problem}", f"{field}.tools[{place}]")


def _check_output(node: LLMNode, field: str) -> None:
    for place, text in enumerate(node.stop):
        if not text:
            raise must_be(f"{field}.stop[{place}]", "text that isn't empty", text)
    form = node.output_format
    if form is not None and (form.type == "json_schema") != (form.json_schema is not None):
        raise refuse(
            f"node {node.id!r}: json_schema must be there exactly when type is 'json_schema', "
            f"got type {form.type!r}",
            f"{field}.output_format.json_schema",
        )


def _check_join(node: JoinAllNode | JoinAnyNode | JoinCollectNode, field: str) -> None:
    if not node.depends_on:
        raise refuse(
            f'join {node.id!r} has nothing to wait for; add .edge("...", "{node.id}")', f"{field}.depends_on"
        )
    if not isinstance(node, JoinAllNode) and node.predicate is not None:
        _check_predicate(node.predicate, node.id, f"{field}.predicate")


def _check_predicate(predicate: Predicate, name: str, field: str) -> None:
    if predicate.path is not None and not predicate.path.startswith("$"):
        raise must_be(f"{field}.path", "a JSONPath that starts with '$'", predicate.path)
    if predicate.op != "exists" and predicate.value is msgspec.UNSET:
        raise refuse(f"node {name!r}: {predicate.op!r} needs a value to compare with", f"{field}.value")


def _check_fanout(node: MapFanoutNode, field: str, ids: Collection[str], inputs: Collection[str]) -> None:
    who = f"node {node.id!r}"
    if (node.items_from is None) == (node.items_from_input is None):
        raise refuse(f"{who} needs either items_from or items_from_input", f"{field}.items_from")
    if node.items_from is not None:
        _known(node.items_from, ids, who, f"{field}.items_from")
    if node.items_from_input is not None and node.items_from_input not in inputs:
        raise refuse(
            f"{who}: there is no input {node.items_from_input!r}; "
            f'declare it with .input("{node.items_from_input}")',
            f"{field}.items_from_input",
        )
    _check_pointer(node.items_pointer, f"{field}.items_pointer")
    _check_pointer(node.items_path, f"{field}.items_path")
    _check_id(node.subnode.id, f"{field}.subnode.id")
    _check_node(node.subnode, f"{field}.subnode", ids, {*inputs, ITEM})


def _check_pointer(pointer: str | None, field: str) -> None:
    if pointer is not None and not _POINTER.fullmatch(pointer):
        raise must_be(field, "a JSON Pointer, empty or starting with '/'", pointer)


def _known(name: str, ids: Collection[str], who: str, field: str) -> None:
    if name not in ids:
        raise refuse(f"{who} refers to {name!r}, which isn't a node; the nodes are {_listed(ids)}", field)


def _listed(names: Iterable[str]) -> str:
    first, *rest = sorted(names)[:9] or ["(none)"]
    return ", ".join([first, *rest[:7], *(["..."] if len(rest) > 7 else [])])


def _check_cycles(nodes: Sequence[AnyNode]) -> None:
    ids = {node.id: place for place, node in enumerate(nodes)}
    graph = TopologicalSorter({node.id: waits_for(node, ids) for node in nodes})
    try:
        graph.prepare()
    except CycleError as error:
        around: list[str] = error.args[1]
        raise refuse(
            f"node {around[-1]!r} waits for itself: {' -> '.join(around)}; remove one of these edges",
            f"nodes[{ids[around[-1]]}].depends_on",
        ) from None
