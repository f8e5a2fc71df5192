"""Accepts connections and reads the heads of requests on one thread.

What strangers send costs no thread and little memory: only a request that was admitted gets a thread.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Literal, Protocol

from rxruns.devserver._connections import Connection, Limits, Waiting
from rxruns.devserver._refusal import Refusal
from rxruns.devserver._request import MAX_BODY, MAX_HEAD, Head, head_end

__all__ = ["Handler", "Listener", "Then"]

BACKLOG = 512
PIECE = 2**16
SWEEP = 0.5
"""Seconds between two looks for connections whose time is up."""

Then = Literal["keep", "drain", "close"]
"""After an answer: wait for the next request; read what the client still sends, then close; close."""

_logger = logging.getLogger("rxruns.devserver")


class Handler(Protocol):
    """Answers requests."""

    def admit(self, connection: socket.socket, head: bytes) -> Head | None:
        """The request, if it may be served; None when it was answered. Must not wait."""
        ...

    def refuse(self, connection: socket.socket, refusal: Refusal) -> None:
        """Answer without a request. Must not wait."""
        ...

    def serve(self, connection: Connection, head: Head) -> Then:
        """Answer an admitted request, on a thread of its own."""
        ...


class Listener:
    """Listens from the start; accepts after :meth:`start`.

    Args:
        host: a name or an address, also of IPv6.
        port: 0 for a free one.

    Raises:
        OSError: the address can't be had.
    """

    _handler: Handler

    def __init__(self, host: str, port: int, limits: Limits) -> None:
        self.closing = threading.Event()
        self._limits = limits
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)  # a thread that is waited for must not wait
        for sock in (self._socket, self._woken):
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._waiting = Waiting(self._selector, limits)
        self._swept = 0.0
        self._back: deque[tuple[Connection, Then]] = deque()
        self._serving: dict[Connection, threading.Thread] = {}
        self._thread: threading.Thread | None = None

    def start(self, handler: Handler) -> None:
        """Accept connections and let `handler` answer them."""
        self._handler = handler
        self._thread = threading.Thread(target=self._run, name="devserver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Break all connections and wait for their threads."""
        self.closing.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        for connection in self._serving:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._serving.values():
            thread.join()
        self._waiting.close()
        for connection, _ in self._back:
            connection.sock.close()
        self._selector.close()
        for sock in (self._socket, self._waker, self._woken):
            sock.close()

    # ---- on the listening thread ----

    def _run(self) -> None:
        while not self.closing.is_set():
            for key, _ in self._selector.select(SWEEP if self._waiting else None):
                if key.fileobj is self._socket:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(PIECE)
                elif key.data in self._waiting:  # it may have been closed for another one a moment ago
                    self._read(key.data)
            while self._back:
                self._take_back(*self._back.popleft())
            self._sweep()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._waiting.drop_oldest(1 + len(self._waiting) // 8)
                self.closing.wait(0.01)
            return
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting.add(Connection(sock, time.monotonic() + self._limits.head))

    def _read(self, connection: Connection) -> None:
        try:
            piece = connection.sock.recv(PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        if not piece:
            self._waiting.drop(connection)
        elif connection.undrained is not None:
            connection.undrained -= len(piece)
            if connection.undrained < 0:
                self._waiting.drop(connection)
        else:
            self._take(connection, piece)

    def _take(self, connection: Connection, piece: bytes) -> None:
        if not connection.received:
            connection.deadline = time.monotonic() + self._limits.head
        before = len(connection.received)
        self._waiting.take(connection, piece)
        if connection in self._waiting:
            self._look(connection, before)

    def _look(self, connection: Connection, start: int = 0) -> None:
        """Let a request be answered whose head is whole."""
        end = head_end(connection.received, start)
        if max(end, 0 if end else len(connection.received)) > MAX_HEAD:
            message = f"the request line and the headers may have {MAX_HEAD:,} bytes"
            self._refuse(connection, Refusal(431, "INVALID_INPUT", message))
        elif end:
            self._waiting.remove(connection)
            head = bytes(connection.received[:end])
            del connection.received[:end]
            self._begin(connection, head)

    def _begin(self, connection: Connection, content: bytes) -> None:
        try:
            head = self._handler.admit(connection.sock, content)
        except Exception:
            _logger.exception("a request failed")
            connection.sock.close()
            return
        if head is None:
            self._drain(connection)
            return
        connection.sock.setblocking(True)
        thread = threading.Thread(
            target=self._serve, args=(connection, head), name="devserver-connection", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            connection.sock.close()
        else:
            self._serving[connection] = thread

    def _refuse(self, connection: Connection, refusal: Refusal) -> None:
        self._waiting.remove(connection)
        self._handler.refuse(connection.sock, refusal)
        self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        """Read what the client still sends: a connection closed at once would be reset, its answer lost."""
        connection.received.clear()
        connection.undrained = MAX_BODY
        connection.deadline = time.monotonic() + self._limits.drain
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            connection.sock.close()
        else:
            self._waiting.add(connection)

    def _take_back(self, connection: Connection, then: Then) -> None:
        self._serving.pop(connection).join()
        if then == "drain":
            self._drain(connection)
        elif then == "keep":
            seconds = self._limits.head if connection.received else self._limits.idle
            connection.deadline = time.monotonic() + seconds
            self._waiting.add(connection)
            if connection.received and connection in self._waiting:
                self._look(connection)

    def _sweep(self) -> None:
        now = time.monotonic()
        if now < self._swept + SWEEP:
            return
        self._swept = now
        for connection in self._waiting.overdue(now):
            if connection.received and connection.undrained is None:
                message = f"the head of the request was not whole after {self._limits.head:g} s"
                self._refuse(connection, Refusal(408, "REQUEST_TIMEOUT", message))
            else:
                self._waiting.drop(connection)

    # ---- on the thread of a request ----

    def _serve(self, connection: Connection, head: Head) -> None:
        then: Then = "close"
        try:
            then = self._handler.serve(connection, head)
        except Exception:
            _logger.exception("a request failed")
        finally:
            if then == "close":
                connection.sock.close()
            self._back.append((connection, then))
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b".")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":  # IPv4 too, whatever the system's default is
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        remedy = "; port 0 takes a free one" if error.errno == errno.EADDRINUSE else ""
        error.strerror = f"can not listen on {place}: {error.strerror}{remedy}"
        raise
    return sock
