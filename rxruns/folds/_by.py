"""One fold for each key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast, overload
from uuid import UUID

from rxruns._errors import must_be
from rxruns._fold import Fold, checked_fold, known_types, needs_whole_runs
from rxruns.events import NodeLLMCall, RunEvent
from rxruns.state._growing import Growing

__all__ = ["By", "start_of"]

_K = TypeVar("_K")
_F = TypeVar("_F", bound=Fold)
_G = TypeVar("_G", bound=Fold)

_Text: TypeAlias = Literal["node_id", "provider", "model"]
_Time: TypeAlias = Literal["day", "hour", "minute"]


class _Start(NamedTuple, Generic[_F]):
    """The key, and the fold that each key starts with."""

    key: Any
    find_key: Callable[[RunEvent], Any]
    fold: _F
    types: tuple[type[RunEvent], ...]


class By(Mapping[_K, _F], Generic[_K, _F]):
    """One fold for each key: an immutable mapping from keys to folds, and a fold itself.

    Args:
        key: a function of an event that returns something hashable, or a name: ``"run_id"``, ``"node_id"``,
            ``"provider"``, ``"model"``, or ``"day"``, ``"hour"``, ``"minute"``, the start of which in UTC is
            the key, a datetime. An event without the named field counts under ``None``. A function is
            called for the events that the fold needs (its ``event_types``) and for no others.
        fold: what each key starts with: an empty fold.
        values: folds by key to continue from.

    Raises:
        InvalidArgumentError: the key is another text, or the fold can't be used.

    >>> from rxruns import CostTotals
    >>> from rxruns.testing import events
    >>> run = events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=20, output_tokens=10)
    >>> costs = By("model", CostTotals())
    >>> for event in run:
    ...     costs = costs.step(event)
    >>> {model: totals.total_tokens for model, totals in costs.items()}
    {'gpt-5': 30}
    """

    __slots__ = ("_start", "_values")

    @overload
    def __init__(
        self: By[UUID, _G], key: Literal["run_id"], fold: _G, values: Mapping[UUID, _G] | None = None
    ) -> None: ...
    @overload
    def __init__(
        self: By[str | None, _G], key: _Text, fold: _G, values: Mapping[str | None, _G] | None = None
    ) -> None: ...
    @overload
    def __init__(
        self: By[datetime, _G], key: _Time, fold: _G, values: Mapping[datetime, _G] | None = None
    ) -> None: ...
    @overload
    def __init__(
        self, key: Callable[[RunEvent], _K], fold: _F, values: Mapping[_K, _F] | None = None
    ) -> None: ...

    def __init__(self, key: Any, fold: Any, values: Mapping[Any, Any] | None = None) -> None:
        find_key = key if callable(key) else _NAMED.get(key) if isinstance(key, str) else None
        if find_key is None:
            raise must_be("key", f"a function or one of {', '.join(map(repr, _NAMED))}", key)
        self._start: _Start[_F] = _Start(key, find_key, checked_fold(fold), known_types(fold))
        self._values: Growing[_K, _F] = Growing(values)

    @property
    def event_types(self) -> tuple[type[RunEvent], ...] | None:
        """The types that the fold of each key needs; None: all."""
        return self._start.types or None

    @property
    def whole_runs(self) -> bool:
        """True if the fold of each key needs whole runs."""
        return needs_whole_runs(self._start.fold)

    def step(self, event: RunEvent) -> By[_K, _F]:
        """The folds after ``event``: `self` if it changes none."""
        start = self._start
        if start.types and not isinstance(event, start.types):
            return self
        key = start.find_key(event)
        found = self._values.find(key)
        before = start.fold if found is None else found  # an empty mapping is false
        after = before.step(event)
        return self if after is before else self._with(self._values.having(key, after))

    def combine(self, other: By[_K, _F]) -> By[_K, _F]:
        """The folds of both; those of a key that is in both are combined."""
        values = dict(self._values)
        for key, fold in other._values.items():
            values[key] = values[key].combine(fold) if key in values else fold
        return self._with(Growing(values))

    def __getitem__(self, key: _K) -> _F:
        return self._values[key]

    def __iter__(self) -> Iterator[_K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return By, (self._start.key, self._start.fold, dict(self._values))

    def __repr__(self) -> str:
        return f"By({self._start.key!r}, {dict(self._values)!r})"

    def _with(self, values: Growing[_K, _F]) -> By[_K, _F]:
        found = cast("By[_K, _F]", By.__new__(By))
        found._start, found._values = self._start, values
        return found


def start_of(unit: str, time: datetime) -> datetime:
    """Return the start of the day, hour or minute in UTC.

    >>> start_of("hour", datetime(2026, 1, 31, 12, 34, 56, tzinfo=UTC)).isoformat()
    '2026-01-31T12:00:00+00:00'
    """
    time = time.astimezone(UTC)
    if unit == "day":
        return datetime(time.year, time.month, time.day, tzinfo=UTC)
    return time.replace(minute=time.minute if unit == "minute" else 0, second=0, microsecond=0)


def _of_call(name: str) -> Callable[[RunEvent], str | None]:
    def find(event: RunEvent) -> str | None:
        return getattr(event.llm_call, name) or None if isinstance(event, NodeLLMCall) else None

    return find


_NAMED: dict[str, Callable[[RunEvent], Any]] = {
    "run_id": lambda event: event.run_id,
    "node_id": lambda event: getattr(event, "node_id", None),
    "provider": _of_call("provider"),
    "model": _of_call("model"),
    "day": lambda event: start_of("day", event.ts),
    "hour": lambda event: start_of("hour", event.ts),
    "minute": lambda event: start_of("minute", event.ts),
}
