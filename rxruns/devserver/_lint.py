"""The lint of a workflow spec: JSON schemas of outputs must be closed, so that models keep to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rxruns.devserver._json import is_array, is_object
from rxruns.devserver._shaping import format_problems, schema_of
from rxruns.devserver._spec import Issue

__all__ = ["lint"]

_MOST = 1_000
"""The most schemas that are checked in one spec."""


def lint(spec: Mapping[str, Any]) -> list[Issue]:
    """Yield each object schema with open properties, and its path.

    >>> form = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {"a": {}}}}}
    >>> [issue["code"] for issue in lint({"nodes": [{"type": "llm", "output_format": form}]})]
    ['ADDITIONAL_PROPERTIES', 'PROPERTIES_NOT_REQUIRED']
    """
    return [issue for path, node in _llm_nodes(spec) for issue in _node_issues(path, node)]


def _llm_nodes(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    nodes = spec.get("nodes")
    for place, node in enumerate(nodes if is_array(nodes) else ()):
        for path, found in ((f"$.nodes[{place}]", node), (f"$.nodes[{place}].subnode", _subnode(node))):
            if is_object(found) and not format_problems(found.get("output_format", {"type": "text"})):
                yield f"{path}.output_format.json_schema", found


def _subnode(node: object) -> object:
    return node.get("subnode") if is_object(node) else None


def _node_issues(path: str, node: Mapping[str, Any]) -> Iterator[Issue]:
    pending: list[tuple[str, Any]] = [(path, schema_of(node))]
    for _ in range(_MOST):
        if not pending:
            return
        place, schema = pending.pop(0)
        if not is_object(schema):
            continue
        properties = schema.get("properties")
        if is_object(properties):
            yield from _object_issues(place, schema, properties)
            pending += [(f"{place}.properties.{name}", inner) for name, inner in properties.items()]
        pending.append((f"{place}.items", schema.get("items")))


def _object_issues(place: str, schema: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[Issue]:
    if schema.get("additionalProperties") is not False:
        message = "an object needs additionalProperties: false"
        yield {"code": "ADDITIONAL_PROPERTIES", "path": place, "message": message}
    required = schema.get("required")
    missing = [name for name in properties if name not in (required if is_array(required) else ())]
    if missing:
        message = f"each property must be required: {', '.join(missing)}"
        yield {"code": "PROPERTIES_NOT_REQUIRED", "path": place, "message": message}
