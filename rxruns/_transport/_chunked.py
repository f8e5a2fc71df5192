"""The chunked transfer coding (RFC 9112, section 7.1): all received chunks at once.

http.client and urllib3 return one chunk a call, which costs several calls an event if a service sends each
event in its own chunk.
"""

from __future__ import annotations

import http.client

_LONGEST_LINE = 64 * 2**10
_LARGE = 2**10
"""Size in bytes from which a view of a chunk is cheaper than a copy."""


class Chunks:
    """A decoder of chunks, without I/O.

    Attributes:
        ended: True after the last chunk and its trailer. Bytes after them are ignored.

    >>> chunks = Chunks()
    >>> chunks.feed(b"5\\r\\n[1,2,\\r\\n4\\r\\n3,"), chunks.ended
    (b'[1,2,3,', False)
    >>> chunks.feed(b"4]\\r\\n0\\r\\n\\r\\n"), chunks.ended
    (b'4]', True)
    """

    def __init__(self) -> None:
        self.ended = False
        self._unread = b""
        self._left = 0  # of the current chunk, including the two bytes that close it
        self._in_trailer = False

    def feed(self, received: bytes) -> bytes:
        """Decode received bytes, and return their content.

        Raises:
            http.client.HTTPException: the bytes are not chunks.
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
                    raise http.client.HTTPException("a chunk is longer than its size")
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
