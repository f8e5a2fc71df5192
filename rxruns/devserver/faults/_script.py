"""A fault, and the script of all faults of a service."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rxruns._arguments import check_kind
from rxruns._errors import must_be
from rxruns._loopback import Wire

__all__ = ["Fault", "Faults", "through"]


class Fault:
    """Something that goes wrong on one connection. Write your own by overriding the methods you need."""

    def before(self, wire: Wire) -> None:
        """Run before the response: to replace it, send your own and raise Answered."""

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        """Change the lines of a stream, keep-alives included; each ends with a newline."""
        return lines

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Wire) -> Iterator[bytes]:
        """Change the bytes of a body; each piece is sent as a chunk of its own."""
        return pieces

    def after(self, wire: Wire) -> None:
        """Run after the service acted on a request, before it responds."""


Entry: TypeAlias = "Fault | Sequence[Fault] | None"


@dataclass(frozen=True)
class Faults:
    """A script of faults, one entry per connection; the same seed gives the same faults again.

    Args:
        script: for the streams of events, in the order in which they are opened; None: no fault.
        rest: for all other requests, in order.
        otherwise: for the streams after the end of the script.
        seed: of everything that is random in here.

    >>> from rxruns.devserver.faults import Delay, Refuse
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
        """Return the faults of the stream with that number, from 0."""
        return _checked(self.script[number] if number < len(self.script) else self.otherwise, "script")

    def for_request(self, number: int) -> tuple[Fault, ...]:
        """Return the faults of the other request with that number, from 0."""
        return _checked(self.rest[number] if number < len(self.rest) else None, "rest")

    def dice(self, number: int) -> random.Random:
        """Return the random numbers of one connection."""
        return random.Random(f"{self.seed} {number}")


def _checked(entry: Entry, name: str) -> tuple[Fault, ...]:
    faults = entry if isinstance(entry, Sequence) else () if entry is None else (entry,)
    for fault in faults:
        if not isinstance(fault, Fault):
            raise must_be(name, "faults such as CutAt(500), tuples of them, or None", fault)
    return tuple(faults)


def through(
    faults: Sequence[Fault], pieces: Iterator[bytes], dice: random.Random, wire: Wire
) -> Iterator[bytes]:
    """Pass the pieces of a body through all faults."""
    for fault in faults:
        pieces = fault.pieces(pieces, dice, wire)
    return pieces
