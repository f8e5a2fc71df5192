"""Serve ``GET /runs/{id}/events``: the lines of a log, through the faults, onto the wire."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rxruns._loopback import Refusal, Wire
from rxruns.devserver._log import KEEPALIVE, EventLog
from rxruns.devserver.faults._script import Fault, through

__all__ = ["StreamQuery", "parse_query", "stream"]

BATCH = 256
MAX_LIMIT = 10_000
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class StreamQuery:
    """The parameters of a request for events."""

    after_seq: int = 0
    limit: int | None = None
    wait: bool = True
    include_output: bool = False


def parse_query(query: Mapping[str, str]) -> StreamQuery:
    """Parse the query.

    Raises:
        Refusal: 400, naming the wrong parameters.

    >>> parse_query({"after_seq": "3", "wait": "0"})
    StreamQuery(after_seq=3, limit=None, wait=False, include_output=False)
    """
    wrong: dict[str, str] = {}
    after = _number(query, "after_seq", 0, None, wrong)
    limit = _number(query, "limit", 1, MAX_LIMIT, wrong)
    flags: dict[str, bool] = {}
    for name, default in (("wait", True), ("include_output", False)):
        text = query.get(name)
        if text is not None and text.lower() not in _TRUTH:
            wrong[name] = "expected true, false, 1 or 0"
        flags[name] = default if text is None else _TRUTH.get(text.lower(), default)
    if wrong:
        raise Refusal(400, "INVALID_INPUT", "invalid query", wrong)
    return StreamQuery(after or 0, limit, flags["wait"], flags["include_output"])


def stream(
    log: EventLog, query: StreamQuery, wire: Wire, faults: Sequence[Fault], dice: random.Random, idle: float
) -> None:
    """Send the requested events, also those that are still to come.

    Raises:
        Gone: the client hung up.
        Cut: a fault ends the response.
    """

    def wake() -> None:
        with log.changed:
            log.changed.notify_all()

    wire.watch(wake)
    for fault in faults:
        fault.after(wire)
    wire.start_body()
    batches = _batches(log, query, wire, idle)
    if faults:
        for piece in _faulty(batches, wire, faults, dice):
            wire.write([piece])
    else:
        for batch in batches:
            wire.write(batch)
    wire.finish()


def _batches(log: EventLog, query: StreamQuery, wire: Wire, idle: float) -> Iterator[list[bytes]]:
    """Yield the events so far, then the new ones; a keep-alive after `idle` seconds of silence."""
    position = log.position(max(0, query.after_seq - wire.rewind))
    left = query.limit
    while left != 0:
        with log.changed:
            batch = log.read(position, BATCH if left is None else min(BATCH, left), query.include_output)
            if not batch:
                if log.ended or not query.wait or wire.gone:
                    wire.pause(0)
                    return
                if _wait(log, position, wire, idle):
                    continue
        position += len(batch)
        left = None if left is None else left - len(batch)
        yield batch or [KEEPALIVE]


def _wait(log: EventLog, position: int, wire: Wire, seconds: float) -> bool:
    return log.changed.wait_for(lambda: len(log) > position or log.ended or wire.gone, seconds)


def _faulty(
    batches: Iterator[list[bytes]], wire: Wire, faults: Sequence[Fault], dice: random.Random
) -> Iterator[bytes]:
    content: Iterator[bytes] = (line for batch in batches for line in batch)
    for fault in faults:
        content = fault.lines(content, dice, wire)
    return through(faults, content, dice, wire)


def _number(
    query: Mapping[str, str], name: str, least: int, most: int | None, wrong: dict[str, str]
) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    value = int(text) if text.isdecimal() and len(text) < 20 else -1
    if value < least or (most is not None and value > most):
        wrong[name] = f"expected a whole number from {least}" + (f" to {most}" if most else "")
    return value
