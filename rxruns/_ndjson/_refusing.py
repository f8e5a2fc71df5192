"""The error of a line that is not an event, and the check of its nesting."""

from __future__ import annotations

from itertools import accumulate

__all__ = ["MAX_NESTING", "SHALLOW", "RecordError", "refuse_deep_nesting", "refused"]

MAX_NESTING = 100
"""Levels of objects and arrays in a record."""

SHALLOW = 300
"""A valid event of this length, in bytes, can't be nested too deep: the envelope takes 100, each level 2."""

_SHALLOW_OBJECTS = 5 * (MAX_NESTING - 1)
"""Objects of this length, in bytes, with one array at most, can't be nested too deep: ``{"":}`` a level."""

_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class RecordError(ValueError):
    """A line that is not a valid event.

    Attributes:
        is_record: the line is a whole JSON object, so nothing of it was cut off.
        seq: the record's ``seq``, where it is readable.
    """

    # No `__init__`, so that it can be raised where no frame is left on the stack.
    is_record: bool = False
    seq: int | None = None


def refused(message: str, seq: int | None) -> RecordError:
    """Make the error of a whole record."""
    error = RecordError(message)
    error.is_record, error.seq = True, seq
    return error


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
