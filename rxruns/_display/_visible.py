"""Untrusted text made safe to print: no character controls a terminal, changes direction or hides."""

from __future__ import annotations

import re
from unicodedata import category

_MARKS = 4
"""Combining marks kept on a character. Accented Hebrew has three; taller stacks cover the lines around."""

_BREAK = re.compile("\r\n|[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_STACK = re.compile(r"[\u0300-\U0010ffff]+")
_JOINER = "\u200d"


class _Visible(dict[int, str]):
    """A table for ``str.translate`` that fills itself with a visible replacement of each character."""

    def __missing__(self, code: int) -> str:
        self[code] = replacement = self.replaced(chr(code))
        return replacement

    def replaced(self, char: str) -> str:
        if char.isprintable():
            return char
        if char < " ":
            return chr(0x2400 + ord(char))
        if char == "\x7f":
            return "\u2421"
        if char == _JOINER:  # terminals disagree about the width of joined emoji
            return ""
        return " " if category(char) == "Zs" else "\ufffd"


class _Escaped(_Visible):
    """The same for JSON, which has escapes for invisible characters."""

    def replaced(self, char: str) -> str:
        if char.isprintable() or category(char) == "Zs":
            return char
        units = char.encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


_VISIBLE, _ESCAPED = _Visible(), _Escaped()


def visible(text: str) -> str:
    """Return the text on one line, with a sign for each character that a screen would obey or hide.

    Control characters become their pictures. Bidi overrides and other characters without a shape become
    U+FFFD. The joiners of emoji, and more than four combining marks on one character, are removed.

    >>> visible("a\\x1b[31mb\\nc\\u202ed")
    'a␛[31mb␊c�d'
    """
    if text.isascii():
        return text if text.isprintable() else text.translate(_VISIBLE)
    return _STACK.sub(_unstacked, text.translate(_VISIBLE))


def one_line(text: str) -> str:
    """Return the visible text with a space for each line break and tab, for a terminal's few columns.

    >>> one_line("a\\x1b[31mb\\r\\nc\\u202ed")
    'a␛[31mb c�d'
    """
    return visible(_BREAK.sub(" ", text))


def printable_json(line: bytes) -> bytes:
    """Return the same JSON with ``\\\\u`` escapes for characters that a terminal could obey or hide.

    >>> printable_json('{"text":"naïve\\u009b31m"}'.encode()).decode()
    '{"text":"naïve\\\\u009b31m"}'
    """
    if line.isascii() and b"\x7f" not in line:
        return line  # JSON itself escapes C0 controls
    return line.decode().translate(_ESCAPED).encode()


def _unstacked(run: re.Match[str]) -> str:
    """Return a stretch of non-ASCII text with at most four marks on a character."""
    kept, marks = list[str](), 0
    for char in run[0]:
        marks = marks + 1 if category(char) in ("Mn", "Me") else 0
        if marks <= _MARKS:
            kept.append(char)
    return "".join(kept)
