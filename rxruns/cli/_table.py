"""Runs as tables, as large as the terminal is: what is in trouble or at work is shown first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rxruns.cli._panel import Panel, Row
from rxruns.cli._printable import printable
from rxruns.costs import CostTotals
from rxruns.models import NodeStatus

__all__ = ["duration", "money", "tables", "totals"]

T = TypeVar("T")

_MARKS = {
    "pending": "·",
    "running": "▶",
    "waiting": "⏸",
    "succeeded": "✔",
    "failed": "✘",
    "canceled": "⊘",
    "lost": "✘",
}
_STYLES = {
    "pending": "dim",
    "running": "cyan",
    "waiting": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "canceled": "magenta",
    "lost": "bold red",
}
_FIRST = ("lost", "failed", "waiting", "running", "connecting", "canceled", "pending")
_OPEN = (NodeStatus.PENDING, NodeStatus.RUNNING, NodeStatus.WAITING)

TIME, TOKENS, COST, BAR = 60, 80, 100, 80
"""Columns of a terminal from which on these are shown."""


def tables(
    panels: Sequence[Panel], now: datetime | None, width: int, height: int | None
) -> Iterator[RenderableType]:
    """All runs in that many columns and lines; None for as many lines as it takes."""
    room = None if height is None else height - 1  # the cursor has a line, too
    shown, hidden = _fit(panels, lambda panel: panel.status, room)
    spare = (
        None if room is None else room - bool(hidden) - sum(1 + len(list(_notes(panel))) for panel in shown)
    )
    for panel in shown:
        yield _headline(panel, now, width)
        yield from _notes(panel)
        lines = None if spare is None else spare // len(shown) - 1  # without the header
        if lines is None or lines > 0:
            yield from _nodes(panel.rows(now), width, lines)
    if hidden:
        yield Text(f"… {hidden}", style="dim")


def _fit(items: Sequence[T], status: Callable[[T], str], room: int | None) -> tuple[list[T], str]:
    """What fits into so many lines, in its order, and what is said of the rest."""
    if room is None or len(items) <= room:
        return list(items), ""
    order = {name: place for place, name in enumerate(_FIRST)}
    ranked = sorted(range(len(items)), key=lambda place: order.get(status(items[place]), len(order)))
    kept = set(ranked[: max(0, room - 1)])
    rest = Counter(status(item) for place, item in enumerate(items) if place not in kept)
    more = ", ".join(f"{count} {printable(name)}" for name, count in rest.items())
    return [item for place, item in enumerate(items) if place in kept], f"{more} more"


def _headline(panel: Panel, now: datetime | None, width: int) -> RenderableType:
    state, rows = panel.state, panel.rows(now)
    ended = sum(row.status not in _OPEN for row in rows)
    run_id = str(panel.run_id or "")
    seconds = panel.seconds(state.started_at, state.ended_at, now)
    figures = [
        f"{ended}/{len(rows)} nodes",
        *([] if seconds is None else [duration(seconds)]),
        totals(state.costs),
    ]
    if panel.reconnects:
        figures.append(f"{panel.reconnects} reconnect{'s' if panel.reconnects > 1 else ''}")
    line = Table.grid(padding=(0, 2, 0, 0))
    cells: list[RenderableType] = [
        Text(f"run {run_id if width >= BAR else run_id[:8]}", "bold"),
        _status(panel.status),
    ]
    if width >= BAR:
        cells.append(ProgressBar(total=len(rows) or 1, completed=ended, width=12))
    for _ in cells:
        line.add_column(no_wrap=True)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(*cells, Text("  ".join(figures)))
    return line


def _notes(panel: Panel) -> Iterator[Text]:
    """What is wrong with a run, a line each."""
    if panel.state.error is not None:
        yield Text(
            f"  {printable(panel.state.error.message)}", style="red", no_wrap=True, overflow="ellipsis"
        )
    if panel.error is not None:
        yield Text(f"  {printable(str(panel.error))}", style="red", no_wrap=True, overflow="ellipsis")
    elif panel.trouble:
        yield Text(f"  {printable(panel.trouble)}", style="yellow", no_wrap=True, overflow="ellipsis")


def _nodes(rows: Sequence[Row], width: int, lines: int | None) -> Iterator[RenderableType]:
    """The nodes of a run in so many lines, a header apart."""
    shown, hidden = _fit(rows, lambda row: row.status, lines)
    if shown:
        yield _node_table(shown, width)
    if hidden:
        yield Text(f"  … {hidden}", style="dim")


def _node_table(rows: Sequence[Row], width: int) -> Table:
    table = Table(box=None, header_style="dim", expand=True, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("  node", no_wrap=True, max_width=max(12, width // 4))
    table.add_column("status", no_wrap=True)
    numbers = [name for name, least in (("time", TIME), ("tokens", TOKENS), ("cost", COST)) if width >= least]
    for name in numbers:
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("text", no_wrap=True, ratio=1)
    for row in rows:
        cells = {
            "time": "" if row.seconds is None else duration(row.seconds),
            "tokens": f"{row.tokens:,}" if row.tokens else "",
            "cost": "" if row.costs is None or not row.costs.requests else money(row.costs.usd),
        }
        failed = row.status == NodeStatus.FAILED
        text = Text(printable(row.text), style="red") if failed else _Tail(printable(row.text))
        table.add_row(
            Text(f"  {printable(row.node_id)}"), _status(row.status), *(cells[name] for name in numbers), text
        )
    return table


def _status(status: str) -> Text:
    return Text(f"{_MARKS.get(status, '·')} {printable(status)}", style=_STYLES.get(status, ""))


class _Tail:
    """The end of a text, as much as there is room for: what is said now stands there."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room, text = options.max_width, self._text
        if cell_len(text) > room:
            text = text[-room:]
            while text and cell_len(text) > room - 1:
                text = text[1:]
            text = f"…{text}"
        yield Text(text, no_wrap=True, overflow="ellipsis")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)


def totals(costs: CostTotals) -> str:
    """Tokens and money in a few words."""
    tokens = f"{costs.total_tokens:,} tokens"
    return f"{tokens}  {money(costs.usd)}" if costs.requests else tokens


def money(usd: Decimal | None) -> str:
    """US dollars; a sum that is not known is a question mark.

    >>> from decimal import Decimal
    >>> money(Decimal("0.0012345")), money(Decimal(1234)), money(None)
    ('$0.0012', '$1,234.0000', '$?')
    """
    return "$?" if usd is None else f"${usd:,.4f}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(7.25), duration(75), duration(3700)
    ('7.2 s', '1:15 min', '1:01:40 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
