"""An immutable mapping to which entries can be added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Self, TypeAlias, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

_RECENT = 64
"""The most recently changed entries, which a step copies."""

_FACTOR = 16
"""The ratio of the sizes of two layers. Among 100,000 entries, a step copies about 60 on average."""

_Layers: TypeAlias = "tuple[dict[_K, _V], ...]"


class Growing(Mapping[_K, _V], Generic[_K, _V]):
    """Values by key, in the order of the first insertion of each key; immutable.

    Entries are kept in layers, the last changed ones in the smallest. A full layer is merged into the next
    larger one, so that an entry is copied a few times per layer, not at each step.

    >>> one = Growing({"a": 1})
    >>> dict(one.having("b", 2)), dict(one)
    ({'a': 1, 'b': 2}, {'a': 1})
    """

    __slots__ = ("_older", "_recent")

    def __init__(self, entries: Mapping[_K, _V] | None = None) -> None:
        self._older: _Layers[_K, _V] = (dict(entries),) if entries else ()  # the smallest layer first
        self._recent: dict[_K, _V] = {}

    def having(self, key: _K, value: _V) -> Self:
        """Return these entries with one added or changed."""
        grown = type(self)()
        older, recent = self._older, self._recent.copy()
        recent[key] = value
        if len(recent) > _RECENT:
            older, recent = _settled(older, recent), {}
        grown._older, grown._recent = older, recent
        return grown

    def find(self, key: _K) -> _V | None:
        """Return the value, or None. Unlike ``Mapping.get``, it raises no exception internally."""
        found = self._recent.get(key)
        for layer in self._older:
            if found is not None:
                break
            found = layer.get(key)
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
        """Return all entries in one dict, the oldest first, so that keys keep their order."""
        whole: dict[_K, _V] = {}
        for layer in reversed(self._older):
            whole.update(layer)
        whole.update(self._recent)
        return whole


def _settled(layers: _Layers[_K, _V], recent: dict[_K, _V]) -> _Layers[_K, _V]:
    """Merge recent entries, and the layers before it, into the first layer with enough space."""
    room = _RECENT
    for place, layer in enumerate(layers):
        room *= _FACTOR
        recent = {**layer, **recent}
        if len(recent) <= room:
            return (*_empty(layers[:place]), recent, *layers[place + 1 :])
    return (*_empty(layers), recent)


def _empty(layers: _Layers[_K, _V]) -> _Layers[_K, _V]:
    """Return the same number of empty layers."""
    return tuple({} for _ in layers)
