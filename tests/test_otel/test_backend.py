"""Spans over OTLP/HTTP to a backend that is slow, refuses, is away, or sees its exporter killed (R43)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from rxruns import (
    RetryPolicy,
    block_on,
    errors,
    merge_runs,
    ops,
    otel,
    recorded_events,
    run_events,
    start_run,
    workflow,
)
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CutRandomly
from rxruns.events import RunEvent
from rxruns.testing import RunLog, events
from rxruns.tools import Tools
from tests.conftest import HANG, ROOT, eventually
from tests.exporting import FAILURE, ScriptedExporter, spans_of
from tests.observing import reader_threads
from tests.otlp import Answer, OtlpReceiver, Received, accepts, drops, hangs, refuses, tree
from tests.soak import MIB, both_sizes, measured, patience

AT_ONCE = RetryPolicy(base_backoff=0.0)
BATCH = 8


def long_run(nodes: int) -> RunLog:
    """A run with four spans for each node, which fails."""
    log = events.run()
    for number in range(nodes):
        log = log.node(f"node_{number}").llm_call(input_tokens=number).tool_call("add").waits()
        log = log.tool_result("3").llm_call().node_succeeds()
    return log.fails("no luck")


@contextmanager
def otlp(receiver: OtlpReceiver, **options: Any) -> Iterator[OTLPSpanExporter]:
    """The SDK's exporter."""
    exporter: Any = OTLPSpanExporter(receiver.traces_url, **options)
    try:
        yield exporter
    finally:
        exporter.shutdown()


def send(receiver: OtlpReceiver, log: Iterable[RunEvent], *, timeout: float = 10.0) -> None:
    """Export a log to the receiver, in small batches."""
    with otlp(receiver, timeout=timeout) as exporter:
        export = otel.export(exporter, batch=BATCH, retry=AT_ONCE)
        block_on(reactivex.from_iterable(list(log)).pipe(otel.spans(), export), default=None)


