"""A socket that listens on loopback, its threads, and what it was asked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from rxruns.errors import InvalidArgumentError
from rxruns.testing._wire import Asked, Wire

HANG = 30.0
"""Seconds that nothing in a test takes, unless it hangs."""


class Loopback(ABC):
    """A service on a free port of loopback, started as a context manager. What it answers is the subclass's.

    One thread accepts, one each serves a connection; leaving the block breaks what is open and waits for all.

    Args:
        tls: the server's side of it; None: plain HTTP.

    Attributes:
        requests: what was asked, in order.
        connections: how many there were.
        gone: set when a client's end of a connection was seen.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Asked] = []
        self.connections: int = 0
        self.gone: threading.Event = threading.Event()
        self._tls = tls
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._port: int | None = None

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        self._open.add(listener)
        self._start(self._accept, listener)
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HANG)

    @property
    def port(self) -> int:
        """Where it listens.

        Raises:
            InvalidArgumentError: it has not been started.
        """
        if self._port is None:
            name = type(self).__name__
            raise InvalidArgumentError(f"the service is not started: use `with {name}(...) as service`")
        return self._port

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/api/v1"

    def wait_requests(self, count: int, timeout: float = HANG) -> list[Asked]:
        """The requests, once there are so many.

        Raises:
            AssertionError: there are not, after so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise AssertionError(f"{len(self.requests)} requests, not {count}: {self.requests}")
            return list(self.requests)

    def wait_connections(self, count: int, timeout: float = HANG) -> None:
        """Wait until there were so many connections.

        Raises:
            AssertionError: there were not, after so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.connections >= count, timeout):
                raise AssertionError(f"{self.connections} connections, not {count}")

    @abstractmethod
    def answer(self, asked: Asked, wire: Wire) -> bool:
        """Answer a request, on its connection's thread; True keeps the connection for the next."""

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="rxruns-fake", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with self._changed:
                    self._open.add(sock)
                    self._start(self._serve, sock, self.connections)
                    self.connections += 1
                    self._changed.notify_all()

    def _serve(self, sock: socket.socket, number: int) -> None:
        plain = sock
        try:
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self._changed:
                    self._open.add(sock)
            wire = Wire(sock, self.gone)
            while asked := wire.read_request(number):
                with self._changed:
                    self.requests.append(asked)
                    self._changed.notify_all()
                if not self.answer(asked, wire):
                    return
        except OSError:  # an ssl.SSLError is one
            self.gone.set()
        finally:
            with self._changed:
                self._open -= {plain, sock}
            sock.close()
