"""A mapping that grows by steps, as an immutable value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Self, TypeAlias, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

_new = object.__new__  # `cls.__new__` is looked up for longer than it takes

_RECENT = 64
"""How many changed entries are kept apart from the others. A step copies these."""

_FACTOR = 16
"""How many times more entries each older layer may hold. Among 100,000, a step copies about 60 on average."""

_Layers: TypeAlias = "tuple[dict[_K, _V], ...]"


class Growing(Mapping[_K, _V], Generic[_K, _V]):
    """Values by key, in the order in which the keys came; immutable.

    Entries are kept in layers, the last changed ones in the smallest. A full layer is merged into the next,
    which is larger by a factor, so that an entry is copied a few times for each layer and not for each step.

    >>> one = Growing({"a": 1})
    >>> dict(one.having("b", 2)), dict(one)
    ({'a': 1, 'b': 2}, {'a': 1})
    """

    __slots__ = ("_older", "_recent")

    def __init__(self, entries: Mapping[_K, _V] | None = None) -> None:
        self._older: _Layers[_K, _V] = (dict(entries),) if entries else ()  # the smallest layer first
        self._recent: dict[_K, _V] = {}

    def having(self, key: _K, value: _V) -> Self:
        """These entries with one more, or another value of one."""
        grown: Self = _new(type(self))
        older, recent = self._older, self._recent.copy()
        recent[key] = value
        if len(recent) > _RECENT:
            older, recent = _settled(older, recent), {}
        grown._older, grown._recent = older, recent
        return grown

    def find(self, key: _K) -> _V | None:
        """The value, or None: ``get`` without the way that a Mapping's takes over an exception."""
        found = self._recent.get(key)
        if found is None:
            for layer in self._older:
                found = layer.get(key)
                if found is not None:
                    break
        return found

    def __getitem__(self, key: _K) -> _V:
        for layer in (self._recent, *self._older):
            if key in layer:
                return layer[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[_K]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._whole(),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._whole()!r})"

    def _whole(self) -> dict[_K, _V]:
        """All entries in one dict. The oldest come first, so that a key stays where it was first put."""
        whole: dict[_K, _V] = {}
        for layer in reversed(self._older):
            whole.update(layer)
        whole.update(self._recent)
        return whole


def _settled(layers: _Layers[_K, _V], recent: dict[_K, _V]) -> _Layers[_K, _V]:
    """The layers with recent entries in the first that has room for them and for all layers before it."""
    room = _RECENT
    for place, layer in enumerate(layers):
        room *= _FACTOR
        recent = {**layer, **recent}
        if len(recent) <= room:
            return (*_empty(layers[:place]), recent, *layers[place + 1 :])
    return (*_empty(layers), recent)


def _empty(layers: _Layers[_K, _V]) -> _Layers[_K, _V]:
    """As many layers, without entries."""
    return tuple({} for _ in layers)
