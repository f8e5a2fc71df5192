"""A mapping that grows by steps, as an immutable value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

__all__ = ["Growing"]

_K = TypeVar("_K")
_V = TypeVar("_V")

_new = object.__new__  # `cls.__new__` is looked up for longer than it takes

_RECENT = 64
"""How many changed entries are kept apart from the others."""


class Growing(Mapping[_K, _V], Generic[_K, _V]):
    """Values by key, in the order in which the keys came; immutable.

    What changed lately is kept apart, so that a step copies that and not the thousands of entries beside it.

    >>> one = Growing({"a": 1})
    >>> dict(one.having("b", 2)), dict(one)
    ({'a': 1, 'b': 2}, {'a': 1})
    """

    __slots__ = ("_recent", "_settled")

    def __init__(self, entries: Mapping[_K, _V] | None = None) -> None:
        self._settled: dict[_K, _V] = dict(entries or {})
        self._recent: dict[_K, _V] = {}

    def having(self, key: _K, value: _V) -> Self:
        """These entries with one more, or another value of one."""
        grown: Self = _new(type(self))
        settled, recent = self._settled, self._recent.copy()
        recent[key] = value
        if len(recent) > _RECENT:
            settled, recent = {**settled, **recent}, {}
        grown._settled, grown._recent = settled, recent
        return grown

    def find(self, key: _K) -> _V | None:
        """The value, or None: ``get`` without the way that a Mapping's takes over an exception."""
        found = self._recent.get(key)
        return self._settled.get(key) if found is None else found

    def __getitem__(self, key: _K) -> _V:
        return self._recent[key] if key in self._recent else self._settled[key]

    def __iter__(self) -> Iterator[_K]:
        return iter({**self._settled, **self._recent})

    def __len__(self) -> int:
        return len(self._settled.keys() | self._recent.keys())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ({**self._settled, **self._recent},)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"
