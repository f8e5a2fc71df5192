"""A service on loopback that keeps the requests it received."""

from __future__ import annotations

import ssl
import threading
from abc import abstractmethod
from typing import Self

from rxruns._loopback import Handler, Head, Listener, Wire
from rxruns.errors import InvalidArgumentError
from rxruns.testing._asked import Asked

__all__ = ["HANG", "Loopback"]

HANG = 30.0
"""Seconds that nothing in a test takes, unless it hangs."""


class Loopback(Handler):
    """A service on a free port of loopback, started as a context manager. A subclass answers its requests.

    Each request is answered on a thread of its own; leaving the block closes what is open and waits for all.

    Args:
        tls: the server's side of it; None: plain HTTP.

    Attributes:
        requests: the requests so far, in order.
        connections: the number of connections so far.
        gone: set when a client closed its end of a connection.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Asked] = []
        self.connections: int = 0
        self.gone: threading.Event = threading.Event()
        self._tls = tls
        self._changed = threading.Condition()
        self._listener: Listener | None = None

    def __enter__(self) -> Self:
        self._listener = Listener("127.0.0.1", 0, tls=self._tls)
        self._listener.start(self)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._listener is not None:
            self._listener.close()

    @property
    def port(self) -> int:
        """The port that the service listens on.

        Raises:
            InvalidArgumentError: the service has not been started.
        """
        if self._listener is None:
            name = type(self).__name__
            raise InvalidArgumentError(f"the service is not started: use `with {name}(...) as service`")
        return self._listener.port

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/api/v1"

    def wait_requests(self, count: int, timeout: float = HANG) -> list[Asked]:
        """Wait until there were `count` requests, and return all.

        Raises:
            AssertionError: there were fewer after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise AssertionError(f"{len(self.requests)} requests, not {count}: {self.requests}")
            return list(self.requests)

    def wait_connections(self, count: int, timeout: float = HANG) -> None:
        """Wait until there were `count` connections.

        Raises:
            AssertionError: there were fewer after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.connections >= count, timeout):
                raise AssertionError(f"{self.connections} connections, not {count}")

    @abstractmethod
    def answer(self, asked: Asked, wire: Wire) -> bool:
        """Answer a request; True keeps the connection for the next one."""

    def connected(self) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()

    def left(self) -> None:
        self.gone.set()

    def exchange(self, head: Head, body: bytes, connection: int, wire: Wire) -> None:
        asked = Asked(head.method, head.path, head.query, head.headers, body, connection, head.raw)
        with self._changed:
            self.requests.append(asked)
            self._changed.notify_all()
        wire.keep_open = self.answer(asked, wire) and wire.keep_open
