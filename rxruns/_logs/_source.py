"""The bytes of a part's file: counted while they are read, decompressed, and sorted where that is needed."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, cast

from rxruns._logs._blocks import BLOCK
from rxruns._logs._order import LinesBySeq
from rxruns._logs._unpacking import Unpacker

__all__ = ["CountedFile", "OnRead", "Pieces", "Unpacked", "sorted_lines"]

OnRead = Callable[[int], object]
"""Called with the number of bytes that were read since the last call."""


class CountedFile:
    """A file that reports what is read of it, up to `size` bytes: ends of lines are looked for beyond.

    >>> from io import BytesIO
    >>> counts = []
    >>> file = CountedFile(BytesIO(b"{}\\n"), 3, counts.append)
    >>> file.read(2), file.read(5), counts
    (b'{}', b'\\n', [2, 1])
    """

    def __init__(self, file: Any, size: int, on_read: OnRead) -> None:
        self._file, self._left, self._on_read = file, size, on_read

    def seek(self, offset: int, /) -> int:
        return int(self._file.seek(offset))

    def read(self, size: int, /) -> bytes:
        data: bytes = self._file.read(size)
        self._report(len(data))
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        count = int(self._file.readinto(buffer))
        self._report(count)
        return count

    def _report(self, count: int) -> None:
        count = min(count, self._left)
        self._left -= count
        if count:
            self._on_read(count)


class Pieces:
    """Pieces of bytes, read as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer, but at the end."""
        filled = 0
        while filled < len(buffer):
            self._rest = self._rest or memoryview(next(self._pieces, b""))
            if not self._rest:
                break
            piece, self._rest = self._rest[: len(buffer) - filled], self._rest[len(buffer) - filled :]
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def read(self, size: int, /) -> bytes:
        data = bytearray(size)
        with memoryview(data) as view:
            return bytes(data[: self.readinto(view)])


class Unpacked(Pieces):
    """The plain bytes of a compressed file, read as a file."""

    def __init__(self, file: Any) -> None:
        self.unpacker = Unpacker(iter(partial(file.read, BLOCK), b""))
        super().__init__(iter(self.unpacker))


class _Start(io.RawIOBase):
    """The first `size` bytes of a file: a log may grow while it is read."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._size, self._at = file, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset if whence == os.SEEK_SET else self._at + offset
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        self._file.seek(self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def sorted_lines(file: Any, size: int, is_compressed: bool) -> Generator[Pieces]:
    """The lines of a file, those of each run in ``seq`` order. A compressed file is unpacked to the disk."""
    if not is_compressed:
        yield Pieces(LinesBySeq(io.BufferedReader(_Start(file, size), BLOCK)).chunks())
        return
    with cast(BinaryIO, tempfile.TemporaryFile()) as plain:
        for piece in Unpacker(iter(partial(file.read, BLOCK), b"")):
            plain.write(piece)
        plain.seek(0)
        yield Pieces(LinesBySeq(plain).chunks())
