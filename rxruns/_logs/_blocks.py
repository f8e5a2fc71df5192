"""A byte range of a log as blocks of whole lines.

A range owns the lines that begin in it, so that ranges side by side have each line once, wherever they meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from rxruns._ndjson._framing import BOM, EXCERPT_BYTES, MAX_LINE_BYTES

__all__ = ["BLOCK", "Block", "Readable", "Seekable", "blocks", "line_boundary"]

BLOCK = 1 << 20
"""Bytes that are read at once: few enough to stay in the processor's cache while they are searched."""

_SEARCHED = 1 << 16


class Readable(Protocol):
    """A file to read."""

    def read(self, size: int, /) -> bytes: ...

    def readinto(self, buffer: memoryview, /) -> int: ...


class Seekable(Readable, Protocol):
    """A file to read in parts."""

    def seek(self, offset: int, /) -> int: ...


class Block(NamedTuple):
    """Lines, each with its newline but perhaps the last one of a file. The next block overwrites it.

    Attributes:
        offset: of the first line in the file.
        data: begins with the lines.
        end: where in `data` they end.
        overlong: it is the start of a line that is longer than a line may be.
    """

    offset: int
    data: bytearray
    end: int
    overlong: bool = False


def line_boundary(file: Seekable, offset: int, size: int) -> int:
    """Return the offset of the first line that begins at `offset` or behind it; `size` if no line does."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    return min(size, _after_newline(file, offset - 1)[0])


def blocks(file: Readable, begin: int = 0, end: int | None = None) -> Iterator[Block]:
    """Iterate the lines between two boundaries; `end` None: to the end of the file.

    The file's position must be `begin`. Only the start of a line at the end of a block is copied, and all
    blocks share one buffer: fresh memory for each takes as long as the search in it.
    """
    buffer, filled, at = bytearray(BLOCK), 0, begin
    while count := _read(file, buffer, filled, None if end is None else end - at - filled):
        filled += count
        if at == 0 and buffer.startswith(BOM):
            filled, at = _dropped(buffer, filled, len(BOM)), len(BOM)
        whole = buffer.rfind(b"\n", 0, filled) + 1
        if filled > MAX_LINE_BYTES and buffer.find(b"\n", 0, MAX_LINE_BYTES + 1) < 0:
            yield Block(at, buffer, EXCERPT_BYTES, overlong=True)
            whole = buffer.find(b"\n", 0, filled) + 1
            if not whole:
                at, rest = _after_newline(file, at + filled)
                filled = len(rest)
                buffer[:filled] = rest
        elif whole:
            yield Block(at, buffer, whole)
        filled, at = _dropped(buffer, filled, whole), at + whole
    yield from _last(buffer, filled, at)


def _last(buffer: bytearray, filled: int, at: int) -> Iterator[Block]:
    """The rest at the end: whole lines may follow one that was too long."""
    whole = buffer.rfind(b"\n", 0, filled) + 1
    if whole:
        yield Block(at, buffer, whole)
    filled = _dropped(buffer, filled, whole)
    if filled:
        yield Block(at + whole, buffer, filled)


def _dropped(buffer: bytearray, filled: int, count: int) -> int:
    """Drop bytes at the start, move the others there, and return their number."""
    left = filled - count
    buffer[:left] = buffer[count:filled]
    return left


def _read(file: Readable, buffer: bytearray, filled: int, wanted: int | None) -> int:
    """Append to the buffer, which grows if it is full. Return the number of bytes, 0 at the end."""
    if filled == len(buffer):
        buffer.extend(bytes(filled))
    room = min(
        BLOCK, len(buffer) - filled
    )  # never more: of the lines in there, only the first can be too long
    room = room if wanted is None else max(0, min(room, wanted))
    with memoryview(buffer) as view, view[filled : filled + room] as free:
        return file.readinto(free) if room else 0


def _after_newline(file: Readable, at: int) -> tuple[int, bytes]:
    """Read to the next newline. Return the offset of the line behind it, and its bytes that were read."""
    while searched := file.read(_SEARCHED):
        found = searched.find(b"\n") + 1
        if found:
            return at + found, searched[found:]
        at += len(searched)
    return at, b""
