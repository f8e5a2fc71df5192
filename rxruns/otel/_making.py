"""Spans made of values: exact times, bounded texts, the resource of this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from rxruns._display._text import clipped, visible
from rxruns._version import __version__
from rxruns.events import MAX_INTEGER, NodeError
from rxruns.otel import _names as names
from rxruns.otel._sdk import (
    BoundedList,
    Event,
    InstrumentationScope,
    OTELResourceDetector,
    ReadableSpan,
    Resource,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
)

__all__ = [
    "UNSET",
    "Attributes",
    "Maker",
    "SpanEvents",
    "brief",
    "failure",
    "nanoseconds",
    "no_events",
    "short",
    "span_event",
]

Attributes: TypeAlias = dict[str, str | bool | int | float | Sequence[str]]
SpanEvents: TypeAlias = BoundedList[Event]

_LENGTH = 1_024
_NAME_LENGTH = 128
_SPAN_EVENTS = 128
UNSET = Status()
"""The status of a span that succeeded."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(ts: datetime) -> int:
    """Return a time as nanoseconds since 1970, exactly. OTLP has none before 1970 or after 2262.

    >>> nanoseconds(datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC))
    1769860800123456000
    """
    since = ts - _EPOCH
    exact = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    return min(max(exact, 0), MAX_INTEGER)


def short(text: str) -> str:
    """Return text of the network in at most 1,024 characters; the middle of a longer one becomes ``…``."""
    return clipped(text, _LENGTH)


def brief(name: str) -> str:
    """Return a name of the network in at most 128 characters."""
    return clipped(name, _NAME_LENGTH)


def failure(error: NodeError, code: str = names.OTHER_ERROR) -> tuple[Status, str]:
    """Return the status of a span that ended with an error, and its ``error.type``."""
    return Status(StatusCode.ERROR, short(error.message)), brief(error.code or code)


def no_events() -> SpanEvents:
    """Return a list of span events that counts what it drops: the oldest ones."""
    return BoundedList(_SPAN_EVENTS)


class Maker:
    """Makes finished spans. The resource comes from ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``.

    It has no ``service.instance.id``, which is random in each process: the spans of two exports are equal.
    """

    def __init__(self) -> None:
        self._resource = Resource({"service.name": "rxruns"}).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("rxruns", __version__, names.SCHEMA_URL)

    def span(
        self,
        context: SpanContext,
        parent: SpanContext | None,
        name: str,
        times: tuple[int, int],
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        status: Status = UNSET,
        events: Sequence[Event] = (),
    ) -> ReadableSpan:
        """Return a span. A span whose end lies before its start, as the log has it, ends at its start."""
        start, end = times
        return ReadableSpan(
            visible(brief(name)),
            context,
            parent,
            self._resource,
            attributes,
            events,
            kind=kind,
            status=status,
            start_time=start,
            end_time=max(start, end),
            instrumentation_scope=self._scope,
        )


def span_event(name: str, ts: datetime, attributes: Attributes) -> Event:
    """Return an event of a span."""
    return Event(name, attributes, nanoseconds(ts))
