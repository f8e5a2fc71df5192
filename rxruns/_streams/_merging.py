"""Many runs, one observer.

Threads: an iterable of ids runs on a thread of its own, ``rxruns-merge``; an Observable's ids arrive on the
thread that emits them. A run's events and its failure arrive on its reader's thread, and so does the end
after the last run. One thread at a time calls the observer: the others wait for their turn, each with its
socket unread, so that a slow observer slows all of them. If the observer's own thread emits a bad id, or ends
the ids, inside ``on_next``, the observer is notified after ``on_next`` has returned.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

from msgspec import Struct
from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler, TrampolineScheduler

from rxruns._arguments import check_id
from rxruns._transport import Cancelled
from rxruns.errors import StoreError
from rxruns.events import RunEvent

__all__ = ["Merging", "Run", "RunNotFollowed"]


class RunNotFollowed(Struct, frozen=True, kw_only=True):
    """A run that could not be followed to its end; ``merge_runs(..., on_run_error="emit")`` emits it.

    A run that failed at the service was followed to its end, so it isn't one of these.

    Attributes:
        run_id: the run; None for a bad id, which ``error`` names.
        error: the error that ``run_events`` would have ended with.
        last_seq: ``seq`` of the last event that was emitted, or ``after_seq``. Follow the run with
            ``after_seq=last_seq`` to continue.
    """

    run_id: UUID | None
    error: Exception
    last_seq: int


class Merging:
    """One subscription to the events of many runs. It disposes itself at its end.

    Args:
        observer: gets the events and, with ``emits``, :class:`RunNotFollowed` values.
        follow: returns a run's events, and the ``seq`` that they begin after. It gets the run's id and a
            function that takes the line of each event before the event is emitted. An exception is the run's
            failure.
        most: the number of runs that are followed at once.
        emits: emit a run's failure as a value; else it ends all runs.
        on_stopped: called once, when all runs were disposed.
        record: gets the line of each event that is about to be emitted. An exception ends all runs.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[Any],
        follow: Callable[[UUID, Callable[[bytes], bool]], tuple[Observable[RunEvent], int]],
        *,
        most: float,
        emits: bool,
        on_stopped: Callable[[], object],
        record: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._observer = observer
        self._follow = follow
        self._most = most
        self._emits = emits
        self._on_stopped = on_stopped
        self._record = record
        # The observer's turn. Reentrant: the thread whose turn it is reads `_busy`.
        self._turn = threading.RLock()
        self._busy = False
        self._due: deque[Callable[[], object]] = deque()
        # The runs. No thread waits for the turn, or calls foreign code, with this lock held.
        self._changed = threading.Condition()
        self._ids = SingleAssignmentDisposable()
        self._taken = 0
        self._no_more = False
        self._waiting: deque[UUID] = deque()
        self._runs: set[Run] = set()
        self._active = 0
        self._stopped = False

    # ---- the ids ----

    def subscribe_to(self, run_ids: Observable[Any], scheduler: abc.SchedulerBase | None) -> None:
        """Follow the runs whose ids are emitted, as places become free."""
        ids = self._ids

        def subscribe(_: abc.SchedulerBase, state: object = None) -> None:
            if not ids.is_disposed:
                ids.disposable = run_ids.subscribe(self._add, self._fail, self._end_ids, scheduler=scheduler)

        # Only when this subscription can be disposed: the source may emit everything inside `subscribe`.
        (scheduler or CurrentThreadScheduler.singleton()).schedule(subscribe)

    def iterate(self, run_ids: Iterable[Any]) -> None:
        """Follow the runs whose ids are iterated over. The next id is taken when a place is free."""
        iterator = chain.from_iterable((run_ids,))  # so that the thread calls `iter`, too

        def run() -> None:
            while self._wait_for_place():
                try:
                    value = next(iterator)
                except StopIteration:
                    self._end_ids()
                    return
                except Exception as error:
                    self._fail(error)
                    return
                self._add(value)

        threading.Thread(target=run, name="rxruns-merge", daemon=True).start()

    def _wait_for_place(self) -> bool:
        """Return True when a place is free, False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._active + len(self._waiting) < self._most)
            return not self._stopped

    def _add(self, value: object) -> None:
        number, self._taken = self._taken, self._taken + 1
        try:
            run_id = check_id(value, f"run_ids[{number}]")
        except Exception as error:
            self._report(error, run_id=None, last_seq=0)
            return
        with self._changed:
            self._waiting.append(run_id)
        self._follow_waiting()

    def _end_ids(self) -> None:
        with self._changed:
            self._no_more = True
        self._complete_if_done()

    # ---- the runs ----

    def _follow_waiting(self) -> None:
        while (run_id := self._take_place()) is not None:
            run = Run(self, run_id)
            try:
                events, run.last_seq = self._follow(run_id, run.keep_line)
            except Exception as error:
                self._report(error, run_id=run_id, last_seq=0)
                self._give_place_back()
            else:
                self._start(run, events)

    def _take_place(self) -> UUID | None:
        with self._changed:
            if self._stopped or not self._waiting or self._active >= self._most:
                return None
            self._active += 1
            return self._waiting.popleft()

    def _give_place_back(self) -> None:
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def _start(self, run: Run, events: Observable[RunEvent]) -> None:
        with self._changed:
            if self._stopped:
                return
            self._runs.add(run)
        # On a trampoline of its own, so that a run that was disposed before it started can't start later.
        trampoline = TrampolineScheduler()

        def subscribe(_: abc.SchedulerBase, state: object = None) -> None:
            run.subscription.disposable = events.subscribe(run, scheduler=trampoline)

        try:
            trampoline.schedule(subscribe)
        except RuntimeError as error:  # can't start new thread
            self.fail(run, error)

    def emit(self, value: RunEvent | RunNotFollowed, line: bytes = b"") -> None:
        """Emit a value when it is its turn, after its line was recorded.

        Raises:
            Cancelled: everything was disposed before.
        """
        with self._turn:
            if self._stopped:
                raise Cancelled
            if line and self._record is not None:
                self._append(self._record, line)
            if self._busy:
                self._due.append(partial(self._observer.on_next, value))
                return
            self._busy = True
            try:
                self._observer.on_next(value)
                while self._due:
                    self._due.popleft()()
            except BaseException:  # the subscriber's own
                self.dispose()
                raise
            finally:
                self._busy = False

    def _append(self, record: Callable[[bytes], bool], line: bytes) -> None:
        try:
            is_recorded = record(line)
        except StoreError as error:
            self._fail(error)
            is_recorded = False
        if not is_recorded:
            raise Cancelled

    def fail(self, run: Run, error: Exception) -> None:
        """End, or emit, the failure of one run."""
        self._report(error, run_id=run.run_id, last_seq=run.last_seq)
        self.leave(run)

    def leave(self, run: Run) -> None:
        """Free the place of a run that has ended for the next one."""
        if not self._remove(run):
            return
        self._give_place_back()
        self._follow_waiting()
        self._complete_if_done()

    def _remove(self, run: Run) -> bool:
        """Return True the first time, unless all runs were stopped."""
        with self._changed:
            is_here = run in self._runs
            self._runs.discard(run)
            return is_here

    # ---- the end ----

    def _report(self, error: Exception, *, run_id: UUID | None, last_seq: int) -> None:
        if self._emits:
            with suppress(Cancelled):
                self.emit(RunNotFollowed(run_id=run_id, error=error, last_seq=last_seq))
        else:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._end(partial(self._observer.on_error, error))

    def _complete_if_done(self) -> None:
        with self._changed:
            done = self._is_done()
        if done:
            self._end(self._observer.on_completed)

    def _is_done(self) -> bool:
        return self._no_more and not self._active and not self._waiting

    def _end(self, notify: Callable[[], object]) -> None:
        """End everything, once. The runs are disposed first: the observer may be busy for long."""
        if not self._stop():
            return
        with self._turn:
            if self._busy:
                self._due.append(notify)
            else:
                notify()

    def dispose(self) -> None:
        """Stop all runs at once; doesn't wait."""
        self._stop()

    def _stop(self) -> bool:
        """Return whether this call stopped it, rather than one before."""
        with self._changed:
            if self._stopped:
                return False
            self._stopped = True
            runs, self._runs = self._runs, set()
            self._waiting.clear()
            self._changed.notify_all()
        self._ids.dispose()
        for run in runs:
            run.stop()
        self._on_stopped()
        return True


class Run(abc.ObserverBase[RunEvent]):
    """The observer of one run."""

    __slots__ = ("_line", "_merging", "last_seq", "run_id", "subscription")

    def __init__(self, merging: Merging, run_id: UUID) -> None:
        self._merging = merging
        self._line = b""
        self.run_id = run_id
        self.last_seq = 0
        self.subscription = SingleAssignmentDisposable()

    def keep_line(self, line: bytes) -> bool:
        """Keep the line of the next event."""
        self._line = line
        return True

    def stop(self) -> None:
        """Dispose it; doesn't wait."""
        self.subscription.dispose()

    def on_next(self, value: RunEvent) -> None:
        self._merging.emit(value, self._line)
        self.last_seq = value.seq

    def on_error(self, error: Exception) -> None:
        self._merging.fail(self, error)

    def on_completed(self) -> None:
        self._merging.leave(self)
