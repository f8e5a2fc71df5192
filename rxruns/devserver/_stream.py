"""Serve ``GET /runs/{id}/events``: the lines of a log, through the faults, onto the wire."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rxruns._loopback import Refusal, Wire
from rxruns.devserver._log import KEEPALIVE, EventLog
from rxruns.devserver._watch import Watch
from rxruns.devserver.faults import Fault

__all__ = ["Ask", "parse_ask", "stream"]

BATCH = 256
MAX_LIMIT = 10_000
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Ask:
    """What the client asked for."""

    after_seq: int = 0
    limit: int | None = None
    wait: bool = True
    include_output: bool = False


def parse_ask(query: Mapping[str, str]) -> Ask:
    """Read the query.

    Raises:
        Refusal: 400, naming the parameters that are wrong.

    >>> parse_ask({"after_seq": "3", "wait": "0"})
    Ask(after_seq=3, limit=None, wait=False, include_output=False)
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
    return Ask(after or 0, limit, flags["wait"], flags["include_output"])


def stream(
    log: EventLog,
    ask: Ask,
    wire: Wire,
    faults: Sequence[Fault],
    dice: random.Random,
    watch: Watch,
    idle: float,
) -> None:
    """Send the events that were asked for, as they come.

    Raises:
        Gone: the client hung up.
        Cut: a fault ends the response.
    """

    def leave() -> None:
        wire.leave()
        with log.changed:
            log.changed.notify_all()

    watch.add(wire.connection, leave)
    try:
        for fault in faults:
            fault.after(wire)
        wire.start_body()
        batches = _batches(log, ask, wire, idle)
        if faults:
            for piece in _faulty(batches, wire, faults, dice):
                wire.write([piece])
        else:
            for batch in batches:
                wire.write(batch)
        wire.finish()
    finally:
        watch.remove(wire.connection)


def _batches(log: EventLog, ask: Ask, wire: Wire, idle: float) -> Iterator[list[bytes]]:
    """What is there, then what comes; a keep-alive after that many seconds of silence."""
    place = log.position(max(0, ask.after_seq - wire.rewind))
    left = ask.limit
    while left != 0:
        with log.changed:
            batch = log.read(place, BATCH if left is None else min(BATCH, left), ask.include_output)
            if not batch:
                if log.ended or not ask.wait or wire.gone:
                    wire.pause(0)
                    return
                if _wait(log, place, wire, idle):
                    continue
        place += len(batch)
        left = None if left is None else left - len(batch)
        yield batch or [KEEPALIVE]


def _wait(log: EventLog, place: int, wire: Wire, seconds: float) -> bool:
    return log.changed.wait_for(lambda: len(log) > place or log.ended or wire.gone, seconds)


def _faulty(
    batches: Iterator[list[bytes]], wire: Wire, faults: Sequence[Fault], dice: random.Random
) -> Iterator[bytes]:
    content: Iterator[bytes] = (line for batch in batches for line in batch)
    for fault in faults:
        content = fault.lines(content, dice, wire)
    for fault in faults:
        content = fault.pieces(content, dice, wire)
    return content


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
