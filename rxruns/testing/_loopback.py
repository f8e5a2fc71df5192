"""A service on loopback that keeps the requests it received."""

from __future__ import annotations

import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from rxruns._loopback import Handler, Head, Listener, Wire
from rxruns.errors import InvalidArgumentError
from rxruns.testing._request import Request

__all__ = ["HANG", "Loopback"]

HANG = 30.0
"""Seconds that nothing in a test takes, unless it hangs."""


class _Received(Handler):
    """The requests and connections so far. Each request is passed to `answer`.

    Attributes:
        changed: notified of each request and connection.
    """

    def __init__(self, answer: Callable[[Request, Wire], bool]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.gone = threading.Event()
        self.changed = threading.Condition()
        self._answer = answer

    def connected(self) -> None:
        with self.changed:
            self.connections += 1
            self.changed.notify_all()

    def left(self) -> None:
        self.gone.set()

    def exchange(self, head: Head, body: bytes, connection: int, wire: Wire) -> None:
        request = Request(head.method, head.path, head.query, head.headers, body, connection, head.raw)
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        wire.keep_open = self._answer(request, wire) and wire.keep_open


class Loopback(ABC):
    """A service on a free port of loopback, started as a context manager. A subclass answers its requests.

    Each request is answered on a thread of its own; leaving the block closes what is open and waits for all.

    Args:
        tls: the server's side of it; None: plain HTTP.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._received = _Received(self._answer)
        self._changed = self._received.changed
        self._listener: Listener | None = None

    def __enter__(self) -> Self:
        self._listener = Listener("127.0.0.1", 0, tls=self._tls)
        self._listener.start(self._received)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._listener is not None:
            self._listener.close()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order."""
        return self._received.requests

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        return self._received.connections

    @property
    def gone(self) -> threading.Event:
        """Set when a client closed its end of a connection."""
        return self._received.gone

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

    def wait_requests(self, count: int, timeout: float = HANG) -> list[Request]:
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
    def _answer(self, request: Request, wire: Wire) -> bool:
        """Answer a request; True keeps the connection for the next one."""
