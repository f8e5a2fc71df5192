"""What runs say, made harmless: a terminal obeys control characters, and text of a run is anybody's."""

from __future__ import annotations

import re
from unicodedata import category

__all__ = ["printable", "printable_json"]

_MARKS = 4
"""How many combining marks a character may carry. Hebrew with accents has three; stacks of them cover the
lines around."""

_STACK = re.compile(r"[\u0300-\U0010ffff]+")


class _Shown(dict[int, str]):
    """For ``str.translate``, fills itself: blanks are spaces, what can not be seen is replaced."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        blank = char in "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029" or category(char) == "Zs"
        self[code] = shown = " " if blank else char if char.isprintable() else "�"
        return shown


class _Escaped(dict[int, str]):
    """The same for JSON, where what can not be seen has a name."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        seen = char.isprintable() or category(char) == "Zs"
        self[code] = shown = char if seen else "".join(f"\\u{unit:04x}" for unit in _utf16(char))
        return shown


_SHOWN, _ESCAPED = _Shown(), _Escaped()


def printable(text: str) -> str:
    """The text on one line, with what a terminal could obey replaced: C0 and C1 controls, bidi overrides.

    ``_display.visible`` shows what stood there; in a terminal each column counts instead. So lines of a text
    are parted by a blank and not by a sign, what joins emoji is replaced (terminals do not agree how wide the
    joined one is), and marks do not stack over the lines around.

    >>> printable("a\\x1b[31mb\\r\\nc\\u202ed")
    'a�[31mb c�d'
    """
    if text.isascii() and text.isprintable():
        return text
    return _STACK.sub(_unstacked, text.replace("\r\n", "\n").translate(_SHOWN))


def printable_json(line: bytes) -> bytes:
    """The same JSON with what a terminal could obey, or hide, written as ``\\\\u`` escapes.

    >>> printable_json('{"text":"naïve\\u009b31m"}'.encode()).decode()
    '{"text":"naïve\\\\u009b31m"}'
    """
    if line.isascii() and b"\x7f" not in line:
        return line  # JSON itself escapes C0 controls
    return line.decode().translate(_ESCAPED).encode()


def _unstacked(run: re.Match[str]) -> str:
    """Text without the marks that are too many on one character."""
    kept, marks = list[str](), 0
    for char in run[0]:
        marks = marks + 1 if category(char) in ("Mn", "Me") else 0
        if marks <= _MARKS:
            kept.append(char)
    return "".join(kept)


def _utf16(char: str) -> tuple[int, ...]:
    encoded = char.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(encoded[place : place + 2]) for place in range(0, len(encoded), 2))
