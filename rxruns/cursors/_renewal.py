"""The thread that renews the leases of a store."""

from __future__ import annotations

import threading
from functools import partial
from typing import Generic, Protocol, TypeVar

from rxruns._threading._threads import start_thread
from rxruns.cursors._clock import seconds

__all__ = ["Renewal", "Renewed"]

_L = TypeVar("_L")
_SOON = 0.25
"""Part of the interval after which a renewal that failed is repeated."""


class Renewed(Protocol[_L]):
    """The leases of a store. The thread calls these functions."""

    def is_empty(self) -> bool:
        """Return True if no lease is held, so that the thread can end. Called with a lock held."""
        ...

    def renew(self) -> bool:
        """Renew all leases. False: call it again soon."""
        ...

    def release(self, leases: list[_L] | None, /) -> None:
        """Give leases back; None for all."""
        ...


class Renewal(Generic[_L]):
    """A thread that renews leases at each interval. It runs while there are any, until `stop`.

    Args:
        interval: seconds between renewals.
        leases: the leases.
    """

    def __init__(self, interval: float, leases: Renewed[_L]) -> None:
        self._interval = interval
        self._leases = leases
        self._changed = threading.Condition()
        self._to_release: list[_L] = []
        self._current: object | None = None  # stands for the thread that runs
        self._thread = 0
        self._stopped = False

    def start(self) -> None:
        """Start the thread, if it doesn't run."""
        with self._changed:
            if self._current is not None or self._stopped:
                return
            self._current = current = object()
        try:
            start_thread("rxruns-leases", partial(self._run, current), self.stop)
        except RuntimeError:  # can't start new thread
            self._end(current)
            raise

    def stop(self) -> None:
        """Release all leases and end the thread soon; doesn't wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, on any thread but itself."""
        with self._changed:
            if self._thread != threading.get_ident():
                self._changed.wait_for(lambda: self._current is None, timeout)

    def release(self, lease: _L) -> None:
        """Give a lease back soon; doesn't wait."""
        with self._changed:
            self._to_release.append(lease)
            self._changed.notify_all()

    def _end(self, thread: object) -> None:
        with self._changed:
            if self._current is thread:  # rather than another one, started since it found no lease
                self._current = None
            self._changed.notify_all()

    # ---- the thread ----

    def _run(self, current: object) -> None:
        self._thread = threading.get_ident()
        due = seconds() + self._interval
        try:
            while self._wait(due):
                if seconds() >= due:
                    due = seconds() + self._interval * (1.0 if self._leases.renew() else _SOON)
        finally:
            self._end(current)

    def _wait(self, due: float) -> bool:
        """Wait until it is time to renew, and release leases meanwhile. False: the thread ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._to_release, max(0.0, due - seconds()))
            leases, self._to_release = self._to_release, []
            stopped = self._stopped
            if not stopped and not leases and self._leases.is_empty():
                self._current = None  # with the lock held: the next claim starts another thread
                return False
        if leases or stopped:
            self._leases.release(None if stopped else leases)
        return not stopped
