"""``otel.export``: when batches are exported, what a failing exporter does, and dispose; in virtual time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import reactivex
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from reactivex import Observable
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from rxruns import RetryPolicy, block_on, errors, otel
from rxruns.testing import events
from tests.conftest import HANG
from tests.exporting import FAILURE, SUCCESS, ScriptedExporter, spans_of

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error
AT_ONCE = RetryPolicy(base_backoff=0.0)
FAULT = RuntimeError("the line is dead")

*INNER, ROOT = spans_of(events.run().node("a").llm_call("b").llm_call("c").llm_call("d").succeeds())
B, C, D, A = INNER


class Adjustable(TestScheduler):
    """A scheduler whose clock can be set."""

    adjustment = timedelta(0)

    @property
    def now(self) -> datetime:
        return super().now + self.adjustment


class Timeline:
    """A hot source of spans on a scheduler, exported; `messages` are the result's."""

    def __init__(self, *messages: Any, exporter: SpanExporter | None = None, **options: Any) -> None:
        self.exporter = exporter or ScriptedExporter()
        self.scheduler = TestScheduler()
        source = self.scheduler.create_hot_observable(*messages)
        operator = otel.export(self.exporter, scheduler=self.scheduler, **options)
        self.messages = self.scheduler.start(lambda: source.pipe(operator)).messages


def exported(spans: Sequence[ReadableSpan], exporter: SpanExporter, **options: Any) -> list[ReadableSpan]:
    """The spans that the export of spans emits."""
    found: list[ReadableSpan] = []
    failed: list[Exception] = []
    reactivex.from_iterable(spans).pipe(otel.export(exporter, **options)).subscribe(
        found.append, failed.append
    )
    for error in failed:
        raise error
    return found


class TestBatches:
    def test_spans_pass_when_their_batch_is_full(self) -> None:
        line = Timeline(
            on_next(210, B), on_next(211, C), on_next(212, D), on_completed(213), exporter=ScriptedExporter(),
            batch=2,
        )  # fmt: skip

        assert [on_next(211, B), on_next(211, C), on_next(213, D), on_completed(213)] == line.messages

    def test_a_root_span_completes_its_batch(self) -> None:
        line = Timeline(on_next(210, B), on_next(212, ROOT), on_next(213, C), on_completed(214))

        assert [on_next(212, B), on_next(212, ROOT), on_next(214, C), on_completed(214)] == line.messages

    def test_a_batch_is_exported_five_seconds_after_its_oldest_span(self) -> None:
        line = Timeline(on_next(210, B), on_next(213, C), on_next(216, D), on_next(217, A))

        assert [on_next(215, B), on_next(215, C), on_next(221, D), on_next(221, A)] == line.messages

    def test_the_five_seconds_of_a_batch_begin_with_its_own_first_span(self) -> None:
        line = Timeline(on_next(210, B), on_next(212, ROOT), on_next(213, C))

        assert [on_next(212, B), on_next(212, ROOT), on_next(218, C)] == line.messages

    def test_a_batch_after_a_pause_has_five_seconds_of_its_own(self) -> None:
        line = Timeline(on_next(210, B), on_next(212, ROOT), on_next(216, C))

        assert [on_next(212, B), on_next(212, ROOT), on_next(221, C)] == line.messages

    def test_a_clock_that_was_set_back_delays_no_batch(self) -> None:
        scheduler, exporter, source = Adjustable(), ScriptedExporter(), Subject[ReadableSpan]()
        source.pipe(otel.export(exporter, scheduler=scheduler)).subscribe()
        source.on_next(B)
        scheduler.adjustment = timedelta(hours=-1)
        scheduler.advance_to(6)

        assert [1] == exporter.calls

    def test_an_empty_source_calls_no_exporter(self) -> None:
        line = Timeline(on_completed(210))

        assert ([on_completed(210)], []) == (line.messages, line.exporter.calls)  # type: ignore[attr-defined]

    def test_what_waits_is_exported_before_an_error_of_the_source(self) -> None:
        line = Timeline(on_next(210, B), on_error(211, FAULT))

        assert [on_next(211, B), on_error(211, FAULT)] == line.messages

    def test_more_spans_than_a_batch_are_exported_in_several(self) -> None:
        exporter = ScriptedExporter()
        found = exported([*INNER, ROOT], exporter, batch=2)

        assert ([2, 2, 1], [*INNER, ROOT]) == (exporter.calls, found)

    def test_spans_that_the_subscriber_causes_are_exported_after_the_batch(self) -> None:
        source: Subject[ReadableSpan] = Subject()
        exporter = ScriptedExporter()
        found: list[str] = []

        def on_span(span: ReadableSpan) -> None:
            found.append(span.name)
            if span is B:
                for caused in (D, ROOT):
                    source.on_next(caused)
                source.on_completed()

        done = threading.Event()
        source.pipe(otel.export(exporter, batch=2)).subscribe(on_span, on_completed=done.set)
        source.on_next(B)
        source.on_next(C)

        assert ["chat b", "chat c", "chat d", "invoke_workflow"] == found
        assert [["chat b", "chat c"], ["chat d", "invoke_workflow"]] == exporter.batches
        assert done.is_set()


