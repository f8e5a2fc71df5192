"""Find the lines of a block that can hold an event of the needed types. The others need not be decoded.

A line is passed over only if no JSON reader could find one of the types in it. A string that reads as
``node_llm_call`` is written so, between quotes, or it has an escape, ``\\u`` and four digits, for at least
one of its letters. So a line is a candidate if it has the name in quotes, or an escaped letter anywhere. Text
that happens to have one makes a candidate too, which is decoded and then found to be of another type. Where
several types of the run itself are needed, a candidate must also have their required field ``plan_hash``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from io import BytesIO
from typing import NamedTuple

from rxruns.events import PlanEvent, RunEvent

__all__ = ["Lines", "all_lines", "candidates"]

# Of the letters a to z and of "_", the alphabet of type names. One literal prefix makes the search
# fast: `re` looks for it in a loop of C.
_ESCAPED_LETTER = re.compile(rb"\\u00(?:5[fF]|6[1-9a-fA-F]|7[0-9aA])")

_FIELD_OF_RUNS = b'"plan_hash"'


class Lines(NamedTuple):
    """Lines of a block, some with their newlines, and where each begins; None: they are all its lines."""

    lines: list[bytes]
    starts: list[int] | None = None

    def start(self, index: int) -> int:
        """Return the offset of a line in its block."""
        return sum(map(len, self.lines[:index])) if self.starts is None else self.starts[index]


Search = Callable[[bytearray, int], Lines]


def all_lines() -> Search:
    """A function that finds every line.

    It keeps the memory that it copies a block to: in a worker of Dask, whose allocator gives back what is
    free, fresh memory for each block would take an eighth of the time.

    >>> all_lines()(bytearray(b'{}\\n[]\\n'), 6).start(1)
    3
    """
    copy = BytesIO()

    def search(data: bytearray, end: int) -> Lines:
        copy.seek(0)
        with memoryview(data) as view, view[:end] as block:
            copy.write(block)
        copy.truncate()
        copy.seek(0)
        return Lines(copy.readlines())

    return search


def candidates(types: Iterable[type[RunEvent]]) -> Search:
    """A function that finds the lines which can hold an event of one of the types.

    >>> from rxruns.events import NodeFailed
    >>> log = b'{"type":"run_started"}\\n{"type": "node_failed"}\\n{"type":"node\\\\u005ffailed"}\\n'
    >>> candidates([NodeFailed])(bytearray(log), len(log)).starts
    [23, 47]
    """
    types = list(types)
    of_runs = [known for known in types if issubclass(known, PlanEvent)]
    alone = [known for known in types if len(of_runs) < 2 or known not in of_runs]
    names = [_quoted(known) for known in alone]
    names_of_runs = [_quoted(known) for known in types if known not in alone]

    def search(data: bytearray, end: int) -> Lines:
        escaped = (match.start() for match in _ESCAPED_LETTER.finditer(data, 0, end))
        found = [_positions(name, data, end) for name in names]
        if names_of_runs:
            found.append(_positions_of_runs(names_of_runs, data, end))
        places = list(_lines_at(data, end, merge(escaped, *found)))
        return Lines([bytes(data[start:stop]) for start, stop in places], [start for start, _ in places])

    return search


def _quoted(known: type[RunEvent]) -> bytes:
    return f'"{known.type}"'.encode()


def _positions(name: bytes, data: bytearray, end: int) -> Iterator[int]:
    """Find the name. A search for each name is faster than one for all of them: `find` is C."""
    at = data.find(name, 0, end)
    while at >= 0:
        yield at
        at = data.find(name, at + len(name), end)


def _positions_of_runs(names: list[bytes], data: bytearray, end: int) -> Iterator[int]:
    """Find events of the run itself by the field that each of them must have, then by their names.

    Few other events have that field, so this takes as long as the search for one name.
    """
    at = data.find(_FIELD_OF_RUNS, 0, end)
    while at >= 0:
        start, stop = _line_around(data, at, end)
        if any(data.find(name, start, stop) >= 0 for name in names):
            yield at
        at = data.find(_FIELD_OF_RUNS, stop, end)


def _lines_at(data: bytearray, end: int, positions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Start and end of the lines that the positions are in, each once; positions in ascending order."""
    stop = -1
    for position in positions:
        if position > stop:
            start, stop = _line_around(data, position, end)
            yield start, stop


def _line_around(data: bytearray, position: int, end: int) -> tuple[int, int]:
    stop = data.find(b"\n", position, end)
    return data.rfind(b"\n", 0, position) + 1, end if stop < 0 else stop
