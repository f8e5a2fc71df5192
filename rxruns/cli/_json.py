"""JSON that people write: strict, bounded, and with the place of each value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from rxruns.cli._values import (
    MAX_DEPTH,
    TOO_DEEP,
    Locate,
    Problem,
    Step,
    check_length,
    check_number,
    twice,
)

__all__ = ["load"]

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|-?\w[\w.+-]*')


def load(text: str) -> tuple[Any, Locate]:
    """The value of a document, and what finds a place in it.

    Raises:
        Problem: it is not JSON, has a key twice, or is beyond one of the bounds.
    """
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)  # no number is read yet
    except json.JSONDecodeError as error:
        raise Problem(error.msg, error.pos) from error
    except RecursionError as error:
        raise Problem(TOO_DEEP, 0) from error
    for _ in _values(text):
        pass
    return json.loads(text), lambda path: _locate(text, path)


def _locate(text: str, path: Sequence[Step]) -> int:
    longest, found = -1, 0
    for at, place in _values(text):
        if len(at) > longest and at == list(path[: len(at)]):
            longest, found = len(at), place
    return found


def _values(text: str) -> Iterator[tuple[list[Step], int]]:
    """Each value's path and place; a member's is that of its key. The text is known to be JSON.

    Raises:
        Problem: for what Python's decoder lets pass.
    """
    path: list[Step] = []  # in each open container the last step
    keys: list[dict[str, int] | None] = []  # of each open object the places of its keys; None for an array
    before = ""
    for found in _TOKEN.finditer(text):
        token, place = found[0], found.start()
        inside = keys[-1] if keys else None
        if token in "]}":
            del path[-1], keys[-1]
        elif token == ",":
            if inside is None:
                path[-1] = int(path[-1]) + 1
        elif inside is not None and before in ("{", ","):
            key = json.loads(token)
            if key in inside:
                raise twice(key, text, inside[key], place)
            inside[key], path[-1] = place, key
        elif token != ":":
            _check(token, place, len(keys))
            yield path, place if inside is None else inside[str(path[-1])]
            if token in "[{":
                path.append(0 if token == "[" else "")
                keys.append(None if token == "[" else {})
        before = token


def _check(token: str, place: int, depth: int) -> None:
    """Refuse a value that goes beyond a bound."""
    if token in "[{" and depth >= MAX_DEPTH:
        raise Problem(TOO_DEEP, place)
    if token in ("NaN", "Infinity", "-Infinity"):
        raise Problem(f"{token} is not a number in JSON", place)
    if token[0] in "-0123456789":
        check_length(token, place)
        check_number(json.loads(token), token, place)
