"""Dead letters: lines with an event that a sink refused, and its error. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from rxruns._display._text import visible
from rxruns._ndjson._decoding import RecordError, decode_event, encode_event
from rxruns.events import RunEvent

__all__ = ["dead_letter_event", "encode_dead_letter", "error_text"]

MAX_MESSAGE = 2_000
"""Characters of an error's message. Some errors quote all that they were given."""


class _DeadLetter(msgspec.Struct):
    error: dict[str, msgspec.Raw]
    event: msgspec.Raw


_decode = msgspec.json.Decoder(_DeadLetter).decode


def encode_dead_letter(event: RunEvent, error: Exception, attempts: int) -> bytes:
    """Encode an event and its error as one line of NDJSON, without the newline.

    >>> from uuid import UUID
    >>> from rxruns.events import NodeStarted
    >>> started = NodeStarted(run_id=UUID(int=1), seq=3, ts=datetime.now(UTC), node_id="draft")
    >>> line = encode_dead_letter(started, ConnectionError("no route"), 3)
    >>> line[:71]
    b'{"error":{"type":"ConnectionError","message":"no route","attempts":3,"f'
    >>> dead_letter_event(line) == started
    True
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    described = {
        "type": name,
        "message": error_text(error),
        "attempts": attempts,
        "failed_at": datetime.now(UTC),
    }
    return msgspec.json.encode({"error": described, "event": msgspec.Raw(encode_event(event))})


def dead_letter_event(line: bytes) -> RunEvent | None:
    """Return the event of a dead letter; None for any other line.

    >>> dead_letter_event(b'{"error":{},"event":{}}') is None
    True
    """
    if b'"event"' not in line:
        return None
    try:
        return decode_event(bytes(_decode(line).event))
    except (msgspec.DecodeError, RecordError, ValueError, RecursionError):
        return None


def error_text(error: Exception) -> str:
    """Return the message of an error on one line, bounded, with control characters made visible."""
    try:
        message = str(error)
    except Exception:  # the user's class may do anything
        message = ""
    return visible(message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…")
