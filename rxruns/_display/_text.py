"""How values look to people: durations, money, text that is not trusted, and tables for notebooks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

__all__ = ["MARKS", "clipped", "counted", "duration", "html_table", "money", "status_label", "visible"]

MARKS = {"pending": "○", "running": "►", "waiting": "‖", "succeeded": "✓", "failed": "✗", "canceled": "⊘"}
"""A sign for each known status, so that none is told by colour alone."""

_JOINER = "\u200d"
_CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
_NUMBER = "padding:2px 12px 2px 0;text-align:right;vertical-align:top"
_LEAST = Decimal("0.000001")
ROWS = 200
"""Rows of a table in a notebook; the rest is counted."""


def visible(text: str) -> str:
    """The text on one line, with each character that a screen would obey rather than show made visible.

    Control characters become their pictures; those that turn the direction of writing, and others without a
    shape of their own, become U+FFFD.

    >>> visible("a\\x1b[31mb\\nc\\u202ed")
    'a␛[31mb␊c�d'
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char.isprintable() or char == _JOINER:  # which holds emoji together
        return char
    if char < " ":
        return chr(0x2400 + ord(char))
    if char == "\x7f":
        return "\u2421"
    return " " if unicodedata.category(char) == "Zs" else "\ufffd"


def clipped(text: str, length: int) -> str:
    """The text with its middle left out where it is longer than `length` characters.

    >>> clipped("a_very_long_name_of_a_node", 12)
    'a_very…_node'
    """
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "node"), counted(1200, "node")
    ('1 node', '1,200 nodes')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def status_label(status: str) -> str:
    """A status with its sign.

    >>> status_label("failed"), status_label("paused")
    ('✗ failed', '? paused')
    """
    return f"{MARKS.get(status, '?')} {visible(status)}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them; empty for None.

    >>> duration(0.32), duration(12.34), duration(192), duration(7500), duration(None)
    ('320 ms', '12.3 s', '3 min 12 s', '2 h 05 min', '')
    """
    if seconds is None:
        return ""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def money(usd: Decimal | None) -> str:
    """US dollars: cents where there are dollars, millionths of a dollar below.

    >>> money(Decimal("1234.5")), money(Decimal("0.00325")), money(Decimal(0)), money(None)
    ('$1,234.50', '$0.003250', '$0.00', 'unknown')
    """
    if usd is None:
        return "unknown"
    if usd == 0 or usd >= 1:
        return f"${usd:,.2f}"
    return f"${usd:.6f}" if usd >= _LEAST else f"< ${_LEAST}"


def html_table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, notes: Sequence[str] = ()
) -> str:
    """A table for a notebook; everything in it is escaped. Numbers are aligned to the right.

    >>> html_table("run <1>", ["node", "tokens"], [["a&b", 1200]]).count("&lt;1&gt;")
    1
    """
    shown = list(rows)
    left_out = len(shown) - ROWS
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown[:ROWS])
    notes = [*notes, *([f"and {left_out:,} more"] if left_out > 0 else [])]
    tail = "".join(f"<div>{escape(visible(note))}</div>" for note in notes)
    title = f'<caption style="text-align:left;font-weight:bold">{escape(visible(caption))}</caption>'
    return f"<div><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{tail}</div>"


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td style="{_NUMBER}">{value:,}</td>'
    return f'<td style="{_CELL}">{escape(visible(str(value)))}</td>'
