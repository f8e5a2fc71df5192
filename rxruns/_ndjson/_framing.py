"""Bytes to lines, without I/O.

Linear in the bytes, whatever the pieces: a piece is split once, and what a line collects over many pieces is
joined once. At most one line and one piece are held.

The lines of a piece are cut by :class:`io.BytesIO`, which finds newlines faster than ``bytes.split``, and
given by a list's own iterator, so that a line costs no step of a generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from operator import length_hint

BOM = b"\xef\xbb\xbf"
EXCERPT_BYTES = 800
"""Of an over-long line: what is shown of it is cut after secrets were removed."""
MAX_LINE_BYTES = 16 * 2**20

OnOverlong = Callable[[int, bytes], None]


def ignore_overlong(number: int, excerpt: bytes) -> None:
    """Skip an over-long line without a word."""


class Lines:
    """Iterate the whole lines of `chunks`, each without its ``\\n`` (a ``\\r`` stays: JSON allows it).

    Only ``\\n`` ends a line: U+2028, U+0085 and the like are text, as JSON wants it. A byte-order mark at
    the very start is stripped.

    Args:
        chunks: the bytes, cut anywhere. An exception of theirs passes through.
        max_line_bytes: the longest line, without its newline.
        on_overlong: called with the number and the first 800 bytes of a longer line, as soon as it is known
            to be too long; it may raise. The line is skipped to its newline and ``b""`` stands in its place.

    Attributes:
        number: of the line that was given last, from 1; 0 before the first.
        tail: after the end, the bytes after the last newline.

    >>> lines = Lines([b'{"seq"', b':1}\\n{"seq":2}\\n{"se'])
    >>> list(lines), lines.number, lines.tail
    ([b'{"seq":1}', b'{"seq":2}'], 2, b'{"se')
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        max_line_bytes: int = MAX_LINE_BYTES,
        on_overlong: OnOverlong = ignore_overlong,
    ) -> None:
        self.tail = b""
        self._max = max_line_bytes
        self._on_overlong = on_overlong
        self._pieces: list[bytes] = []  # of the line that is not whole yet
        self._size = 0
        self._skipping = False
        self._found = 0  # lines
        self._whole: Iterator[bytes] = iter(())  # those of them that are still to be given one by one
        self._batches = self._find(_without_bom(chunks))
        self._iterator = map(without_newline, chain.from_iterable(map(self._give, self._batches)))

    @property
    def number(self) -> int:
        return self._found - length_hint(self._whole)

    def __iter__(self) -> Iterator[bytes]:
        return self._iterator

    def batches(self) -> Iterator[list[bytes]]:
        """Iterate the lines that came together, a list at a time: ``number`` is that of its last one.

        They may have their ``\\n`` still: to JSON it is blank.
        """
        return self._batches

    def _find(self, chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
        for chunk in chunks:
            lines = BytesIO(chunk).readlines()
            rest = lines.pop() if lines and not chunk.endswith(b"\n") else b""
            if self._skipping or self._size + len(chunk) > self._max:
                for line in lines:  # any of them may be too long: what came before has to be given first
                    self._keep(without_newline(line))
                    self._found += 1
                    yield [self._take()]
            elif lines:
                if self._pieces:
                    self._keep(lines[0])
                    lines[0] = self._take()
                self._found += len(lines)
                yield lines
            del lines  # not kept until more comes
            if rest:
                self._keep(rest)
        self.tail = self._take()

    def _give(self, lines: list[bytes]) -> Iterator[bytes]:
        self._whole = iter(lines)
        return self._whole

    def _keep(self, piece: bytes) -> None:
        """Add a piece to the unfinished line, unless that is known to be too long."""
        if self._skipping or not piece:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._max:
            excerpt = b"".join(self._pieces)[:EXCERPT_BYTES]
            self._drop()
            self._skipping = True
            self._on_overlong(self.number + 1, excerpt)

    def _take(self) -> bytes:
        """Give what the unfinished line collected, and start the next one."""
        line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._drop()
        self._skipping = False
        return line

    def _drop(self) -> None:
        self._pieces = []
        self._size = 0


def may_be_cut(tail: bytes) -> bool:
    """Return whether the bytes after the last newline may be a cut record.

    That is its start, or NULs in its place, which a machine that lost its power may leave.

    >>> may_be_cut(b'{"seq":'), may_be_cut(b"\\0\\0"), may_be_cut(b"# notes")
    (True, True, False)
    """
    return tail.lstrip(b" \t\r").startswith(b"{") or not tail.strip(b"\0")


def without_newline(line: bytes) -> bytes:
    """The line without the ``\\n`` that ended it."""
    return line.removesuffix(b"\n")


def _without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    iterator = iter(chunks)
    head = b""
    for chunk in iterator:
        head += chunk
        if len(head) >= len(BOM) or not BOM.startswith(head):
            break
    yield head.removeprefix(BOM)
    yield from iterator
