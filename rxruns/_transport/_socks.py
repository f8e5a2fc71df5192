"""Connections through a SOCKS proxy. Needs PySocks, an extra of requests and urllib3."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import socks  # type: ignore[import-untyped]
from urllib3.contrib.socks import (
    SOCKSConnection,
    SOCKSHTTPConnectionPool,
    SOCKSHTTPSConnection,
    SOCKSHTTPSConnectionPool,
)
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from rxruns._transport._connections import (
    NotingConnection,
    NotingHTTPPool,
    NotingHTTPSPool,
    NotingTLSConnection,
)

__all__ = ["NOTING_POOLS", "STOCK_POOLS"]


class _Connecting(socket.socket):
    """Calls back as soon as TCP is connected to the proxy, long before the proxy reaches the service."""

    on_connected: Callable[[], object]

    def connect(self, address: Any, /) -> None:
        super().connect(address)
        self.on_connected()


class _SocksSocket(socks.socksocket, _Connecting):  # type: ignore[misc]  # PySocks has no types
    """PySocks connects to the proxy with the next class's ``connect``, then talks to it."""


class _SocksConnection(NotingConnection, SOCKSConnection):  # pyright: ignore[reportIncompatibleMethodOverride]
    """urllib3's connection, with a socket that can be shut down while the proxy connects to the service."""

    def _connect(self) -> socket.socket:
        options: Any = self._socks_options
        problem: Exception = OSError(f"no address of the proxy {options['proxy_host']} is known")
        host, port = options["proxy_host"].strip("[]"), options["proxy_port"]
        for family, kind, protocol, *_ in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = _SocksSocket(family, kind, protocol)
            sock.on_connected = partial(self.note_connected, sock)
            try:
                return self._connect_through(sock, host, port)
            except OSError as error:
                sock.close()
                problem = error
            except BaseException:
                sock.close()
                raise
        raise problem

    def _connect_through(self, sock: _SocksSocket, host: str, port: int) -> socket.socket:
        options: Any = self._socks_options
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        sock.settimeout(self.timeout)
        sock.set_proxy(
            options["socks_version"], host, port, options["rdns"], options["username"], options["password"]
        )
        if self.source_address:
            sock.bind(self.source_address)
        sock.connect((self.host.strip("[]"), self.port))
        return sock

    def connect_socket(self) -> socket.socket:
        """Connect through the proxy, with the errors that urllib3 expects."""
        try:
            return self._connect()
        except OSError as error:  # PySocks' own errors are some
            reason = getattr(error, "socket_err", None) or error
            if isinstance(reason, TimeoutError):
                raise ConnectTimeoutError(self, f"no connection after {self.timeout} s") from error
            raise NewConnectionError(self, f"Failed to establish a new connection: {reason}") from error


class _SocksTLSConnection(  # pyright: ignore[reportIncompatibleMethodOverride]
    NotingTLSConnection, _SocksConnection, SOCKSHTTPSConnection
):
    """The same, encrypted."""


class _SocksHTTPPool(NotingHTTPPool, SOCKSHTTPConnectionPool):
    ConnectionCls = _SocksConnection  # pyright: ignore[reportAssignmentType]


class _SocksHTTPSPool(NotingHTTPSPool, SOCKSHTTPSConnectionPool):
    ConnectionCls = _SocksTLSConnection  # pyright: ignore[reportAssignmentType]


STOCK_POOLS = {"http": SOCKSHTTPConnectionPool, "https": SOCKSHTTPSConnectionPool}
NOTING_POOLS = {"http": _SocksHTTPPool, "https": _SocksHTTPSPool}
