"""The receiver of spans, with the exporter of OpenTelemetry's SDK."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk")

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.otlp import OtlpReceiver, drops, refuses, tree


def made() -> list[ReadableSpan]:
    """A root with a child."""
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("child") as child:
        child.set_attributes({"count": 3, "names": ["a", "b"]})
        child.add_event("waits")
    return list(memory.get_finished_spans())


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_are_kept_as_they_were_sent(compression: Compression, no_leaks: None) -> None:
    child, root = made()
    with OtlpReceiver() as receiver:
        exporter = OTLPSpanExporter(receiver.traces_url, compression=compression, headers={"X-Key": "k"})
        exporter.export([child, root])
        exporter.shutdown()
        first, second = receiver.wait_spans(2).spans
    assert ["root", "  child"] == tree([first, second])
    assert (f"{child.context.trace_id:032x}", f"{child.context.span_id:016x}") == first.id
    assert (child.start_time, child.end_time) == (first.start, first.end)
    assert {"count": 3, "names": ["a", "b"]} == first.attributes
    assert ["waits"] == [name for name, _, _ in first.events]
    assert "k" == receiver.requests[0].headers["x-key"]


def test_a_batch_whose_answer_was_lost_is_received_twice_and_stored_once() -> None:
    with OtlpReceiver(drops()) as receiver:
        exporter = OTLPSpanExporter(receiver.traces_url)
        assert SpanExportResult.SUCCESS == exporter.export(made())
        exporter.shutdown()
    assert [2, 2] == [len(copies) for copies in receiver.by_id.values()]
    assert 2 == len(receiver.stored)


def test_a_refused_batch_is_not_kept(no_leaks: None) -> None:
    with OtlpReceiver(refuses(400)) as receiver:
        exporter = OTLPSpanExporter(receiver.traces_url)
        assert SpanExportResult.FAILURE == exporter.export(made())
        assert SpanExportResult.SUCCESS == exporter.export(made())
        exporter.shutdown()
        assert [2] == receiver.batches


def test_a_receiver_that_was_away_returns_on_its_port(no_leaks: None) -> None:
    with OtlpReceiver() as receiver:
        exporter = OTLPSpanExporter(receiver.traces_url, timeout=0.01)
        with receiver.away():
            assert SpanExportResult.FAILURE == exporter.export(made())
        exporter = OTLPSpanExporter(receiver.traces_url)
        assert SpanExportResult.SUCCESS == exporter.export(made())
        exporter.shutdown()


def test_a_body_that_is_not_otlp_is_refused(no_leaks: None) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    with OtlpReceiver() as receiver:
        answer = requests.post(receiver.traces_url, b"\xff\xff", headers=headers, timeout=10)
        assert (400, 1) == (answer.status_code, len(receiver.malformed))
