"""The texts of a run as attributes, exported with ``content=True`` alone: bounded, with a mark where cut."""

from __future__ import annotations

import msgspec

__all__ = ["CONTENT_LENGTH", "BoundedText", "content", "messages"]

CONTENT_LENGTH = 8_192
"""The most characters of a text, of arguments or of a result. A batch of 512 spans of plain text stays
below the 20 MiB that a collector accepts."""

CUT = "…"
"""The end of a text that was cut."""


def content(text: str) -> str:
    """Return the beginning of a text.

    >>> content("short"), len(content("x" * 9000)), content("x" * 9000)[-1]
    ('short', 8192, '…')
    """
    return text if len(text) <= CONTENT_LENGTH else text[: CONTENT_LENGTH - 1] + CUT


def messages(text: str, finish_reason: str | None) -> str:
    """Return a model's answer as JSON, in the form of the conventions' ``gen_ai.output.messages``.

    >>> messages("Hi", "stop")
    '[{"role":"assistant","parts":[{"type":"text","content":"Hi"}],"finish_reason":"stop"}]'
    """
    message = {"role": "assistant", "parts": [{"type": "text", "content": text}]}
    return msgspec.json.encode([message | {"finish_reason": finish_reason or ""}]).decode()


class BoundedText:
    """A text that grows piece by piece, of which the beginning is kept."""

    __slots__ = ("_left", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._left = CONTENT_LENGTH + 1  # one more, so that the cut is noticed

    def add(self, piece: str) -> None:
        """Add a piece."""
        if self._left > 0:
            self._pieces.append(piece[: self._left])
            self._left -= len(piece)

    def __str__(self) -> str:
        return content("".join(self._pieces))
