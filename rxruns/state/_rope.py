"""Text that grows at its end, as an immutable value: appending doesn't copy the text so far."""

from __future__ import annotations

from typing import Any, TypeAlias

_TAIL = 512
"""Pieces kept before they are joined: a piece of four letters alone takes 53 bytes."""

_Chain: TypeAlias = tuple["_Chain | None", str]


class Rope:
    """Text in pieces, joined by ``str()``.

    Ropes share a list of their last pieces, and each knows its own length of it. The newest rope appends in
    place; an older one copies the list first. So does a thread that finds another's piece in its place.

    >>> hello = Rope("Hel").plus("lo")
    >>> str(hello.plus(", you")), str(hello), len(hello)
    ('Hello, you', 'Hello', 5)
    """

    __slots__ = ("_count", "_joined", "_length", "_tail")

    def __init__(self, text: str = "") -> None:
        self._joined: _Chain | None = None
        self._tail = [text] if text else []
        self._count = len(self._tail)
        self._length = len(text)

    def plus(self, piece: str) -> Rope:
        """Return this text and one more piece."""
        rope = Rope()
        tail, count = self._tail, self._count
        rope._joined, rope._length = self._joined, self._length + len(piece)
        if count == 0 or count == _TAIL:
            if count:
                rope._joined = (self._joined, "".join(tail[:count]))
            rope._tail, rope._count = [piece], 1
            return rope
        if len(tail) == count:
            tail.append(piece)
        if tail[count] is not piece:
            tail = tail[:count]
            tail.append(piece)
        rope._tail, rope._count = tail, count + 1
        return rope

    def __str__(self) -> str:
        parts = ["".join(self._tail[: self._count])]
        chain = self._joined
        while chain is not None:
            chain, part = chain
            parts.append(part)
        parts.reverse()
        return "".join(parts)

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rope):
            return NotImplemented
        return self is other or (self._length == other._length and str(self) == str(other))

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Rope, (str(self),)

    def __repr__(self) -> str:
        return f"Rope({str(self)!r})"
