"""Connections that wait for a request or for their end, within limits."""

from __future__ import annotations

import selectors
import socket
from dataclasses import dataclass, field

from rxruns._loopback._wire import Wire

__all__ = ["LIMITS", "Connection", "Limits", "Waiting"]


@dataclass(frozen=True)
class Limits:
    """Limits of connections without an admitted request.

    Attributes:
        head: seconds for a whole head.
        idle: seconds between two requests.
        drain: seconds to read what a refused client still sends, so that it gets the answer.
        connections: the most; beyond, the one that has waited longest is closed.
        buffered: bytes of all unfinished heads together.
    """

    head: float = 10.0
    idle: float = 75.0
    drain: float = 5.0
    connections: int = 2048
    buffered: int = 4 * 2**20


LIMITS = Limits()


@dataclass(eq=False)
class Connection:
    """A client's connection.

    Attributes:
        sock: the server's end.
        number: counted from 0.
        deadline: the time on the monotonic clock at which it is given up.
        received: bytes of the next request.
        undrained: bytes that a refused client may still send; None without a refusal.
        wire: of the last request that was answered on a thread.
    """

    sock: socket.socket
    number: int
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    undrained: int | None = None
    wire: Wire | None = None


class Waiting:
    """Connections in a selector, the longest waiting first. Not thread-safe."""

    def __init__(self, selector: selectors.BaseSelector, limits: Limits) -> None:
        self._selector, self._limits = selector, limits
        self._connections: dict[Connection, None] = {}
        self._buffered = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: object) -> bool:
        return connection in self._connections

    def add(self, connection: Connection) -> None:
        """Wait for bytes. Beyond the limit, close the connection that has waited longest."""
        try:
            connection.sock.setblocking(False)
        except OSError:  # it was closed
            return
        self._connections[connection] = None
        self._buffered += len(connection.received)
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        if len(self._connections) > self._limits.connections:
            self.drop_oldest()

    def remove(self, connection: Connection) -> None:
        """Stop waiting for a connection."""
        del self._connections[connection]
        self._buffered -= len(connection.received)
        self._selector.unregister(connection.sock)

    def drop(self, connection: Connection) -> None:
        """Close a connection."""
        self.remove(connection)
        connection.sock.close()

    def drop_oldest(self, count: int = 1) -> None:
        """Close the connections that have waited longest."""
        for connection in list(self._connections)[:count]:
            self.drop(connection)

    def take(self, connection: Connection, piece: bytes) -> None:
        """Keep received bytes. Beyond the limit of all, close the connections that have waited longest."""
        connection.received += piece
        self._buffered += len(piece)
        while self._buffered > self._limits.buffered:
            self.drop_oldest()

    def overdue(self, now: float) -> list[Connection]:
        """Return the connections whose deadline has passed."""
        return [connection for connection in self._connections if connection.deadline <= now]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.sock.close()
