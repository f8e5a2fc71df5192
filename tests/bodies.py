"""Faults that send the bytes of a test, which no real service would send."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rxruns.devserver.faults import Answered, Fault

NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Body(Fault):
    """Send this body, in these pieces, instead of the response of the service."""

    pieces_of: Callable[[], Iterable[bytes]]
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = NDJSON
    status: int = 200

    def before(self, wire: Any) -> None:
        framing = {"Content-Type": self.content_type, "Transfer-Encoding": "chunked"}
        wire.start(self.status, framing | dict(self.headers))
        for piece in self.pieces_of():
            wire.write([piece])
        wire.finish()
        raise Answered


@dataclass(frozen=True)
class Instead(Fault):
    """Send these lines, each without its newline, instead of those of the run."""

    lines_of: Callable[[], Iterable[bytes]]

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        return (line + b"\n" for line in self.lines_of())


@dataclass(frozen=True)
class InPieces(Fault):
    """Send the body in the pieces that `cut` makes of it."""

    cut: Callable[[bytes], Iterable[bytes]]

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        return iter(self.cut(b"".join(pieces)))


def packed(pieces: Iterable[bytes], times: int = 1) -> bytes:
    """Compress the pieces with gzip, `times` times."""
    body = b"".join(pieces)
    for _ in range(times):
        body = gzip.compress(body, 9)
    return body
