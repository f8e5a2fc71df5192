"""One line to one event: msgspec executes the schemas; a line that it refuses is judged by the schemas.

The fast path is C: :mod:`msgspec` decodes the line straight into the frozen struct, types and bounds
checked. A line that it refuses is decoded without a type and passed to
:class:`~rxruns.schemas.RunEventSchema`, whose verdict stands: an event after all (an unknown type, a null
that reads as absent) or an error with marshmallow's messages.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any, Union, cast
from uuid import UUID

import marshmallow as ma
import msgspec
from marshmallow import exceptions

from rxruns._display._text import visible
from rxruns._ndjson._framing import EXCERPT_BYTES
from rxruns.errors import StreamProtocolError
from rxruns.events import KNOWN_EVENTS, MAX_INTEGER, NodeOutput, RunCompleted, RunEvent, UnknownEvent
from rxruns.schemas import RunEventSchema

__all__ = [
    "MAX_NESTING",
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

MAX_NESTING = 100
"""Levels of objects and arrays in a record."""

SHALLOW = 300
"""A valid event of this length, in bytes, can't be nested too deep: the envelope takes 100, each level 2."""

_SHALLOW_OBJECTS = 5 * (MAX_NESTING - 1)
"""Objects of this length, in bytes, with one array at most, can't be nested too deep: ``{"":}`` a level."""

WITH_OUTPUT: frozenset[type] = frozenset((RunCompleted, NodeOutput))
"""Types of events that may come with an output."""

_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_JSON_SPACE = b" \t\r\n"

decode_known: Callable[[bytes], RunEvent] = msgspec.json.Decoder(Union[KNOWN_EVENTS]).decode  # noqa: UP007
"""msgspec alone. It doesn't check nesting, nor UTF-8 in undeclared fields: the caller must."""

_schema = RunEventSchema()
_encode = msgspec.json.encode
_decode_any = msgspec.json.decode


class RecordError(ValueError):
    """A line that is not a valid event.

    Attributes:
        is_record: the line is a whole JSON object, so nothing of it was cut off.
        seq: the record's ``seq``, where it is readable.
    """

    # No `__init__`, so that it can be raised where no frame is left on the stack.
    is_record: bool = False
    seq: int | None = None


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
    """Return the schemas' verdict on a line that msgspec refused."""
    if not line.strip(_JSON_SPACE):
        return None
    record = _decode_record(line)
    if record.get("type") == "keepalive":
        return None
    try:
        event: RunEvent = _schema.load(record)
    except ma.ValidationError as error:
        message = f"not a valid event: {_flat(cast(Any, error).messages)}"
        raise _refused(message, _seq(record)) from error
    except RecursionError as error:
        raise RecordError("no stack was left to check it") from error
    return event


def _decode_record(line: bytes) -> dict[str, Any]:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}") from error
    refuse_deep_nesting(line)
    try:
        record = _decode_any(line)
    except msgspec.DecodeError as error:
        raise RecordError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise RecordError("no stack was left to decode it") from error
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return cast(dict[str, Any], record)


def refuse_deep_nesting(line: bytes) -> None:
    """Refuse a line whose objects and arrays are nested too deep. `SHALLOW` bytes can't be."""
    if len(line) <= _SHALLOW_OBJECTS:  # searches are faster than counts, and `find` than `in`
        first = line.find(b"[")
        if first < 0 or line.find(b"[", first + 1) < 0:
            return
    if line.count(b"{") + line.count(b"[") > MAX_NESTING and _is_deep(line):
        raise RecordError(f"objects and arrays are nested more than {MAX_NESTING} deep")


def _is_deep(line: bytes) -> bool:
    """Return whether a line is nested too deep, without recursion and in linear time."""
    brackets = _without_strings(line).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_NESTING


def _without_strings(line: bytes) -> bytes:
    """Remove the strings: without escapes, a quote opens or closes one, so every other piece stays."""
    return b"".join(line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def refuse_included(event: RunEvent) -> None:
    """Refuse an output that was included without `include_output`."""
    if isinstance(event, RunCompleted):
        artifact = event.outputs
    elif isinstance(event, NodeOutput):
        artifact = event.output
    else:
        return
    if artifact.info.included:
        raise _refused("an output is included, but include_output was not requested", event.seq)


def _refused(message: str, seq: int | None) -> RecordError:
    error = RecordError(message)
    error.is_record, error.seq = True, seq
    return error


def _seq(record: dict[str, Any]) -> int | None:
    seq = record.get("seq")
    is_seq = isinstance(seq, int) and not isinstance(seq, bool) and 0 < seq <= MAX_INTEGER
    return seq if is_seq else None


def _flat(messages: dict[Any, Any] | list[Any] | str, path: str = "") -> str:
    """Format marshmallow's messages on one line: ``llm_call.step: Not a valid integer.``"""
    if isinstance(messages, dict):
        return "; ".join(
            _flat(inner, path if name == exceptions.SCHEMA else f"{path}.{name}" if path else str(name))
            for name, inner in messages.items()
        )
    text = " ".join(map(str, messages)) if isinstance(messages, list) else messages
    return f"{path}: {text}" if path else text
