"""Faults that put a test's own bytes on the wire: what no well-meant service sends."""

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
    """This body, in these pieces, instead of what the service would have answered."""

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
    """These lines, each without its newline, instead of the run's own. The pieces are sent as they are."""

    lines_of: Callable[[], Iterable[bytes]]

    def lines(self, lines: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        return (line + b"\n" for line in self.lines_of())


@dataclass(frozen=True)
class InPieces(Fault):
    """The body, as one string of bytes, cut where `cut` says."""

    cut: Callable[[bytes], Iterable[bytes]]

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        return iter(self.cut(b"".join(pieces)))


def packed(pieces: Iterable[bytes], times: int = 1) -> bytes:
    """The pieces, packed by gzip that many times."""
    body = b"".join(pieces)
    for _ in range(times):
        body = gzip.compress(body, 9)
    return body
