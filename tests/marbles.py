"""What RxPY's marbles leave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reactivex import Observable
from reactivex.testing import ReactiveTest, TestScheduler


def subscription_times(
    operator: Callable[[Observable[Any]], Observable[Any]], events: Sequence[Any]
) -> list[tuple[float, float]]:
    """When the operator subscribed to its source and left it, as an event comes at each of 1, 2, 3 ..."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        [ReactiveTest.on_next(200 + time, event) for time, event in enumerate(events, 1)]
    )
    scheduler.start(lambda: source.pipe(operator))
    return [(taken.subscribe - 200, taken.unsubscribe - 200) for taken in source.subscriptions]