class TestFailures:
    @pytest.mark.parametrize("trouble", [FAILURE, ConnectionError("refused"), None])
    def test_a_failed_batch_is_exported_again_whole(self, trouble: Any) -> None:
        exporter = ScriptedExporter(trouble, trouble)
        found = exported([B, C, ROOT], exporter, retry=AT_ONCE)

        assert ([3, 3, 3], [B, C, ROOT]) == (exporter.calls, found)

    def test_after_the_last_attempt_the_error_names_the_run_and_its_last_exported_event(self) -> None:
        exporter = ScriptedExporter(SUCCESS, *[FAILURE] * 3)
        with pytest.raises(errors.ExportError) as caught:
            exported([*INNER, ROOT], exporter, batch=2, retry=AT_ONCE)

        seq = int(str((D.attributes or {})["rxruns.seq"]))
        assert (events.RUN_ID, seq - 1, None) == (
            caught.value.run_id,
            caught.value.last_seq,
            caught.value.__cause__,
        )
        assert "the exporter failed to export 2 spans in 3 attempts: its result was FAILURE" == str(
            caught.value
        )
        assert [2, 2, 2, 2] == exporter.calls

    def test_the_cause_is_the_exception_of_the_exporter_and_its_text_is_not_quoted(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        refused = ConnectionError("https://user:hunter2@localhost refused")
        with pytest.raises(errors.ExportError) as caught, caplog.at_level(logging.DEBUG, "rxruns"):
            exported([ROOT], ScriptedExporter(*[refused] * 3), retry=AT_ONCE)

        assert refused is caught.value.__cause__
        assert "the exporter failed to export 1 span in 3 attempts: it raised ConnectionError" == str(
            caught.value
        )
        assert "hunter2" not in caplog.text

    def test_a_warning_names_the_first_failure_of_a_batch(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "rxruns"):
            exported([ROOT], ScriptedExporter(FAILURE, FAILURE), retry=AT_ONCE)

        assert [
            "the exporter failed to export 1 span: its result was FAILURE; attempt 2 of 3 follows in 0.0 s"
        ] == caplog.messages

    def test_an_error_of_the_exporter_ends_the_source(self) -> None:
        source: Subject[ReadableSpan] = Subject()
        failed: list[Exception] = []
        source.pipe(otel.export(ScriptedExporter(FAILURE), retry=RetryPolicy(max_attempts=1))).subscribe(
            on_error=failed.append
        )
        source.on_next(ROOT)
        source.on_next(ROOT)

        assert (["ExportError"], []) == ([type(error).__name__ for error in failed], source.observers)

    def test_an_error_of_the_source_is_the_cause_if_what_waits_cannot_be_exported(self) -> None:
        source = reactivex.concat(reactivex.of(B), reactivex.throw(FAULT))
        with pytest.raises(errors.ExportError) as caught:
            block_on(source.pipe(otel.export(ScriptedExporter(*[FAILURE] * 3), retry=AT_ONCE)))

        assert FAULT is caught.value.__cause__

    def test_spans_of_others_are_exported_too(self) -> None:
        other = ReadableSpan("theirs")
        with pytest.raises(errors.ExportError) as caught:
            exported([other], ScriptedExporter(FAILURE), retry=RetryPolicy(max_attempts=1))

        assert (None, 0) == (caught.value.run_id, caught.value.last_seq)

    def test_a_batch_that_failed_while_the_source_was_silent_is_an_error_too(self) -> None:
        line = Timeline(on_next(210, B), exporter=ScriptedExporter(*[FAILURE] * 3), retry=AT_ONCE)

        (message,) = line.messages
        assert message.time == 215
        assert "in 3 attempts: its result was FAILURE" in str(message.value)


class Blocking(SpanExporter):
    """An exporter that blocks in its first call until it is released."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.calls: list[int] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls.append(len(spans))
        self.entered.set()
        assert self.released.wait(HANG)
        return SUCCESS


class TestThreads:
    def test_a_slow_exporter_slows_the_source(self) -> None:
        exporter, taken = Blocking(), []

        def source(observer: Any, scheduler: Any = None) -> Any:
            for span in (B, C, ROOT, D):
                taken.append(span.name)
                observer.on_next(span)
            observer.on_completed()

        found: list[ReadableSpan] = []
        thread = threading.Thread(
            target=lambda: Observable(source).pipe(otel.export(exporter)).subscribe(found.append)
        )
        thread.start()
        assert exporter.entered.wait(HANG)
        before = list(taken)
        exporter.released.set()
        thread.join(HANG)

        assert ["chat b", "chat c", "invoke_workflow"] == before
        assert [B, C, ROOT, D] == found

    def test_the_timer_and_the_source_take_turns(self) -> None:
        exporter, source = Blocking(), Subject[ReadableSpan]()
        found: list[ReadableSpan] = []
        scheduler = TestScheduler()
        source.pipe(otel.export(exporter, scheduler=scheduler)).subscribe(found.append)
        source.on_next(B)
        by_timer = threading.Thread(target=lambda: scheduler.advance_by(6))
        by_timer.start()
        assert exporter.entered.wait(HANG)
        by_source = threading.Thread(target=lambda: source.on_next(ROOT))
        by_source.start()
        calls = list(exporter.calls)
        exporter.released.set()
        for thread in (by_timer, by_source):
            thread.join(HANG)

        assert ([1], [1, 1], [B, ROOT]) == (calls, exporter.calls, found)

    def test_dispose_ends_the_wait_for_the_next_attempt(self, caplog: pytest.LogCaptureFixture) -> None:
        class Failing(ScriptedExporter):
            def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
                subscription.dispose()
                return super().export(spans)

        exporter, seen = Failing(FAILURE), list[object]()
        source: Subject[ReadableSpan] = Subject()
        hour = RetryPolicy(base_backoff=3_600.0, max_backoff=3_600.0)
        subscription = source.pipe(otel.export(exporter, retry=hour)).subscribe(seen.append, seen.append)
        source.on_next(ROOT)

        assert ([1], [], []) == (exporter.calls, seen, source.observers)

    def test_nothing_is_emitted_after_dispose(self) -> None:
        source: Subject[ReadableSpan] = Subject()
        found: list[ReadableSpan] = []
        exporter = ScriptedExporter()

        def on_span(span: ReadableSpan) -> None:
            found.append(span)
            subscription.dispose()

        subscription = source.pipe(otel.export(exporter)).subscribe(on_span)
        for span in (B, C, ROOT, ROOT):
            source.on_next(span)

        assert ([B], [3]) == (found, exporter.calls)

    def test_dispose_while_the_exporter_is_called_does_not_wait_for_it(self) -> None:
        exporter, source = Blocking(), Subject[ReadableSpan]()
        found: list[ReadableSpan] = []
        subscription = source.pipe(otel.export(exporter)).subscribe(found.append)
        thread = threading.Thread(target=lambda: source.on_next(ROOT))
        thread.start()
        assert exporter.entered.wait(HANG)
        subscription.dispose()
        exporter.released.set()
        thread.join(HANG)

        assert ([], []) == (found, source.observers)

    def test_dispose_stops_the_timer(self, no_leaks: None) -> None:
        source: Subject[ReadableSpan] = Subject()
        subscription = source.pipe(otel.export(ScriptedExporter())).subscribe()
        source.on_next(B)
        subscription.dispose()

    def test_completion_stops_the_timer(self, no_leaks: None) -> None:
        source: Subject[ReadableSpan] = Subject()
        source.pipe(otel.export(ScriptedExporter())).subscribe()
        source.on_next(B)
        source.on_completed()

    def test_an_exception_of_the_subscriber_is_the_subscribers(self) -> None:
        source: Subject[ReadableSpan] = Subject()
        exporter = ScriptedExporter()

        def on_span(span: ReadableSpan) -> None:
            raise KeyError(span.name)

        source.pipe(otel.export(exporter)).subscribe(on_span)
        source.on_next(B)
        with pytest.raises(KeyError, match="chat b"):
            source.on_next(ROOT)

        assert ([2], []) == (exporter.calls, source.observers)

    def test_an_exception_of_the_subscriber_on_the_timers_thread_ends_the_source(self) -> None:
        source, scheduler = Subject[ReadableSpan](), TestScheduler()

        def on_span(span: ReadableSpan) -> None:
            raise KeyError(span.name)

        source.pipe(otel.export(ScriptedExporter(), scheduler=scheduler)).subscribe(on_span)
        source.on_next(B)
        with pytest.raises(KeyError, match="chat b"):
            scheduler.advance_by(6)

        assert [] == source.observers

    def test_subscriptions_share_nothing_but_the_exporter(self) -> None:
        exporter = ScriptedExporter()
        spans = reactivex.of(B, ROOT).pipe(otel.export(exporter))
        for _ in range(2):
            spans.run()

        assert [2, 2] == exporter.calls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exporter": 1}, "exporter must be a SpanExporter, got 1; such as OtlpExporter()"),
        ({"batch": 0}, "batch must be an int from 1 to 2**63 - 1, got 0"),
        ({"retry": 3}, "retry must be a RetryPolicy, got 3"),
        ({"scheduler": 3}, "scheduler must be a scheduler of RxPY, or None, got 3"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        otel.export(**{"exporter": ScriptedExporter()} | options)

    assert message == str(caught.value)
