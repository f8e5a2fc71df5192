"""Observables in plain ``for`` loops."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rxruns._arguments import check_source
from rxruns._channel import Channel, End, check_capacity
from rxruns._subscribing import subscribe_on_thread

__all__ = ["Iteration", "iterate"]

_T = TypeVar("_T")


def iterate(source: Observable[_T], *, capacity: int = 256) -> Iteration[_T]:
    """The values of an Observable, as an iterator.

    It subscribes when the first value is asked for, and disposes when the loop is left: by ``break``, an
    exception, Ctrl-C, or at the end. The source's thread is held up while ``capacity`` values wait.

    Args:
        source: any Observable.
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
    check_source(source)
    check_capacity(capacity)
    return Iteration(source, capacity)


class Iteration(Iterator[_T], Generic[_T]):
    """The iterator that :func:`iterate` gives. For one thread."""

    def __init__(self, source: Observable[_T], capacity: int) -> None:
        self._source = source
        self._subscription = SingleAssignmentDisposable()
        self._subscribed = False
        # The source's thread holds these two, not the iterator: that is what lets it be collected.
        self._alarm = alarm = SimpleQueue[None]()
        self._channel: Channel[_T] = Channel(capacity, lambda: alarm.put(None))

    def __next__(self) -> _T:
        try:
            return self._take()
        except BaseException:  # its end, an error, Ctrl-C: as with a generator, nothing follows
            self.close()
            raise

    def close(self) -> None:
        """Dispose. Nothing follows; a loop that waits, in another thread, ends."""
        self._channel.close()
        self._alarm.put(None)
        self._subscription.dispose()

    def __enter__(self) -> Iteration[_T]:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _take(self) -> _T:
        if not self._subscribed and not self._channel.closed:
            self._subscribed = True
            subscribe_on_thread(self._source, _Filling(self._channel), self._subscription)
        while not self._channel.closed:
            taken = self._channel.take()
            if isinstance(taken, End):
                if taken.error is not None:
                    raise taken.error
                break
            if taken is not None:
                return taken[0]
            self._alarm.get()
        raise StopIteration


class _Filling(Generic[_T]):
    """The observer that fills a channel."""

    def __init__(self, channel: Channel[_T]) -> None:
        self._channel = channel

    def on_next(self, value: _T) -> None:
        self._channel.put(value)

    def on_error(self, error: Exception) -> None:
        self._channel.end(error)

    def on_completed(self) -> None:
        self._channel.end(None)
