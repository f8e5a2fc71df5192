"""urllib3's connections, which note their socket with the request that they are used for.

A new socket is noted as soon as TCP is connected, and a kept one before it is used again. It is let go of
before the connection returns to the pool, where another request may take it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy  # pyright: ignore[reportUnknownVariableType]
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rxruns._transport._cancellation import Cancellation
from rxruns._transport._chunked import PromptResponse
from rxruns._transport._exchange import Exchange

_current: ContextVar[Exchange | None] = ContextVar("rxruns_exchange", default=None)


@contextmanager
def used_for(exchange: Exchange) -> Generator[None, None, None]:
    """Connections that this thread uses inside are used for this exchange."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def _note(cancellation: Cancellation, sock: socket.socket) -> None:
    cancellation.note(sock, sock.makefile("rb", buffering=0))  # which keeps the socket open


class _NotingConnection(HTTPConnection):
    """Notes its socket with the cancellation of the request that it is used for."""

    response_class = PromptResponse
    cancellation: Cancellation | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"  # as errors of urllib3 quote it

    def _new_conn(self) -> socket.socket:
        exchange = _current.get()
        if exchange is None:
            return super()._new_conn()
        exchange.ask.cancellation.check()
        sock = super()._new_conn()
        try:
            self._note_new(sock, exchange)
        except BaseException:
            sock.close()
            raise
        return sock

    def _note_new(self, sock: socket.socket, exchange: Exchange) -> None:
        _note(exchange.ask.cancellation, sock)
        exchange.connected = True

    def request(self, *args: Any, **options: Any) -> None:
        """Note the socket of a connection that is there already, then send."""
        exchange = _current.get()
        if exchange is not None:
            self.cancellation = exchange.ask.cancellation
            if isinstance(self.sock, socket.socket):
                _note(self.cancellation, self.sock)
            self.cancellation.check()
            exchange.connected = exchange.connected or self.sock is not None
        super().request(*args, **options)


class _NotingTLSConnection(_NotingConnection, HTTPSConnection):
    def _note_new(self, sock: socket.socket, exchange: Exchange) -> None:
        # The handshake detaches this socket object: a duplicate stands in until request() notes the new one.
        duplicate = sock.dup()
        exchange.ask.cancellation.note(duplicate, duplicate)


def _let_go(connection: object) -> None:
    """Before another request may use a connection, it must not be noted for this one any more."""
    if isinstance(connection, _NotingConnection) and connection.cancellation is not None:
        connection.cancellation.release()
        connection.cancellation = None


class _NotingPool(HTTPConnectionPool):
    ConnectionCls = _NotingConnection  # pyright: ignore[reportAssignmentType] -- urllib3's own does not fit

    def _put_conn(self, conn: Any) -> None:
        _let_go(conn)
        super()._put_conn(conn)


class _NotingTLSPool(HTTPSConnectionPool):
    ConnectionCls = _NotingTLSConnection  # pyright: ignore[reportAssignmentType]

    def _put_conn(self, conn: Any) -> None:
        _let_go(conn)
        super()._put_conn(conn)


_STOCK_POOLS = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
_NOTING_POOLS = {"http": _NotingPool, "https": _NotingTLSPool}


def note_sockets_of(session: requests.Session, url: str, proxies: Any) -> None:
    """Make the adapter for `url` use our connections, unless its pools are somebody's own."""
    adapter = session.get_adapter(url)
    if not isinstance(adapter, HTTPAdapter):
        return
    managers = [adapter.poolmanager]
    if proxy := select_proxy(url, proxies):
        with_scheme = cast(Callable[[str, str], str], prepend_scheme_if_needed)
        managers.append(adapter.proxy_manager_for(with_scheme(proxy, "http")))
    for manager in managers:
        if manager.pool_classes_by_scheme == _STOCK_POOLS:
            manager.pool_classes_by_scheme = _NOTING_POOLS
            manager.clear()  # the idle connections of the pools that it made before


def close_idle(session: requests.Session) -> None:
    """Close a session and its idle connections now.

    urllib3 by itself closes them when a pool is collected as garbage, which an error's traceback puts off.
    """
    for adapter in session.adapters.values():
        if isinstance(adapter, HTTPAdapter):
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                for key in manager.pools.keys():  # noqa: SIM118  (it can not be iterated itself)
                    if (pool := manager.pools.get(key)) is not None:
                        pool.close()
    session.close()
