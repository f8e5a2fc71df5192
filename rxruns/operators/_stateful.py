"""The frame of an operator that keeps state for each subscription."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from reactivex import Observable, abc

__all__ = ["Handlers", "stateful"]

_T = TypeVar("_T")
_R = TypeVar("_R")

Handlers: TypeAlias = tuple[Callable[[_T], None], Callable[[], None]]
"""``on_next`` and ``on_completed``."""


def stateful(
    handlers_of: Callable[[abc.ObserverBase[_R]], Handlers[_T]],
) -> Callable[[Observable[_T]], Observable[_R]]:
    """Make an operator that passes errors on.

    Args:
        handlers_of: called for each subscription with its observer; returns what the source calls.
    """

    def applied(source: Observable[_T]) -> Observable[_R]:
        def subscribe(
            observer: abc.ObserverBase[_R], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            on_next, on_completed = handlers_of(observer)
            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return applied
