"""Predicates of joins, which select among the nodes that ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rxruns.devserver._json import decoded, is_array, is_object

__all__ = ["fulfils", "predicate_problems"]

_STEP = re.compile(r"""\.([A-Za-z_][\w-]*)|\[(\d{1,9})\]|\['([^'\\]*)'\]|\["([^"\\]*)"\]""")
_FIELDS = {"source", "op", "path", "value"}
_SOURCES = ("node_output", "node_status")
_OPS = ("equals", "matches", "exists")


def fulfils(predicate: Mapping[str, Any] | None, output: Any) -> bool:
    """Return True if a node that succeeded with this output fulfils a predicate; None: it does.

    >>> wanted = {"source": "node_output", "op": "equals", "path": "$.scores[0]", "value": 1}
    >>> fulfils(wanted, '{"scores": [1]}'), fulfils(wanted, "no JSON")
    (True, False)
    """
    if predicate is None:
        return True
    subject = "succeeded" if predicate["source"] == "node_status" else output
    try:
        found = _at(subject, _steps(predicate.get("path", "$")) or ())
    except LookupError:
        return False
    value = predicate.get("value")
    match predicate["op"]:
        case "exists":
            return True
        case "equals":
            return _is_equal(found, value) or _is_equal(decoded(found), value)
        case _:
            text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
            return re.search(value, text) is not None  # type: ignore[arg-type]


def predicate_problems(predicate: object) -> dict[str, str]:
    """Return messages about a wrong predicate, by field; ``""`` is the whole.

    >>> predicate_problems({"source": "node_output", "op": "exists", "path": "$..x"})
    {'path': "expected a JSONPath of names and indexes, such as $.a[0], got '$..x'"}
    """
    if not is_object(predicate):
        return {"": "expected an object"}
    wrong = {name: f"{name!r} is not known here" for name in sorted(predicate.keys() - _FIELDS)}
    for name, known in (("source", _SOURCES), ("op", _OPS)):
        if predicate.get(name) not in known:
            wrong[name] = f"expected one of {', '.join(known)}"
    path = predicate.get("path", "$")
    if not isinstance(path, str) or _steps(path) is None:
        wrong["path"] = f"expected a JSONPath of names and indexes, such as $.a[0], got {path!r}"
    if predicate.get("op") in ("equals", "matches") and "value" not in predicate:
        wrong["value"] = "is required"
    elif predicate.get("op") == "matches" and not _is_pattern(predicate["value"]):
        wrong["value"] = "expected a regular expression"
    return wrong


def _steps(path: str) -> list[str | int] | None:
    """Parse a JSONPath of names and indexes; None for any other."""
    steps: list[str | int] = []
    place = 1
    while place < len(path):
        found = _STEP.match(path, place)
        if found is None:
            return None
        steps.append(int(found[2]) if found[2] else next(part for part in found.groups() if part is not None))
        place = found.end()
    return steps if path.startswith("$") else None


def _at(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        value = decoded(value)
        fits = is_array(value) if isinstance(step, int) else is_object(value)
        if not fits:
            raise LookupError(step)
        value = value[step]
    return value


def _is_equal(found: Any, value: Any) -> bool:
    return bool(found == value) and isinstance(found, bool) == isinstance(value, bool)


def _is_pattern(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except re.error:
        return False
    return True
