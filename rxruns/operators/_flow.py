"""The operator that moves values to another thread through a bounded queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Literal, TypeVar, get_args

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SingleAssignmentDisposable

from rxruns._arguments import check_callback, check_whole_number
from rxruns._errors import must_be
from rxruns._threading._channel import Channel, End
from rxruns._threading._threads import start_thread
from rxruns.errors import StreamBackpressureError
from rxruns.events import RunEvent

__all__ = ["Overflow", "handoff"]

Overflow = Literal["block", "drop_oldest", "drop_newest", "error"]

_T = TypeVar("_T")
_TURN = 64
"""Values that one action of a scheduler emits before other actions get their turn."""

logger = logging.getLogger("rxruns")


def handoff(
    capacity: int,
    overflow: Overflow = "block",
    scheduler: abc.SchedulerBase | None = None,
    *,
    on_dropped: Callable[[int], object] | None = None,
) -> Callable[[Observable[_T]], Observable[_T]]:
    """Emit on another thread through a queue of at most ``capacity`` values; order is kept.

    ::

        source                   -1-2-3-4-5-|
        block (capacity 2)       -1---2---3---4---5|     the source waits
        drop_oldest              -1---2---4---5|         while 2 is handled, 3 is dropped for 5
        drop_newest              -1---2---3---4|         5 is dropped
        error                    -1---2---3---4#         StreamBackpressureError instead of 5

    Each subscription has its own daemon thread, which ends with it. Completion and errors are emitted after
    the values before them and are never dropped. Dispose unblocks a blocked source and stops the thread after
    the current ``on_next``.

    Args:
        capacity: the most values that may wait, without the one that is being handled.
        overflow: the action for a value that arrives while the queue is full. ``"block"`` blocks the source's
            thread: for ``run_events`` the reader, so TCP slows the service down.
        scheduler: emits instead of an own thread. With ``"block"`` it must run on another thread than the
            source.
        on_dropped: receives the number of values dropped so far, after each drop, on the source's thread. The
            total is also logged at the end, as a warning.

    Raises:
        InvalidArgumentError: ``capacity`` is below 1, ``overflow`` is unknown or ``on_dropped`` isn't
            callable.

    With ``"error"``, ``on_error`` receives a :class:`~rxruns.errors.StreamBackpressureError` after the queued
    values; if they are events, its ``last_seq`` is that of the last one.

    >>> import reactivex
    >>> from rxruns import block_on
    >>> from rxruns import operators as ops
    >>> block_on(reactivex.of(1, 2, 3).pipe(handoff(1), ops.to_list()))
    [1, 2, 3]
    """
    check_whole_number("capacity", capacity, at_least=1)
    if overflow not in get_args(Overflow):
        raise must_be("overflow", f"one of {', '.join(map(repr, get_args(Overflow)))}", overflow)
    check_callback("on_dropped", on_dropped)

    def handed(source: Observable[_T]) -> Observable[_T]:
        def subscribe(
            observer: abc.ObserverBase[_T], scheduler_: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            consumer = _OwnThread() if scheduler is None else _Scheduled(scheduler)
            channel: Channel[_T] = Channel(capacity, consumer.wake)
            upstream = SingleAssignmentDisposable()
            producer = _Producer(channel, overflow, upstream, on_dropped)
            subscription = CompositeDisposable(Disposable(channel.close), Disposable(consumer.stop), upstream)
            consumer.start(lambda most: _emit(channel, observer, subscription, most), subscription.dispose)
            upstream.disposable = source.subscribe(
                producer.on_next, producer.on_error, producer.on_completed, scheduler=scheduler_
            )
            return subscription

        return Observable(subscribe)

    return handed


class _Producer:
    """The source's observer, which fills the channel."""

    def __init__(
        self,
        channel: Channel[Any],
        overflow: Overflow,
        upstream: abc.DisposableBase,
        on_dropped: Callable[[int], object] | None,
    ) -> None:
        self._channel = channel
        adds: dict[str, Callable[[Any], bool | None]] = {"block": channel.put, "drop_oldest": channel.push}
        self._add = adds.get(overflow, channel.offer)
        self._fails = overflow == "error"
        self._upstream = upstream
        self._on_dropped = on_dropped
        self._dropped = 0
        self._last: Any = None

    def on_next(self, value: Any) -> None:
        if self._add(value) is not False:
            self._last = value
            return
        self._dropped += 1
        if self._fails:
            self._fail()
        if self._on_dropped is not None:
            try:
                self._on_dropped(self._dropped)
            except Exception as error:
                self._channel.end(error)
                self._upstream.dispose()

    def on_error(self, error: Exception) -> None:
        self._log_drops()
        self._channel.end(error)

    def on_completed(self) -> None:
        self._log_drops()
        self._channel.end(None)

    def _fail(self) -> None:
        last = self._last if isinstance(self._last, RunEvent) else None
        self._channel.end(
            StreamBackpressureError(
                "handoff is full: the subscriber is slower than the source; use a larger capacity or another "
                'overflow, such as "block"',
                dropped=self._dropped,
                run_id=None if last is None else last.run_id,
                last_seq=0 if last is None else last.seq,
            )
        )
        self._upstream.dispose()

    def _log_drops(self) -> None:
        if self._dropped:
            logger.warning("handoff dropped %d values: the subscriber was too slow", self._dropped)


def _emit(
    channel: Channel[_T], observer: abc.ObserverBase[_T], subscription: abc.DisposableBase, most: int | None
) -> bool:
    """Emit at most ``most`` values of those that wait. Return True if there may be more."""
    emitted = 0
    try:
        while emitted != most:
            taken = channel.take()
            if taken is None:
                return False
            if isinstance(taken, End):
                channel.close()
                if taken.error is None:
                    observer.on_completed()
                else:
                    observer.on_error(taken.error)
                return False
            observer.on_next(taken[0])
            emitted += 1
    except BaseException:  # the subscriber's own: the channel has no reader any more
        subscription.dispose()
        raise
    return True


class _OwnThread:
    """Emits on its own thread each time it is woken up."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[bool] = SimpleQueue()

    def start(self, emit: Callable[[int | None], bool], dispose: Callable[[], object]) -> None:
        def run() -> None:
            while self._calls.get():
                emit(None)

        start_thread("rxruns-handoff", run, dispose)

    def wake(self) -> None:
        self._calls.put(True)

    def stop(self) -> None:
        self._calls.put(False)


class _Scheduled:
    """Emits on a scheduler, in turns."""

    def __init__(self, scheduler: abc.SchedulerBase) -> None:
        self._scheduler = scheduler
        self._emit: Callable[[int | None], bool] = lambda most: False

    def start(self, emit: Callable[[int | None], bool], dispose: Callable[[], object]) -> None:
        self._emit = emit

    def wake(self) -> None:
        # Not disposed, which may wait for an event loop: a late turn finds the channel closed.
        self._scheduler.schedule(self._turn)

    def stop(self) -> None:
        pass

    def _turn(self, scheduler: abc.SchedulerBase, state: object = None) -> None:
        if self._emit(_TURN):
            self._scheduler.schedule(self._turn)
