"""The tools of an llm node: names, and the service's tool objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

__all__ = ["ToolDefinitions", "tool_problem"]

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_LONGEST_NAME = 128
_BUILT_IN = ("web", "x_search", "code_execution", "image_generation")


@runtime_checkable
class ToolDefinitions(Protocol):
    """An object that defines tools, such as :class:`rxruns.tools.Tools`."""

    def definitions(self) -> Sequence[Mapping[str, Any]]:
        """Return the service's tool objects."""
        ...


def tool_problem(tool: object) -> str | None:
    """Return the mistake of a tool, a name or a tool object of the service; None if it is valid.

    >>> tool_problem("get_weather"), tool_problem({"type": "web"})
    (None, None)
    >>> tool_problem({"name": "add", "parameters": {}})
    'a tool object must be {"type": "function", "function": {"name": "add", ...}}, got {"name", "parameters"}'
    """
    if isinstance(tool, str):
        return _name_problem(tool)
    if not isinstance(tool, Mapping):
        return f"a tool must be a name or a tool object, got {tool!r}"
    record = cast("Mapping[str, Any]", tool)
    kind = record.get("type")
    if kind in _BUILT_IN:
        return _unknown(record, kind) or _built_in_problem(kind, record.get(kind, {}))
    if kind != "function" or not isinstance(record.get("function"), Mapping):
        return _form_problem(record)
    return _unknown(record, kind) or _function_problem(record["function"])


def _name_problem(name: object) -> str | None:
    if isinstance(name, str) and len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
        return None
    return (
        "a tool's name must be lower-case letters, digits and underscores, in parts that begin with a letter "
        f"and are separated by dots (fs.search), at most {_LONGEST_NAME} characters, got {name!r}"
    )


def _form_problem(record: Mapping[str, Any]) -> str:
    if record.get("type", "function") != "function":
        known = ", ".join(f'"{kind}"' for kind in ("function", *_BUILT_IN))
        return f"a tool object's type must be one of {known}, got {record['type']!r}"
    keys = ", ".join(f'"{key}"' for key in record)
    name = record.get("name", "...")
    form = f'{{"type": "function", "function": {{"name": "{name}", ...}}}}'
    return f"a tool object must be {form}, got {{{keys}}}"


def _unknown(record: Mapping[str, Any], kind: str) -> str | None:
    for key in record:
        if key not in ("type", kind):
            return (
                f'a tool object of type "{kind}" must have its settings under "{kind}", got "{key}" beside it'
            )
    return None


def _function_problem(function: Mapping[str, Any]) -> str | None:
    if not isinstance(function.get("description", ""), str):
        return f"a tool's description must be text, got {function['description']!r}"
    if not isinstance(function.get("parameters", {}), Mapping):
        return f"a tool's parameters must be a JSON Schema, an object, got {function['parameters']!r}"
    return _name_problem(function.get("name"))


def _built_in_problem(kind: str, settings: object) -> str | None:
    if not isinstance(settings, Mapping):
        return f'the settings of "{kind}" must be an object, got {settings!r}'
    named = cast("Mapping[str, Any]", settings)
    if kind == "image_generation" and named and not isinstance(named.get("model"), str):
        return 'the settings of "image_generation" must have a "model"'
    return None
