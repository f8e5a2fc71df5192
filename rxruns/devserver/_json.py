"""JSON inside of texts, and what decoded JSON is, for the type checkers."""

from __future__ import annotations

from typing import Any, TypeGuard

import msgspec

__all__ = ["decoded", "is_array", "is_object"]


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a decoded value was a JSON object.

    >>> is_object({}), is_object([])
    (True, False)
    """
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a decoded value was a JSON array.

    >>> is_array([]), is_array("text")
    (True, False)
    """
    return isinstance(value, list)


def decoded(value: Any) -> Any:
    """The object or array that a text is as JSON; anything else as it is.

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
