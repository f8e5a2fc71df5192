"""The threaded NDJSON reader: one thread, one cursor, as many connections as it takes.

Which thread calls what: :meth:`EventReader.start` and :meth:`EventReader.dispose` may be called by any
thread, and neither waits. All else, the observer's ``on_next``, ``on_lifecycle`` and ``on_invalid`` among it,
runs on the reader's own thread. Dispose sets a flag and shuts the socket down; the thread notices at its next
step and closes what it owns.

A connection ends in one of three ways: *done* (a terminal event, the limit, or the server's close when it was
not asked to wait), *the end of a page*, which is followed by the next one at once, or a *fault*, which
:class:`~rxruns.ResumePolicy` decides about.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Literal, TypeVar
from uuid import UUID

from msgspec import Struct
from reactivex import abc

from rxruns._arguments import MAX_PAGE, check_after_seq, check_callback, check_flag, check_kind, check_limit
from rxruns._logs._writer import check_log_path
from rxruns._ndjson._bulk import EventLines
from rxruns._ndjson._decoding import WITH_OUTPUT, RecordError, refusal, refuse_included
from rxruns._ndjson._framing import Lines
from rxruns._policies import RETRY_AFTER_LIMIT, ResumePolicy, is_retryable
from rxruns._streams._waiting import WAITING_EVENTS, WaitingNotice
from rxruns._threading._threads import start_thread
from rxruns._transport import Cancellation, Cancelled, OpenStream, Redactor
from rxruns.client import RunsClient
from rxruns.errors import (
    APIError,
    InvalidArgumentError,
    RunsError,
    SequenceGapError,
    StoreError,
    StreamError,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    TransportError,
)
from rxruns.events import NIL, RunCanceled, RunCompleted, RunEvent, RunFailed, TerminalEvent
from rxruns.lifecycle import Closed, Connected, LifecycleEvent, Reconnecting, Resumed
from rxruns.models import RunStatus

__all__ = ["EventReader", "FollowOptions", "OnInvalid", "OnLifecycle"]

OnInvalid = Literal["raise"] | Callable[[StreamProtocolError], object]
OnLifecycle = Callable[[LifecycleEvent], object]

logger: logging.Logger = logging.getLogger("rxruns")
T = TypeVar("T")

_ALIVE = (RunStatus.RUNNING, RunStatus.WAITING)
_ENDED = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED)
_LOOKED_INTO = WITH_OUTPUT | {RunCompleted, RunFailed, RunCanceled} | WAITING_EVENTS

_SILENT_AFTER = 0.5
"""Seconds without an event after which a cut is a proxy's that cuts quiet responses, and not an outage."""


