"""One response on its connection: the place where bytes are sent, held back or cut."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Literal
from uuid import uuid4

import msgspec

from rxruns._loopback._refusal import Refusal

__all__ = ["NDJSON", "Answered", "Cut", "Ending", "Gone", "Wire", "chunk", "head_of"]

NDJSON = "application/x-ndjson"

Ending = Literal["rst", "fin", "chunk", "end"]
"""The end of a body: reset; closed without the last chunk; closed inside a chunk; cleanly."""

_RESET = struct.pack("ii", 1, 0)


class Gone(Exception):
    """The client hung up, or the server is closing."""


class Answered(Exception):
    """A whole response was sent."""


class Cut(Exception):
    """The response ends here, in the given way."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending: Ending = ending


class Wire:
    """One response. Another thread calls :meth:`leave` when the client hung up.

    Args:
        connection: the server's end.
        closing: set when the server is closed.
        chunked: False for a client that doesn't understand chunks, as of HTTP/1.0.
        keep_open: False to close the connection after the response.
        bodiless: True for the answer to a HEAD request.
        watch: starts to look for the hang-up of the client, and calls `leave` then.

    Attributes:
        request_id: of this request, for the header of that name.
        content_type: replaces the one of the response; None: unchanged.
        rewind: events to send before the first one that was requested.
        status: None until the head of the response is sent.
    """

    def __init__(
        self,
        connection: socket.socket,
        closing: threading.Event,
        *,
        chunked: bool = True,
        keep_open: bool = True,
        bodiless: bool = False,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.connection: socket.socket = connection
        self.request_id: str = f"req_{uuid4().hex[:16]}"
        self.content_type: str | None = None
        self.chunked: bool = chunked
        self.rewind: int = 0
        self.keep_open: bool = keep_open
        self.status: int | None = None
        self._bodiless = bodiless
        self._closing, self._watch = closing, watch
        self._on_leave: Callable[[], None] = lambda: None
        self._gone = threading.Event()

    @property
    def gone(self) -> bool:
        """True when the response can't be finished."""
        return self._gone.is_set() or self._closing.is_set()

    def watch(self, on_leave: Callable[[], None] = lambda: None) -> None:
        """Notice from now on when the client hangs up, also while nothing is sent; call `on_leave` then."""
        self._on_leave = on_leave
        self._watch()

    def leave(self) -> None:
        """Note that the client hung up: a wait in `pause` raises Gone at once."""
        self._gone.set()
        self._on_leave()

    def pause(self, seconds: float | None) -> None:
        """Wait; None: until the client hangs up. Raises Gone when it does, once it is watched."""
        if self.gone or self._gone.wait(seconds) or self._closing.is_set():
            raise Gone

    def wait_gone(self) -> None:
        """Discard what the client sends until it hangs up, then raise Gone."""
        with suppress(OSError):
            while self.connection.recv(2**16):
                pass
        raise Gone

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the response."""
        self.send(self._head(status, headers))

    def start_body(self) -> None:
        """Send the head of an event stream."""
        headers = {"Content-Type": NDJSON, "Cache-Control": "no-store"}
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            self.keep_open = False
        self.start(200, headers)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Send pieces of the body, each as a chunk of its own, in one go."""
        if self.chunked:
            self.send(b"".join([chunk(piece) for piece in pieces if piece]))
        else:
            self.send(b"".join(pieces))

    def finish(self) -> None:
        """End the body cleanly."""
        if self.chunked:
            self.send(b"0\r\n\r\n")

    def reply(
        self,
        status: int,
        body: object,
        headers: Mapping[str, str] | None = None,
        *,
        change: Callable[[Iterator[bytes]], Iterator[bytes]] = iter,
    ) -> None:
        """Send a whole response: bytes that are JSON, or an object.

        Args:
            status: the HTTP status.
            body: the content, whose length the head names.
            headers: besides those of the content.
            change: makes the pieces that are sent of the content.
        """
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        framing = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.chunked = False
        self.start(status, framing | dict(headers or {}))
        for piece in change(iter([] if self._bodiless else [content])):
            self.send(piece)

    def refuse(self, refusal: Refusal) -> None:
        """Send the error response of a refusal."""
        self.reply(refusal.status, refusal.body(self.request_id), refusal.headers)

    def send(self, content: bytes) -> None:
        """Send bytes as they are. Raises Gone when the connection is closed."""
        try:
            self.connection.sendall(content)
        except OSError as error:
            raise Gone from error

    def end(self, ending: Ending) -> None:
        """End the response in this way. Unless it ends cleanly, the connection is closed by the caller."""
        if ending == "end" and self.chunked:
            self.finish()
            return
        self.keep_open = False
        if ending == "chunk" and self.chunked:
            self.send(b"400\r\n")
        elif ending == "rst":
            # With this option, closing the socket sends a reset instead of a FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        self.status = status
        fields = {"X-ModelRelay-Request-Id": self.request_id, **headers}
        if self.content_type is not None:
            fields["Content-Type"] = self.content_type
        if not self.keep_open:
            fields["Connection"] = "close"
        return head_of(status, fields)


def chunk(content: bytes) -> bytes:
    """Encode a chunk of a body.

    >>> chunk(b"hi")
    b'2\\r\\nhi\\r\\n'
    """
    return b"%x\r\n%b\r\n" % (len(content), content)


def head_of(status: int, headers: Mapping[str, str]) -> bytes:
    """Encode the status line and the headers of a response.

    >>> head_of(404, {"Content-Length": "0"})
    b'HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n'
    """
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
