"""Observables in plain ``for`` loops."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar
from weakref import finalize

from reactivex import Observable

from rxruns._threading._pulling import Pulling

__all__ = ["Iteration", "iterate"]

_T = TypeVar("_T")


def iterate(source: Observable[_T], *, capacity: int = 256) -> Iteration[_T]:
    """The values of an Observable, as an iterator.

    It subscribes when the first value is asked for, and disposes when the loop is left: by ``break``, an
    exception, Ctrl-C, or at the end. The source's thread is held up while ``capacity`` values wait.

    Args:
        source: any Observable. What it emits on the loop's own thread, a Subject say, can not wait for room:
            the loop ends with :class:`~rxruns.errors.StreamBackpressureError` where there is none.
        capacity: how many values may wait for the loop.

    Raises:
        InvalidArgumentError: for what is no Observable, or a capacity below 1.
        Exception: from the loop, what ``on_error`` got, after the values before it.

    A loop over an iterator that is held in a variable wants ``with`` around it, or ``close()``, to dispose
    when the loop is left.

    >>> import reactivex
    >>> for number in iterate(reactivex.range(1_000_000)):
    ...     if number == 2:
    ...         break
    >>> number
    2
    """
    return Iteration(source, capacity)


class Iteration(Iterator[_T], Generic[_T]):
    """The iterator that :func:`iterate` gives. For one thread."""

    def __init__(self, source: Observable[_T], capacity: int) -> None:
        self._alarm = alarm = SimpleQueue[None]()
        self._values = Pulling(source, capacity, lambda: alarm.put(None))
        finalize(self, self._values.close)

    def __next__(self) -> _T:
        try:
            while (taken := self._values.take()) is None:
                self._alarm.get()
        except BaseException:  # its end, an error, Ctrl-C: as with a generator, nothing follows
            self.close()
            raise
        return taken[0]

    def close(self) -> None:
        """Dispose. Nothing follows; a loop that waits, in another thread, ends."""
        self._values.close()

    def __enter__(self) -> Iteration[_T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
