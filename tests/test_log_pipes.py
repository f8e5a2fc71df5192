"""Logs that are being written to a pipe: events arrive at once, and dispose does not wait for the writer."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from reactivex import abc
from reactivex.scheduler import NewThreadScheduler

from rxruns import recorded_events
from rxruns.events import RunEvent
from tests.conftest import HANG
from tests.logs import lines_of
from tests.making import OTHER_RUN, RUN, delta, run_completed
from tests.observing import Seen

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    os.mkfifo(path)
    return path


def follow(path: Path, seen: Seen, speed: float | None = None) -> abc.DisposableBase:
    return recorded_events(path, speed=speed).subscribe(seen, scheduler=NewThreadScheduler())


@contextmanager
def writing(path: Path) -> Iterator[Callable[[bytes], object]]:
    """An unbuffered writer of the FIFO."""
    with path.open("wb", buffering=0) as file:
        yield file.write


def sync_flushed() -> Callable[[bytes], bytes]:
    """gzip as a writer flushes it that wants each line to arrive."""
    stream = zlib.compressobj(wbits=31)
    return lambda data: stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("speed", [None, 1e9])
@pytest.mark.parametrize("packed", [False, True])
def test_the_events_of_a_fifo_arrive_while_it_is_written(
    fifo: Path, packed: bool, speed: float | None
) -> None:
    pack = sync_flushed() if packed else bytes
    seen = Seen()
    follow(fifo, seen, speed)
    with writing(fifo) as write:
        for seq in range(1, 4):
            line = lines_of([delta("x", seq=seq)])[0]
            write(pack(line[:20]))
            write(pack(line[20:]))
            seen.wait_count(seq)
        assert not seen.ended
        write(pack(lines_of([run_completed(4)])[0]))
    assert [1, 2, 3, 4] == seen.wait_end().seqs
    assert seen.completed


def test_the_events_of_a_pipe_that_is_named_by_its_descriptor_arrive_at_once() -> None:
    read_end, write_end = os.pipe()
    seen = Seen()
    follow(Path(f"/dev/fd/{read_end}"), seen)
    os.write(write_end, lines_of([delta("x", seq=1)])[0])
    seen.wait_count(1)
    os.close(write_end)
    assert seen.wait_end().completed
    os.close(read_end)


def test_subscribing_to_a_fifo_does_not_wait_for_its_writer(fifo: Path) -> None:
    seen = Seen()
    follow(fifo, seen).dispose()  # and neither a thread nor a descriptor is left
    assert ([], False) == (seen.events, seen.ended)


@pytest.mark.parametrize("speed", [None, 1e9])
@pytest.mark.parametrize("written", [b"", lines_of([delta("x", seq=1)])[0] + b'{"type":'])
def test_dispose_ends_the_thread_that_waits_for_a_writer(
    fifo: Path, written: bytes, speed: float | None
) -> None:
    seen = Seen()
    before = set(threading.enumerate())
    subscription = follow(fifo, seen, speed)
    with writing(fifo) as write:
        write(written)
        seen.wait_count(bool(written))
        subscription.dispose()
        for thread in set(threading.enumerate()) - before:
            thread.join(HANG)
            assert not thread.is_alive()
    assert not seen.ended


def test_dispose_inside_on_next_ends_a_pipe_that_is_still_open(fifo: Path) -> None:
    disposed = threading.Event()

    def dispose(_: RunEvent) -> None:
        subscription.dispose()
        disposed.set()

    seen = Seen(dispose)
    subscription = follow(fifo, seen)
    with writing(fifo) as write:
        write(b"".join(lines_of(delta("x", seq=seq) for seq in (1, 2, 3))))
        assert disposed.wait(HANG)
    assert not seen.ended


def test_a_pipe_drops_late_events_and_warns_once_with_their_number(
    fifo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = [delta("x", seq=seq) for seq in range(1, 201)]
    twice = [delta("x", seq=seq, run_id=OTHER_RUN) for seq in (1, 2, 3, 1, 2, 3)]
    seen = Seen()
    follow(fifo, seen)
    with writing(fifo) as write:
        write(b"".join(lines_of([*events[100:], *twice, *events[:100], *events[150:]])))
    seen.wait_end()
    assert events[100:] == [event for event in seen.events if event.run_id == RUN]
    (warning,) = caplog.messages
    assert f"{fifo}: 100 events followed later ones of their runs and were dropped" in warning


def test_a_pipe_with_gaps_and_repetitions_but_in_order_has_no_warning(
    fifo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = [delta("x", seq=seq) for seq in (2, 3, 3, 5, 5, 3, 9, 2, 5, 10)]
    seen = Seen()
    follow(fifo, seen)
    with writing(fifo) as write:
        write(b"".join(lines_of(events)))
    assert ([2, 3, 5, 9, 10], []) == (seen.wait_end().seqs, caplog.messages)
