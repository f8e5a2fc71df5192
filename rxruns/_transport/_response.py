"""http.client's response, which skips interim responses and returns chunks as soon as they arrive."""

from __future__ import annotations

import http.client
from email.message import Message
from typing import TYPE_CHECKING

from rxruns._transport._chunked import Chunks

__all__ = ["PromptResponse", "UnsupportedFraming"]

MAX_INTERIM = 100
"""1xx responses before the final one."""

_MAX_HEADER_BYTES = 64 * 2**10

if TYPE_CHECKING:

    class _Response(http.client.HTTPResponse):
        """Attributes that typeshed lacks."""

        chunk_left: int | None
        will_close: bool

        def _read_status(self) -> tuple[str, int, str]: ...
        def _check_close(self) -> bool: ...

else:
    _Response = http.client.HTTPResponse


class UnsupportedFraming(http.client.HTTPException):
    """A ``Transfer-Encoding`` that can't be read. A retry wouldn't help."""


class PromptResponse(_Response):
    """A response whose :meth:`read1` returns all received chunks. Don't mix it with other reads."""

    _chunks: Chunks | None = None

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final response, or of 101, which ends HTTP on this connection.

        http.client skips only 100. Any other 1xx would count as the response, and the response itself as
        that of the next request on the connection.
        """
        for _ in range(MAX_INTERIM + 1):
            version, status, reason = super()._read_status()
            if not 100 <= status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            self._skip_headers()
        raise http.client.HTTPException(f"more than {MAX_INTERIM} interim responses (1xx) in a row")

    def _skip_headers(self) -> None:
        size = 0
        while (line := self.fp.readline(_MAX_HEADER_BYTES + 1)) not in (b"\r\n", b"\n", b""):
            size += len(line)
            if size > _MAX_HEADER_BYTES:
                raise http.client.LineTooLong("header of an interim response")

    def begin(self) -> None:
        """Read the status line and the headers.

        Raises:
            UnsupportedFraming: ``Transfer-Encoding`` isn't ``chunked``.
        """
        if self.headers is not None:  # pyright: ignore[reportUnnecessaryComparison] -- None before this
            return
        super().begin()
        # urllib3 would log lines that aren't headers, and these may quote a key.
        self.headers.defects.clear()
        if self.headers.is_multipart() or self.headers.get_payload():
            self.headers.set_payload(None)
        codings = _transfer_codings(self.headers)
        if codings and not self.chunked:
            self._use_chunks()

    def _use_chunks(self) -> None:
        """Read chunks although http.client doesn't understand the spelling of the header."""
        del self.headers["Transfer-Encoding"]
        self.headers["Transfer-Encoding"] = "chunked"
        self.chunked, self.chunk_left, self.length = True, None, None
        self.will_close = self._check_close()

    def read1(self, n: int = -1) -> bytes:
        """Return content as soon as there is some; ``b""`` at the end.

        Raises:
            http.client.IncompleteRead: the connection ended before the body did.
        """
        if not self.chunked or self.fp is None:  # pyright: ignore[reportUnnecessaryComparison]
            return super().read1(n)
        chunks = self._chunks = self._chunks or Chunks()
        content = b""
        while not content and not chunks.ended:
            received = self.fp.read1(n)
            if not received:
                raise http.client.IncompleteRead(b"")
            content = chunks.feed(received)
        if chunks.ended:
            self.close()
        return content


def _transfer_codings(headers: Message) -> list[str]:
    """Return the transfer codings of a response: ``["chunked"]``, or none.

    Blanks around names and ``identity``, which some gateways add, are ignored.
    """
    sent = ",".join(headers.get_all("Transfer-Encoding", []))
    codings = [coding for name in sent.split(",") if (coding := name.strip().lower()) not in ("", "identity")]
    if codings not in ([], ["chunked"]):
        raise UnsupportedFraming(f"the response's Transfer-Encoding must be chunked, got {sent!r}")
    return codings
