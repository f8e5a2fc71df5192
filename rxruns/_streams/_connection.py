"""Read one response: its bytes to events, each checked, emitted once, and in ``seq`` order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from rxruns._ndjson._decoder import Batch, EventDecoder
from rxruns._ndjson._decoding import WITH_OUTPUT, RecordError, protocol_error, refuse_included
from rxruns._streams._following import FollowOptions, Position, SubscriberError
from rxruns._streams._recovery import Fault
from rxruns._streams._waiting import WAITING_EVENTS, WaitingNotice
from rxruns._transport import Cancellation, Cancelled, OpenStream
from rxruns.errors import RunsError, SequenceGapError, StoreError, TransportError
from rxruns.events import RunCanceled, RunCompleted, RunEvent, RunFailed, TerminalEvent

__all__ = ["Connection", "RecordingError", "Sink"]

_INSPECTED: frozenset[type] = WITH_OUTPUT | {RunCompleted, RunFailed, RunCanceled} | WAITING_EVENTS

_SILENT_AFTER = 0.5
"""Seconds without an event after which a cut is a proxy's that cuts quiet responses, and not an outage."""


class RecordingError(Exception):
    """Carries the error of the log past all handlers of the subscriber's errors."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Sink(Struct):
    """The places where a run's events go.

    Attributes:
        on_next: the observer's.
        record: gets the line of each event before the observer gets the event. It returns False when it was
            closed; the event isn't emitted then. An exception ends the stream.
        cancellation: ends the stream, from any thread.
        waiting: notes a run that waits for its client.
    """

    on_next: Callable[[RunEvent], object]
    record: Callable[[bytes], bool] | None
    cancellation: Cancellation
    waiting: WaitingNotice


class Connection:
    """One response with events of a run.

    Args:
        stream: the response.
        options: the subscription's.
        position: the run and the cursor, which moves after each event.
        sink: where the events go.
        page: the number of events that were requested; None for no limit.
        max_line_bytes: the longest line.
        opened_at: when the request was sent, by the monotonic clock.

    Attributes:
        has_progressed: an event was received that was due.
    """

    def __init__(
        self,
        stream: OpenStream,
        options: FollowOptions,
        position: Position,
        sink: Sink,
        *,
        page: int | None,
        max_line_bytes: int,
        opened_at: float,
    ) -> None:
        self._stream = stream
        self._options = options
        self._position = position
        self._sink = sink
        self._page = page
        self._decoder = EventDecoder(max_line_bytes)
        self._run = position.run_id.int
        self._opened_at = opened_at
        self.has_progressed = False
        self._has_idled = False  # a blank line or a keep-alive was received
        self._received = 0  # events and bad lines; counted where there is a limit
        self._skipped = 0  # bad lines, each of which may stand for one missing event

    def read(self) -> bool:
        """Read to the end. True: the run was followed to its end; False: the next page follows.

        Raises:
            Fault: it ended early.
            TransportError: it broke.
            SequenceGapError: an event came too early.
            StreamProtocolError: a line is not a valid event.
            SubscriberError: the subscriber's own code raised.
            RecordingError: the log could not be written.
            Cancelled: the subscription was disposed.
        """
        # Without a local variable for the bytes, which the frame of an error would keep.
        for batches in map(self._decoder.feed, self._stream.chunks()):
            if self._take(batches):
                return True
        return self._take(self._tail()) or self._at_end()

    def was_quiet(self, cause: RunsError) -> bool:
        """Return whether a connection that broke had nothing to send, as while a run waits."""
        if self.has_progressed:
            return False
        if self._has_idled or isinstance(cause, TransportError) and cause.kind == "timeout":
            return True
        return time.monotonic() - self._opened_at >= _SILENT_AFTER

    # ---- lines ----

    def _take(self, batches: Iterable[Batch]) -> bool:
        """Emit what is due. True: the last event of the run, or of the limit, was among them."""
        for batch in batches:
            if batch.events:
                if self._emit(batch):
                    return True
            elif batch.error is not None:
                self._refuse(batch.error, batch, 0)
            else:
                self._has_idled = True
                self._sink.waiting.look(self._position.run_id)
        return False

    def _tail(self) -> Iterator[Batch]:
        """A last line without a newline counts if it is a whole record; else it is requested again."""
        for batch in self._decoder.flush():
            if batch.error is not None and not batch.error.is_record:
                cause = self._position.interrupted("the stream ended in the middle of a line")
                raise Fault(cause, silent=self.was_quiet(cause)) from batch.error
            yield batch

    def _emit(self, batch: Batch) -> bool:
        """Emit the events that are due. True: the last one of the run, or of the limit, was among them."""
        position, record, on_next = self._position, self._sink.record, self._sink.on_next
        run, cancellation, due = self._run, self._sink.cancellation, self._due
        is_limited = position.remaining is not None
        for index, event in enumerate(batch.events):
            seq, is_rare = event.seq, type(event) in _INSPECTED
            if (is_rare and not self._is_wanted(event, batch, index)) or (
                (seq != due or event.run_id.int != run) and not self._is_due(event, batch, index)
            ):
                due = self._due
                continue
            if cancellation.cancelled:
                raise Cancelled
            if record is not None:
                self._record(record, batch.lines[index])
            try:
                on_next(event)
            except Cancelled:  # disposed, maybe while it waited among merged runs
                raise
            except BaseException as error:
                raise SubscriberError(error) from None
            position.seq = seq
            due = seq + 1
            if (is_rare and isinstance(event, TerminalEvent)) or (is_limited and self._is_enough()):
                return True
        return False

    def _record(self, record: Callable[[bytes], bool], line: bytes) -> None:
        try:
            is_recorded = record(line if line.endswith(b"\n") else line + b"\n")
        except StoreError as error:
            raise RecordingError(error) from error
        except Cancelled:
            raise
        except BaseException as error:
            raise SubscriberError(error) from None
        if not is_recorded:
            raise Cancelled

    # ---- which events ----

    @property
    def _due(self) -> int:
        """``seq`` of the event that is plainly the next one; 0 if the next one must be inspected."""
        return self._position.seq + 1 if self.has_progressed and not self._skipped else 0

    def _is_wanted(self, event: RunEvent, batch: Batch, index: int) -> bool:
        """Return whether an event comes without an output, or outputs were requested."""
        if type(event) in WAITING_EVENTS:
            self._sink.waiting.note(event)
        elif not self._options.include_output:
            try:
                refuse_included(event)
            except RecordError as error:
                self._refuse(error, batch, index)
                return False
        return True

    def _is_due(self, event: RunEvent, batch: Batch, index: int) -> bool:
        """Return whether to emit an event that is not plainly the next one."""
        position = self._position
        if event.run_id != position.run_id:
            self._refuse(RecordError(f"an event of another run, {event.run_id}"), batch, index)
            return False
        due = position.seq + 1
        if event.seq < due:
            return False
        if event.seq > due + self._skipped:
            raise SequenceGapError(
                expected=due, received=event.seq, run_id=position.run_id, last_seq=position.seq
            )
        self._skipped = 0
        self.has_progressed = True
        return True

    def _is_enough(self) -> bool:
        """Count an event where there is a limit."""
        assert self._position.remaining is not None
        self._received += 1
        self._position.remaining -= 1
        return self._position.remaining == 0

    def _at_end(self) -> bool:
        """Interpret a clean end of the bytes."""
        if self._page is not None and self._received >= self._page:
            return False
        if not self._options.wait:
            return True
        cause = self._position.interrupted("the stream ended before the run did")
        raise Fault(cause, silent=not self.has_progressed)

    def _refuse(self, error: RecordError, batch: Batch, index: int) -> None:
        """Raise or report a bad line. The next event may leave out the ``seq`` that it may have had."""
        position, on_invalid = self._position, self._options.on_invalid
        refused = protocol_error(
            error,
            batch.lines[index],
            batch.number + index,
            redact=self._stream.redactor.text,
            run_id=position.run_id,
            last_seq=position.seq,
        )
        if on_invalid == "raise":
            raise refused from error
        if self._sink.cancellation.cancelled:
            raise Cancelled
        try:
            on_invalid(refused)
        except BaseException as raised:
            raise SubscriberError(raised) from None
        self._received += 1
        if error.seq == position.seq + 1:
            position.seq += 1
        else:
            self._skipped += 1
