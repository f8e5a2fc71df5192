"""Formatting of values: durations, money, statuses, and tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from rxruns._display._visible import visible

__all__ = [
    "MARKS",
    "clipped",
    "counted",
    "duration",
    "html_table",
    "money",
    "status_label",
    "visible",
]

MARKS = {"pending": "○", "running": "►", "waiting": "‖", "succeeded": "✓", "failed": "✗", "canceled": "⊘"}
"""A sign for each known status, so that colour is never the only difference."""

_CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
_NUMBER = "padding:2px 12px 2px 0;text-align:right;vertical-align:top"
_LEAST = Decimal("0.000001")
ROWS = 200
"""Rows of a table in a notebook; only the number of the others is given."""


def clipped(text: str, length: int) -> str:
    """Return the text, shortened in its middle to at most `length` characters.

    >>> clipped("a_very_long_name_of_a_node", 12)
    'a_very…_node'
    """
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def counted(number: int, what: str) -> str:
    """Return a number with its noun, in the plural if needed.

    >>> counted(1, "node"), counted(1200, "node")
    ('1 node', '1,200 nodes')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def status_label(status: str) -> str:
    """Return a status with its sign.

    >>> status_label("failed"), status_label("paused")
    ('✗ failed', '? paused')
    """
    return f"{MARKS.get(status, '?')} {visible(status)}"


def duration(seconds: float | None) -> str:
    """Return seconds in a readable unit; empty for None.

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
    """Return US dollars with cents, or with millionths if it is less than a dollar.

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
    """Return a table for a notebook. Text is escaped; numbers are aligned to the right.

    >>> html_table("run <1>", ["node", "tokens"], [["a&b", 1200]]).count("&lt;1&gt;")
    1
    """
    all_rows = list(rows)
    left_out = len(all_rows) - ROWS
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in all_rows[:ROWS])
    notes = [*notes, *([f"and {left_out:,} more"] if left_out > 0 else [])]
    tail = "".join(f"<div>{escape(visible(note))}</div>" for note in notes)
    title = f'<caption style="text-align:left;font-weight:bold">{escape(visible(caption))}</caption>'
    return f"<div><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{tail}</div>"


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td style="{_NUMBER}">{value:,}</td>'
    return f'<td style="{_CELL}">{escape(visible(str(value)))}</td>'