def ids_of(log: Iterable[RunEvent]) -> set[tuple[str, str]]:
    """The trace id and the span id of each span, in hexadecimal."""
    return {(f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") for span in spans_of(log)}


def unequal(receiver: OtlpReceiver) -> list[list[Received]]:
    """The spans that were received again with another content."""
    return [copies for copies in receiver.by_id.values() if any(copy != copies[0] for copy in copies)]


def test_a_backend_receives_the_tree_with_times_attributes_and_status() -> None:
    log = (
        events.run(every=1).node("draft").llm_call(input_tokens=10, output_tokens=3).tool_call("add")
        .tool_result("3").fails("no luck", code="UNLUCKY")
    )  # fmt: skip
    with OtlpReceiver() as receiver:
        send(receiver, log)

    chat, tool, draft, root = receiver.spans
    assert ["invoke_workflow", "  draft", "    chat gpt-5", "    execute_tool add"] == tree(receiver.spans)
    assert {events.RUN_ID.hex} == {span.trace_id for span in receiver.spans}
    second = 1_000_000_000
    assert [(2, 3), (4, 5), (2, 6), (0, 7)] == [
        ((span.start - root.start) // second, (span.end - root.start) // second) for span in receiver.spans
    ]
    assert ("CLIENT", 10, 3) == (
        chat.kind,
        chat.attributes["gen_ai.usage.input_tokens"],
        chat.attributes["gen_ai.usage.output_tokens"],
    )
    assert ("ERROR", "no luck", "UNLUCKY") == (draft.status, draft.message, draft.attributes["error.type"])
    assert ("rxruns", "rxruns") == (root.scope, root.resource["service.name"])


@pytest.mark.parametrize(
    "script",
    [
        [refuses(503, retry_after=0.01), accepts(), refuses(429, retry_after=0.01)],
        [refuses(400), accepts(), refuses(400)],
        [drops(), accepts(), drops(stores=False)],
        [accepts(pause=0.02)] * 5,
    ],
    ids=["503 and 429", "400", "drops", "slow"],
)
def test_R43_a_backend_with_faults_gets_each_span(script: list[Answer]) -> None:
    log = long_run(10)
    with OtlpReceiver(*script) as receiver:
        send(receiver, log)

    assert ids_of(log) == {*receiver.by_id}
    assert [] == unequal(receiver)


def test_R43_a_backend_that_does_not_answer_gets_each_span() -> None:
    log = long_run(5)
    with OtlpReceiver(hangs(stores=True), hangs()) as receiver:
        send(receiver, log, timeout=0.5)

    assert ids_of(log) == {*receiver.by_id}


def test_R43_a_backend_that_is_away_is_an_error_and_a_second_export_completes_the_run() -> None:
    log = long_run(10)
    with OtlpReceiver() as receiver:
        with otlp(receiver, timeout=0.2) as exporter:
            export = otel.export(exporter, batch=BATCH, retry=AT_ONCE)
            source = reactivex.from_iterable(list(log))
            received: list[object] = []
            with receiver.away(), pytest.raises(errors.ExportError) as caught:
                block_on(source.pipe(otel.spans(), export, ops.do_action(received.append)))
        before = receiver.count
        send(receiver, log)

    assert ([], 0) == (received, before)
    assert log.run_id == caught.value.run_id
    assert ids_of(log) == {*receiver.by_id}


def test_R43_refusals_end_with_an_error_whose_last_seq_was_exported_whole() -> None:
    log = long_run(20)
    with OtlpReceiver(accepts(), accepts(), then=refuses(400)) as receiver:
        with pytest.raises(errors.ExportError) as caught:
            send(receiver, log)

    whole = [event for event in log if event.seq <= caught.value.last_seq]
    assert 2 * BATCH == receiver.count
    assert set() == ids_of(whole) - {*receiver.by_id}
    assert 2 * BATCH <= len(spans_of(log[: caught.value.last_seq + 1]))


def test_headers_of_the_exporter_appear_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with OtlpReceiver(then=refuses(400, body=b"no")) as receiver:
        with otlp(receiver, headers={"authorization": "Bearer hunter2"}) as exporter:
            export = otel.export(exporter, retry=AT_ONCE)
            with caplog.at_level("DEBUG"), pytest.raises(errors.ExportError) as caught:
                block_on(reactivex.from_iterable(list(long_run(1))).pipe(otel.spans(), export))

    assert "hunter2" not in caplog.text + repr(caught.value) + str(caught.value)


def test_merged_runs_that_are_cut_give_the_spans_of_each_run() -> None:
    logs = [events.run(run_id).node("draft").llm_call().succeeds() for run_id in RUN_IDS]
    with DevServer() as server, server.client() as client, OtlpReceiver() as receiver:
        for log in logs:
            server.serve_log(log)
        server.use_faults(Faults(otherwise=[CutRandomly(100, 900)], seed=7))
        with otlp(receiver) as exporter:
            merged = merge_runs([log.run_id for log in logs], client=client)
            block_on(merged.pipe(otel.spans(), otel.export(exporter)))

    assert sorted(id for log in logs for id in ids_of(log)) == sorted(span.id for span in receiver.spans)


RUN_IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 9)]


# ---- R43: the same spans again ----

WORKER = """
import sys
import threading
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from rxruns import RunsClient, block_on, otel, run_events

url, key, run_id, backend, batch = sys.argv[1:]
with RunsClient(api_key=key, base_url=url) as client:
    export = otel.export(OTLPSpanExporter(backend), batch=int(batch))
    block_on(run_events(run_id, client=client).pipe(otel.spans(), export))
"""
"""Follows a run from its first event and exports its spans."""


def killed_after(spans: int, arguments: list[str], receiver: OtlpReceiver) -> bool:
    """Let a worker export, and kill it after `spans` more spans. Return True if it ended before."""
    command = [sys.executable, "-c", WORKER, *arguments]
    wanted = receiver.count + spans
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        while receiver.count < wanted and process.poll() is None:
            with suppress(AssertionError):
                receiver.wait_spans(wanted, timeout=0.05)
        process.send_signal(signal.SIGKILL)
    return process.returncode == 0


@both_sizes
def test_R43_exporters_that_are_killed_leave_each_span_once_and_none_missing(soaking: bool) -> None:
    dice = random.Random(43)
    log, kills = (long_run(150), 20) if soaking else (long_run(30), 3)
    expected = ids_of(log)
    with DevServer() as server, OtlpReceiver(then=accepts(pause=0.005)) as receiver:
        server.serve_log(log)
        arguments = [server.url, server.api_key, str(log.run_id), receiver.traces_url, str(BATCH)]
        for _ in range(kills):
            assert not killed_after(dice.randint(1, len(expected) - 2 * BATCH), arguments, receiver)
        assert killed_after(10 * len(expected), arguments, receiver)

    assert 0 == measured("R43", "spans missing after kills", len(expected - {*receiver.by_id}), 0, "")
    assert 0 == measured("R43", "spans with another id or content", len({*receiver.by_id} - expected), 0, "")
    assert [] == unequal(receiver)
    assert any(len(copies) > 1 for copies in receiver.by_id.values())


def test_R43_a_run_and_its_log_give_the_same_spans(tmp_path: Path) -> None:
    path = tmp_path / "run.ndjson"
    with DevServer() as server, server.client() as client, OtlpReceiver() as receiver, otlp(receiver) as to:
        log = long_run(5)
        server.serve_log(log)
        live = run_events(log.run_id, client=client, record=path)
        for source in (live, recorded_events(path)):
            block_on(source.pipe(otel.spans(content=True), otel.export(to)))

    assert {2} == {len(copies) for copies in receiver.by_id.values()}
    assert [] == unequal(receiver)


# ---- R43: a slow backend ----

FLOOD = """
import sys
import threading
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
import reactivex
from rxruns import otel, ops
from tests.soak import peak_of_memory
from tests.test_otel.test_backend import flood

backend, spans = sys.argv[1], int(sys.argv[2])
exporter = OTLPSpanExporter(backend)

def exported(first, spans):
    events = reactivex.from_iterable(flood(first, spans))
    return events.pipe(otel.spans(), otel.export(exporter), ops.count()).run()

warm = exported(0, 5_000)
with peak_of_memory() as grown:
    print(warm + exported(1, spans - warm), int(grown()))
"""
"""Exports the spans of one large run to a slow backend; prints their number and the growth of its memory."""


def flood(run: int, spans: int) -> Iterable[RunEvent]:
    """The events of a run with that number of spans, made while they are read."""
    first = events.run(f"00000000-0000-4000-8000-{run + 1:012d}")
    node = [*first.node("node").llm_call(input_tokens=5, output_tokens=2).tool_call("add").tool_result("3")]
    node = [*node[2:], *first.node("node").node_succeeds()[-1:]]
    yield from first
    seq = len(first)
    for number in range((spans - 1) // 3):
        for event in node:
            seq += 1
            yield msgspec.structs.replace(event, seq=seq, node_id=f"node_{number % 50}")
    yield msgspec.structs.replace(first.succeeds()[-1], seq=seq + 1)


@both_sizes
def test_R43_a_slow_backend_gets_all_spans_of_a_large_run_in_bounded_memory(soaking: bool) -> None:
    spans = 100_000 if soaking else 10_000
    with OtlpReceiver(then=accepts(pause=0.02)) as receiver:
        command = [sys.executable, "-c", FLOOD, receiver.traces_url, str(spans)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=20 * HANG, check=True
        )
        received, distinct = (
            receiver.count,
            len({(span.trace_id, span.span_id) for _, _, span in receiver._kept}),
        )
    exported, grown = map(int, done.stdout.split())

    assert (exported, exported) == (received, distinct)
    assert spans - exported < 3
    assert 8 * MIB * patience(soaking) > measured(
        "R43", f"memory growth, {spans:,} spans", grown, 8 * MIB, "MiB"
    )


# ---- live runs ----


def test_a_run_of_the_embedded_service_has_a_whole_tree() -> None:
    tools, one = Tools({"clock": lambda: "12:00"}), workflow.llm("one", user="{{item}}")
    spec = (
        workflow.WorkflowBuilder(name="report", model="gpt-5")
        .llm("plan", user='[[say: ["Oslo", "Rome"]]]')
        .map_fanout("each", items_from="plan", subnode=one, max_parallelism=1)
        .llm("time", user="What time is it?", tools=tools, tool_execution="client")
        .llm("ask", user="[[ask: Which zone?]]", tools=["user_ask"])
        .edge("each", "time")
        .edge("time", "ask")
        .output("text", from_="ask")
        .build()
    )
    with DevServer() as server, server.client() as client, OtlpReceiver() as receiver, otlp(receiver) as to:
        answering = ops.execute_tools(tools, client=client, answer=lambda ask: "Oslo")
        block_on(start_run(spec, client=client).pipe(answering, otel.spans(name="report"), otel.export(to)))

    assert [
        "invoke_workflow report",
        "  plan",
        "    chat gpt-5",
        "  each",
        "    each_one_0",
        "      chat gpt-5",
        "    each_one_1",
        "      chat gpt-5",
        "  time",
        "    chat gpt-5",
        "    execute_tool clock",
        "    chat gpt-5",
        "  ask",
        "    chat gpt-5",
        "    execute_tool user_ask",
        "    chat gpt-5",
    ] == tree(receiver.spans)
    waits = [event[0] for span in receiver.spans if span.name == "ask" for event in span.events]
    assert ["rxruns.user_ask", "rxruns.waiting", "rxruns.user_answer"] == waits


def test_spans_of_a_silent_run_are_exported_meanwhile(
    monkeypatch: pytest.MonkeyPatch, no_leaks: None
) -> None:
    monkeypatch.setattr("rxruns.otel._export.PATIENCE", timedelta(milliseconds=20))
    log = events.run().node("draft").llm_call().node_succeeds()
    with DevServer() as server, server.client() as client, OtlpReceiver() as receiver, otlp(receiver) as to:
        run = server.add_run(log.run_id, map(json.loads, log.ndjson().splitlines()), finish=False)
        following = run_events(run.run_id, client=client).pipe(otel.spans(), otel.export(to)).subscribe()
        receiver.wait_spans(2)
        following.dispose()

    assert ["chat gpt-5", "draft"] == [span.name for span in receiver.spans]


def test_dispose_frees_a_reader_that_waits_for_the_backend(
    no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    failing, hour = threading.Event(), RetryPolicy(base_backoff=3_600.0, max_backoff=3_600.0)

    class Failing(ScriptedExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            failing.set()
            return FAILURE

    with DevServer() as server, server.client() as client:
        server.serve_log(long_run(5))
        sent = run_events(events.RUN_ID, client=client).pipe(
            otel.spans(), otel.export(Failing(), batch=1, retry=hour)
        )
        following = sent.subscribe()
        assert failing.wait(HANG)
        following.dispose()
        assert eventually(lambda: not reader_threads())
