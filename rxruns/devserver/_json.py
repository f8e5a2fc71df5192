"""JSON inside texts, and the types of decoded JSON for type checkers."""

from __future__ import annotations

from typing import Any, TypeGuard

import msgspec

__all__ = ["decoded", "is_array", "is_object"]


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return True for a decoded JSON object.

    >>> is_object({}), is_object([])
    (True, False)
    """
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Return True for a decoded JSON array.

    >>> is_array([]), is_array("text")
    (True, False)
    """
    return isinstance(value, list)


def decoded(value: Any) -> Any:
    """Decode a text that is a JSON object or array; return anything else unchanged.

    >>> decoded("[1]"), decoded("1"), decoded("hi")
    ([1], '1', 'hi')
    """
    if not isinstance(value, str):
        return value
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
    return found if is_object(found) or is_array(found) else value
