"""The cost of more streams at once, and of more operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from reactivex import Observable, abc
from reactivex import operators as rx
from reactivex.disposable import Disposable

from benchmarks.corpus import RUN_ID, lines
from benchmarks.in_memory import drop
from benchmarks.loopback import KEY, follow_all
from benchmarks.measuring import Contestant, Sample, side_by_side
from rxruns import RunsClient, events, ops, otel
from rxruns._ndjson._decoding import decode_event
from rxruns.cursors import MemoryCursors

Operator = Callable[[Observable[Any]], Observable[Any]]
PLAIN = "rx.filter"


class Encoding(SpanExporter):
    """An exporter that encodes its batches as those over OTLP do, and sends nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Encode a batch."""
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def streams(server: str, counts: list[int], total: int, rounds: int) -> dict[str, list[Sample]]:
    """Samples by the number of streams that share `total` events."""
    contestants: dict[str, Contestant] = {}
    clients = []
    for count in counts:
        client = RunsClient(api_key=KEY, base_url=f"{server}/stream/{total // count}/16384")
        clients.append(client)
        contestants[str(count)] = _following(client, count)
    try:
        return side_by_side(contestants, rounds)
    finally:
        for client in clients:
            client.close()


def _following(client: RunsClient, count: int) -> Contestant:
    # One id for all streams, so that the server caches one log.
    return lambda: follow_all(client, drop, [RUN_ID] * count)


def decoded(total: int) -> list[events.RunEvent]:
    """Decoded events, to be emitted repeatedly."""
    decode = decode_event
    return [event for line in lines("stream", total) if (event := decode(line)) is not None]


def chains(log: list[events.RunEvent], lengths: list[int], rounds: int) -> dict[str, list[Sample]]:
    """Samples by the number of operators in a row, each of which passes everything on."""
    return side_by_side({str(n): _running(log, [rx.filter(_true)] * n) for n in lengths}, rounds)


def operators(log: list[events.RunEvent], rounds: int) -> dict[str, list[Sample]]:
    """Samples by operator, each alone; RxPY's own filter is the reference."""
    with TemporaryDirectory() as directory:
        piped: dict[str, Operator] = {
            PLAIN: rx.filter(_true),
            "for_node": ops.for_node("draft"),
            "of_type": ops.of_type(events.NodeOutputDelta),
            "raise_on_failure": ops.raise_on_failure(),
            "buffer_nodes": ops.buffer_nodes(),
            "buffer_until_complete": ops.buffer_until_complete(),
            "cost_totals": ops.cost_totals({}),
            "run_state": ops.run_state(),
            "text": ops.text(),
            "node_spans": ops.node_spans(),
            "checkpoint (memory)": ops.checkpoint(MemoryCursors()),
            "record": ops.record(Path(directory, "log.ndjson")),
            "otel.spans": otel.spans(),
            "otel.spans, otel.export": lambda events: events.pipe(otel.spans(), otel.export(Encoding())),
        }
        return side_by_side({name: _running(log, [operator]) for name, operator in piped.items()}, rounds)


def _running(log: list[events.RunEvent], piped: list[Operator]) -> Contestant:
    def emit(
        observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        for event in log:
            observer.on_next(event)
        observer.on_completed()
        return Disposable()

    source: Observable[Any] = Observable(emit)
    for operator in piped:
        source = operator(source)
    errors: list[Exception] = []

    def run() -> None:
        source.subscribe(drop, errors.append)
        if errors:
            raise errors[0]

    return run


def _true(event: object) -> bool:
    return True
