"""RxPY's own functions, with types that let a lambda in a ``pipe`` pass mypy.

RxPY takes the element's type from the argument, which mypy infers before it looks at the source: for
``pipe(filter(lambda event: event.seq > 3))`` it reports that a type variable has no ``seq``, and for
``pipe(take(3), last())`` it can't infer the result. Here the lambda's argument is ``Any``, and the elements
keep their type. ``map`` falls back to that for mypy only; pyright still infers its argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from reactivex import Observable

__all__ = ["do_action", "filter", "first", "last", "map", "take_while", "tap"]

if TYPE_CHECKING:
    _T = TypeVar("_T")
    _R = TypeVar("_R")

    def filter(predicate: Callable[[Any], object]) -> Callable[[Observable[_T]], Observable[_T]]: ...

    def first(
        predicate: Callable[[Any], object] | None = None,
    ) -> Callable[[Observable[_T]], Observable[_T]]: ...

    def last(
        predicate: Callable[[Any], object] | None = None,
    ) -> Callable[[Observable[_T]], Observable[_T]]: ...

    def take_while(
        predicate: Callable[[Any], object], inclusive: bool = False
    ) -> Callable[[Observable[_T]], Observable[_T]]: ...

    def tap(
        on_next: Callable[[Any], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
        on_completed: Callable[[], object] | None = None,
    ) -> Callable[[Observable[_T]], Observable[_T]]: ...

    do_action = tap

    @overload
    def map(mapper: Callable[[_T], _R]) -> Callable[[Observable[_T]], Observable[_R]]: ...
    @overload
    def map(  # pyright: ignore[reportOverlappingOverload]
        mapper: Callable[[Any], _R],
    ) -> Callable[[Observable[Any]], Observable[_R]]: ...
    def map(mapper: Callable[[Any], Any]) -> Callable[[Observable[Any]], Observable[Any]]: ...

else:
    from reactivex.operators import do_action, filter, first, last, map, take_while, tap