class _Fault(Exception):
    """A connection ended before the run did.

    ``silent``: the service accepted it and had nothing to send: the run may be waiting for somebody.
    """

    def __init__(self, cause: RunsError, *, silent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.silent = silent
        self.retry_after = retry_after


class _Gap(Exception):
    """An event came too early."""

    def __init__(self, *, expected: int, received: int) -> None:
        super().__init__(expected, received)
        self.expected = expected
        self.received = received


class _NotRecorded(Exception):
    """Carries the error of the log past everything that looks for errors of the subscriber."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _SubscriberError(BaseException):
    """Carries what the subscriber's own code raised past everything that looks for errors of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def check_on_invalid(value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is ``"raise"`` or callable."""
    if value != "raise" and not callable(value):
        raise InvalidArgumentError(
            f"on_invalid has to be 'raise' or a function, not {value!r}", field="on_invalid"
        )


class FollowOptions(Struct, frozen=True, kw_only=True):
    """The options of :func:`~rxruns.run_events`, where they are described."""

    after_seq: int = 0
    limit: int | None = None
    wait: bool = True
    include_output: bool = False
    resume: ResumePolicy | None = ResumePolicy()
    on_invalid: OnInvalid = "raise"
    on_lifecycle: OnLifecycle | None = None
    record: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_after_seq(self.after_seq)
        check_limit(self.limit)
        check_flag("wait", self.wait)
        check_flag("include_output", self.include_output)
        if self.resume is not None:
            check_kind("resume", self.resume, ResumePolicy, "a ResumePolicy, or None for one connection")
        check_on_invalid(self.on_invalid)
        check_callback("on_lifecycle", self.on_lifecycle)
        if self.record is not None:
            check_log_path("record", self.record)


class EventReader:
    """Follow one run on a thread of its own and hand each event over once, in ``seq`` order.

    Args:
        client: sends the requests; it is not closed here.
        find_run: gives the run's id, on the reader's thread, before anything is read.
        options: what to ask for, and what to do about faults.
        observer: gets the events, and the end.
        on_closed: called when the socket is done, before the observer hears of the end.
        record: gets the line of each event before the observer gets the event. False: it was closed, so that
            the event isn't handed over. What it raises ends the stream.
    """

    def __init__(
        self,
        client: RunsClient,
        find_run: Callable[[RunsClient, Cancellation], UUID],
        options: FollowOptions,
        observer: abc.ObserverBase[RunEvent],
        on_closed: Callable[[], object],
        record: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._client = client
        self._find_run = find_run
        self._options = options
        self._observer = observer
        self._on_closed = on_closed
        self._record = record
        self._cancellation = Cancellation()
        # What is known of the run.
        self._run_id = NIL
        self._cursor = options.after_seq
        self._remaining = options.limit
        self._ended = False  # the service said so
        # Since the last event: faults, what the backoff grows with; those that count; the gap that was seen.
        self._rounds = 0
        self._reconnects = 0
        self._gap_at: int | None = None
        # Of this connection.
        self._redactor = Redactor(())
        self._waiting = WaitingNotice()
        self._announce: type[Connected] | type[Resumed] | None = Connected
        self._opened_at = 0.0
        self._events = EventLines(Lines(()), self._refuse)
        self._progressed = False
        self._came = 0
        self._skipped = 0  # bad lines, each of which may stand for one missing event

    def start(self) -> None:
        """Start the thread."""
        start_thread("rxruns-reader", self._run, self.dispose)

    def dispose(self) -> None:
        """Stop at once, in whatever phase; does not wait."""
        self._cancellation.cancel()

    # ---- the thread ----

    def _run(self) -> None:
        error: BaseException | None = None
        subscriber_raised = False
        try:
            self._follow()
        except Cancelled:
            pass
        except _SubscriberError as raised:
            error, subscriber_raised = raised.error, True
        except _NotRecorded as raised:
            error = raised.error
        except Exception as raised:
            error = raised
        if isinstance(error, RunsError) and not subscriber_raised:
            self._redactor.clean(error)
            error.__context__ = None  # a signal of ours, which leads back to the error
        disposed = self._cancellation.cancelled
        if disposed and not subscriber_raised:
            error = None
        self._on_closed()
        try:
            if self._options.on_lifecycle is not None:
                self._options.on_lifecycle(
                    Closed(
                        run_id=self._run_id if self._run_id.int else None, last_seq=self._cursor, error=error
                    )
                )
        finally:
            if subscriber_raised and error is not None:
                raise error
            if not disposed:
                self._notify_end(error)

    def _notify_end(self, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self._observer.on_error(error)
        else:
            self._observer.on_completed()

    def _follow(self) -> None:
        self._run_id = self._find_run(self._client, self._cancellation)
        finished = False
        while not finished:
            try:
                finished = self._read_connection()
            except _Gap as gap:
                self._look_again(gap)
            except _Fault as fault:
                finished = self._recover(fault)

    # ---- one connection ----

    def _read_connection(self) -> bool:
        """Read one connection to its end. True: the run has been followed to its end; False: next page."""
        page = None if self._remaining is None else min(self._remaining, MAX_PAGE)
        stream = self._open(page)
        self._progressed, self._came, self._skipped = False, 0, 0
        try:
            self._redactor = stream.redactor
            self._tell_opened(stream.request_id)
            return self._read(stream, page)
        except TransportError as error:
            if not _may_pass(error):
                raise
            raise self._broken(error, silent=self._was_quiet(error)) from error
        finally:
            stream.close()

    def _open(self, page: int | None) -> OpenStream:
        self._opened_at = time.monotonic()
        self._progressed = False
        try:
            stream = self._client._calls.open_events(
                self._run_id,
                after_seq=self._cursor,
                limit=page,
                wait=self._options.wait,
                include_output=self._options.include_output,
                cancellation=self._cancellation,
                options={"timeout": self._idle_timeout},
                once=self._options.resume is not None,
            )
        except (APIError, TransportError) as error:
            if self._options.resume is None or not _may_pass(error):
                raise
            raise self._broken(error) from error
        return stream

    def _read(self, stream: OpenStream, page: int | None) -> bool:
        lines = Lines(stream.chunks(), self._client.max_line_bytes, self._refuse_overlong)
        self._events = EventLines(lines, self._refuse, self._note_idle)
        run, cancellation = self._run_id.int, self._cancellation
        on_next = self._observer.on_next if self._record is None else self._record_and_emit
        is_limited = self._remaining is not None
        for events in chain(self._events, self._last_event(lines)):
            due = self._due  # bad lines, which move it, come between those that came together
            for event in events:
                seq, is_rare = event.seq, type(event) in _LOOKED_INTO
                if (is_rare and not self._is_wanted(event)) or (
                    (seq != due or event.run_id.int != run) and not self._is_due(event)
                ):
                    due = self._due
                    continue
                if cancellation.cancelled:
                    raise Cancelled
                try:
                    on_next(event)
                except (Cancelled, _NotRecorded):  # disposed, maybe while it waited among merged runs
                    raise
                except BaseException as error:
                    raise _SubscriberError(error) from None
                self._cursor = seq
                due = seq + 1
                if (is_rare and isinstance(event, TerminalEvent)) or (is_limited and self._is_enough()):
                    return True
        return self._end_of_body(page)

    def _record_and_emit(self, event: RunEvent) -> None:
        """Hand an event over whose line is in the log."""
        assert self._record is not None
        try:
            is_recorded = self._record(self._events.received)
        except StoreError as error:
            raise _NotRecorded(error) from error
        if not is_recorded:
            raise Cancelled
        self._observer.on_next(event)

    @property
    def _due(self) -> int:
        """``seq`` of the event that is plainly the next one; 0 if the next has to be looked at."""
        return self._cursor + 1 if self._progressed and not self._skipped else 0

    def _is_wanted(self, event: RunEvent) -> bool:
        """Whether an event comes without an output, or outputs were asked for."""
        if type(event) in WAITING_EVENTS:
            self._waiting.note(event)
        elif not self._options.include_output:
            try:
                refuse_included(event)
            except RecordError as error:
                self._refuse(error)
                return False
        return True

    def _note_idle(self) -> None:
        self._waiting.look(self._run_id)

    def _is_due(self, event: RunEvent) -> bool:
        """Whether an event is to be handed over although it is not plainly the next one."""
        if event.run_id.int != self._run_id.int:
            self._refuse(RecordError(f"an event of another run, {event.run_id}"))
            return False
        due = self._cursor + 1
        if event.seq < due:
            return False
        if event.seq > due + self._skipped:
            raise _Gap(expected=due, received=event.seq)
        self._skipped = 0
        if not self._progressed:
            self._note_progress()
        return True

    def _is_enough(self) -> bool:
        """Count an event where there is a limit."""
        assert self._remaining is not None
        self._came += 1
        self._remaining -= 1
        return self._remaining == 0

    def _note_progress(self) -> None:
        self._progressed = True
        self._ended = False
        self._rounds = self._reconnects = 0
        self._gap_at = None

    def _end_of_body(self, page: int | None) -> bool:
        """What a clean end of the bytes means."""
        if page is not None and self._came >= page:
            return False
        if not self._options.wait:
            return True
        raise _Fault(self._interrupted("the stream ended before the run did"), silent=not self._progressed)

    def _last_event(self, lines: Lines) -> Iterator[Iterator[RunEvent]]:
        """A last line without a newline counts if it is a whole record; else it is fetched again."""
        if not lines.tail:
            return
        try:
            yield self._events.decode_tail()
        except RecordError as error:
            if not error.is_record:
                cause = self._interrupted("the stream ended in the middle of a line")
                raise _Fault(cause, silent=self._was_quiet(cause)) from error
            self._refuse(error)

    # ---- bad lines ----

    def _refuse(self, error: RecordError) -> None:
        """Raise or report the line that came last."""
        self._refuse_line(error, self._events.line, self._events.number)

    def _refuse_line(self, error: RecordError, line: bytes, number: int) -> None:
        """Raise or report a bad line. The next event may leave out the ``seq`` that it may have had."""
        redact = self._redactor.text
        refused = refusal(error, line, number, redact=redact, run_id=self._run_id, last_seq=self._cursor)
        if self._options.on_invalid == "raise":
            raise refused from error
        if self._cancellation.cancelled:
            raise Cancelled
        self._call(self._options.on_invalid, refused)
        self._came += 1
        if error.seq == self._cursor + 1:
            self._cursor += 1
        else:
            self._skipped += 1

    def _refuse_overlong(self, number: int, start: bytes) -> None:
        limit = self._client.max_line_bytes
        self._refuse_line(
            RecordError(f"a line is longer than {limit:,} bytes (max_line_bytes)"), start, number
        )

    # ---- faults ----

    def _look_again(self, gap: _Gap) -> None:
        """At a gap: one more connection at once, without budget. The same gap again is an error."""
        error = SequenceGapError(
            expected=gap.expected, received=gap.received, run_id=self._run_id, last_seq=self._cursor
        )
        if self._options.resume is None or self._gap_at == gap.expected:
            raise error
        self._gap_at = gap.expected
        self._reconnect(error, 0.0)

    def _recover(self, fault: _Fault) -> bool:
        """After a fault: wait as the policy says, or raise. True: the service says that nothing follows."""
        resume = self._options.resume
        if resume is None:
            if isinstance(fault.cause, StreamError):
                raise fault.cause
            raise self._interrupted(f"the stream broke: {fault.cause}") from fault.cause
        alive = False
        if fault.silent and self._options.wait:
            if self._ended:
                return True
            status = self._ask_status()
            alive = status in _ALIVE
            self._note_idle()
            self._ended = status in _ENDED
        if self._ended and fault.silent:
            self._reconnect(fault.cause, 0.0, quiet=True)  # no outage: it is looked whether anything is left
            return False
        self._rounds += 1
        if not alive:
            self._reconnects += 1
            if self._reconnects > resume.max_reconnects:
                raise self._give_up(resume, fault.cause) from fault.cause
        delay = resume.delay(self._rounds, fault.retry_after)
        if fault.retry_after is None:
            delay = max(0.0, self._opened_at + delay - time.monotonic())
        self._reconnect(fault.cause, delay, quiet=alive)
        return False

    def _reconnect(self, cause: RunsError, delay: float, *, quiet: bool = False) -> None:
        self._redactor.clean(cause)
        level = logging.DEBUG if quiet or self._reconnects > 1 else logging.WARNING
        logger.log(
            level, "run %s: reconnecting in %.3g s after seq %d: %s", self._run_id, delay, self._cursor, cause
        )
        if self._announce is None:
            self._announce = Resumed
        self._tell(Reconnecting(run_id=self._run_id, attempt=self._rounds, delay=delay, cause=cause))
        if self._cancellation.wait(delay):
            raise Cancelled

    def _ask_status(self) -> str:
        """The run's status at the service, or ``""`` where it does not say."""
        try:
            return self._client._calls.get_once(self._run_id, cancellation=self._cancellation).status
        except RunsError as error:
            logger.debug("run %s: its status is unknown: %s", self._run_id, error)
            return ""

    def _was_quiet(self, cause: RunsError) -> bool:
        """Whether a connection that was accepted and then broke had nothing to send, as a waiting run has."""
        if self._progressed:
            return False
        if self._events.has_idled or isinstance(cause, TransportError) and cause.kind == "timeout":
            return True
        return time.monotonic() - self._opened_at >= _SILENT_AFTER

    def _broken(self, error: APIError | TransportError, *, silent: bool = False) -> _Fault:
        """The fault that an error of the transport is."""
        if isinstance(error, APIError):
            return _Fault(error, retry_after=error.retry_after)
        if error.kind != "timeout" or self._idle_timeout is None:
            return _Fault(error, silent=silent)
        idle = StreamTimeoutError(timeout=self._idle_timeout, run_id=self._run_id, last_seq=self._cursor)
        idle.__cause__ = error
        return _Fault(idle, silent=silent)

    def _give_up(self, resume: ResumePolicy, cause: RunsError) -> StreamInterruptedError:
        message = f"gave up after {resume.max_reconnects} reconnects without an event: {cause}"
        # For logs; who shows the error as well can tell by the mark that it says the same.
        logger.warning("run %s: %s", self._run_id, message, extra={"is_raised": True})
        return self._interrupted(message, resume.max_reconnects)

    def _interrupted(self, message: str, reconnects: int = 0) -> StreamInterruptedError:
        return StreamInterruptedError(
            message, reconnects=reconnects, run_id=self._run_id, last_seq=self._cursor
        )

    @property
    def _idle_timeout(self) -> float | None:
        return self._client.timeout if self._options.resume is None else self._options.resume.idle_timeout

    # ---- the subscriber's code ----

    def _tell_opened(self, request_id: str | None) -> None:
        announce, self._announce = self._announce, None
        if announce is not None:
            self._tell(announce(run_id=self._run_id, after_seq=self._cursor, request_id=request_id))

    def _tell(self, value: LifecycleEvent) -> None:
        if self._options.on_lifecycle is not None:
            self._call(self._options.on_lifecycle, value)

    def _call(self, callback: Callable[[T], object], value: T) -> None:
        try:
            callback(value)
        except BaseException as error:
            raise _SubscriberError(error) from None


def _may_pass(error: APIError | TransportError) -> bool:
    """Whether another attempt may do better."""
    if isinstance(error, TransportError):
        return error.kind != "other"
    return is_retryable(error.status) and (error.retry_after or 0.0) <= RETRY_AFTER_LIMIT
