"""Runs as tables that fit the terminal: failed, waiting and running nodes have priority.

The lines are laid out here, not by rich's tables, which take five times as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from rxruns._display._text import MARKS, counted, duration, money
from rxruns._display._visible import one_line
from rxruns.cli._panel import Panel, Row
from rxruns.costs import CostTotals
from rxruns.models import NodeStatus, RunStatus

T = TypeVar("T")

_MARKS = MARKS | {"connecting": "·", "lost": MARKS["failed"]}
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

_ECHO = len("^C")
"""Columns left free at the end of each line, for a terminal's echo: if that wrapped, the next redraw would
start one line too low."""

_STATUS = 12
_NUMBERS = {"time": (11, 60 - _ECHO), "tokens": (9, 80 - _ECHO), "cost": (11, 100 - _ECHO)}
"""The width of a column, and the width of a line that shows it."""

_HEADED = 4
"""The fewest lines with a header, if not all nodes fit."""

_COMMANDS = 3
"""The most commands of a run that answer its nodes, if the terminal has space for them."""

_BAR = 12
_WITH_BAR, _WITH_ID = 80 - _ECHO, 132 - _ECHO
"""The widths of a line that shows a progress bar, and whole run ids."""


class Tables:
    """A rich renderable of all runs, with the given columns and lines; None for all lines, at the end."""

    def __init__(self, panels: Sequence[Panel], now: datetime | None, width: int, height: int | None) -> None:
        if height is not None:
            width = max(1, width - _ECHO)
        self._lines = list(_lines(panels, now, width, height))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in self._lines:  # no line is wider than the terminal
            yield from Segment.apply_style(line.render(console, "\n"), console.get_style(line.style))


def _lines(panels: Sequence[Panel], now: datetime | None, width: int, height: int | None) -> Iterator[Text]:
    room = None if height is None else height - 1  # one line is the cursor's
    fitting, hidden = _fit(panels, lambda panel: panel.status, room)
    nodes = [panel.rows(now) for panel in fitting]
    most = _COMMANDS if room is None else min(_COMMANDS, room // max(1, len(fitting)) - _HEADED)
    notes = [_notes(panel, now, width, most) for panel in fitting]
    lines: list[int | None] = [None] * len(fitting)
    if room is not None:
        spare = room - bool(hidden) - sum(1 + len(own) for own in notes)
        lines[:] = _shares([len(rows) + 1 if rows else 0 for rows in nodes], spare)
    for panel, rows, own, share in zip(fitting, nodes, notes, lines, strict=True):
        yield _headline(panel, rows, now, width)
        yield from (Text(_cut(f"  {one_line(note)}", width), style) for note, style in own)
        if rows and share != 0:
            yield from _nodes(rows, width, share)
    if hidden:
        yield Text(f"… {hidden}", "dim")


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Share `room` lines: each gets what it wants, or an equal part of the rest.

    >>> _shares([4, 20, 30], 25), _shares([4, 2], 25), _shares([3, 3], 1)
    ([4, 10, 11], [4, 2], [0, 1])
    """
    shares = [0] * len(wanted)
    left = max(0, room)
    by_need = sorted(range(len(wanted)), key=wanted.__getitem__)
    for others, place in zip(range(len(wanted), 0, -1), by_need, strict=True):
        shares[place] = min(wanted[place], left // others)
        left -= shares[place]
    return shares


def _fit(items: Sequence[T], status: Callable[[T], str], room: int | None) -> tuple[list[T], str]:
    """Return the items that fit into `room` lines, in order, and a summary of the others."""
    if room is None or len(items) <= room:
        return list(items), ""
    order = {name: place for place, name in enumerate(_FIRST)}
    ranked = sorted(range(len(items)), key=lambda place: order.get(status(items[place]), len(order)))
    kept = set(ranked[: max(0, room - 1)])
    rest = Counter(status(item) for place, item in enumerate(items) if place not in kept)
    more = ", ".join(f"{count} {one_line(name)}" for name, count in rest.items())
    fitting = [item for place, item in enumerate(items) if place in kept]
    return fitting, f"{len(items) - len(fitting)} more: {more}"


def _headline(panel: Panel, rows: Sequence[Row], now: datetime | None, width: int) -> Text:
    state = panel.state
    ended = sum(row.status not in _OPEN for row in rows)
    seconds = panel.seconds(state.started_at, state.ended_at, now)
    figures = [f"{ended}/{len(rows)} nodes"] if rows else []
    if panel.last is None and panel.status == RunStatus.RUNNING:
        figures.append("no event yet")
    if seconds is not None:
        figures.append(duration(seconds))
    if rows:
        figures.append(totals(state.costs))
    if panel.reconnects:
        figures.append(counted(panel.reconnects, "reconnect"))
    run_id = str(panel.run_id or "")
    line = Text.assemble(
        (f"run {run_id if width >= _WITH_ID else run_id[:8]}", "bold"), "  ", _status(panel.status)
    )
    if width >= _WITH_BAR:
        done = _BAR * ended // (len(rows) or 1)
        line.append_text(Text.assemble("  ", ("━" * done, "green"), ("─" * (_BAR - done), "dim")))
    line.append("  " + "  ".join(figures))
    line.truncate(width, overflow="ellipsis")
    return line


def _notes(panel: Panel, now: datetime | None, width: int, most: int) -> list[tuple[str, str]]:
    """Return the errors of a run and the commands that answer its nodes, one line each, with its style."""
    notes: list[tuple[str, str]] = []
    if panel.state.error is not None:
        notes.append((panel.state.error.message, "red"))
    if panel.error is not None:
        notes.append((str(panel.error), "red"))
    elif panel.trouble:
        notes.append((panel.trouble, "yellow"))
    return notes + [(command, "yellow") for command in panel.commands(now, width - 2, most)]


def _nodes(rows: Sequence[Row], width: int, lines: int | None) -> Iterator[Text]:
    """Return the nodes of a run in at most `lines` lines, with a header if there is space for one."""
    headed = lines is None or lines >= min(_HEADED, len(rows) + 1)
    fitting, hidden = _fit(rows, lambda row: row.status, None if lines is None else lines - headed)
    names = [one_line(row.node_id) for row in fitting]
    room = min(max(map(cell_len, [*names, "node"])), max(12, width // 4))
    numbers = [name for name, (_, least) in _NUMBERS.items() if width >= least]
    header = _numbers({name: name for name in numbers})
    if headed:
        yield Text(_cut(f"  {set_cell_size('node', room)}  {'status':{_STATUS}}{header}  text", width), "dim")
    for row, name in zip(fitting, names, strict=True):
        figures = _figures(row)
        line = Text.assemble(
            f"  {set_cell_size(_cut(name, room), room)}  ",
            _status(row.status),
            _numbers({name: figures[name] for name in numbers}),
            "  ",
        )
        text, left = one_line(row.text), width - line.cell_len
        if row.status in (NodeStatus.FAILED, NodeStatus.WAITING):
            line.append(_cut(text, left), _STYLES[row.status].removeprefix("bold "))
        else:
            line.append(_end(text, left))
        line.truncate(width)
        yield line
    if hidden:
        yield Text(f"  … {hidden}", "dim")


def _figures(row: Row) -> dict[str, str]:
    return {
        "time": duration(row.seconds),
        "tokens": f"{row.tokens:,}" if row.tokens else "",
        "cost": money(row.costs.usd) if row.costs is not None and row.costs.requests else "",
    }


def _numbers(cells: dict[str, str]) -> str:
    return "".join(f"  {cell:>{_NUMBERS[name][0]}}" for name, cell in cells.items())


def _status(status: str) -> Text:
    cell = set_cell_size(f"{_MARKS.get(status, '?')} {one_line(status)}", _STATUS)
    return Text(cell, style=_STYLES.get(status, ""))


def _cut(text: str, room: int) -> str:
    """Return the start of a text that fits into `room` columns."""
    return text if cell_len(text) <= room else f"{set_cell_size(text, max(0, room - 1)).rstrip()}…"


def _end(text: str, room: int) -> str:
    """Return the end of a text, its newest part, that fits into `room` columns."""
    if cell_len(text) <= room:
        return text
    text = text[max(0, len(text) - room) :]
    while text and (over := cell_len(text) + 1 - room) > 0:
        text = text[(over + 1) // 2 :]  # no character is wider than two columns
    return f"…{text}"


def totals(costs: CostTotals) -> str:
    """Return tokens and money in a few words."""
    tokens = f"{costs.total_tokens:,} tokens"
    if not costs.requests:
        return tokens
    return f"{tokens}  {'cost unknown' if costs.usd is None else money(costs.usd)}"
