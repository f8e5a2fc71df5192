"""The chunked transfer coding (RFC 9112, section 7.1): all the chunks that came, at once.

http.client and urllib3 give one chunk a call, so that a service which sends each event in a chunk of its own
costs several calls an event.
"""

from __future__ import annotations

import http.client

_LONGEST_LINE = 64 * 2**10
_LARGE = 2**10
"""Bytes of a chunk from which to look at it takes less than to copy it."""


class Chunks:
    """Content out of chunks, without I/O.

    Attributes:
        ended: the last chunk and the trailer after it were there. What follows is not looked at.

    >>> chunks = Chunks()
    >>> chunks.feed(b"5\\r\\n[1,2,\\r\\n4\\r\\n3,"), chunks.ended
    (b'[1,2,3,', False)
    >>> chunks.feed(b"4]\\r\\n0\\r\\n\\r\\n"), chunks.ended
    (b'4]', True)
    """

    def __init__(self) -> None:
        self.ended = False
        self._unread = b""
        self._left = 0  # of the chunk that is being read, with the two bytes that close it
        self._in_trailer = False

    def feed(self, received: bytes) -> bytes:
        """Take what was received, and give the content in it.

        Raises:
            http.client.HTTPException: these are no chunks.
        """
        unread = self._unread + received if self._unread else received
        size, at = len(unread), 0
        content: list[bytes | memoryview] = []
        view = memoryview(unread)
        while not self.ended:
            if not self._left:
                end = unread.find(b"\n", at)
                if end < 0:
                    break
                self._begin(unread[at:end])
                at = end + 1
            elif size - at >= self._left:
                end = at + self._left - 2
                if unread[end : end + 2] != b"\r\n":
                    raise http.client.HTTPException("a chunk is longer than it says")
                content.append(view[at:end] if self._left > _LARGE else unread[at:end])
                at, self._left = end + 2, 0
            else:
                piece = view[at : at + self._left - 2]
                content.append(piece)
                at += len(piece)
                self._left -= len(piece)
                break
        self._unread = unread[at:]
        if len(self._unread) > _LONGEST_LINE and not self.ended:
            raise http.client.LineTooLong("chunk size")
        return b"".join(content)

    def _begin(self, line: bytes) -> None:
        """Read the line before a chunk, or one of the trailer, without its newline."""
        if self._in_trailer:
            self.ended = not line.rstrip(b"\r")
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        if size < 0:
            raise http.client.HTTPException("the size of a chunk must be a hexadecimal number")
        self._in_trailer = size == 0
        self._left = size + 2 if size else 0
