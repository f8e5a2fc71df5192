"""Recorded logs: what is in the file comes out, at once or at the pace at which it was recorded."""

from __future__ import annotations

import errno
import gzip
import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import reactivex
from msgspec.structs import replace
from reactivex.disposable import SerialDisposable
from reactivex.scheduler import ImmediateScheduler, NewThreadScheduler
from reactivex.testing import TestScheduler

from rxruns import block_on, ops, recorded_events
from rxruns._ndjson._decoding import encode_event
from rxruns.errors import InvalidArgumentError, StoreError, StreamProtocolError
from rxruns.events import NodeOutput, RunEvent
from tests.conftest import HANG
from tests.making import NOON, OTHER_RUN, RUN, delta, node_started, run_completed, run_started
from tests.observing import Seen
from tests.records import line_of, sample

pytestmark = pytest.mark.usefixtures("no_leaks")

A_RUN: list[RunEvent] = [
    run_started(1),
    node_started(seq=2),
    delta("a", seq=3),
    delta("b", seq=4),
    run_completed(5),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "run.ndjson"


def write(path: Path, *lines: RunEvent | bytes, end: bytes = b"\n") -> Path:
    """Events and raw lines, as a log."""
    encoded = [line if isinstance(line, bytes) else encode_event(line) for line in lines]
    content = b"\n".join(encoded) + end
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path, **options: Any) -> Seen:
    """All that comes out."""
    seen = Seen()
    recorded_events(path, **options).subscribe(seen)
    return seen.wait_end()


def at(seconds: float, event: RunEvent) -> bytes:
    """The event, recorded `seconds` after noon."""
    return encode_event(replace(event, ts=NOON + timedelta(seconds=seconds)))


# ---- what comes out ----


