"""JSON written by hand: strict, limited, and with the position of each value."""

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

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|-?\w[\w.+-]*')


def load(text: str) -> tuple[Any, Locate]:
    """Return the value of a document, and a function that finds the position of a path in it.

    Raises:
        Problem: it is not JSON, has a duplicate key, or exceeds a limit.
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
    """Yield the path and the position of each value; a member has the position of its key.

    Raises:
        Problem: for documents that Python's decoder accepts although they are not JSON.
    """
    path: list[Step] = []  # the current step in each open container
    keys: list[dict[str, int] | None] = []  # the positions of the keys of each open object; None for an array
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
    """Raise `Problem` if a value exceeds a limit."""
    if token in "[{" and depth >= MAX_DEPTH:
        raise Problem(TOO_DEEP, place)
    if token in ("NaN", "Infinity", "-Infinity"):
        raise Problem(f"{token} is not a number in JSON", place)
    if token[0] in "-0123456789":
        check_length(token, place)
        check_number(json.loads(token), token, place)
