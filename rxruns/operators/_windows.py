"""The operator that folds windows of event time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from reactivex import Observable, abc

from rxruns._arguments import check_seconds
from rxruns._errors import must_be
from rxruns._fold import Fold, checked_fold
from rxruns.events import RunEvent
from rxruns.folds import Window
from rxruns.operators._stateful import Handlers, stateful

__all__ = ["fold_windows"]

_F = TypeVar("_F", bound=Fold)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fold_windows(
    fold: _F, seconds: float, *, lateness: float = 0.0
) -> Callable[[Observable[RunEvent]], Observable[Window[_F]]]:
    """Fold the events of each window of time, by their ``ts``, and emit it when it is closed.

    ::

        -0:01-0:59-1:02-0:58-1:29-1:31-|     seconds=60, lateness=30
        --------------------------w0---(w1|)     w0 = (0:01, 0:59, 0:58), w1 = (1:02, 1:29, 1:31)

    Windows follow each other without gaps, in UTC: those of 60 seconds are the minutes of the clock. A window
    is closed by the first event, of any run, whose ``ts`` is at least ``lateness`` seconds after its end. All
    windows that are open when the source completes are emitted then; an error drops them. Windows in which
    the fold changed nothing aren't emitted.

    An event of a closed window isn't lost: it opens the same window again, which is emitted with the late
    events alone after another ``lateness`` seconds of event time. So the values of one ``start`` add up, with
    ``combine``, to all its events, in whatever order these arrive.

    Args:
        fold: an empty fold, such as ``CostTotals(prices)`` or ``By(team_of, CostTotals(prices))``.
        seconds: the length of a window.
        lateness: seconds that merged runs may be behind each other.

    Raises:
        InvalidArgumentError: at once, for an argument that can't be used.

    >>> from datetime import datetime, timedelta, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns import CostTotals
    >>> from rxruns.testing import events
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    >>> log = events.run(start=noon, every=20.0).node("draft")
    >>> for _ in range(4):
    ...     log = log.llm_call("gpt-5", "openai", input_tokens=10)
    >>> windows = reactivex.from_iterable(log).pipe(fold_windows(CostTotals(), 60))
    >>> windows.subscribe(lambda window: print(f"{window.start:%H:%M}", window.value.requests)).dispose()
    12:01 3
    12:02 1
    """
    checked_fold(fold)
    check_seconds("seconds", seconds)
    if seconds < 1e-6:
        raise must_be("seconds", "a microsecond or more", seconds)
    check_seconds("lateness", lateness)

    def handlers(observer: abc.ObserverBase[Window[_F]]) -> Handlers[RunEvent]:
        windows = _Windows(fold, timedelta(seconds=seconds), timedelta(seconds=lateness))

        def on_next(event: RunEvent) -> None:
            try:
                closed = windows.step(event)
            except Exception as error:  # a fold may refuse an event
                observer.on_error(error)
                return
            for window in closed:
                observer.on_next(window)

        def on_completed() -> None:
            for window in windows.close():
                observer.on_next(window)
            observer.on_completed()

        return on_next, on_completed

    return stateful(handlers)


class _Windows(Generic[_F]):
    """The open windows of one subscription, by start, each with the time that closes it."""

    def __init__(self, fold: _F, length: timedelta, lateness: timedelta) -> None:
        self._fold, self._length, self._lateness = fold, length, lateness
        self._open: dict[datetime, tuple[_F, datetime]] = {}
        self._latest = _EPOCH
        self._next_close: datetime | None = None

    def step(self, event: RunEvent) -> list[Window[_F]]:
        """Fold an event, and return the windows that it closes, by start."""
        self._latest = max(self._latest, event.ts)
        start = _EPOCH + (event.ts - _EPOCH) // self._length * self._length
        before, close_at = self._open.get(start, (self._fold, None))
        after = before.step(event)
        if after is not before:
            if close_at is None:
                close_at = max(start + self._length, self._latest) + self._lateness
                self._next_close = min(self._next_close or close_at, close_at)
            self._open[start] = after, close_at
        if self._next_close is None or self._latest < self._next_close:
            return []
        return self.close(self._latest)

    def close(self, time: datetime | None = None) -> list[Window[_F]]:
        """Close the windows whose time has come; all of them without a time."""
        closed = sorted(start for start, (_, at) in self._open.items() if time is None or at <= time)
        windows = [Window(start, start + self._length, self._open.pop(start)[0]) for start in closed]
        self._next_close = min((at for _, at in self._open.values()), default=None)
        return windows
