"""The part of a server that answers requests: subclass it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Literal

from rxruns._loopback._connections import Connection
from rxruns._loopback._refusal import Refusal
from rxruns._loopback._request import Head, read_body
from rxruns._loopback._wire import Answered, Cut, Gone, Wire

__all__ = ["BODY_SECONDS", "Handler", "Then"]

BODY_SECONDS = 30.0
"""Seconds for the whole body of a request."""

Then = Literal["keep", "drain", "close"]
"""After an answer: wait for the next request; read what the client still sends, then close; close."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(ABC):
    """Answers the requests of a :class:`~rxruns._loopback.Listener`."""

    @abstractmethod
    def exchange(self, head: Head, body: bytes, connection: int, wire: Wire) -> None:
        """Answer a request that was received on the connection of that number, on a thread of its own.

        Raises:
            Answered: nothing is left to send.
            Cut: the response ends here, in the given way.
            Gone: the client hung up.
        """

    def admit(self, head: Head) -> bytes | None:
        """Decide about a request before its body is read, on the thread of all connections. Must not wait.

        Returns:
            JSON to answer with at once, or None to receive the whole request in `exchange`.

        Raises:
            Refusal: the request is refused, and its body isn't read.
        """
        return None

    def connected(self) -> None:  # noqa: B027
        """A client connected."""

    def left(self) -> None:  # noqa: B027
        """A client hung up."""

    def serve(self, connection: Connection, head: Head, wire: Wire) -> Then:
        """Read the body of an admitted request and answer it."""
        try:
            if head.expects_continue and len(connection.received) < head.length:
                wire.send(_CONTINUE)
            try:
                body = read_body(connection.sock, connection.received, head.length, BODY_SECONDS)
            except Refusal as refusal:
                wire.keep_open = False
                wire.refuse(refusal)
                return "drain"
            self.exchange(head, body, connection.number, wire)
        except Answered:
            pass
        except Cut as cut:
            with suppress(Gone):
                wire.end(cut.ending)
        except (Gone, OSError):
            wire.keep_open = False
            self.left()
        return "keep" if wire.keep_open else "close"
