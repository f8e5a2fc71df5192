"""Recorded logs as Observables: NDJSON files, as :func:`ops.record <rxruns.operators.record>` writes them."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast
from uuid import UUID

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler, TimeoutScheduler

from rxruns._decoding import RecordError, event_decoder, excerpt
from rxruns._framing import Lines
from rxruns.errors import InvalidArgumentError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.reader import OnInvalid

__all__ = ["recorded_events"]

logger = logging.getLogger("rxruns")
_CHUNK = 1 << 16
_MAX_LINE_BYTES = 16 * 2**20


def recorded_events(
    path: str | os.PathLike[str], *, speed: float | None = None, on_invalid: OnInvalid = "raise"
) -> Observable[RunEvent]:
    """Emit the events of a recorded log, in the order of its lines, then complete.

    A log may hold several runs, and may have been filtered: of each run, what comes twice is dropped, and gaps are
    left as they are. A last line that was cut, as a killed process leaves it, is left out with a logged warning.

    Args:
        path: an NDJSON file; with the suffix ``.gz`` it is decompressed.
        speed: 1.0 keeps the recorded pace, 2.0 is twice as fast; None emits at once.
        on_invalid: ``"raise"`` ends with the error of a line that is no valid event; a function gets the
            :class:`~rxruns.errors.StreamProtocolError` instead, and the stream goes on.

    Raises:
        InvalidArgumentError: at once for a bad ``speed``; to ``on_error`` for a file that can not be read.

    Events are emitted on the scheduler given to ``subscribe``; without one on the subscriber's own thread, or, with a
    ``speed``, on RxPY's timer threads.

    >>> import tempfile, pathlib
    >>> log = pathlib.Path(tempfile.mkdtemp(), "run.ndjson")
    >>> _ = log.write_text('{"type":"node_started","node_id":"draft","seq":3,"ts":"2026-01-31T12:00:00Z",'
    ...                    '"run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"}\\n')
    >>> recorded_events(log).subscribe(lambda event: print(event.seq, event.type)).dispose()
    3 node_started
    """
    if speed is not None and not speed > 0:
        raise InvalidArgumentError(f"speed has to be above 0, not {speed!r}", field="speed")

    def subscribe(
        observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        log = _RecordedLog(path, on_invalid)
        if speed is None:
            emission = _emit_all(log, observer, scheduler or CurrentThreadScheduler.singleton())
        else:
            emission = _emit_paced(log, speed, observer, scheduler or TimeoutScheduler.singleton())
        return CompositeDisposable(Disposable(log.close), emission)

    return Observable(subscribe)


class _RecordedLog:
    """The events of one file. Any thread may close it; iteration then ends."""

    def __init__(self, path: str | os.PathLike[str], on_invalid: OnInvalid) -> None:
        self._path = Path(path)
        self._on_invalid = on_invalid
        self._decode = event_decoder()
        self._last_seqs: dict[UUID, int] = {}
        self.closed = False
        try:
            self._file = _open(self._path)
        except OSError as error:
            raise InvalidArgumentError(f"the log can not be read: {error}", field="path") from error

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def __iter__(self) -> Iterator[RunEvent]:
        with self._file:
            lines = Lines(self._chunks(), _MAX_LINE_BYTES, self._refuse_overlong)
            for line in lines:
                if self.closed:
                    return
                yield from self._events_of(line, lines.number)
            if lines.tail and not self.closed:
                yield from self._last_event(lines.tail, lines.number)

    def _chunks(self) -> Iterator[bytes]:
        while not self.closed:
            try:
                chunk = self._file.read(_CHUNK)
            except EOFError:
                logger.warning("%s: the compressed file is cut; what came before was read", self._path)
                return
            except ValueError:
                if self.closed:  # by another thread, while this one was about to read
                    return
                raise
            if not chunk:
                return
            yield chunk

    def _events_of(self, line: bytes, number: int) -> Iterator[RunEvent]:
        try:
            event = self._decode(line)
        except RecordError as error:
            self._refuse(error, line, number)
            return
        if event is not None and event.seq > self._last_seqs.get(event.run_id, 0):
            self._last_seqs[event.run_id] = event.seq
            yield event

    def _last_event(self, tail: bytes, number: int) -> Iterator[RunEvent]:
        try:
            self._decode(tail)
        except RecordError as error:
            if not error.is_record:
                logger.warning("%s: the last line, %d, was cut and is left out", self._path, number)
                return
        yield from self._events_of(tail, number)

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
        events = iter(log)
        while not log.closed:
            event = _next(events, observer)
            if event is None:
                return
            observer.on_next(event)

    return scheduler.schedule(emit)


def _emit_paced(
    log: _RecordedLog, speed: float, observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase
) -> abc.DisposableBase:
    """Emit each event when it is due: its time since the first one's, divided by the speed."""
    events = iter(log)
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
        if event is not None and not log.closed:
            observer.on_next(event)
        while not log.closed:
            event = _next(events, observer)
            if event is None:
                return
            first = first or event.ts
            due = started + max(timedelta(0), (event.ts - first) / speed)
            if due > scheduler.now:
                wait(due, event)
                return
            observer.on_next(event)

    wait(started, None)
    return timer


def _next(events: Iterator[RunEvent], observer: abc.ObserverBase[RunEvent]) -> RunEvent | None:
    """The next event, or None at the end, of which the observer has been told."""
    try:
        event = next(events, None)
    except Exception as error:
        observer.on_error(error)
        return None
    if event is None:
        observer.on_completed()
    return event
