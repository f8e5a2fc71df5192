"""A bounded queue from one thread to another that wakes its consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from rxruns._arguments import check_whole_number

__all__ = ["Channel", "End"]

_T = TypeVar("_T")


class End:
    """The mark after the last value: the error of the source, or None for its completion."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Channel(Generic[_T]):
    """At most ``capacity`` values, in order, and the end behind them.

    Args:
        capacity: the number of values that may wait.
        wake: called on a producer's thread, once after the consumer found nothing.

    For one consumer. Any thread may call the rest at any time, ``close`` even from a finalizer in the middle
    of another call; hence the reentrant lock.
    """

    def __init__(self, capacity: int, wake: Callable[[], object]) -> None:
        check_whole_number("capacity", capacity, at_least=1)
        self._capacity = capacity
        self._wake = wake
        self._values: deque[_T] = deque()
        self._end: End | None = None
        self._idle = True
        self._closed = False
        self._changed = threading.Condition(threading.RLock())

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, value: _T) -> None:
        """Add a value; wait while there is no room. After the end, or once closed, it is ignored."""
        with self._changed:
            while self._full and self._open:
                self._changed.wait()
            wakes = self._append(value)
        if wakes:
            self._wake()

    def offer(self, value: _T) -> bool:
        """Add a value if there is room; return whether there was."""
        with self._changed:
            if self._full and self._open:
                return False
            wakes = self._append(value)
        if wakes:
            self._wake()
        return True

    def push(self, value: _T) -> bool:
        """Add a value, instead of the oldest one if there is no room; return whether nothing was dropped."""
        with self._changed:
            kept = not (self._full and self._open)
            if not kept:
                self._values.popleft()
            wakes = self._append(value)
        if wakes:
            self._wake()
        return kept

    def end(self, error: Exception | None) -> None:
        """Add the end, for which there is always room. The first one counts."""
        with self._changed:
            if not self._open:
                return
            self._end = End(error)
            wakes = self._leave_idle()
            self._changed.notify_all()
        if wakes:
            self._wake()

    def take(self) -> tuple[_T] | End | None:
        """Return the next value, in a tuple, or the end. None: ``wake`` is called when there is more."""
        with self._changed:
            if self._values:
                value = self._values.popleft()
                self._changed.notify()
                return (value,)
            self._idle = self._open
            return None if self._closed else self._end

    def close(self) -> None:
        """Drop everything, now and later, and release blocked producers."""
        with self._changed:
            self._closed = True
            self._values.clear()
            self._changed.notify_all()

    @property
    def _full(self) -> bool:
        return len(self._values) >= self._capacity

    @property
    def _open(self) -> bool:
        return self._end is None and not self._closed

    def _append(self, value: _T) -> bool:
        if not self._open:
            return False
        self._values.append(value)
        return self._leave_idle()

    def _leave_idle(self) -> bool:
        idle, self._idle = self._idle, False
        return idle
