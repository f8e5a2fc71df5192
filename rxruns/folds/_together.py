"""Several folds in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from rxruns._errors import must_be
from rxruns._fold import Fold, checked_fold, known_types, needs_whole_runs
from rxruns.events import RunEvent

__all__ = ["Together"]


class Together(Mapping[str, Any]):
    """Several folds in one pass: an immutable mapping from names to folds, and a fold itself.

    A fold is also an attribute of its name: ``both["cost"]`` is ``both.cost``.

    Args:
        folds: empty folds by name.

    Raises:
        InvalidArgumentError: no fold is given, or one can't be used.

    >>> from rxruns import CostTotals
    >>> from rxruns.folds import NodeSpans
    >>> from rxruns.testing import events
    >>> both = Together(cost=CostTotals(), spans=NodeSpans())
    >>> for event in events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=20):
    ...     both = both.step(event)
    >>> both.cost.total_tokens, [span.node_id for span in both.spans.spans]
    (20, ['draft'])
    """

    __slots__ = ("_folds",)

    def __init__(self, **folds: Fold) -> None:
        if not folds:
            raise must_be("folds", "at least one fold by name", folds, "for example cost=CostTotals()")
        self._folds = {name: checked_fold(fold, name) for name, fold in folds.items()}

    @property
    def event_types(self) -> tuple[type[RunEvent], ...] | None:
        """The types that some fold needs; None: all."""
        types = [known_types(fold) for fold in self._folds.values()]
        return tuple(dict.fromkeys(chain.from_iterable(types))) if all(types) else None

    @property
    def whole_runs(self) -> bool:
        """True if some fold needs whole runs."""
        return any(map(needs_whole_runs, self._folds.values()))

    def step(self, event: RunEvent) -> Together:
        """The folds after ``event``: `self` if it changes none."""
        folds = {name: fold.step(event) for name, fold in self._folds.items()}
        return self if all(folds[name] is fold for name, fold in self._folds.items()) else _together(folds)

    def combine(self, other: Together) -> Together:
        """The folds of both, combined by name."""
        return _together({name: fold.combine(other._folds[name]) for name, fold in self._folds.items()})

    def __getitem__(self, name: str) -> Any:
        return self._folds[name]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._folds:
            return self._folds[name]
        raise AttributeError(f"{type(self).__name__} has no fold {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._folds)

    def __len__(self) -> int:
        return len(self._folds)

    def __reduce__(self) -> tuple[Any, ...]:
        return _together, (self._folds,)

    def __repr__(self) -> str:
        return f"Together({', '.join(f'{name}={fold!r}' for name, fold in self._folds.items())})"


def _together(folds: dict[str, Any]) -> Together:
    """The value itself, unchecked: its folds need not be empty."""
    found = Together.__new__(Together)
    found._folds = folds
    return found
