"""The lines of a log by run and ``seq``, where the file has them in another order.

Logs that were concatenated newest first are such files. The index holds offsets and numbers, about 30 bytes a
line, and no line.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Annotated, BinaryIO
from uuid import UUID

import msgspec

from rxruns._ndjson._framing import BOM, MAX_LINE_BYTES, LineSplitter

__all__ = ["LinesBySeq", "is_ordered"]

_PIECE = 1 << 16


class _Place(msgspec.Struct):
    """The fields that order events."""

    run_id: str
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class _DeadLetter(msgspec.Struct):
    """A line that has its event inside."""

    error: dict[str, msgspec.Raw]
    event: _Place


_decode_place = msgspec.json.Decoder(_Place).decode
_decode_dead_letter = msgspec.json.Decoder(_DeadLetter).decode
_REFUSALS = (msgspec.DecodeError, ValueError, RecursionError)


@lru_cache(maxsize=1 << 12)
def _run(text: str) -> int:
    """Return the run as a number; 0 for none. To decode a UUID in each line takes twice as long."""
    try:
        return msgspec.convert(text, UUID).int
    except msgspec.ValidationError:
        return 0


def _decode(line: bytes) -> _Place:
    try:
        return _decode_place(line)
    except _REFUSALS:
        if b'"event"' not in line:
            raise
        return _decode_dead_letter(line).event


def is_ordered(chunks: Iterable[bytes]) -> bool:
    """Return whether no event in these bytes follows a later one of its run.

    >>> line = b'{"run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11","seq":%d}\\n'
    >>> is_ordered([line % 7, line % 9]), is_ordered([line % 9, line % 7])
    (True, False)
    """
    text, run, last = "", 0, 0
    lasts: dict[int, int] = {}
    for line in _lines(chunks):
        try:
            place = _decode(line)
        except _REFUSALS:
            continue
        if place.run_id != text:
            lasts[run] = last
            text, run = place.run_id, _run(place.run_id)
            last = lasts.get(run, 0)
        if place.seq < last and run:
            return False
        last = place.seq
    return True


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    splitter = LineSplitter()
    for data in chunks:
        yield from splitter.feed(data)
    yield splitter.flush()


def _place(line: bytes) -> tuple[int, int] | None:
    """Return the run, as a number, and the ``seq`` of a line; None for a line without them."""
    try:
        place = _decode(line)
    except _REFUSALS:
        return None
    run = _run(place.run_id)
    return (run, place.seq) if run else None


class LinesBySeq:
    """A file with the lines of each run sorted by ``seq``. Runs take turns as they do in the file.

    Events with the same ``seq`` follow each other. A line without a place, such as a bad one, stays behind
    the event before it. A last line that was cut stays the last.

    Args:
        file: of whole lines but for the last; it is read now, and again by :meth:`chunks`.

    >>> from io import BytesIO
    >>> line = b'{"run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11","seq":%d}\\n'
    >>> lines = LinesBySeq(BytesIO(line % 2 + line % 3 + line % 1))
    >>> b"".join(lines.chunks()) == line % 1 + line % 2 + line % 3, lines.number(1)
    (True, 3)
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._starts = array("Q")  # by line, and the end
        self._runs = array("I")  # by line, numbered from 1; 0 for a line without a place
        self._seqs = array("Q")  # by line
        self._events: list[array[int]] = [array("Q")]  # lines, by run
        self._has_cut_line = False
        self._index()
        self._order = self._sorted()

    def number(self, place: int) -> int:
        """Return the number in the file, from 1, of the line with this number in the new order."""
        return self._order[place - 1] + 1 if place <= len(self._order) else place

    def chunks(self) -> Iterator[bytes]:
        """Iterate the bytes in the new order. Neighbors are read together."""
        first = 0
        for place, line in enumerate(self._order):
            if place + 1 == len(self._order) or self._order[place + 1] != line + 1:
                yield from self._range(self._order[first], line)
                first = place + 1

    def _index(self) -> None:
        numbers: dict[int, int] = {}
        at = 0
        starts_line = True
        while piece := self._file.readline(MAX_LINE_BYTES):
            if starts_line:
                start = at + len(BOM) if at == 0 and piece.startswith(BOM) else at
                found = _place(piece[start - at :])
                run = 0 if found is None else numbers.setdefault(found[0], len(numbers) + 1)
                if run == len(self._events):
                    self._events.append(array("Q"))
                if found is not None:
                    self._events[run].append(len(self._starts))
                self._seqs.append(0 if found is None else found[1])
                self._runs.append(run)
                self._starts.append(start)
            starts_line = piece.endswith(b"\n")
            at += len(piece)
        self._starts.append(at)
        if not starts_line and not self._runs[-1]:
            self._has_cut_line = True
            self._runs.pop()

    def _sorted(self) -> array[int]:
        """Order the lines: where a ``seq`` first appeared, the next one of its run is put."""
        seq_of = self._seqs.__getitem__
        by_run = [sorted(events, key=seq_of) for events in self._events]  # of twins the first stays the first
        is_first = bytearray(len(self._runs))
        for events in by_run:
            for _, twins in groupby(events, key=seq_of):
                is_first[next(twins)] = True
        groups = [groupby(events, key=seq_of) for events in by_run]
        order = array("Q", self._placeless(0))
        for line, run in enumerate(self._runs):
            if is_first[line]:
                for event in next(groups[run])[1]:
                    order.append(event)
                    order.extend(self._placeless(event + 1))
        if self._has_cut_line:
            order.append(len(self._runs))
        return order

    def _placeless(self, line: int) -> Iterator[int]:
        """The lines without a place from this one on, up to the next event."""
        while line < len(self._runs) and not self._runs[line]:
            yield line
            line += 1

    def _range(self, first: int, last: int) -> Iterator[bytes]:
        """The bytes of lines that follow each other in the file."""
        self._file.seek(self._starts[first])
        left = self._starts[last + 1] - self._starts[first]
        piece = b""
        while left:
            piece = self._file.read(min(left, _PIECE))
            if not piece:  # the file was closed, or has been truncated
                return
            left -= len(piece)
            yield piece
        if last == len(self._starts) - 2 and not (self._has_cut_line or piece.endswith(b"\n")):
            yield b"\n"
