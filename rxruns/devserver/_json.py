"""What decoded JSON is, told to the type checkers."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ["is_array", "is_object"]


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
