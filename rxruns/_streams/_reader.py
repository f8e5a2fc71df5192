"""The threaded NDJSON reader: one thread, one cursor, any number of connections.

Threads: any thread may call :meth:`EventReader.start` and :meth:`EventReader.dispose`, and neither waits. All
else, the observer's ``on_next``, ``on_lifecycle`` and ``on_invalid`` included, runs on the reader's own
thread. Dispose sets a flag and shuts the socket down; the thread notices at its next step and closes what it
owns.

A connection ends in one of three ways: *done* (a terminal event, the limit, or the server's close with
``wait=False``), *the end of a page*, after which the next one follows at once, or a *fault*, about which
:mod:`rxruns._streams._recovery` decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

from reactivex import abc

from rxruns._arguments import MAX_PAGE
from rxruns._streams._connection import Connection, RecordingError, Sink
from rxruns._streams._following import FollowOptions, Position, SubscriberError
from rxruns._streams._logging import GAVE_UP, logger
from rxruns._streams._recovery import Fault, Reconnect, Recovery, Stop, is_passing
from rxruns._streams._waiting import WaitingNotice
from rxruns._threading._threads import start_thread
from rxruns._transport import Cancellation, Cancelled, OpenStream, Redactor
from rxruns.client import RunsClient
from rxruns.errors import APIError, RunsError, SequenceGapError, TransportError
from rxruns.events import RunEvent
from rxruns.lifecycle import Closed, Connected, LifecycleEvent, Reconnecting, Resumed

__all__ = ["EventReader"]


class EventReader:
    """Follow one run on a thread of its own and emit each event once, in ``seq`` order.

    Args:
        client: sends the requests; it is not closed here.
        find_run: returns the run's id, on the reader's thread, before anything is read.
        options: the subscription's.
        observer: gets the events, and the end.
        on_closed: called when the socket is closed, before the observer gets the end.
        record: gets the line of each event before the observer gets the event. It returns False when it was
            closed; the event isn't emitted then. An exception ends the stream.
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
        self._cancellation = Cancellation()
        self._position = Position(options.after_seq, options.limit)
        resume = options.resume
        self._idle_timeout = client.timeout if resume is None else resume.idle_timeout
        self._recovery = Recovery(resume, self._position, wait=options.wait, idle_timeout=self._idle_timeout)
        self._sink = Sink(observer.on_next, record, self._cancellation, WaitingNotice())
        self._redactor = Redactor(())  # the last connection's
        self._opened_at = 0.0
        self._announce: type[Connected] | type[Resumed] | None = Connected

    def start(self) -> None:
        """Start the thread."""
        start_thread("rxruns-reader", self._run, self.dispose)

    def dispose(self) -> None:
        """Stop at once, in any phase; does not wait."""
        self._cancellation.cancel()

    # ---- the thread ----

    def _run(self) -> None:
        error: BaseException | None = None
        subscriber_raised = False
        try:
            self._follow()
        except Cancelled:
            pass
        except SubscriberError as raised:
            error, subscriber_raised = raised.error, True
        except RecordingError as raised:
            error = raised.error
        except Exception as raised:
            error = raised
        if isinstance(error, RunsError) and not subscriber_raised:
            self._redactor.clean(error)
            error.__context__ = None  # an internal exception, which leads back to the error
        disposed = self._cancellation.cancelled
        if disposed and not subscriber_raised:
            error = None
        self._on_closed()
        try:
            if self._options.on_lifecycle is not None:
                run_id = self._position.run_id if self._position.run_id.int else None
                self._options.on_lifecycle(Closed(run_id=run_id, last_seq=self._position.seq, error=error))
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
        self._position.run_id = self._find_run(self._client, self._cancellation)
        finished = False
        while not finished:
            fault: Fault | SequenceGapError
            try:
                finished = self._read_connection()
                continue
            except (Fault, SequenceGapError) as raised:
                # Its frames hold received lines, and an error of the next request would have it as a context.
                fault = raised.with_traceback(None)
            finished = self._obey(self._decide(fault))

    # ---- one connection ----

    def _read_connection(self) -> bool:
        """Read one connection. True: the run was followed to its end; False: the next page follows."""
        remaining = self._position.remaining
        page = None if remaining is None else min(remaining, MAX_PAGE)
        stream = self._open(page)
        connection = Connection(
            stream,
            self._options,
            self._position,
            self._sink,
            page=page,
            max_line_bytes=self._client.max_line_bytes,
            opened_at=self._opened_at,
        )
        try:
            self._redactor = stream.redactor
            self._notify_opened(stream.request_id)
            return connection.read()
        except TransportError as error:
            if not is_passing(error):
                raise
            raise self._recovery.fault_of(error, silent=connection.was_quiet(error)) from error
        finally:
            if connection.has_progressed:
                self._recovery.note_event()
            stream.close()

    def _open(self, page: int | None) -> OpenStream:
        self._opened_at = time.monotonic()
        try:
            return self._client._calls.open_events(
                self._position.run_id,
                after_seq=self._position.seq,
                limit=page,
                wait=self._options.wait,
                include_output=self._options.include_output,
                cancellation=self._cancellation,
                options={"timeout": self._idle_timeout},
                once=self._options.resume is not None,
            )
        except (APIError, TransportError) as error:
            if self._options.resume is None or not is_passing(error):
                raise
            raise self._recovery.fault_of(error) from error

    # ---- faults ----

    def _decide(self, fault: Fault | SequenceGapError) -> Reconnect | Stop:
        if isinstance(fault, SequenceGapError):
            return self._recovery.after_gap(fault)
        status = ""
        if self._recovery.needs_status(fault):
            status = self._status()
            self._sink.waiting.look(self._position.run_id)
        return self._recovery.after_fault(fault, status, time.monotonic() - self._opened_at)

    def _status(self) -> str:
        """Request the run's status; ``""`` where it is unknown."""
        try:
            return self._client._calls.get_once(self._position.run_id, cancellation=self._cancellation).status
        except RunsError as error:
            logger.debug("run %s: its status is unknown: %s", self._position.run_id, error)
            return ""

    def _obey(self, decision: Reconnect | Stop) -> bool:
        """Wait for the next connection, or raise. True: the stream is complete."""
        if isinstance(decision, Reconnect):
            self._wait(decision)
            return False
        if decision.gave_up:
            GAVE_UP.warning("run %s: %s", self._position.run_id, decision.error)
        if decision.error is not None:
            raise decision.error
        return True

    def _wait(self, again: Reconnect) -> None:
        run_id, cause = self._position.run_id, again.cause
        self._redactor.clean(cause)
        logger.log(
            logging.WARNING if again.is_outage else logging.DEBUG,
            "run %s: reconnecting in %.3g s after seq %d: %s",
            run_id,
            again.delay,
            self._position.seq,
            cause,
        )
        self._announce = self._announce or Resumed
        self._notify(Reconnecting(run_id=run_id, attempt=again.attempt, delay=again.delay, cause=cause))
        if self._cancellation.wait(again.delay):
            raise Cancelled

    # ---- the subscriber's code ----

    def _notify_opened(self, request_id: str | None) -> None:
        announce, self._announce = self._announce, None
        if announce is not None:
            self._notify(
                announce(run_id=self._position.run_id, after_seq=self._position.seq, request_id=request_id)
            )

    def _notify(self, value: LifecycleEvent) -> None:
        if self._options.on_lifecycle is not None:
            try:
                self._options.on_lifecycle(value)
            except BaseException as error:
                raise SubscriberError(error) from None
