"""The connections that wait for a request, or for their end, and what they may take."""

from __future__ import annotations

import selectors
import socket
from dataclasses import dataclass, field

__all__ = ["LIMITS", "Connection", "Limits", "Waiting"]


@dataclass(frozen=True)
class Limits:
    """What connections without an admitted request may take.

    Attributes:
        head: seconds for a whole head.
        idle: seconds between two requests.
        drain: seconds to read what a refused client still sends, so that it gets the answer.
        connections: how many; beyond, the one that waited longest is closed.
        buffered: bytes of unfinished heads, all together.
    """

    head: float = 10.0
    idle: float = 75.0
    drain: float = 5.0
    connections: int = 2048
    buffered: int = 4 * 2**20


LIMITS = Limits()


@dataclass(eq=False)
class Connection:
    """A client's connection. `received` are the bytes of the next request that are here already."""

    sock: socket.socket
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    undrained: int | None = None  # bytes to read and forget, after a refusal


class Waiting:
    """Connections in a selector, the longest waiting first. For one thread alone."""

    def __init__(self, selector: selectors.BaseSelector, limits: Limits) -> None:
        self._selector, self._limits = selector, limits
        self._connections: dict[Connection, None] = {}
        self._buffered = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: object) -> bool:
        return connection in self._connections

    def add(self, connection: Connection) -> None:
        """Wait for what comes. Too many: the one that waited longest is closed."""
        try:
            connection.sock.setblocking(False)
        except OSError:  # somebody closed it
            return
        self._connections[connection] = None
        self._buffered += len(connection.received)
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        if len(self._connections) > self._limits.connections:
            self.drop_oldest()

    def remove(self, connection: Connection) -> None:
        """Wait no longer."""
        del self._connections[connection]
        self._buffered -= len(connection.received)
        self._selector.unregister(connection.sock)

    def drop(self, connection: Connection) -> None:
        """Close it."""
        self.remove(connection)
        connection.sock.close()

    def drop_oldest(self, count: int = 1) -> None:
        """Close those that waited longest."""
        for connection in list(self._connections)[:count]:
            self.drop(connection)

    def take(self, connection: Connection, piece: bytes) -> None:
        """Keep what was received. Too much of all together: those that waited longest are closed."""
        connection.received += piece
        self._buffered += len(piece)
        while self._buffered > self._limits.buffered:
            self.drop_oldest()

    def overdue(self, now: float) -> list[Connection]:
        """Those whose time is up."""
        return [connection for connection in self._connections if connection.deadline <= now]

    def close(self) -> None:
        """Close all."""
        for connection in self._connections:
            connection.sock.close()
