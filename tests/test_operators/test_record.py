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
def test_what_was_recorded_is_what_came(path: Path, fsync: bool) -> None:
    assert [*EVENTS, "completed"] == record_all(path, fsync=fsync)
    assert EVENTS == recorded(path)


def test_an_event_is_in_the_file_when_it_arrives_below(path: Path) -> None:
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


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_torn_last_line_is_removed(path: Path, cut: int) -> None:
    path.write_bytes(encode_event(EVENTS[0]) + b"\n" + encode_event(EVENTS[1])[:cut])
    record_all(path, EVENTS[2:])
    assert [EVENTS[0], *EVENTS[2:]] == recorded(path)


def test_a_whole_last_line_gets_its_newline(path: Path) -> None:
    path.write_bytes(encode_event(EVENTS[0]))
    record_all(path, EVENTS[1:])
    assert EVENTS == recorded(path)


def test_a_torn_line_may_be_the_only_one_and_long(path: Path) -> None:
    path.write_bytes(encode_event(delta("x" * 200_000))[:-2])
    record_all(path)
    assert EVENTS == recorded(path)


def test_a_long_torn_line_is_removed_up_to_the_newline(path: Path) -> None:
    path.write_bytes(encode_event(EVENTS[0]) + b"\n" + encode_event(delta("x" * 200_000))[:-2])
    record_all(path, EVENTS[1:])
    assert EVENTS == recorded(path)


def test_a_file_that_is_no_log_is_left_alone(path: Path) -> None:
    path.write_text("dear diary")
    (refused,) = record_all(path)
    assert isinstance(refused, StoreError)
    assert (str(path), "dear diary") == (refused.path, path.read_text())


def test_zeros_that_a_power_loss_left_are_a_torn_line(path: Path) -> None:
    path.write_bytes(encode_event(EVENTS[0]) + b"\n" + bytes(5_000))
    record_all(path, EVENTS[1:])
    assert EVENTS == recorded(path)


def test_a_log_is_readable_by_its_owner_alone(path: Path) -> None:
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
def test_a_path_that_no_log_can_have_is_refused_at_once(tmp_path: Path, name: str) -> None:
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


def test_an_event_that_can_not_be_written_ends_the_stream(path: Path) -> None:
    seen = record_all(path, [EVENTS[0], unknown(news=object())])
    assert [EVENTS[0], TypeError] == [seen[0], type(seen[1])]
    assert EVENTS[:1] == recorded(path)


class TestTheFileIsClosed:
    """Each way a subscription ends; what is left open would also warn."""

    @pytest.fixture
    def source(self) -> Subject[RunEvent]:
        return Subject()

    def is_open(self, path: Path) -> bool:
        return any(str(path) in descriptor for descriptor in open_descriptors())

    def test_before_completion_passes(self, path: Path, source: Subject[RunEvent]) -> None:
        seen: list[bool] = []
        source.pipe(ops.record(path)).subscribe(on_completed=lambda: seen.append(self.is_open(path)))
        assert self.is_open(path)
        source.on_completed()
        assert [False] == seen

    def test_before_an_error_passes(self, path: Path, source: Subject[RunEvent]) -> None:
        seen: list[bool] = []
        source.pipe(ops.record(path)).subscribe(on_error=lambda error: seen.append(self.is_open(path)))
        source.on_error(RuntimeError("the line is dead"))
        assert [False] == seen

    def test_by_dispose(self, path: Path, source: Subject[RunEvent]) -> None:
        source.pipe(ops.record(path)).subscribe().dispose()
        assert not self.is_open(path)

    def test_by_dispose_from_inside(self, path: Path, source: Subject[RunEvent]) -> None:
        source.pipe(ops.record(path), ops.take(1)).subscribe()
        source.on_next(EVENTS[0])
        assert not self.is_open(path)

    def test_when_the_subscriber_raises(self, path: Path, source: Subject[RunEvent]) -> None:
        def refuse(event: RunEvent) -> None:
            raise RuntimeError("no")

        source.pipe(ops.record(path)).subscribe(refuse)
        with pytest.raises(RuntimeError):
            source.on_next(EVENTS[0])
        assert not self.is_open(path)

    def test_when_the_file_is_refused(self, path: Path) -> None:
        path.write_text("dear diary")
        record_all(path)
        assert not self.is_open(path)

    def test_by_the_writing_thread_when_dispose_comes_meanwhile(
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
from rxruns._logs import _writer
from rxruns import operators as ops
from tests.making import delta
events = (delta("x" * 100, seq=seq) for seq in itertools.count(1))
reactivex.from_(events).pipe(ops.record(sys.argv[1])).subscribe(
    lambda event: print(event.seq, flush=True), print)
"""


def test_a_killed_process_loses_no_event_that_arrived_below(path: Path) -> None:
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
