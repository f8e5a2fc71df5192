"""Bytes to lines, without I/O: linear in the bytes however they are cut. At most one unfinished line is held.

Only ``\\n`` ends a line: U+2028, U+0085 and the like are text, as in JSON. A byte-order mark at the very
start is dropped.
"""

from __future__ import annotations

from io import BytesIO

BOM = b"\xef\xbb\xbf"
EXCERPT_BYTES = 800
"""Bytes kept of an over-long line. Messages quote fewer, cut after secrets were removed."""
MAX_LINE_BYTES = 16 * 2**20


class LineSplitter:
    """Split bytes into whole lines.

    Args:
        max_line_bytes: the longest line, without its newline. Of a longer one the start is returned, as soon
            as the line is known to be too long; the rest is skipped.

    Attributes:
        has_overlong: a line that :meth:`feed` returned last is the start of an over-long one.

    >>> lines = LineSplitter()
    >>> lines.feed(b'{"seq"'), lines.feed(b':1}\\n{"seq":2}\\n{"se'), lines.flush()
    ([], [b'{"seq":1}\\n', b'{"seq":2}\\n'], b'{"se')
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.has_overlong = False
        self._max = max_line_bytes
        self._mark: bytes | None = b""  # the first bytes while they may become a mark; None after them
        self._pieces: list[bytes] = []  # the unfinished line, joined once, when it ends
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in these bytes, each with its ``\\n``.

        The start of an over-long line comes without ``\\n``, at most 800 bytes of it.
        """
        if self._mark is not None:
            data = self._without_mark(data)
        self.has_overlong = False
        if self._skipping or self._size + len(data) > self._max:
            return self._feed_bounded(data)
        if data.find(b"\n") + 1 == len(data) > 0:  # one line and its end, as live events come
            return [self._finish(data)]
        lines = BytesIO(data).readlines()  # twice as fast as `bytes.split`
        rest = lines.pop() if data and not data.endswith(b"\n") else b""
        if lines and self._pieces:
            lines[0] = self._finish(lines[0])
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
        return lines

    def flush(self) -> bytes:
        """Return the bytes after the last newline; none of an over-long line."""
        mark, self._mark = self._mark, None
        return mark or self._finish(b"")

    def _without_mark(self, data: bytes) -> bytes:
        start = (self._mark or b"") + data
        if len(start) < len(BOM) and BOM.startswith(start):
            self._mark = start
            return b""
        self._mark = None
        return start.removeprefix(BOM)

    def _feed_bounded(self, data: bytes) -> list[bytes]:
        """Do the same where one of the lines may be over-long."""
        lines: list[bytes] = []
        for piece in BytesIO(data):
            is_end = piece.endswith(b"\n")
            if self._skipping:
                self._skipping = not is_end
            elif self._size + len(piece) - is_end > self._max:
                lines.append(self._finish(piece).removesuffix(b"\n")[:EXCERPT_BYTES])
                self.has_overlong, self._skipping = True, not is_end
            elif is_end:
                lines.append(self._finish(piece))
            else:
                self._pieces.append(piece)
                self._size += len(piece)
        return lines

    def _finish(self, end: bytes) -> bytes:
        if not self._pieces:
            return end
        line = b"".join((*self._pieces, end))
        self._pieces, self._size = [], 0
        return line


def may_be_cut(tail: bytes) -> bool:
    """Return whether the bytes after the last newline may be a cut record.

    That is its start, or NULs in its place, which a machine that lost its power may leave.

    >>> may_be_cut(b'{"seq":'), may_be_cut(b"\\0\\0"), may_be_cut(b"# notes")
    (True, True, False)
    """
    return tail.lstrip(b" \t\r").startswith(b"{") or not tail.strip(b"\0")
