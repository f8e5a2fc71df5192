"""Recorded logs as Observables: NDJSON files, as :func:`ops.record <rxruns.operators.record>` writes them."""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler, TimeoutScheduler

from rxruns._arguments import check_path
from rxruns._bulk import EventLines
from rxruns._decoding import RecordError, excerpt
from rxruns._framing import Lines
from rxruns._observable import SourceObservable
from rxruns.errors import InvalidArgumentError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.reader import OnInvalid, check_on_invalid

__all__ = ["recorded_events"]

logger: logging.Logger = logging.getLogger("rxruns")
_CHUNK = 1 << 16
_MAX_LINE_BYTES = 16 * 2**20


def recorded_events(
    path: str | os.PathLike[str], *, speed: float | None = None, on_invalid: OnInvalid = "raise"
) -> Observable[RunEvent]:
    """Emit the events of a recorded log, in the order of its lines, then complete.

    A log may hold several runs, and may have been filtered: of each run, what comes twice is dropped, and
    gaps are left as they are. A last line that was cut, as a killed process leaves it, is left out with a
    logged warning.

    Args:
        path: an NDJSON file; with the suffix ``.gz`` it is decompressed.
        speed: 1.0 keeps the recorded pace, 2.0 is twice as fast; None emits at once.
        on_invalid: ``"raise"`` ends with the error of a line that is no valid event; a function gets the
            :class:`~rxruns.errors.StreamProtocolError` instead, and the stream goes on.

    Raises:
        InvalidArgumentError: at once for a bad argument; to ``on_error`` for a file that can not be read.

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
        not isinstance(speed, int | float) or not 0 < speed < math.inf or speed is True
    ):
        raise InvalidArgumentError(f"speed has to be a number above 0, not {speed!r}", field="speed")
    check_on_invalid(on_invalid)
    log_path = check_path("path", path)

    def subscribe(
        observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        log = _RecordedLog(log_path, on_invalid)
        if speed is None:
            emission = _emit_all(log, observer, scheduler or CurrentThreadScheduler.singleton())
        else:
            emission = _emit_paced(log, speed, observer, scheduler or TimeoutScheduler.singleton())
        return CompositeDisposable(Disposable(log.close), emission)

    return SourceObservable(subscribe)


class _RecordedLog:
    """The events of one file, read once. Any thread may close it; nothing is given after that batch.

    Attributes:
        error: what ended the reading early. It is not raised: so an error of the code that gets the events
            is not taken for it.
    """

    def __init__(self, path: Path, on_invalid: OnInvalid) -> None:
        self._path = path
        self._on_invalid: OnInvalid = on_invalid
        self.closed = False
        self.error: Exception | None = None
        # Of the event before, and of the other runs; ids as numbers, because hashing a UUID takes longer.
        self._run = self._last = 0
        self._last_seqs: dict[int, int] = {}
        try:
            self._file = _open(self._path)
        except OSError as error:
            raise InvalidArgumentError(f"the log can not be read: {error}", field="path") from error
        self._batches = self._decode()

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def read(self, give: Callable[[RunEvent], object]) -> bool:
        """Give the next events, some at once, each that did not come before. False: there are no more."""
        try:
            if self.closed:
                self._batches.close()
            events = next(self._batches, None)
        except Exception as error:
            self.error = error
            return False
        if events is None:
            return False
        run, last = self._run, self._last
        for event in events:
            if event.run_id.int != run:
                self._last_seqs[run] = last
                run = event.run_id.int
                last = self._last_seqs.get(run, 0)
            seq = event.seq
            if seq > last:
                last = seq
                give(event)
        self._run, self._last = run, last
        return True

    def _decode(self) -> Generator[Iterator[RunEvent], None, None]:
        def refuse(error: RecordError) -> None:
            self._refuse(error, events.line, events.number)

        events = EventLines(Lines(self._chunks(), _MAX_LINE_BYTES, self._refuse_overlong), refuse)
        with self._file:
            yield from events
            yield self._last_event(events)

    def _chunks(self) -> Iterator[bytes]:
        while not self.closed:
            try:
                chunk = self._file.read(_CHUNK)
            except EOFError:
                logger.warning("%s: the compressed file is cut; what came before was read", self._path)
                return
            except (OSError, zlib.error) as error:  # a ``.gz`` that is none
                raise InvalidArgumentError(f"the log can not be read: {error}", field="path") from error
            except ValueError:
                if self.closed:  # by another thread, while this one was about to read
                    return
                raise
            if not chunk:
                return
            yield chunk

    def _last_event(self, events: EventLines) -> Iterator[RunEvent]:
        """That of bytes which no newline ends, unless they were cut."""
        try:
            return events.decode_tail()
        except RecordError as error:
            if error.is_record:
                self._refuse(error, events.line, events.number)
            else:
                logger.warning("%s: the last line, %d, was cut and is left out", self._path, events.number)
            return iter(())

    def _refuse(self, error: RecordError, line: bytes, number: int) -> None:
        refused = StreamProtocolError(str(error), raw_data=excerpt(line), line_number=number)
        if self._on_invalid == "raise":
            raise refused from error
        self._on_invalid(refused)

    def _refuse_overlong(self, number: int, start: bytes) -> None:
        self._refuse(RecordError(f"a line is longer than {_MAX_LINE_BYTES:,} bytes"), start, number)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _emit_all(
    log: _RecordedLog, observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase
) -> abc.DisposableBase:
    def emit(_: abc.SchedulerBase, state: object = None) -> None:
        on_next = observer.on_next  # nothing comes out of it when it was disposed
        with _closing_on_error(log):
            while log.read(on_next):
                pass
        _end(log, observer)

    return scheduler.schedule(emit)


def _emit_paced(
    log: _RecordedLog, speed: float, observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase
) -> abc.DisposableBase:
    """Emit each event when it is due: its time since the first one's, divided by the speed."""
    pending: deque[RunEvent] = deque()
    timer = SerialDisposable()

    def wait(due: datetime, event: RunEvent | None) -> None:
        # In place before it is armed: the action may run, and arm the next, before `schedule` returns.
        item = SingleAssignmentDisposable()
        timer.disposable = item
        item.disposable = scheduler.schedule_absolute(due, emit, event)

    started = scheduler.now
    first: datetime | None = None

    def emit(_: abc.SchedulerBase, event: RunEvent | None = None) -> None:
        nonlocal first
        with _closing_on_error(log):
            if event is not None and not log.closed:
                observer.on_next(event)
            while pending or log.read(pending.append):
                if not pending:  # what came was there before
                    continue
                event = pending.popleft()
                first = first or event.ts
                due = started + max(timedelta(0), (event.ts - first) / speed)
                if due > scheduler.now:
                    wait(due, event)
                    return
                observer.on_next(event)
        _end(log, observer)

    wait(started, None)
    return timer


@contextmanager
def _closing_on_error(log: _RecordedLog) -> Generator[None, None, None]:
    """What the subscriber raises goes on, from a log that is closed."""
    try:
        yield
    except BaseException:
        log.close()
        raise


def _end(log: _RecordedLog, observer: abc.ObserverBase[RunEvent]) -> None:
    """Tell the observer how the log ended, unless it was disposed, which closes the log."""
    if log.error is not None:
        observer.on_error(log.error)
    elif not log.closed:
        observer.on_completed()