@pytest.mark.parametrize("name", ["run.ndjson", "run.ndjson.gz"])
@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n", b"\r\n"])
def test_all_events_are_emitted_in_the_order_of_the_lines_without_a_warning(
    tmp_path: Path, name: str, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    seen = read(write(tmp_path / name, *A_RUN, end=end))
    assert (A_RUN, True, None, []) == (seen.events, seen.completed, seen.error, caplog.messages)


def test_a_path_may_be_text(log: Path) -> None:
    write(log, *A_RUN)
    assert 5 == block_on(recorded_events(str(log)).pipe(ops.count()))


def test_what_was_recorded_by_the_operator_is_read_back(log: Path) -> None:
    reactivex.from_iterable(A_RUN).pipe(ops.record(log)).run()
    assert A_RUN == read(log).events


def test_an_empty_log_has_no_events(log: Path) -> None:
    log.write_bytes(b"")
    seen = read(log)
    assert ([], True) == (seen.events, seen.completed)


def test_blank_lines_and_keep_alives_are_skipped(log: Path) -> None:
    assert A_RUN == read(write(log, A_RUN[0], b"", b'{"type":"keepalive"}', b"  \r", *A_RUN[1:])).events


def test_duplicates_of_each_run_are_dropped_and_gaps_are_left(log: Path) -> None:
    others = [run_started(1, OTHER_RUN), node_started("x", 7, OTHER_RUN)]
    one, two, _, four, five = A_RUN
    seen = read(write(log, one, others[0], two, one, two, four, others[1], four, others[0], five))
    assert [one, others[0], two, four, others[1], five] == seen.events


def test_a_log_does_not_end_at_a_terminal_event(log: Path) -> None:
    other = run_started(1, OTHER_RUN)
    assert [*A_RUN, other] == read(write(log, *A_RUN, other)).events


def test_outputs_may_be_included(log: Path) -> None:
    (event,) = read(write(log, line_of(sample("node_output")))).events
    assert isinstance(event, NodeOutput)
    assert event.output.content == {"n": None}


def test_each_subscription_reads_the_file_for_itself(log: Path) -> None:
    source = recorded_events(log)
    write(log, *A_RUN[:2])
    assert 2 == block_on(source.pipe(ops.count()))
    write(log, *A_RUN)
    assert 5 == block_on(source.pipe(ops.count()))


def test_nothing_is_opened_before_the_subscription(tmp_path: Path) -> None:
    recorded_events(tmp_path / "missing")


def test_two_logs_are_merged(tmp_path: Path) -> None:
    theirs = [run_started(1, OTHER_RUN), run_completed(2, OTHER_RUN)]
    logs = [write(tmp_path / "a.ndjson", *A_RUN), write(tmp_path / "b.ndjson", *theirs)]
    merged = block_on(reactivex.merge(*map(recorded_events, logs)).pipe(ops.to_list()))
    assert merged is not None
    assert A_RUN == [event for event in merged if event.run_id == RUN]
    assert theirs == [event for event in merged if event.run_id == OTHER_RUN]


def test_a_recorded_log_can_be_zipped_with_itself_without_a_thread(log: Path) -> None:
    source = recorded_events(write(log, *A_RUN))
    assert [(event, event) for event in A_RUN] == block_on(source.pipe(ops.zip(source), ops.to_list()))


# ---- a torn end ----


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_last_line_that_was_cut_is_left_out_with_a_warning(
    log: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    write(log, *A_RUN)
    log.write_bytes(log.read_bytes()[: -cut - 1])
    with caplog.at_level(logging.WARNING, "rxruns"):
        seen = read(log)
    assert (A_RUN[:4], True, None) == (seen.events, seen.completed, seen.error)
    (warning,) = caplog.messages
    assert f"{log}: the last line, 5, was cut" in warning


def test_a_last_line_that_is_whole_but_invalid_is_an_error(log: Path) -> None:
    seen = read(write(log, *A_RUN[:2], line_of({"type": "node_started", "seq": 3}), end=b""))
    assert isinstance(seen.error, StreamProtocolError)
    assert (A_RUN[:2], 3) == (seen.events, seen.error.line_number)


# ---- what is wrong ----


@pytest.mark.parametrize("speed", [0, -1.0, float("nan"), float("inf"), "fast", True, 10**400])
def test_a_bad_speed_is_refused_at_once(speed: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="speed") as raised:
        recorded_events("run.ndjson", speed=speed)
    assert "speed" == raised.value.field


def test_a_bad_on_invalid_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentError, match="on_invalid") as raised:
        recorded_events("run.ndjson", on_invalid="skip")  # type: ignore[arg-type]
    assert "on_invalid" == raised.value.field


def test_events_before_a_bad_line_are_emitted_before_its_error(log: Path) -> None:
    seen = read(write(log, *A_RUN[:2], b'{"seq":', *A_RUN[2:]))
    assert isinstance(seen.error, StreamProtocolError)
    assert (A_RUN[:2], 3, '{"seq":') == (seen.events, seen.error.line_number, seen.error.raw_data)


def test_on_invalid_gets_the_error_and_the_rest_comes(log: Path) -> None:
    refused: list[StreamProtocolError] = []
    seen = read(write(log, *A_RUN[:2], b"no", b"[]", *A_RUN[2:]), on_invalid=refused.append)
    assert (A_RUN, True) == (seen.events, seen.completed)
    assert [3, 4] == [error.line_number for error in refused]


def test_what_on_invalid_raises_ends_the_stream(log: Path) -> None:
    def refuse(error: StreamProtocolError) -> None:
        raise KeyError("mine")

    seen = read(write(log, A_RUN[0], b"no", *A_RUN[1:]), on_invalid=refuse)
    assert isinstance(seen.error, KeyError)
    assert A_RUN[:1] == seen.events


def test_an_overlong_line_is_an_error_or_is_reported(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxruns._ndjson._decoder.MAX_LINE_BYTES", 1_000)
    write(log, A_RUN[0], b"x" * 5_000, *A_RUN[1:])
    refused: list[StreamProtocolError] = []
    assert A_RUN == read(log, on_invalid=refused.append).events
    assert [(2, "x" * 200)] == [(error.line_number, error.raw_data) for error in refused]
    assert isinstance(read(log).error, StreamProtocolError)


# ---- dispose ----


@pytest.mark.parametrize("speed", [None, 1e9])
def test_disposing_from_inside_ends_it_at_once(log: Path, speed: float | None) -> None:
    write(log, *A_RUN)
    subscription = SerialDisposable()
    emitted: list[RunEvent] = []
    enough = threading.Event()

    def on_next(event: RunEvent) -> None:
        emitted.append(event)
        if event.seq == 2:
            subscription.dispose()
            enough.set()

    subscription.disposable = recorded_events(log, speed=speed).subscribe(
        on_next, scheduler=NewThreadScheduler()
    )
    assert enough.wait(10)
    assert A_RUN[:2] == emitted


def test_take_reads_no_further(log: Path) -> None:
    write(log, *A_RUN[:2], b"bad")
    assert A_RUN[1] == block_on(recorded_events(log).pipe(ops.take(2)))


def test_disposing_from_outside_ends_it_after_the_event_that_is_on_its_way(log: Path) -> None:
    write(log, *A_RUN)
    emitted: list[int] = []
    inside, released, left = threading.Event(), threading.Event(), threading.Event()

    def on_next(event: RunEvent) -> None:
        emitted.append(event.seq)
        inside.set()
        assert released.wait(10)
        left.set()

    subscription = recorded_events(log).subscribe(on_next, scheduler=NewThreadScheduler())
    assert inside.wait(10)
    subscription.dispose()
    released.set()
    assert left.wait(10)
    assert [1] == emitted


def test_disposing_while_the_file_is_read_is_not_an_error(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, *A_RUN)
    reading, released, ended = threading.Event(), threading.Event(), threading.Event()

    def slow_read(*arguments: Any) -> bytes:
        reading.set()
        assert released.wait(HANG)
        return pread(*arguments)

    pread = os.pread
    monkeypatch.setattr(os, "pread", slow_read)
    seen = Seen()
    scheduler = NewThreadScheduler(
        lambda target, args=(): threading.Thread(target=lambda: (target(), ended.set()))
    )
    subscription = recorded_events(log).subscribe(seen, scheduler=scheduler)
    assert reading.wait(HANG)
    subscription.dispose()
    released.set()
    assert ended.wait(HANG)
    assert ([], False) == (seen.events, seen.ended)


def test_a_file_that_breaks_while_it_is_read_is_an_error(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_read(*arguments: Any) -> bytes:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "pread", broken_read)
    error = read(write(log, *A_RUN)).error
    assert isinstance(error, StoreError)
    assert (f"the log {log} can't be read: disk", OSError) == (str(error), type(error.__cause__))


@pytest.mark.parametrize("speed", [None, 1e9])
def test_a_subscriber_that_raises_gets_its_exception_and_the_file_is_closed(
    log: Path, speed: float | None
) -> None:
    write(log, *A_RUN)

    def refuse(event: RunEvent) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):  # and no warning of a file that was not closed
        recorded_events(log, speed=speed).subscribe(refuse, scheduler=ImmediateScheduler())


# ---- speed ----


class Clock:
    """Virtual time from noon on."""

    def __init__(self) -> None:
        self.scheduler = TestScheduler()
        self.began = self.scheduler.now
        self.emitted: list[tuple[float, int]] = []
        self.ended: float | None = None

    def follow(self, log: Path, **options: Any) -> Any:
        def on_completed() -> None:
            self.ended = self.seconds

        return recorded_events(log, **options).subscribe(
            lambda event: self.emitted.append((self.seconds, event.seq)),
            on_completed=on_completed,
            scheduler=self.scheduler,
        )

    @property
    def seconds(self) -> float:
        return (self.scheduler.now - self.began).total_seconds()


@pytest.mark.parametrize(("speed", "times"), [(1.0, [0, 1, 1, 3.5, 10]), (2.0, [0, 0.5, 0.5, 1.75, 5])])
def test_events_are_emitted_at_their_pace(log: Path, speed: float, times: list[float]) -> None:
    recorded_at = [0, 1, 1, 3.5, 10]
    write(log, *map(at, recorded_at, A_RUN))
    clock = Clock()
    clock.follow(log, speed=speed)
    assert [] == clock.emitted
    clock.scheduler.start()
    assert list(zip(times, [1, 2, 3, 4, 5], strict=True)) == clock.emitted
    assert times[-1] == clock.ended


def test_a_time_that_goes_back_does_not_wait(log: Path) -> None:
    write(log, *map(at, [5, 3, 6, 1, 7], A_RUN))
    clock = Clock()
    clock.follow(log, speed=1.0)
    clock.scheduler.start()
    assert [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)] == clock.emitted


