"""What can go wrong between a service and its client, on request and repeatable.

A :class:`Faults` value is a script that reads as a story, one entry per connection:

>>> from rxruns.devserver.faults import CutAt, Faults, Refuse, Status
>>> story = Faults([CutAt(100), Refuse(), Status(503, retry_after=1), None], seed=7)

The first stream of events breaks after 100 bytes, the second is refused, the third told to come back in a
second, and from the fourth on all is well. An entry that is a tuple is several faults at once. Give it to
:class:`~rxruns.devserver.DevServer` as `faults`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, get_args

import msgspec

from rxruns._arguments import check_kind, check_seconds, check_timeout, check_whole_number
from rxruns.devserver._refusal import Refusal
from rxruns.devserver._wire import Answered, Cut, Ending, Wire
from rxruns.errors import InvalidArgumentError

__all__ = [
    "Answered",
    "CloseAfter",
    "Cut",
    "CutAt",
    "CutRandomly",
    "Delay",
    "Duplicates",
    "Ending",
    "Fault",
    "Faults",
    "Gap",
    "InvalidLine",
    "LoseResponse",
    "NoAnswer",
    "Redirect",
    "Refuse",
    "Replay",
    "Silence",
    "SplitBytes",
    "Status",
    "Unchunked",
    "Wire",
    "WrongContentType",
]


class Fault:
    """Something that goes wrong on one connection. Write your own by overriding what you need."""

    def before(self, wire: Wire) -> None:
        """Before anything is answered: send an answer of your own and raise Answered, or do nothing."""

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        """Change the lines of a stream; each ends with a newline, keep-alives are among them."""
        return lines

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        """Change the bytes of a body; each piece is sent as a chunk of its own."""
        return pieces

    def after(self, wire: Wire) -> None:
        """After the service acted on a request, before it answers."""


Entry: TypeAlias = "Fault | Sequence[Fault] | None"


@dataclass(frozen=True)
class Faults:
    """A script of faults, one entry per connection; the same seed gives the same faults again.

    Args:
        script: for the streams of events, in the order in which they are opened; None: nothing goes wrong.
        rest: for all other requests, in the order in which they come.
        otherwise: for the streams after the end of the script.
        seed: of everything that is random in here.

    >>> faults = Faults([None, Refuse()], otherwise=Delay(per_event=0.01))
    >>> faults.for_stream(0), faults.for_stream(1), faults.for_stream(9)
    ((), (Refuse(),), (Delay(per_event=0.01, before_status=0.0),))
    """

    script: Sequence[Entry] = ()
    rest: Sequence[Entry] = ()
    otherwise: Entry = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("script", "rest"):
            check_kind(name, getattr(self, name), Sequence, "a list with one entry for each connection")
            entries = tuple(_checked(entry, name) for entry in getattr(self, name))
            object.__setattr__(self, name, entries)
        object.__setattr__(self, "otherwise", _checked(self.otherwise, "otherwise"))

    def for_stream(self, number: int) -> tuple[Fault, ...]:
        """The faults of the stream with that number, from 0."""
        return _checked(self.script[number] if number < len(self.script) else self.otherwise, "script")

    def for_request(self, number: int) -> tuple[Fault, ...]:
        """The faults of the other request with that number, from 0."""
        return _checked(self.rest[number] if number < len(self.rest) else None, "rest")

    def dice(self, number: int) -> random.Random:
        """The random numbers of one connection."""
        return random.Random(f"{self.seed} {number}")


def _checked(entry: Entry, name: str) -> tuple[Fault, ...]:
    faults = entry if isinstance(entry, Sequence) else () if entry is None else (entry,)
    for fault in faults:
        if not isinstance(fault, Fault):
            raise InvalidArgumentError(
                f"{name} has {fault!r}: give faults such as CutAt(500), tuples of them, or None", field=name
            )
    return tuple(faults)


@dataclass(frozen=True)
class Refuse(Fault):
    """The connection is reset without an answer.

    >>> Faults([Refuse()] * 3).for_stream(2)
    (Refuse(),)
    """

    def before(self, wire: Wire) -> None:
        raise Cut("rst")


@dataclass(frozen=True)
class NoAnswer(Fault):
    """The request is taken and nothing comes back, not even a status, until the client hangs up.

    >>> NoAnswer()
    NoAnswer()
    """

    def before(self, wire: Wire) -> None:
        wire.pause(None)


@dataclass(frozen=True)
class Status(Fault):
    """An error status, with ``Retry-After`` (seconds, or the text of the header) where it is given.

    >>> Status(429, retry_after=2)
    Status(status=429, retry_after=2, code=None)
    """

    status: int
    retry_after: float | str | None = None
    code: str | None = None

    def before(self, wire: Wire) -> None:
        codes = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 429: "RATE_LIMIT"}
        code = self.code or codes.get(
            self.status, "SERVICE_UNAVAILABLE" if self.status >= 500 else "INVALID_INPUT"
        )
        refusal = Refusal(self.status, code, "a fault on request")
        body = msgspec.json.encode(refusal.body(wire.request_id))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        wire.start(self.status, headers)
        wire.send(body)
        raise Answered


@dataclass(frozen=True)
class Redirect(Fault):
    """A redirect to another address.

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
    """The body comes as something else than NDJSON, as from a proxy's error page; empty: without a type.

    >>> WrongContentType().content_type
    'text/html; charset=utf-8'
    """

    content_type: str = "text/html; charset=utf-8"

    def before(self, wire: Wire) -> None:
        wire.content_type = self.content_type


