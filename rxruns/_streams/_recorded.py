"""Recorded logs as Observables: NDJSON files, as :func:`ops.record <rxruns.operators.record>` writes them."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler, TimeoutScheduler

from rxruns._arguments import check_path
from rxruns._errors import must_be
from rxruns._streams._following import OnInvalid, check_on_invalid
from rxruns._streams._observable import SourceObservable
from rxruns._streams._recorded_log import RecordedLog
from rxruns.events import RunEvent

__all__ = ["recorded_events"]

MAX_WAIT = timedelta(days=30)
"""The longest wait of a paced replay. Of times further apart, one is wrong, or they are of different runs."""


def recorded_events(
    path: str | os.PathLike[str], *, speed: float | None = None, on_invalid: OnInvalid = "raise"
) -> Observable[RunEvent]:
    """Emit the events of a recorded log, each run's once and in ``seq`` order, then complete.

    A log may hold several runs, and may have been filtered: gaps are left as they are. Logs that were
    concatenated in another order, newest first say, are put in order; a compressed one is decompressed into a
    temporary file for that. A pipe can't be put in order: events that come after later ones are dropped, and
    a warning with their number is logged.

    Dead letters, which ``ops.handle`` writes, are read as their events, so ``recorded_events("dead.ndjson")``
    repeats what a sink refused.

    Of a log that was cut, by a killed process or a full disk, all whole events are emitted. A warning is
    logged about the rest.

    Args:
        path: an NDJSON file, also one compressed by gzip, bzip2, xz or zstd (before Python 3.14 zstd needs
            ``pip install zstandard``), whatever its name. The events of a pipe or FIFO are emitted as they
            arrive, and disposing doesn't wait for its writer.
        speed: 1.0 keeps the recorded pace, 2.0 is twice as fast; None emits at once. Times more than 30 days
            apart are not waited for.
        on_invalid: ``"raise"`` ends with the error of a line that is not a valid event; a function gets the
            :class:`~rxruns.errors.StreamProtocolError` instead, and the stream continues.

    Raises:
        InvalidArgumentError: at once, for a bad argument.
        StoreError: to ``on_error``, for a file that can't be opened or read, or that is not a log.
        StreamProtocolError: to ``on_error``, for a line that is not a valid event.

    Events are emitted on the scheduler given to ``subscribe``; without one on the subscriber's own thread,
    or, with a ``speed``, on RxPY's timer threads.

    >>> import tempfile, pathlib
    >>> log = pathlib.Path(tempfile.mkdtemp(), "run.ndjson")
    >>> _ = log.write_text('{"type":"node_started","node_id":"draft","seq":3,"ts":"2026-01-31T12:00:00Z",'
    ...                    '"run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"}\\n')
    >>> recorded_events(log).subscribe(lambda event: print(event.seq, event.type)).dispose()
    3 node_started
    """
    if speed is not None and (
        not isinstance(speed, int | float) or not 0 < speed <= sys.float_info.max or speed is True
    ):
        raise must_be("speed", "a number above 0 or None", speed)
    check_on_invalid(on_invalid)
    log_path = check_path("path", path)

    def subscribe(
        observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        log = RecordedLog(log_path, on_invalid)
        if speed is None:
            emission = _emit_all(log, observer, scheduler or CurrentThreadScheduler.singleton())
        else:
            emission = _emit_paced(log, speed, observer, scheduler or TimeoutScheduler.singleton())
        return CompositeDisposable(Disposable(log.close), emission)

    return SourceObservable(subscribe)


def _emit_all(
    log: RecordedLog, observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase
) -> abc.DisposableBase:
    def emit(_: abc.SchedulerBase, state: object = None) -> None:
        on_next = observer.on_next  # ignores everything once it is disposed
        with _closing_on_error(log):
            while log.read(on_next):
                pass
        _end(log, observer)

    return scheduler.schedule(emit)


def _emit_paced(
    log: RecordedLog, speed: float, observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase
) -> abc.DisposableBase:
    """Emit each event when it is due."""
    pending: deque[RunEvent] = deque()
    timer = SerialDisposable()

    def wait(due: datetime, event: RunEvent | None) -> None:
        # In place before it is armed: the action may run, and arm the next, before `schedule` returns.
        item = SingleAssignmentDisposable()
        timer.disposable = item
        item.disposable = scheduler.schedule_absolute(due, emit, event)

    started = scheduler.now
    pace = _Pace(speed)

    def emit(_: abc.SchedulerBase, event: RunEvent | None = None) -> None:
        with _closing_on_error(log):
            if event is not None and not log.closed:
                observer.on_next(event)
            while pending or log.read(pending.append):
                if not pending:  # all were duplicates
                    continue
                event = pending.popleft()
                due = started + timedelta(seconds=pace.due(event.ts))
                if due > scheduler.now:
                    wait(due, event)
                    return
                observer.on_next(event)
        _end(log, observer)

    wait(started, None)
    return timer


class _Pace:
    """The times when events are due, in seconds from the start. A time before the last one doesn't wait."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._seconds = 0.0
        self._latest: datetime | None = None

    def due(self, time: datetime) -> float:
        """Return when an event is due that was recorded at this time."""
        gap = time - (self._latest or time)
        if gap > timedelta(0) and gap <= MAX_WAIT:
            self._seconds += min(gap.total_seconds() / self._speed, MAX_WAIT.total_seconds())
        if self._latest is None or gap > timedelta(0) or gap < -MAX_WAIT:
            self._latest = time
        return self._seconds


@contextmanager
def _closing_on_error(log: RecordedLog) -> Generator[None, None, None]:
    """Close the log when the subscriber raises."""
    try:
        yield
    except BaseException:
        log.close()
        raise


def _end(log: RecordedLog, observer: abc.ObserverBase[RunEvent]) -> None:
    """Notify the observer of the log's end, unless it was disposed, which closes the log."""
    if log.error is not None:
        observer.on_error(log.error)
    elif not log.closed:
        observer.on_completed()
