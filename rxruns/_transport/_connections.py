"""urllib3's connections, which register their sockets with the cancellation of their current request.

A new socket is registered as soon as TCP is connected, and a reused one before it is used. It is released
before the connection returns to the pool, where another request may take it.

A forked child closes its copies of all these sockets at once: two processes that read from one connection
would get each other's responses.
"""

from __future__ import annotations

import contextlib
import os
import socket
import weakref
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rxruns._transport._cancellation import Cancellation
from rxruns._transport._exchange import Exchange
from rxruns._transport._response import PromptResponse

_current: ContextVar[Exchange | None] = ContextVar("rxruns_exchange", default=None)


@contextlib.contextmanager
def used_for(exchange: Exchange) -> Generator[None, None, None]:
    """Use the connections of this thread for an exchange, inside the ``with`` block."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def _note(cancellation: Cancellation, sock: socket.socket) -> None:
    cancellation.note(sock, sock.makefile("rb", buffering=0))  # which keeps the socket open


_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""TCP options with which a dead peer is detected after two minutes, on systems that have them."""


def _probe_when_silent(sock: socket.socket) -> None:
    """Let TCP detect a dead peer, even if a stream has no idle timeout."""
    with contextlib.suppress(OSError):  # not a TCP socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class NotingConnection(HTTPConnection):
    """Registers its socket with the cancellation of its current request."""

    response_class = PromptResponse
    cancellation: Cancellation | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _connections.add(self)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"  # as errors of urllib3 quote it

    def _new_conn(self) -> socket.socket:
        exchange = _current.get()
        if exchange is None:
            return super()._new_conn()
        exchange.request.cancellation.check()
        sock = self.connect_socket()
        try:
            self.note_connected(sock)
        except BaseException:
            sock.close()
            raise
        exchange.connected = not isinstance(self, HTTPSConnection)  # which still has its handshake to do
        return sock

    def connect_socket(self) -> socket.socket:
        """Return a socket that is connected to the service, or to an HTTP proxy."""
        return super()._new_conn()

    def note_connected(self, sock: socket.socket) -> None:
        """Register a socket as soon as TCP is connected."""
        _probe_when_silent(sock)
        if (exchange := _current.get()) is not None:
            self.note_new(sock, exchange.request.cancellation)

    def note_new(self, sock: socket.socket, cancellation: Cancellation) -> None:
        """Register a socket that was not used yet."""
        _note(cancellation, sock)

    def request(self, *args: Any, **options: Any) -> None:
        """Register the socket of a connection that is open already, then send."""
        exchange = _current.get()
        if exchange is not None:
            self.cancellation = exchange.request.cancellation
            if isinstance(self.sock, socket.socket):
                _note(self.cancellation, self.sock)
            self.cancellation.check()
            exchange.connected = exchange.connected or self.sock is not None
        super().request(*args, **options)


class NotingTLSConnection(NotingConnection, HTTPSConnection):
    """The same over TLS."""

    def note_new(self, sock: socket.socket, cancellation: Cancellation) -> None:
        """Register a duplicate, because the handshake detaches this object; `request` registers the next."""
        duplicate = socket.socket(sock.family, sock.type, sock.proto, os.dup(sock.fileno()))
        cancellation.note(duplicate, duplicate)


class _NotingPool(HTTPConnectionPool):
    """A pool that releases a connection's socket before another request can use it."""

    def _put_conn(self, conn: Any) -> None:
        cancellation: Cancellation | None = getattr(conn, "cancellation", None)
        if cancellation is not None:
            cancellation.release()
            conn.cancellation = None
        super()._put_conn(conn)


class NotingHTTPPool(_NotingPool):
    """Connections without encryption."""

    ConnectionCls = NotingConnection  # pyright: ignore[reportAssignmentType] -- urllib3's type is narrower


class NotingHTTPSPool(_NotingPool, HTTPSConnectionPool):
    """Encrypted connections."""

    ConnectionCls = NotingTLSConnection  # pyright: ignore[reportAssignmentType]


_connections: weakref.WeakSet[NotingConnection] = weakref.WeakSet()


def _close_inherited() -> None:
    """Close the copies of the parent's sockets in a forked child, without sending anything."""
    for connection in list(_connections):
        if isinstance(connection.sock, socket.socket) and connection.sock.fileno() >= 0:
            os.close(connection.sock.detach())
    _connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