@dataclass(frozen=True)
class Unchunked(Fault):
    """The body ends with the connection, without chunks or a length, as from some proxies.

    >>> Unchunked()
    Unchunked()
    """

    def before(self, wire: Wire) -> None:
        wire.chunked = False


@dataclass(frozen=True)
class Delay(Fault):
    """Seconds before each event, and before the status.

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
    """The service acts on the request, and the connection is reset before it answers.

    >>> Faults(rest=[LoseResponse()]).for_request(0)
    (LoseResponse(),)
    """

    def after(self, wire: Wire) -> None:
        raise Cut("rst")


@dataclass(frozen=True)
class CutAt(Fault):
    """The body breaks after that many bytes: reset, closed without or inside a chunk, or ended cleanly.

    >>> CutAt(100, "fin")
    CutAt(at=100, how='fin')
    """

    at: int
    how: Ending = "rst"

    def __post_init__(self) -> None:
        check_whole_number("at", self.at, at_least=0)
        _check_ending(self.how)

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        return _cut(pieces, self.at, self.how)


@dataclass(frozen=True)
class CutRandomly(Fault):
    """The body breaks after a random number of bytes between `least` and `most`, in a random way.

    >>> Faults(otherwise=CutRandomly(500, 5_000), seed=7).otherwise
    (CutRandomly(least=500, most=5000, how=('rst', 'fin', 'chunk')),)
    """

    least: int = 0
    most: int = 4_000
    how: Sequence[Ending] = ("rst", "fin", "chunk")

    def __post_init__(self) -> None:
        check_whole_number("least", self.least, at_least=0)
        check_whole_number("most", self.most, at_least=self.least)
        _check_ending(*self.how)

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        return _cut(pieces, dice.randint(self.least, self.most), dice.choice(list(self.how)))


@dataclass(frozen=True)
class CloseAfter(Fault):
    """The service ends the stream cleanly after that many events, though the run goes on.

    >>> CloseAfter(0)
    CloseAfter(events=0)
    """

    events: int = 0

    def __post_init__(self) -> None:
        check_whole_number("events", self.events, at_least=0)

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        return _first(lines, self.events)


@dataclass(frozen=True)
class Silence(Fault):
    """After that many events nothing comes any more, no keep-alive, no end, until the client hangs up.

    >>> Silence(after_events=3)
    Silence(after_events=3, seconds=None)
    """

    after_events: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_whole_number("after_events", self.after_events, at_least=0)
        check_timeout("seconds", self.seconds)

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        yield from _first(lines, self.after_events)
        wire.pause(self.seconds)
        yield from lines


@dataclass(frozen=True)
class SplitBytes(Fault):
    """Each chunk has that many bytes, so that characters and lines are split.

    >>> SplitBytes()
    SplitBytes(size=1)
    """

    size: int = 1

    def __post_init__(self) -> None:
        check_whole_number("size", self.size, at_least=1)

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), self.size):
                yield piece[start : start + self.size]


@dataclass(frozen=True)
class Replay(Fault):
    """The stream begins that many events before the one that was asked for.

    >>> Replay(events=5)
    Replay(events=5)
    """

    events: int = 1

    def __post_init__(self) -> None:
        check_whole_number("events", self.events, at_least=0)

    def before(self, wire: Wire) -> None:
        wire.rewind = self.events


@dataclass(frozen=True)
class Duplicates(Fault):
    """Events come again: with that probability, after each one, up to ten of the last ones in a row.

    >>> Duplicates(0.5)
    Duplicates(rate=0.5)
    """

    rate: float = 0.2

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        recent: deque[bytes] = deque(maxlen=10)
        for line in lines:
            yield line
            recent.append(line)
            if dice.random() < self.rate:
                yield from list(recent)[-dice.randint(1, len(recent)) :]


@dataclass(frozen=True)
class Gap(Fault):
    """The events with these ``seq`` are left out.

    >>> Gap(5, 6)
    Gap(seqs=(5, 6))
    """

    seqs: tuple[int, ...]

    def __init__(self, *seqs: int) -> None:
        object.__setattr__(self, "seqs", seqs)

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        return (line for line in lines if _seq(line) not in self.seqs)


@dataclass(frozen=True)
class InvalidLine(Fault):
    """After that many events comes a line that is none.

    >>> InvalidLine(after_events=2, line=b"<html>")
    InvalidLine(after_events=2, line=b'<html>')
    """

    after_events: int = 0
    line: bytes = b'{"type": "node_started", "seq":'

    def __post_init__(self) -> None:
        check_whole_number("after_events", self.after_events, at_least=0)

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        yield from _first(lines, self.after_events)
        yield self.line + b"\n"
        yield from lines


def _check_ending(*hows: str) -> None:
    for how in hows:
        if how not in get_args(Ending):
            raise InvalidArgumentError(f"how is {how!r}: give one of {get_args(Ending)}", field="how")


class _Numbered(msgspec.Struct):
    seq: int | None = None


def _seq(line: bytes) -> int | None:
    try:
        return msgspec.json.decode(line, type=_Numbered).seq
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _first(lines: Iterator[bytes], events: int) -> Iterator[bytes]:
    """Lines up to and with that many events; the next one is not even waited for."""
    seen = 0
    while seen < events:
        line = next(lines, None)
        if line is None:
            return
        yield line
        seen += not line.isspace()  # a keep-alive is a blank line


def _cut(pieces: Iterable[bytes], left: int, how: Ending) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) > left:
            yield piece[:left]
            raise Cut(how)
        left -= len(piece)
        yield piece
