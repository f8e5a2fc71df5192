"""One line to one event: msgspec executes the schemas; a line that it refuses is judged by the schemas.

The fast path is C: :mod:`msgspec` decodes the line straight into the frozen struct, types and bounds
checked. A line that it refuses is decoded without a type and passed to
:class:`~rxruns.schemas.RunEventSchema`, whose verdict stands: an event after all (an unknown type, a null
that reads as absent) or an error with marshmallow's messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Union
from uuid import UUID

import msgspec

from rxruns._display._text import visible
from rxruns._ndjson._framing import EXCERPT_BYTES
from rxruns._ndjson._refusing import SHALLOW, RecordError, refuse_deep_nesting, refused
from rxruns.errors import StreamProtocolError
from rxruns.events import KNOWN_EVENTS, NodeOutput, RunCompleted, RunEvent, UnknownEvent

__all__ = [
    "SHALLOW",
    "RecordError",
    "WITH_OUTPUT",
    "decode_event",
    "decode_known",
    "encode_event",
    "protocol_error",
    "refuse_deep_nesting",
    "refuse_included",
]

WITH_OUTPUT: frozenset[type] = frozenset((RunCompleted, NodeOutput))
"""Types of events that may come with an output."""

decode_known: Callable[[bytes], RunEvent] = msgspec.json.Decoder(Union[KNOWN_EVENTS]).decode  # noqa: UP007
"""msgspec alone. It doesn't check nesting, nor UTF-8 in undeclared fields: the caller must."""

_encode = msgspec.json.encode


def decode_event(line: bytes) -> RunEvent | None:
    """Return the event of a line, or None for a blank line or a keep-alive record.

    Args:
        line: one line, with or without the ``\\n`` that ended it.

    Raises:
        RecordError: and nothing else, for a line that is not a valid event.

    >>> decode_event(b'{"type":"keepalive"}') is None
    True
    """
    try:
        try:
            event = decode_known(line)
            if not line.isascii():
                line.decode()  # msgspec doesn't check undeclared fields
        except (msgspec.DecodeError, ValueError, RecursionError):
            return _judge(line.removesuffix(b"\n"))
        if len(line) > SHALLOW:
            refuse_deep_nesting(line)
    except RecursionError as error:  # too near to the limit for any call
        raise RecordError("no stack was left to check it") from error
    return event


def encode_event(event: RunEvent) -> bytes:
    """Encode an event as one line of NDJSON, without the newline.

    >>> encode_event(decode_event(b'''{"type":"node_started","node_id":"a","seq":1,
    ...     "run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11","ts":"2026-01-31T12:00:00Z"}'''))[:40]
    b'{"type":"node_started","node_id":"a","ru'
    """
    return _encode(event.record if isinstance(event, UnknownEvent) else event)


def protocol_error(
    error: RecordError,
    line: bytes,
    number: int | None = None,
    *,
    message: str = "",
    redact: Callable[[str], str] = str,
    run_id: UUID | None = None,
    last_seq: int = 0,
) -> StreamProtocolError:
    """Make the error of a line that is not a valid event, to be raised from `error`.

    Args:
        error: the reason.
        line: its start at least, 800 bytes.
        number: of the line, from 1.
        message: the message, where it is more than the reason.
        redact: removes secrets that a service may have sent back.

    >>> str(protocol_error(RecordError("not JSON"), b"<html>\\n", 3))
    "line 3: not JSON: '<html>'"
    """
    # Redacted before it is cut, because a part of a secret would not be found.
    raw_data = redact(line[:EXCERPT_BYTES].removesuffix(b"\n").decode("utf-8", "replace"))
    text = visible(redact(message or str(error)))
    return StreamProtocolError(text, raw_data=raw_data, line_number=number, run_id=run_id, last_seq=last_seq)


def _judge(line: bytes) -> RunEvent | None:
    from rxruns._ndjson._judging import judge  # noqa: PLC0415  (marshmallow takes a quarter of the start time)

    return judge(line)


def refuse_included(event: RunEvent) -> None:
    """Refuse an output that was included without `include_output`."""
    if isinstance(event, RunCompleted):
        artifact = event.outputs
    elif isinstance(event, NodeOutput):
        artifact = event.output
    else:
        return
    if artifact.info.included:
        raise refused("an output is included, but include_output was not requested", event.seq)
