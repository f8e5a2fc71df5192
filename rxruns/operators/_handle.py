"""The operator that calls a sink for each event, and survives its errors.

Threads: the function, the waits between attempts, the dead letters and the observer are called on the
source's thread, for ``run_events`` the reader's. Any thread may dispose, which interrupts a wait and never
blocks.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeAlias, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import VirtualTimeScheduler

from rxruns._arguments import check_kind
from rxruns._errors import must_be
from rxruns._logs._writer import LogWriter, check_log_path
from rxruns._ndjson._dead_letter import encode_dead_letter, error_text
from rxruns._policies import RetryPolicy
from rxruns._transport import Cancellation
from rxruns.events import RunEvent

__all__ = ["DeadLetter", "handle"]

_E = TypeVar("_E", bound=RunEvent)

DeadLetter: TypeAlias = str | os.PathLike[str] | Callable[[Any, Exception], object]
"""The path of a file, or a function of the event and its error."""

_PutAside: TypeAlias = Callable[[Any, Exception, int], bool]

logger = logging.getLogger("rxruns")


def handle(
    function: Callable[[Any], object],
    *,
    retry: RetryPolicy = RetryPolicy(),
    dead_letter: DeadLetter | None = None,
) -> Callable[[Observable[_E]], Observable[_E]]:
    """Call a function with each event, retry it if it raises, and emit the events that are done.

    ::

        -1---2---3-----------|
        -1-----2-------------3-|     2 succeeds at its second attempt; 3 becomes a dead letter

    An event is done when the function returned, or when the event and its last error became a dead letter. So
    ``ops.checkpoint(store)`` behind this operator confirms handled events and dead letters, in order, and
    nothing else. A killed process repeats the event in progress, so the function must accept an event twice.

    The function runs on the source's thread, and so do the waits between attempts: meanwhile the socket
    isn't read, and a slow function slows the service instead of filling the memory. Merged runs wait too:
    an event that fails holds up all runs for its attempts, about a second with the default policy.
    ``RetryPolicy(max_attempts=1)`` doesn't wait.

    A dead letter is a line ``{"error": {"type", "message", "attempts", "failed_at"}, "event": {...}}``. It is
    written to the disk (``fsync``, some milliseconds) before the event is emitted. The event is encoded as by
    ``ops.record``: fields that rxruns doesn't know are lost, except those of an ``UnknownEvent``. ``rxruns
    events FILE`` and :func:`~rxruns.recorded_events` read the events, each once, though a killed process may
    leave one twice in the file. The subscription opens the file, and creates it with mode 0600 if it is
    missing. It has one writer at a time: give each process its own.

    Args:
        function: is called with the event; its result is ignored. Any ``Exception`` is retried;
            ``KeyboardInterrupt`` and the like aren't.
        retry: the number of attempts, and the seconds between them.
        dead_letter: the path of an NDJSON file, or a function that is called with the event and its last
            error. None ends the stream with that error.

    Raises:
        InvalidArgumentError: at once, for an argument that can't be used, such as a coroutine function or a
            compressed file.

    ``on_error`` receives the function's last exception, with a note that names run, ``seq`` and attempts; an
    exception of the ``dead_letter`` function; or a :class:`~rxruns.errors.StoreError` that names the file,
    if it can't be opened or written. The event wasn't emitted then, and is received again after a restart.

    Dispose interrupts a wait; after it, nothing is retried, put aside or emitted. In virtual time
    (RxPY's ``TestScheduler``, given to ``subscribe``) a wait moves the clock instead.

    >>> import pathlib, tempfile
    >>> import reactivex
    >>> from rxruns import recorded_events
    >>> from rxruns.testing import events
    >>> def sink(event):
    ...     if event.seq == 2:
    ...         raise ConnectionError("no route")
    >>> path = pathlib.Path(tempfile.mkdtemp(), "dead.ndjson")
    >>> once = RetryPolicy(max_attempts=1)
    >>> log = reactivex.from_iterable(events.run().node("draft"))
    >>> done = log.pipe(handle(sink, retry=once, dead_letter=path))
    >>> done.subscribe(lambda event: print(event.seq, event.type)).dispose()
    1 run_compiled
    2 run_started
    3 node_started
    >>> recorded_events(path).subscribe(lambda event: print(event.seq, event.type)).dispose()
    2 run_started
    """
    if not callable(function):
        raise must_be("function", "a function", function)
    if iscoroutinefunction(function):
        raise must_be("function", "a function that isn't async", function, "rxruns.aio is for asyncio")
    check_kind("retry", retry, RetryPolicy, "a RetryPolicy")
    to = dead_letter
    if not (to is None or callable(to) or isinstance(to, str | os.PathLike)):
        raise must_be("dead_letter", "a path, a function or None", to)
    path = None if to is None or callable(to) else check_log_path("dead_letter", to)

    def handling(source: Observable[_E]) -> Observable[_E]:
        def subscribe(
            observer: abc.ObserverBase[_E], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            log = None if path is None else LogWriter(path, fsync=True)
            put_aside: _PutAside | None = None
            if callable(to):
                put_aside = partial(_called, to)
            elif log is not None:
                put_aside = partial(_written, log)
            handling = _Handling(observer, function, retry, put_aside, log, scheduler)
            subscription = source.subscribe(
                handling.on_next, handling.on_error, handling.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(Disposable(handling.stop), subscription)

        return Observable(subscribe)

    return handling


def _called(
    function: Callable[[Any, Exception], object], event: Any, error: Exception, attempts: int
) -> bool:
    function(event, error)
    return True


def _written(log: LogWriter, event: Any, error: Exception, attempts: int) -> bool:
    return log.append(encode_dead_letter(event, error, attempts) + b"\n")


class _Handling:
    """One subscription. Events that the function itself causes wait until the current one was emitted."""

    def __init__(
        self,
        observer: abc.ObserverBase[Any],
        function: Callable[[Any], object],
        retry: RetryPolicy,
        put_aside: _PutAside | None,
        log: LogWriter | None,
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        self._observer = observer
        self._function = function
        self._retry = retry
        self._put_aside = put_aside
        self._log = log
        self._clock = scheduler if isinstance(scheduler, VirtualTimeScheduler) else None
        self._cancellation = Cancellation()
        self._is_busy = False
        self._later: deque[Callable[[], None]] = deque()

    def stop(self) -> None:
        self._cancellation.cancel()
        if self._log is not None:
            self._log.close()

    # ---- the source ----

    def on_next(self, event: Any) -> None:
        self._in_turn(self._handle, event)

    def on_error(self, error: Exception) -> None:
        self._in_turn(self._fail, error)

    def on_completed(self) -> None:
        self._in_turn(self._complete)

    def _in_turn(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._cancellation.cancelled:  # a source that emits while it is subscribed to can't be disposed
            return
        if self._is_busy:
            self._later.append(partial(work, *arguments))
            return
        self._is_busy = True
        try:
            work(*arguments)
            while self._later and not self._cancellation.cancelled:
                self._later.popleft()()
        except BaseException:  # the subscriber's own, or Ctrl-C: no dispose follows
            self.stop()
            raise
        finally:
            self._is_busy = False

    # ---- one event ----

    def _handle(self, event: Any) -> None:
        attempts, error = self._attempt(event)
        if self._cancellation.cancelled:
            return
        if error is None or self._is_put_aside(event, error, attempts):
            self._observer.on_next(event)

    def _attempt(self, event: Any) -> tuple[int, Exception | None]:
        """Call the function until it returns. Return the attempts, and the error of the last one."""
        attempt = 1
        while True:
            try:
                self._function(event)
            except Exception as error:
                if attempt >= self._retry.max_attempts:
                    return attempt, error
                delay = self._retry.delay(attempt)
                logger.debug("%s; retrying in %.3g s: %s", _failure(event, attempt), delay, error_text(error))
            else:
                return attempt, None
            if self._wait(delay):
                return attempt, None
            attempt += 1

    def _wait(self, seconds: float) -> bool:
        """Wait, and return True if disposed."""
        if self._clock is None:
            return self._cancellation.wait(seconds)
        self._clock.sleep(seconds)
        return self._cancellation.cancelled

    def _is_put_aside(self, event: Any, error: Exception, attempts: int) -> bool:
        """Return False if the event was not, and the stream has ended."""
        if self._put_aside is None:
            error.add_note(_failure(event, attempts))
            self._fail(error)
            return False
        try:
            is_put_aside = self._put_aside(event, error, attempts)
        except Exception as failed:
            failed.add_note(f"{_failure(event, attempts)}: {error_text(error)}")
            self._fail(failed)
            return False
        if is_put_aside:
            logger.warning("%s; it is a dead letter: %s", _failure(event, attempts), error_text(error))
        return is_put_aside

    # ---- the end ----

    def _fail(self, error: Exception) -> None:
        self.stop()
        self._observer.on_error(error)

    def _complete(self) -> None:
        self.stop()
        self._observer.on_completed()


def _failure(event: RunEvent, attempts: int) -> str:
    tried = f"{attempts} attempt{'' if attempts == 1 else 's'}"
    return f"run {event.run_id}, seq {event.seq}: the function failed after {tried}"
