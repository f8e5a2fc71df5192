"""Limits of the values in a JSON or YAML document."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from rxruns._display._text import clipped

MAX_DEPTH = 100
"""The deepest nesting of objects and arrays."""

TOO_DEEP = f"objects and arrays are nested more than {MAX_DEPTH} deep"

_MAX_DIGITS = 400
_SHOWN = 40

Step: TypeAlias = str | int
"""A key of an object, or an index of an array."""

Locate: TypeAlias = Callable[[Sequence[Step]], int]
"""Finds the position of the value at a path, or of the deepest value on the path."""


class Problem(Exception):
    """An error in a document, and its position: `place` counts characters from 0."""

    def __init__(self, what: str, place: int) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


def check_length(text: str, place: int) -> None:
    """Raise `Problem` for a number with too many digits, which would take long to parse."""
    if len(text) > _MAX_DIGITS:
        raise Problem(f"a number must have at most {_MAX_DIGITS} digits, got {len(text):,}", place)


def check_number(value: float, text: str, place: int) -> None:
    """Raise `Problem` for an integer of more than 64 bits, or a number that is not finite."""
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise Problem(f"an integer must fit into 64 bits, got {clipped(text, _SHOWN)}", place)
    elif not math.isfinite(value):
        raise Problem(f"a number must be finite, got {clipped(text, _SHOWN)}", place)


def twice(key: str, text: str, first: int, again: int) -> Problem:
    """Return the error of a duplicate key."""
    line = text.count("\n", 0, first) + 1
    return Problem(f"the key {clipped(key, _SHOWN)!r} is duplicate, first in line {line}", again)
