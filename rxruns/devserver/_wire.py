"""One response on its connection: the place where bytes are sent, held back or cut."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Literal

__all__ = ["NDJSON", "Answered", "Cut", "Ending", "Gone", "Watch", "Wire"]

NDJSON = "application/x-ndjson"

Ending = Literal["rst", "fin", "chunk", "end"]
"""How a body ends: reset; closed without the last chunk; closed inside a chunk; cleanly."""

_RESET = struct.pack("ii", 1, 0)


class Gone(Exception):
    """The client hung up, or the service is being closed."""


class Answered(Exception):
    """A fault sent a whole answer of its own."""


class Cut(Exception):
    """The response ends here, in the given way."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending: Ending = ending


class Wire:
    """One response. `gone` is set by others when it can not be finished.

    Args:
        chunked: False for a client that does not know chunks, as of HTTP/1.0.
        keep_open: whether the connection may serve another request.
    """

    def __init__(
        self,
        connection: socket.socket,
        request_id: str,
        closing: threading.Event,
        *,
        chunked: bool = True,
        keep_open: bool = True,
    ) -> None:
        self.connection: socket.socket = connection
        self.request_id: str = request_id
        self.content_type: str | None = None
        self.chunked: bool = chunked
        self.rewind = 0
        self.keep_open: bool = keep_open
        self.status: int | None = None
        self._closing = closing
        self._gone = threading.Event()

    @property
    def gone(self) -> bool:
        return self._gone.is_set() or self._closing.is_set()

    def leave(self) -> None:
        """Nobody listens any more: what waits in `pause` raises Gone at once."""
        self._gone.set()

    def pause(self, seconds: float | None) -> None:
        """Wait that many seconds, None: until the client is gone. Raises Gone when it is."""
        if self._gone.wait(seconds) or self._closing.is_set():
            raise Gone

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the response."""
        self.status = status
        head = {"X-ModelRelay-Request-Id": self.request_id, **headers}
        if self.content_type is not None:
            head["Content-Type"] = self.content_type
        if not self.keep_open:
            head["Connection"] = "close"
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in head.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

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
            self.send(b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]))
        else:
            self.send(b"".join(pieces))

    def finish(self) -> None:
        """End the body cleanly."""
        if self.chunked:
            self.send(b"0\r\n\r\n")

    def send(self, content: bytes) -> None:
        """Send bytes as they are. Raises Gone when nobody takes them."""
        try:
            self.connection.sendall(content)
        except OSError as error:
            raise Gone from error

    def end(self, ending: Ending) -> None:
        """End a response as a fault wants it. The caller closes the connection, unless it is still good."""
        if ending == "end" and self.chunked:
            self.finish()
            return
        self.keep_open = False
        if ending == "chunk" and self.chunked:
            self.send(b"400\r\n")
        elif ending == "rst":
            # With this option, closing the socket sends a reset instead of a FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Watch:
    """One thread that notices clients who hang up while nothing is sent to them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._orders: deque[tuple[socket.socket, int, Callable[[], None] | None]] = deque()
        self._thread = threading.Thread(target=self._run, name="devserver-watch", daemon=True)
        self._closed = False
        self._thread.start()

    def add(self, connection: socket.socket, on_gone: Callable[[], None]) -> None:
        """Call `on_gone` once when the other side hangs up."""
        self._order(connection, on_gone)

    def remove(self, connection: socket.socket) -> None:
        """Watch a connection no longer."""
        self._order(connection, None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake()
        self._thread.join()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _order(self, connection: socket.socket, on_gone: Callable[[], None] | None) -> None:
        self._orders.append((connection, connection.fileno(), on_gone))
        self._wake()

    def _wake(self) -> None:
        self._waker.send(b".")

    def _run(self) -> None:
        while not self._closed:
            ready = self._selector.select()
            for key, _ in ready:
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif _hung_up(key.fileobj):  # type: ignore[arg-type]
                    self._selector.unregister(key.fileobj)
                    key.data()
                else:  # the client's next request: it is there
                    self._selector.unregister(key.fileobj)
            while self._orders:
                self._obey(*self._orders.popleft())

    def _obey(self, connection: socket.socket, number: int, on_gone: Callable[[], None] | None) -> None:
        # Descriptors are used again: an old entry of that number has to go first.
        if number in self._selector.get_map():
            self._selector.unregister(number)
        if on_gone is not None:
            # It may be closed by now, or while we look: then there is nothing left to watch.
            with suppress(OSError, ValueError):
                self._selector.register(connection, selectors.EVENT_READ, on_gone)


def _hung_up(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
