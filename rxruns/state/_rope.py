"""Text that grows at its end, as an immutable value: a step costs the new piece, not the text so far."""

from __future__ import annotations

from typing import Any, TypeAlias

_new = object.__new__  # `Rope.__new__` is looked up for longer than it takes

_TAIL = 512
"""How many pieces are kept apart before they are joined: a piece of four letters takes 53 bytes alone."""

_Chain: TypeAlias = tuple["_Chain | None", str]


class Rope:
    """Text in pieces, joined when ``str()`` asks for it.

    Ropes share their last pieces in one list, of which each knows how much is its own; the newest appends in
    place, an older one copies first. Two threads may extend the same rope: whoever finds another's piece in
    its place copies.

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
        """This text and one more piece."""
        rope: Rope = _new(Rope)
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
