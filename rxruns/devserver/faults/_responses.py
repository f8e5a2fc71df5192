"""Faults of the response as a whole: its status, its headers, its delay, or none at all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rxruns._arguments import check_seconds, check_whole_number
from rxruns._loopback import Answered, Cut, Refusal, Wire
from rxruns.devserver.faults._script import Fault

__all__ = [
    "Delay",
    "LoseResponse",
    "NoAnswer",
    "Redirect",
    "Refuse",
    "Replay",
    "Status",
    "Unchunked",
    "WrongContentType",
]

_CODES = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 429: "RATE_LIMIT"}


@dataclass(frozen=True)
class Refuse(Fault):
    """Reset the connection without a response.

    >>> Refuse()
    Refuse()
    """

    def before(self, wire: Wire) -> None:
        raise Cut("rst")


@dataclass(frozen=True)
class NoAnswer(Fault):
    """Send nothing, not even a status, until the client hangs up.

    >>> NoAnswer()
    NoAnswer()
    """

    def before(self, wire: Wire) -> None:
        wire.pause(None)


@dataclass(frozen=True)
class Status(Fault):
    """Respond with an error status, and with ``Retry-After`` (seconds, or its text) if given.

    >>> Status(429, retry_after=2)
    Status(status=429, retry_after=2, code=None)
    """

    status: int
    retry_after: float | str | None = None
    code: str | None = None

    def before(self, wire: Wire) -> None:
        usual = "SERVICE_UNAVAILABLE" if self.status >= 500 else "INVALID_INPUT"
        code = self.code or _CODES.get(self.status, usual)
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        wire.refuse(Refusal(self.status, code, "a fault on request", headers=headers))
        raise Answered


@dataclass(frozen=True)
class Redirect(Fault):
    """Redirect to another address.

    >>> Redirect("http://127.0.0.1:9/elsewhere").status
    307
    """

    location: str
    status: int = 307

    def before(self, wire: Wire) -> None:
        wire.start(self.status, {"Location": self.location, "Content-Length": "0"})
        raise Answered


@dataclass(frozen=True)
class WrongContentType(Fault):
    """Send the body with another content type, as in the error page of a proxy; empty: without one.

    >>> WrongContentType().content_type
    'text/html; charset=utf-8'
    """

    content_type: str = "text/html; charset=utf-8"

    def before(self, wire: Wire) -> None:
        wire.content_type = self.content_type


@dataclass(frozen=True)
class Unchunked(Fault):
    """End the body with the connection, without chunks or a length, like some proxies.

    >>> Unchunked()
    Unchunked()
    """

    def before(self, wire: Wire) -> None:
        wire.chunked = False


@dataclass(frozen=True)
class Delay(Fault):
    """Wait some seconds before each event, and before the status.

    >>> Delay(per_event=0.5)
    Delay(per_event=0.5, before_status=0.0)
    """

    per_event: float = 0.0
    before_status: float = 0.0

    def __post_init__(self) -> None:
        check_seconds("per_event", self.per_event)
        check_seconds("before_status", self.before_status)

    def before(self, wire: Wire) -> None:
        wire.pause(self.before_status)

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        for line in lines:
            wire.pause(self.per_event)
            yield line


@dataclass(frozen=True)
class LoseResponse(Fault):
    """Act on the request, then reset the connection without a response.

    >>> LoseResponse()
    LoseResponse()
    """

    def after(self, wire: Wire) -> None:
        raise Cut("rst")


@dataclass(frozen=True)
class Replay(Fault):
    """Begin the stream some events before the requested one.

    >>> Replay(events=5)
    Replay(events=5)
    """

    events: int = 1

    def __post_init__(self) -> None:
        check_whole_number("events", self.events, at_least=0)

    def before(self, wire: Wire) -> None:
        wire.rewind = self.events
