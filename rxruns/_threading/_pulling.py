"""The values of an Observable for one consumer, such as a loop.

Threads: one consumer calls :meth:`Pulling.take`; any thread calls :meth:`Pulling.close`. The source is
subscribed to on a thread of its own and may emit on any thread. It waits there for room, except on the
consumer's own thread, which would wait for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rxruns._threading._channel import Channel, End
from rxruns._threading._subscribing import check_source, subscribe_on_thread
from rxruns.errors import StreamBackpressureError

__all__ = ["Pulling"]

_T = TypeVar("_T")


class Pulling(Generic[_T]):
    """At most ``capacity`` values of a source that wait for one consumer. The first `take` subscribes.

    Args:
        source: the Observable.
        capacity: the number of values that may wait.
        wake: called on any thread when a value arrives after `take` returned None, and on closing. The
            source's thread refers to it and the channel alone, so that the consumer can be collected.
    """

    def __init__(self, source: Observable[_T], capacity: int, wake: Callable[[], object]) -> None:
        check_source(source)
        self._source = source
        self._wake = wake
        self._channel: Channel[_T] = Channel(capacity, wake)
        self._subscription = SingleAssignmentDisposable()
        self._subscribed = False

    def take(self) -> tuple[_T] | None:
        """Return the next value, in a tuple. None: nothing yet; ``wake`` is called when there is.

        Raises:
            StopIteration: nothing follows.
            Exception: the error of the source, after the values before it.
        """
        if self._channel.closed:
            raise StopIteration
        if not self._subscribed:
            self._subscribed = True
            filling = _Filling(self._channel, consumer=threading.get_ident())
            subscribe_on_thread(self._source, filling, self._subscription)
        taken = self._channel.take()
        if isinstance(taken, End):
            if isinstance(taken.error, StopIteration):  # a generator's: it would end the loop silently
                raise RuntimeError("the source raised StopIteration") from taken.error
            raise taken.error or StopIteration
        return taken

    def close(self) -> None:
        """Dispose. Nothing follows; a consumer that waits is woken up."""
        self._channel.close()
        self._wake()
        self._subscription.dispose()


class _Filling(Generic[_T]):
    """The observer that fills a channel."""

    def __init__(self, channel: Channel[_T], consumer: int) -> None:
        self._channel = channel
        self._consumer = consumer

    def on_next(self, value: _T) -> None:
        if threading.get_ident() != self._consumer:
            self._channel.put(value)
        elif not self._channel.offer(value):
            message = "the loop's own thread can't wait for room: use a larger capacity or another thread"
            self._channel.end(StreamBackpressureError(message, dropped=1))

    def on_error(self, error: Exception) -> None:
        self._channel.end(error)

    def on_completed(self) -> None:
        self._channel.end(None)
