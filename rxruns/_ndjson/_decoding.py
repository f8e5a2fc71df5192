"""One line to one event: msgspec executes what the schemas say, and what it refuses is judged by them.

The fast path is C: :mod:`msgspec` decodes the line straight into the frozen struct, types and bounds
checked. A line that it refuses is decoded without a type and given to
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
from rxruns.errors import EXCERPT, StreamProtocolError
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
    "excerpt",
    "refusal",
    "refuse_deep_nesting",
    "refuse_included",
]

MAX_NESTING = 100
"""How deep objects and arrays of a record may be nested."""

SHALLOW = 300
"""Bytes of a valid event that can not be nested too deep: the envelope alone takes 100, each level 2."""

_SHALLOW_OBJECTS = 5 * (MAX_NESTING - 1)
"""Bytes of objects, with one array at most, that can not be nested too deep: ``{"":}`` for each level."""

WITH_OUTPUT: frozenset[type] = frozenset((RunCompleted, NodeOutput))
"""Types of events that may come with an output."""

_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_JSON_SPACE = b" \t\r\n"

decode_known: Callable[[bytes], RunEvent] = msgspec.json.Decoder(Union[KNOWN_EVENTS]).decode  # noqa: UP007
"""msgspec alone: what it accepts has to be looked through for what it does not see."""

_schema = RunEventSchema()
_encode = msgspec.json.encode
_decode_any = msgspec.json.decode


class RecordError(ValueError):
    """A line that is no valid event.

    Attributes:
        is_record: the line is a whole JSON object, so nothing of it was cut off.
        seq: that of the record, where it can be read.
    """

    # No `__init__`: without it, it can be raised where no frame is left on the stack.
    is_record: bool = False
    seq: int | None = None


def decode_event(line: bytes) -> RunEvent | None:
    """The event of a line, or None for a blank line or a keep-alive record.

    Raises:
        RecordError: and nothing else, for a line that is no valid event.

    >>> decode_event(b'{"type":"keepalive"}') is None
    True
    """
    try:
        try:
            event = decode_known(line)
            if not line.isascii():
                line.decode()  # msgspec does not look into fields that nobody declares
        except (msgspec.DecodeError, ValueError, RecursionError):
            return _judge(line)
        if len(line) > SHALLOW:
            refuse_deep_nesting(line)
    except RecursionError as error:  # so near to the limit that nothing could be called
        raise RecordError("no stack was left to check it") from error
    return event


def encode_event(event: RunEvent) -> bytes:
    """The event as one line of NDJSON, without the newline.

    >>> encode_event(decode_event(b'''{"type":"node_started","node_id":"a","seq":1,
    ...     "run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11","ts":"2026-01-31T12:00:00Z"}'''))[:40]
    b'{"type":"node_started","node_id":"a","ru'
    """
    return _encode(event.record if isinstance(event, UnknownEvent) else event)


def excerpt(line: bytes) -> str:
    """The start of a line as text, for an error message."""
    return line[: 4 * EXCERPT].decode("utf-8", "replace")[:EXCERPT]


def refusal(
    error: RecordError,
    line: bytes,
    number: int,
    *,
    redact: Callable[[str], str] = str,
    run_id: UUID | None = None,
    last_seq: int = 0,
) -> StreamProtocolError:
    """The error of a line that is no valid event, to be raised from `error`.

    Args:
        redact: removes secrets that a service may have sent back.
    """
    # Redacted before it is cut, because a part of a secret would not be found.
    raw_data = redact(line[: 4 * EXCERPT].decode("utf-8", "replace"))
    return StreamProtocolError(
        visible(redact(str(error))), raw_data=raw_data, line_number=number, run_id=run_id, last_seq=last_seq
    )


def _judge(line: bytes) -> RunEvent | None:
    """The schemas' verdict on a line that msgspec refused."""
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
    """Refuse a line whose objects and arrays are nested too deep. Up to `SHALLOW` bytes can not be."""
    if len(line) <= _SHALLOW_OBJECTS:  # searches are faster than counts, and `find` than `in`
        first = line.find(b"[")
        if first < 0 or line.find(b"[", first + 1) < 0:
            return
    if line.count(b"{") + line.count(b"[") > MAX_NESTING and _is_deep(line):
        raise RecordError(f"objects and arrays are nested more than {MAX_NESTING} deep")


def _is_deep(line: bytes) -> bool:
    """Whether a line is nested too deep to be decoded, without recursion and in linear time."""
    brackets = _without_strings(line).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_NESTING


def _without_strings(line: bytes) -> bytes:
    """The line without its strings.

    After escapes are gone, a quote opens or closes one: every other piece stays.
    """
    return b"".join(line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def refuse_included(event: RunEvent) -> None:
    """Refuse an output that nobody asked to include."""
    if isinstance(event, RunCompleted):
        artifact = event.outputs
    elif isinstance(event, NodeOutput):
        artifact = event.output
    else:
        return
    if artifact.info.included:
        message = "an output is included although include_output was not asked for"
        raise _refused(message, event.seq)


def _refused(message: str, seq: int | None) -> RecordError:
    error = RecordError(message)
    error.is_record, error.seq = True, seq
    return error


def _seq(record: dict[str, Any]) -> int | None:
    seq = record.get("seq")
    is_seq = isinstance(seq, int) and not isinstance(seq, bool) and 0 < seq <= MAX_INTEGER
    return seq if is_seq else None


def _flat(messages: dict[Any, Any] | list[Any] | str, path: str = "") -> str:
    """marshmallow's messages on one line: ``llm_call.step: Not a valid integer.``"""
    if isinstance(messages, dict):
        return "; ".join(
            _flat(inner, path if name == exceptions.SCHEMA else f"{path}.{name}" if path else str(name))
            for name, inner in messages.items()
        )
    text = " ".join(map(str, messages)) if isinstance(messages, list) else messages
    return f"{path}: {text}" if path else text
