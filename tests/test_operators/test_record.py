from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import reactivex
from reactivex import Subject

from rxruns import operators as ops
from rxruns._logs import _writer
from rxruns._ndjson._decoding import decode_event, encode_event
from rxruns.errors import InvalidArgumentError, StoreError
from rxruns.events import RunEvent
from tests.conftest import HANG, eventually, open_descriptors
from tests.making import OTHER_RUN, delta, node_started, run_started, unknown
from tests.test_operators.marbles import FAULT

EVENTS: list[RunEvent] = [
    run_started(1),
    node_started(seq=2),
    delta("äöü \u2028 \N{WAVING HAND SIGN}", seq=3),
    unknown(seq=4, news=[1, 2]),
    run_started(run_id=OTHER_RUN),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ndjson"


def recorded(path: Path) -> list[RunEvent | None]:
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [decode_event(line) for line in text.split(b"\n")[:-1]]


def record_all(path: Path, events: list[RunEvent] = EVENTS, **options: Any) -> list[Any]:
    seen: list[Any] = []
    reactivex.from_(events).pipe(ops.record(path, **options)).subscribe(
        seen.append, seen.append, lambda: seen.append("completed")
    )
    return seen


@pytest.mark.parametrize("fsync", [False, True])
def test_recorded_events_are_the_emitted_ones(path: Path, fsync: bool) -> None:
    assert [*EVENTS, "completed"] == record_all(path, fsync=fsync)
    assert EVENTS == recorded(path)


def test_an_event_is_in_the_file_before_it_is_emitted(path: Path) -> None:
    seen: list[bool] = []
    reactivex.from_(EVENTS).pipe(ops.record(path)).subscribe(
        lambda event: seen.append(path.read_bytes().endswith(encode_event(event) + b"\n"))
    )
    assert [True] * len(EVENTS) == seen


def test_with_fsync_each_event_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    record_all(path, fsync=True)
    assert len(EVENTS) == len(sizes)
    assert path.stat().st_size == sizes[-1]


def test_a_second_subscription_appends(path: Path) -> None:
    record_all(path, EVENTS[:2])
    record_all(path, EVENTS[2:])
    assert EVENTS == recorded(path)


def test_nothing_is_opened_before_the_subscription(path: Path) -> None:
    reactivex.from_(EVENTS).pipe(ops.record(path))
    assert not path.exists()


WHOLE = encode_event(EVENTS[0])
LONG = encode_event(delta("x" * 200_000))[:-2]
TORN = {
    "one byte": encode_event(EVENTS[1])[:1],
    "several bytes": encode_event(EVENTS[1])[:20],
    "all but one byte": encode_event(EVENTS[1])[:-1],
    "long": LONG,
    "zeros of a power failure": bytes(5_000),
}


@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
def test_a_torn_last_line_is_removed(path: Path, torn: bytes) -> None:
    path.write_bytes(WHOLE + b"\n" + torn)
    record_all(path, EVENTS[1:])
    assert EVENTS == recorded(path)


@pytest.mark.parametrize(("before", "events"), [(WHOLE, EVENTS[1:]), (LONG, EVENTS)])
def test_an_only_line_without_a_newline_gets_it_if_it_is_whole_and_is_removed_otherwise(
    path: Path, before: bytes, events: list[RunEvent]
) -> None:
    path.write_bytes(before)
    record_all(path, events)
    assert EVENTS == recorded(path)


def test_a_file_that_is_not_a_log_stays_unchanged(path: Path) -> None:
    path.write_text("dear diary")
    (refused,) = record_all(path)
    assert isinstance(refused, StoreError)
    assert (str(path), "dear diary") == (refused.path, path.read_text())


def test_only_its_owner_can_read_a_log(path: Path) -> None:
    record_all(path)
    assert 0o600 == path.stat().st_mode & 0o777


@pytest.mark.parametrize("name", ["missing/run.ndjson", ".", "x" * 5_000])
def test_a_path_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (refused,) = record_all(tmp_path / name)
    assert isinstance(refused, StoreError)
    assert isinstance(refused.__cause__, OSError)
    assert str(tmp_path / name) == refused.path
    assert str(tmp_path / name) in str(refused)


def test_a_fifo_is_not_a_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (refused,) = record_all(tmp_path / "pipe")
    assert isinstance(refused, StoreError)
    assert f"the log {tmp_path / 'pipe'} can't be appended to: it is not a regular file" == str(refused)


@pytest.mark.parametrize("name", ["run.ndjson.gz", "run\0.ndjson", "run\ud800.ndjson"])
def test_an_invalid_path_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="^path must ") as refused:
        ops.record(tmp_path / name)
    assert "path" == refused.value.field


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to offer")
def test_a_full_disk_ends_the_stream_before_the_event_passes() -> None:
    (error,) = record_all(Path("/dev/full"))
    assert isinstance(error, StoreError)
    assert "/dev/full" == error.path
    assert isinstance(error.__cause__, OSError)
    assert errno.ENOSPC == error.__cause__.errno


