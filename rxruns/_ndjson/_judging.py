"""The verdict of the schemas on a line that msgspec refused. Imported with the first such line."""

from __future__ import annotations

from typing import Any, cast

import marshmallow as ma
import msgspec
from marshmallow import exceptions

from rxruns._ndjson._refusing import RecordError, refuse_deep_nesting, refused
from rxruns.events import MAX_INTEGER, RunEvent
from rxruns.schemas import RunEventSchema

__all__ = ["judge"]

_JSON_SPACE = b" \t\r\n"

_schema = RunEventSchema()
_decode_any = msgspec.json.decode


def judge(line: bytes) -> RunEvent | None:
    """Return the event of a line that msgspec refused, or None for a blank line or a keep-alive record.

    Raises:
        RecordError: the line is not a valid event.
    """
    if not line.strip(_JSON_SPACE):
        return None
    record = _decode_record(line)
    if record.get("type") == "keepalive":
        return None
    try:
        event: RunEvent = _schema.load(record)
    except ma.ValidationError as error:
        message = f"not a valid event: {_flat(cast(Any, error).messages)}"
        raise refused(message, _seq(record)) from error
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
