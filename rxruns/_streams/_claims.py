"""Many runs that several workers share: each run is followed by the worker that holds its lease.

Threads: those of :mod:`rxruns._streams._merging`, and ``rxruns-claims``, which claims runs, again and again
those that others hold, and subscribes to them. The store's ``rxruns-leases`` notices that a lease was lost,
and releases the leases of runs that were disposed. A run's end is recorded on its reader's thread.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from reactivex import Observable, abc

from rxruns._errors import must_be
from rxruns._streams._following import FollowOptions
from rxruns._streams._merging import Merging, Run
from rxruns._threading._threads import start_thread
from rxruns._transport import Cancelled
from rxruns.cursors import Lease, LeaseStore
from rxruns.cursors._clock import seconds
from rxruns.errors import LeaseLostError, StoreError
from rxruns.events import RunEvent

__all__ = ["Claiming", "check_claim"]

logger: logging.Logger = logging.getLogger("rxruns")


class Claiming(Merging):
    """One subscription to the events of runs that other workers follow too.

    A run that another worker holds waits without a place, and is claimed again two to three times per lease.
    An error of the store ends all runs.

    Args:
        store: claims the runs; where they start is up to `follow`.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[Any],
        follow: Callable[[UUID, Callable[[bytes], bool]], tuple[Observable[RunEvent], int]],
        *,
        store: LeaseStore,
        **options: Any,
    ) -> None:
        super().__init__(observer, follow, **options)
        self._store = store
        self._held: list[tuple[float, int, UUID]] = []  # a heap of runs that others hold, by their next turn
        self._number = count()
        self._lost: dict[UUID, Lease] = {}

    def start(self) -> None:
        """Start the thread that claims runs."""
        start_thread("rxruns-claims", self._claim_runs, self.dispose)

    # ---- the thread ----

    def _claim_runs(self) -> None:
        try:
            while (run_id := self._take_run()) is not None:
                lease, ended = self._store._try_claim(run_id)
                if lease is not None:
                    self._follow_claimed(ClaimedRun(self, lease))
                else:
                    self._put_back(run_id, ended=ended)
        except Exception as error:
            self._fail(error)

    def _take_run(self) -> UUID | None:
        """Wait for a run to claim, and for a place. None: stopped."""
        with self._changed:
            while not self._stopped:
                due = self._held[0][0] if self._held else None
                if self._active >= self._most:
                    due = None
                elif due is not None and due <= seconds():
                    self._active += 1
                    return heapq.heappop(self._held)[-1]
                elif self._waiting:
                    self._active += 1
                    return self._waiting.popleft()
                self._changed.wait(None if due is None else max(0.0, due - seconds()))
            return None

    def _put_back(self, run_id: UUID, *, ended: bool) -> None:
        with self._changed:
            if not ended:
                self._claim_later(run_id)
        self._give_place_back()
        self._complete_if_done()

    def _claim_later(self, run_id: UUID) -> None:
        due = seconds() + self._store.lease * random.uniform(1 / 3, 1 / 2)
        heapq.heappush(self._held, (due, next(self._number), run_id))

    def _follow_claimed(self, run: ClaimedRun) -> None:
        run.lease._on_lost = partial(self.lose, run)
        try:
            events, run.last_seq = self._follow(run.run_id, run.keep_line)
        except StoreError:
            run.stop()
            raise
        except Exception as error:
            run.stop()
            self._report(error, run_id=run.run_id, last_seq=0)
            self._give_place_back()
            self._complete_if_done()
        else:
            self._start(run, events)
            if self._stopped:
                run.stop()
            elif not run.lease.is_held:  # it was lost before this could end the run
                self.lose(run)

    # ---- the runs ----

    def _follow_waiting(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def lose(self, run: ClaimedRun) -> None:
        """End a run quietly whose lease was lost; it is claimed again later."""
        self._store._lose(run.lease)
        with self._changed:
            if not self._remove(run):
                return
            self._claim_later(run.run_id)
            self._lost[run.run_id] = run.lease
        run.subscription.dispose()
        self._give_place_back()

    def fail(self, run: Run, error: Exception) -> None:
        """End, or emit, the failure of one run, which another worker can claim then."""
        run.stop()
        super().fail(run, error)

    def give_back(self, lease: Lease) -> None:
        """Release a lease soon."""
        self._store._give_back_soon(lease)

    def fail_all(self, error: Exception) -> None:
        """End all runs."""
        self._fail(error)

    @property
    def is_stopped(self) -> bool:
        """True at the end, and after dispose."""
        return self._stopped

    @property
    def turn(self) -> threading.RLock:
        """The observer's turn."""
        return self._turn

    def _is_done(self) -> bool:
        return super()._is_done() and not self._held

    def _stop(self) -> bool:
        is_first = super()._stop()
        if is_first:
            for lease in self._lost.copy().values():
                self._store._remove(lease)
        return is_first


class ClaimedRun(Run):
    """The observer of one run. Its lease is released when it was stopped, but not inside ``on_next``."""

    __slots__ = ("_claiming", "_is_busy", "_is_stopped", "_lock", "lease")

    def __init__(self, claiming: Claiming, lease: Lease) -> None:
        super().__init__(claiming, lease.run_id)
        self._claiming = claiming
        self._lock = threading.Lock()
        self._is_busy = False
        self._is_stopped = False
        self.lease = lease

    def on_next(self, value: RunEvent) -> None:
        with self._claiming.turn:  # so that no other run keeps it waiting after this
            if not self.lease.is_held:
                self._claiming.lose(self)
                raise Cancelled
            self._is_busy = True
            try:
                super().on_next(value)
            finally:
                with self._lock:
                    self._is_busy = False
                self._release_if_stopped()

    def on_error(self, error: Exception) -> None:
        if self.lease.is_held:
            super().on_error(error)
        else:
            self._claiming.lose(self)

    def on_completed(self) -> None:
        """Record the end of the run: its terminal event was handled, or the service has none."""
        if self._claiming.is_stopped:
            return
        try:
            self.lease.finish(self.last_seq)
        except LeaseLostError:
            self._claiming.lose(self)
        except StoreError as error:
            self._claiming.fail_all(error)
        else:
            super().on_completed()

    def stop(self) -> None:
        super().stop()
        with self._lock:
            self._is_stopped = True
        self._release_if_stopped()

    def _release_if_stopped(self) -> None:
        with self._lock:
            is_due = self._is_stopped and not self._is_busy
        if is_due:
            self._claiming.give_back(self.lease)


def check_claim(claim: object, options: FollowOptions, after_seq: object) -> None:
    """Require a store that leases runs, and options that leave a run's start and end to it; or None."""
    if claim is None:
        return
    if not isinstance(claim, LeaseStore):
        expectation = "a store that leases runs, such as SqliteCursors(path), or None"
        raise must_be("claim", expectation, type(claim))  # not a DSN's password
    for name, value, expected in (
        ("after_seq", after_seq, 0),
        ("limit", options.limit, None),
        ("wait", options.wait, True),
    ):
        if value is not expected and value != expected:
            raise must_be(name, f"{expected} with claim=, which starts each run at its cursor", value)
