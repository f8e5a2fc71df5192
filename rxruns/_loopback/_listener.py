"""Accept connections and read the heads of requests on one thread.

Strangers cost no thread and little memory: only an admitted request gets a thread.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

from rxruns._loopback._connections import LIMITS, Connection, Limits, Waiting
from rxruns._loopback._handler import Handler, Then
from rxruns._loopback._refusal import Refusal
from rxruns._loopback._request import MAX_BODY, MAX_HEAD, Head, head_end, parse_head
from rxruns._loopback._wire import Gone, Wire

__all__ = ["Listener"]

BACKLOG = 512
PIECE = 2**16
SWEEP = 0.5
"""Seconds between two checks for connections whose deadline has passed."""

_AT_ONCE = 2**18
"""Bytes of a response that the system takes without waiting for the client."""

_logger = logging.getLogger("rxruns.loopback")


class Listener:
    """A listening socket, which accepts after :meth:`start`.

    Args:
        host: a name or an address, also of IPv6.
        port: 0 for a free one.
        limits: of connections without an admitted request.
        tls: the server's side of it; None: plain HTTP.

    Raises:
        OSError: the address is in use or isn't this machine's.
    """

    _handler: Handler

    def __init__(
        self, host: str, port: int, limits: Limits = LIMITS, tls: ssl.SSLContext | None = None
    ) -> None:
        self.closing = threading.Event()
        self._limits, self._tls = limits, tls
        self._numbers = count()
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)  # the listener's thread joins the threads that write here
        for sock in (self._socket, self._woken):
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._waiting = Waiting(self._selector, limits)
        self._swept = 0.0
        self._orders: deque[Callable[[], None]] = deque()  # from the threads of requests
        self._serving: dict[Connection, threading.Thread] = {}
        self._thread: threading.Thread | None = None

    def start(self, handler: Handler) -> None:
        """Accept connections and let `handler` answer their requests."""
        self._handler = handler
        self._thread = threading.Thread(target=self._run, name="rxruns-loopback", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Break all connections and wait for their threads."""
        self.closing.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        for connection in self._serving:
            if connection.wire is not None:
                connection.wire.leave()
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for connection, thread in self._serving.items():
            thread.join()
            connection.sock.close()
        self._waiting.close()
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
                elif key.data in self._waiting:
                    self._read(key.data)
                elif key.data in self._serving:
                    self._check(key.data)
            while self._orders:
                self._orders.popleft()()
            self._sweep()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._waiting.drop_oldest(1 + len(self._waiting) // 8)
                self.closing.wait(0.01)
            return
        self._handler.connected()
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:  # the first reads complete the handshake
            sock.setblocking(False)
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._waiting.add(Connection(sock, next(self._numbers), time.monotonic() + self._limits.head))

    def _read(self, connection: Connection) -> None:
        try:
            piece = connection.sock.recv(PIECE)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            return
        except OSError:  # an ssl.SSLError is one
            piece = b""
        if not piece:
            self._waiting.drop(connection)
            self._handler.left()
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
        """Begin to answer a request whose head is complete."""
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
        bodiless = content.startswith(b"HEAD ")
        try:
            head = parse_head(content)
            answer = self._handler.admit(head)
        except Refusal as refusal:
            self._answer(connection, refusal, bodiless=bodiless)
        except Exception:
            _logger.exception("a request failed")
            connection.sock.close()
        else:
            if answer is None:
                self._start_thread(connection, head)
            else:
                self._answer(connection, answer, bodiless=bodiless)

    def _start_thread(self, connection: Connection, head: Head) -> None:
        connection.sock.setblocking(True)
        thread = threading.Thread(
            target=self._serve, args=(connection, head), name="rxruns-loopback-request", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            connection.sock.close()
        else:
            self._serving[connection] = thread

    def _refuse(self, connection: Connection, refusal: Refusal) -> None:
        self._waiting.remove(connection)
        self._answer(connection, refusal)

    def _answer(self, connection: Connection, answer: Refusal | bytes, *, bodiless: bool = False) -> None:
        """Send the last response of a connection, without waiting for the client."""
        with suppress(Gone, OSError):
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AT_ONCE)
            wire = Wire(connection.sock, self.closing, keep_open=False, bodiless=bodiless)
            if isinstance(answer, Refusal):
                wire.refuse(answer)
            else:
                wire.reply(200, answer)
        self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        """Read what the client still sends: an early close would be a reset, and the answer lost."""
        connection.received.clear()
        connection.undrained = MAX_BODY
        connection.deadline = time.monotonic() + self._limits.drain
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            connection.sock.close()
        else:
            self._waiting.add(connection)

    def _watch(self, connection: Connection) -> None:
        """Look for the hang-up of a client whose request is being answered."""
        if connection.sock.fileno() not in self._selector.get_map():
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)

    def _check(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        if connection.wire is not None and _hung_up(connection.sock):  # else it sent its next request early
            connection.wire.leave()

    def _take_back(self, connection: Connection, then: Then) -> None:
        self._serving.pop(connection).join()
        if connection.sock.fileno() in self._selector.get_map():
            self._selector.unregister(connection.sock)
        if then == "close":
            connection.sock.close()
        elif then == "drain":
            self._drain(connection)
        else:
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
                message = f"the head of the request was incomplete after {self._limits.head:g} s"
                self._refuse(connection, Refusal(408, "REQUEST_TIMEOUT", message))
            else:
                self._waiting.drop(connection)

    # ---- on the thread of a request ----

    def _serve(self, connection: Connection, head: Head) -> None:
        then: Then = "close"
        connection.wire = Wire(
            connection.sock,
            self.closing,
            chunked=head.chunks,
            keep_open=head.keep_open,
            bodiless=head.method == "HEAD",
            watch=partial(self._order, partial(self._watch, connection)),
        )
        try:
            then = self._handler.serve(connection, head, connection.wire)
        finally:
            self._order(partial(self._take_back, connection, then))

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b".")


def _hung_up(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":  # IPv4 too, whatever the default of the system is
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        remedy = "; port 0 takes a free one" if error.errno == errno.EADDRINUSE else ""
        error.strerror = f"can't listen on {place}: {error.strerror}{remedy}"
        raise
    return sock
