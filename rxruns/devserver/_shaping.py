"""The output options of an llm node: JSON that fits a schema, stop texts, the longest output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rxruns.devserver._json import decoded, is_array, is_object
from rxruns.devserver._model import Reply

__all__ = ["format_problems", "retry_problems", "schema_of", "shaped"]

_FORMATS = ("text", "json_schema")
_RETRY = {"max_attempts", "retryable_errors", "backoff_ms"}
_RETRYABLE = {"invalid_json", "truncated", "rate_limit", "timeout"}


def shaped(
    reply: Reply, node: Mapping[str, Any], make: Callable[[Mapping[str, Any]], str]
) -> tuple[Reply, str]:
    """Return the part of a reply that the node gets, and the reason to stop.

    Args:
        reply: the whole reply.
        node: an llm node.
        make: returns JSON text that fits a schema, for a reply that isn't a JSON object or array.

    >>> shaped(Reply(("one", " two", " three"), {"input_tokens": 1}), {"stop": ["th"]}, str)[0].text
    'one two '
    """
    schema = schema_of(node)
    if schema is not None and isinstance(decoded(reply.text), str):
        reply = reply.with_text(make(schema))
    reason = "end_turn"
    ends = [at for stop in node.get("stop") or () if (at := reply.text.find(stop)) >= 0]
    if ends:
        reply, reason = reply.with_text(reply.text[: min(ends)]), "stop_sequence"
    most = node.get("max_output_tokens")
    if most is not None and len(reply.tokens) > most:
        reply, reason = reply.with_text("".join(reply.tokens[:most])), "max_tokens"
    return reply, reason


def schema_of(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON Schema for the text of a node, from either form; None for any text."""
    form: Mapping[str, Any] = node.get("output_format") or {}
    if form.get("type") != "json_schema":
        return None
    described: Mapping[str, Any] = form["json_schema"]
    schema: Mapping[str, Any] = described.get("schema", described)
    return schema


def format_problems(form: object) -> dict[str, str]:
    """Return messages about a wrong ``output_format``, by field; ``""`` is the whole."""
    if not is_object(form):
        return {"": "expected an object"}
    wrong = {name: f"{name!r} is not known here" for name in sorted(form.keys() - {"type", "json_schema"})}
    if form.get("type") not in _FORMATS:
        wrong["type"] = f"expected one of {', '.join(_FORMATS)}"
    described = form.get("json_schema")
    is_schema = is_object(described) and is_object(described.get("schema", described))
    if (form.get("type") == "json_schema" or described is not None) and not is_schema:
        wrong["json_schema"] = "expected an object with a JSON Schema"
    return wrong


def retry_problems(retry: object) -> dict[str, str]:
    """Return messages about a wrong ``retry``, by field; ``""`` is the whole."""
    if not is_object(retry):
        return {"": "expected an object"}
    wrong = {name: f"{name!r} is not known here" for name in sorted(retry.keys() - _RETRY)}
    for name, least, absent in (("max_attempts", 1, None), ("backoff_ms", 0, 0)):
        number = retry.get(name, absent)
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            wrong[name] = f"expected a whole number from {least}, got {number!r}"
    errors: object = retry.get("retryable_errors", [])
    if not is_array(errors) or not all(isinstance(error, str) and error in _RETRYABLE for error in errors):
        wrong["retryable_errors"] = f"expected a list of {', '.join(sorted(_RETRYABLE))}"
    return wrong
