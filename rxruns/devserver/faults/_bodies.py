"""Faults inside the body: cuts, silence, and events that are repeated, missing or invalid."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import msgspec

from rxruns._arguments import check_timeout, check_whole_number
from rxruns._errors import must_be
from rxruns._loopback import Cut, Ending, Wire
from rxruns.devserver.faults._script import Fault

__all__ = ["CloseAfter", "CutAt", "CutRandomly", "Duplicates", "Gap", "InvalidLine", "Silence", "SplitBytes"]


@dataclass(frozen=True)
class CutAt(Fault):
    """Break the body after `at` bytes: reset, closed without or inside a chunk, or ended cleanly.

    >>> CutAt(100, "fin")
    CutAt(at=100, how='fin')
    """

    at: int
    how: Ending = "rst"

    def __post_init__(self) -> None:
        check_whole_number("at", self.at, at_least=0)
        _check_endings(self.how)

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        return _cut(pieces, self.at, self.how)


@dataclass(frozen=True)
class CutRandomly(Fault):
    """Break the body after a random number of bytes between `least` and `most`, in a random way.

    >>> CutRandomly(500, 5_000)
    CutRandomly(least=500, most=5000, how=('rst', 'fin', 'chunk'))
    """

    least: int = 0
    most: int = 4_000
    how: Sequence[Ending] = ("rst", "fin", "chunk")

    def __post_init__(self) -> None:
        check_whole_number("least", self.least, at_least=0)
        check_whole_number("most", self.most, at_least=self.least)
        _check_endings(*self.how)

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        return _cut(pieces, dice.randint(self.least, self.most), dice.choice(list(self.how)))


@dataclass(frozen=True)
class CloseAfter(Fault):
    """End the stream cleanly after some events, though the run continues.

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
    """Send nothing after some events, no keep-alive either, for `seconds` or until the client hangs up.

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
    """Send chunks of `size` bytes, so that characters and lines are split.

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
class Duplicates(Fault):
    """Repeat events: after each, with the probability `rate`, up to ten of the last ones in a row.

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
    """Leave out the events with these ``seq``.

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
    """Send an invalid line after some events.

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


def _check_endings(*endings: str) -> None:
    for ending in endings:
        if ending not in get_args(Ending):
            raise must_be("how", f"one of {', '.join(get_args(Ending))}", ending)


class _Numbered(msgspec.Struct):
    seq: int | None = None


def _seq(line: bytes) -> int | None:
    try:
        return msgspec.json.decode(line, type=_Numbered).seq
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _first(lines: Iterator[bytes], events: int) -> Iterator[bytes]:
    """Yield the lines of the first events, without waiting for the next one."""
    count = 0
    while count < events:
        line = next(lines, None)
        if line is None:
            return
        yield line
        count += not line.isspace()  # a keep-alive is a blank line


def _cut(pieces: Iterable[bytes], left: int, how: Ending) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) > left:
            yield piece[:left]
            raise Cut(how)
        left -= len(piece)
        yield piece
