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
    """Iterate the values of an Observable.

    It subscribes with the first value, and disposes when the loop is left: by ``break``, an exception,
    Ctrl-C, or at the end. The source's thread is blocked while ``capacity`` values wait.

    Args:
        source: any Observable. If it emits on the loop's own thread, as a Subject may, it can't wait for
            room: a full buffer ends the loop with :class:`~rxruns.errors.StreamBackpressureError`.
        capacity: the number of values that may wait for the loop.

    Raises:
        InvalidArgumentError: `source` is not an Observable, or the capacity is below 1.
        Exception: from the loop, the error of the source, after the values before it.

    If you keep the iterator in a variable, put ``with`` around the loop, or call ``close()`` after it, to
    dispose.

    >>> import reactivex
    >>> for number in iterate(reactivex.range(1_000_000)):
    ...     if number == 2:
    ...         break
    >>> number
    2
    """
    return Iteration(source, capacity)


class Iteration(Iterator[_T], Generic[_T]):
    """The iterator that :func:`iterate` returns. For one thread."""

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