YEAR_1 = -(NOON - datetime.min.replace(tzinfo=UTC)).total_seconds()
YEAR_9999 = (datetime(9999, 12, 31, tzinfo=UTC) - NOON).total_seconds()


@pytest.mark.parametrize(
    ("seconds", "times"),
    [
        ([YEAR_1, 0, 1, 3, 10], [0, 0, 1, 3, 10]),
        ([0, 1, YEAR_9999, 2, 3], [0, 1, 1, 1, 2]),
        ([0, 1, YEAR_1, 2, 3], [0, 1, 1, 1, 2]),
        ([YEAR_1, YEAR_9999, YEAR_1, YEAR_9999, YEAR_1], [0, 0, 0, 0, 0]),
        ([0, 1, 1 + 40 * 86_400, 2 + 40 * 86_400, 1 + 70 * 86_400], [0, 1, 1, 2, 1 + 30 * 86_400]),
    ],
)
def test_times_more_than_a_month_apart_are_not_waited_for(
    log: Path, seconds: list[float], times: list[float]
) -> None:
    write(log, *map(at, seconds, A_RUN))
    clock = Clock()
    clock.follow(log, speed=1.0)
    clock.scheduler.start()
    assert list(zip(times, [1, 2, 3, 4, 5], strict=True)) == clock.emitted


