"""The protocol of a fold, and what a fold declares. :mod:`rxruns.folds` describes it."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from rxruns.errors import InvalidArgumentError
from rxruns.events import KNOWN_EVENTS, RunEvent, UnknownEvent

__all__ = ["Fold", "checked_fold", "known_types", "needs_whole_runs"]


class Fold(Protocol):
    """An immutable value that events are folded into."""

    def step(self, event: RunEvent, /) -> Self:
        """The value after one more event: this very value if that changes nothing."""
        ...

    def combine(self, other: Self, /) -> Self:
        """What this and the other, which comes after it, are together. It has to be associative."""
        ...


_F = TypeVar("_F", bound=Fold)


def checked_fold(fold: _F) -> _F:
    """The fold, if it is one.

    Raises:
        InvalidArgumentError: it lacks a method, is a class, names types that are none, or is not empty.
    """
    if isinstance(fold, type):
        raise InvalidArgumentError(
            f"fold is the class {fold.__name__}: give a value, such as {fold.__name__}()", field="fold"
        )
    for method in ("step", "combine"):
        if not callable(getattr(fold, method, None)):
            raise InvalidArgumentError(
                f"fold is {type(fold).__name__}, which has no method {method}: give a value with step(event) "
                "and combine(other), such as CostTotals(prices)",
                field="fold",
            )
    known_types(fold)
    _refuse_filled(fold)
    return fold


def known_types(fold: Fold) -> tuple[type[RunEvent], ...]:
    """The event types that the fold needs, categories resolved; empty: all events, unknown ones too."""
    declared: Any = getattr(fold, "event_types", None)
    if declared is None:
        return ()
    named: tuple[Any, ...] = (declared,) if isinstance(declared, type) else tuple(declared)
    for given in named:
        if not (isinstance(given, type) and issubclass(given, RunEvent)):
            raise InvalidArgumentError(
                f"fold.event_types has {given!r}: give a tuple of classes of rxruns.events",
                field="fold.event_types",
            )
    found = tuple(known for known in KNOWN_EVENTS if issubclass(known, named))
    if issubclass(UnknownEvent, named):
        return ()
    if not found:
        raise InvalidArgumentError(
            "fold.event_types is empty: name what step looks at, or leave it out", field="fold.event_types"
        )
    return found


def needs_whole_runs(fold: Fold) -> bool:
    """Whether a run's events have to be folded in one place."""
    return bool(getattr(fold, "whole_runs", False))


def _refuse_filled(fold: Fold) -> None:
    """Refuse a fold that holds something already: it would be counted once for each part."""
    if type(fold).__eq__ is not object.__eq__ and fold.combine(fold) != fold:
        raise InvalidArgumentError(
            "fold has to be empty, because each part of the work begins with it: combine a stored value with "
            "the result instead",
            field="fold",
        )
