"""Made-up arguments that fit a JSON Schema, as from a model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["fill"]

_DEEP = 6
"""The depth below which only required fields are filled, so that recursive schemas end."""

_BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_FORMATS = {
    "date": "2026-03-01",
    "date-time": "2026-03-01T12:00:00Z",
    "decimal": "2.50",
    "duration": "PT5M",
    "email": "ada@example.com",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "6f1ed002-ab5c-4c5e-8a0e-3b0d2f6d7c11",
}


def fill(schema: Mapping[str, Any], dice: random.Random, words: Sequence[str]) -> Any:
    """Make a value that fits a schema; texts are one of `words`.

    >>> schema = {"properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}},
    ...           "$defs": {"A": {"const": 1}}}
    >>> fill(schema, random.Random(0), ["word"])
    {'a': 1}
    """
    return _Filler(schema.get("$defs", {}), dice, words).fill(schema, 0)


class _Filler:
    def __init__(self, definitions: Mapping[str, Any], dice: random.Random, words: Sequence[str]) -> None:
        self.definitions, self.dice, self.words = definitions, dice, words

    def fill(self, schema: Mapping[str, Any], depth: int) -> Any:
        schema = self._chosen(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.dice.choice(list(schema["enum"]))
        if "default" in schema and "type" not in schema:
            return schema["default"]
        kind = schema.get("type", "object")
        match kind if isinstance(kind, str) else kind[0]:
            case "string":
                return self._text(schema)
            case "integer":
                return int(_within(schema, self.dice.randint(1, 9), 1))
            case "number":
                return _within(schema, self.dice.randint(1, 9) / 2, 0.5)
            case "boolean":
                return self.dice.random() < 0.5
            case "array":
                return self._array(schema, depth + 1)
            case "object":
                return self._object(schema, depth + 1)
            case _:
                return None

    def _chosen(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """Resolve references and choices: null only below the depth, or if it is the only choice."""
        for _ in range(_DEEP):
            choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if "$ref" in schema:
                schema = self.definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
            elif choices:
                fitting = [one for one in choices if (one.get("type") == "null") == (depth > _DEEP)]
                schema = cast("Mapping[str, Any]", (fitting or choices)[0])
        return schema

    def _text(self, schema: Mapping[str, Any]) -> str:
        if schema.get("contentEncoding") == "base64":
            return "d29yZA=="
        text = self.dice.choice(self.words)
        text = _FORMATS.get(schema.get("format", ""), text).ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength")]

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.fill(item, depth) for item in schema["prefixItems"]]
        items = schema.get("items") or {"type": "string"}
        count = max(schema.get("minItems", 0), 0 if depth > _DEEP else 1)
        return [self.fill(items, depth) for _ in range(count)]

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        fields: Mapping[str, Any] = schema.get("properties") or {}
        needed = schema.get("required", ()) if depth > _DEEP else fields
        return {name: self.fill(field, depth) for name, field in fields.items() if name in needed}


def _within(schema: Mapping[str, Any], value: float, step: float) -> float:
    """Move a value between the bounds."""
    bounds: dict[str, float] = {name: schema[name] for name in _BOUNDS if name in schema}
    value = max(value, bounds.get("minimum", value), bounds.get("exclusiveMinimum", value - step) + step)
    return min(value, bounds.get("maximum", value), bounds.get("exclusiveMaximum", value + step) - step)
