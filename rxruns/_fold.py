"""The protocol of a fold, and what a fold declares. :mod:`rxruns.folds` describes it."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from rxruns._errors import InvalidArgumentError, must_be
from rxruns.events import KNOWN_EVENTS, RunEvent, UnknownEvent

__all__ = ["Fold", "checked_fold", "known_types", "needs_whole_runs"]


class Fold(Protocol):
    """An immutable value that events are folded into."""

    def step(self, event: RunEvent, /) -> Self:
        """Return the value after one more event; `self` if nothing changed."""
        ...

    def combine(self, other: Self, /) -> Self:
        """Return the value of this part and the other, which follows it. Must be associative."""
        ...


_F = TypeVar("_F", bound=Fold)


def checked_fold(fold: _F, name: str = "fold") -> _F:
    """Return the fold if it is one; errors use the argument's name.

    Raises:
        InvalidArgumentError: it lacks a method, is a class, declares wrong event types, or is not empty.
    """
    if isinstance(fold, type):
        raise must_be(name, "a value", fold, f"pass {fold.__name__}()")
    if not all(callable(getattr(fold, method, None)) for method in ("step", "combine")):
        raise must_be(
            name, "a value with step(event) and combine(other)", fold, "for example CostTotals(prices)"
        )
    known_types(fold)
    if type(fold).__eq__ is not object.__eq__ and fold.combine(fold) != fold:
        raise InvalidArgumentError(
            f"{name} must be empty, because each part of the work begins with it, got a filled "
            f"{type(fold).__name__}; combine a stored value with the result instead",
            field=name,
        )
    return fold


def known_types(fold: Fold) -> tuple[type[RunEvent], ...]:
    """Return the event types that the fold needs, with categories resolved.

    An empty tuple stands for all events, unknown ones included.
    """
    declared: Any = getattr(fold, "event_types", None)
    if declared is None:
        return ()
    named: tuple[Any, ...] = (declared,) if isinstance(declared, type) else tuple(declared)
    if not named or not all(isinstance(given, type) and issubclass(given, RunEvent) for given in named):
        raise must_be(
            "fold.event_types", "a tuple of event classes", declared, "leave it out to get every event"
        )
    if issubclass(UnknownEvent, named):
        return ()
    return tuple(known for known in KNOWN_EVENTS if issubclass(known, named))


def needs_whole_runs(fold: Fold) -> bool:
    """Return True if a run's events must be folded in one place."""
    return bool(getattr(fold, "whole_runs", False))