def test_an_event_that_cannot_be_encoded_ends_the_stream(path: Path) -> None:
    seen = record_all(path, [EVENTS[0], unknown(news=object())])
    assert [EVENTS[0], TypeError] == [seen[0], type(seen[1])]
    assert EVENTS[:1] == recorded(path)


class TestTheFileIsClosed:
    """Each way a subscription ends; an open file would also warn."""

    @pytest.fixture
    def source(self) -> Subject[RunEvent]:
        return Subject()

    def is_open(self, path: Path) -> bool:
        return any(str(path) in descriptor for descriptor in open_descriptors())

    @pytest.mark.parametrize("error", [None, FAULT])
    def test_before_completion_and_errors_are_emitted(
        self, path: Path, source: Subject[RunEvent], error: Exception | None
    ) -> None:
        were_open: list[bool] = []

        def note(*_: object) -> None:
            were_open.append(self.is_open(path))

        source.pipe(ops.record(path)).subscribe(on_completed=note, on_error=note)
        assert self.is_open(path)
        source.on_completed() if error is None else source.on_error(error)
        assert [False] == were_open

    def test_by_dispose_from_outside_and_from_inside(self, path: Path, source: Subject[RunEvent]) -> None:
        source.pipe(ops.record(path)).subscribe().dispose()
        assert not self.is_open(path)
        source.pipe(ops.record(path), ops.take(1)).subscribe()
        source.on_next(EVENTS[0])
        assert not self.is_open(path)

    def test_by_an_exception_of_the_subscriber(self, path: Path, source: Subject[RunEvent]) -> None:
        def refuse(event: RunEvent) -> None:
            raise FAULT

        source.pipe(ops.record(path)).subscribe(refuse)
        with pytest.raises(RuntimeError):
            source.on_next(EVENTS[0])
        assert not self.is_open(path)

    def test_by_its_own_refusal(self, path: Path) -> None:
        path.write_text("not a log")
        record_all(path)
        assert not self.is_open(path)

    def test_by_the_writing_thread_if_another_thread_disposes(
        self, path: Path, source: Subject[RunEvent], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writing, disposed = threading.Event(), threading.Event()
        write = _writer._write

        def write_slowly(*args: Any) -> None:
            writing.set()
            assert disposed.wait(HANG)
            write(*args)

        monkeypatch.setattr(_writer, "_write", write_slowly)
        subscription = source.pipe(ops.record(path)).subscribe()
        thread = threading.Thread(target=source.on_next, args=(EVENTS[0],))
        thread.start()
        assert writing.wait(HANG)
        subscription.dispose()
        disposed.set()
        thread.join(HANG)
        assert eventually(lambda: not self.is_open(path))
        assert EVENTS[:1] == recorded(path)


KILLED = """
import itertools, sys, reactivex
from rxruns import operators as ops
from tests.making import delta
events = (delta("x" * 100, seq=seq) for seq in itertools.count(1))
reactivex.from_(events).pipe(ops.record(sys.argv[1])).subscribe(
    lambda event: print(event.seq, flush=True), print)
"""


def test_a_killed_process_loses_no_event_that_was_emitted(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as child:
        assert child.stdout is not None
        for _ in range(50):
            child.stdout.readline()
        child.kill()
        arrived = 50 + len(child.stdout.read().split(b"\n")[:-1])
    last = delta("the last", seq=10**6)
    record_all(path, [last])
    *before, after = recorded(path)
    assert after == last
    assert list(range(1, len(before) + 1)) == [event.seq for event in before if event]
    assert len(before) >= arrived
