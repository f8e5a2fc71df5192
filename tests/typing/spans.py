"""Typed uses of spans: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from reactivex import Observable

from rxruns import Price, RetryPolicy, block_on, otel
from rxruns.events import RunEvent


def exported(source: Observable[RunEvent], exporter: SpanExporter) -> None:
    """Spans and their export keep their types in a pipe."""
    prices = {("openai", "gpt-5"): Price(1, 10)}
    spans = source.pipe(otel.spans(name="report", content=True, prices=prices))
    assert_type(spans, Observable[ReadableSpan])
    sent = spans.pipe(otel.export(exporter, batch=64, retry=RetryPolicy(max_attempts=5)))
    assert_type(sent, Observable[ReadableSpan])
    assert_type(block_on(sent, default=None), ReadableSpan | None)
