"""Spans made of events, and an exporter with a script: helpers for tests of ``rxruns.otel``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import reactivex
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from rxruns import ops, otel
from rxruns.events import RunEvent

__all__ = ["FAILURE", "SUCCESS", "ScriptedExporter", "named", "spans_of", "texts"]

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def spans_of(events: Iterable[RunEvent], **options: Any) -> list[ReadableSpan]:
    """The spans of events, in the order in which they are emitted."""
    found: list[ReadableSpan] = (
        reactivex.from_iterable(list(events)).pipe(otel.spans(**options), ops.to_list()).run()
    )
    return found


def named(spans: Iterable[ReadableSpan], name: str) -> ReadableSpan:
    """The only span of that name."""
    (found,) = [span for span in spans if span.name == name]
    return found


def texts(spans: Iterable[ReadableSpan]) -> list[str]:
    """All that spans consist of, as text, sorted: spans themselves are compared by identity."""
    return sorted(span.to_json() for span in spans)


class ScriptedExporter(SpanExporter):
    """Keeps the batches that it accepts.

    Args:
        script: the results of the first calls, or exceptions that they raise; then it succeeds.

    Attributes:
        calls: the number of spans of each call.
        batches: the names of the spans of each accepted batch.
        spans: the accepted spans.
    """

    def __init__(self, *script: SpanExportResult | Exception) -> None:
        self._script = list(script)
        self.calls: list[int] = []
        self.batches: list[list[str]] = []
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls.append(len(spans))
        result = self._script.pop(0) if self._script else SUCCESS
        if isinstance(result, Exception):
            raise result
        if result is SUCCESS:
            self.batches.append([span.name for span in spans])
            self.spans += spans
        return result