@pytest.mark.parametrize("speed", [5e-324, 1e-300, 1e300, 1])
def test_no_speed_makes_a_time_that_a_clock_does_not_have(log: Path, speed: float) -> None:
    write(log, *map(at, [YEAR_1, 0, 1, YEAR_9999, 2], A_RUN))
    clock = Clock()
    clock.follow(log, speed=speed)
    clock.scheduler.start()
    assert ([1, 2, 3, 4, 5], True) == ([seq for _, seq in clock.emitted], clock.ended is not None)


def test_disposing_between_two_events_ends_it(log: Path) -> None:
    write(log, *map(at, [0, 1, 2, 3, 4], A_RUN))
    clock = Clock()
    subscription = clock.follow(log, speed=1.0)
    clock.scheduler.schedule_relative(1.5, lambda *_: subscription.dispose())
    clock.scheduler.start()
    assert ([(0, 1), (1, 2)], None) == (clock.emitted, clock.ended)


def test_a_bad_line_is_an_error_when_it_is_read(log: Path) -> None:
    write(log, at(0, A_RUN[0]), at(2, A_RUN[1]), b"bad")
    seen = Seen()
    scheduler = TestScheduler()
    recorded_events(log, speed=1.0).subscribe(seen, scheduler=scheduler)
    scheduler.start()
    assert isinstance(seen.error, StreamProtocolError)
    assert [1, 2] == seen.seqs


def test_without_a_scheduler_the_pace_is_kept_by_timers(log: Path) -> None:
    write(log, *map(at, [0, 0.01, 0.02, 0.03, 0.04], A_RUN))
    started = datetime.now(UTC)
    seen = read(log, speed=1.0)
    assert ([1, 2, 3, 4, 5], True) == (seen.seqs, seen.completed)
    assert datetime.now(UTC) - started >= timedelta(seconds=0.04)
    assert threading.current_thread() is not seen.thread


def test_at_a_great_speed_all_comes(log: Path) -> None:
    write(log, *[at(seq, delta("x", seq=seq)) for seq in range(1, 3_001)])
    seen = read(log, speed=1e9)
    assert (list(range(1, 3_001)), True) == (seen.seqs, seen.completed)
