"""One difference between two runs, and its text."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any, TypeAlias

from msgspec import Struct

from rxruns._display._text import clipped, counted, duration, money
from rxruns._display._visible import one_line
from rxruns.costs._prices import EXACT
from rxruns.testing._limits import Figure

__all__ = ["RunDifference", "change_text", "increase_text", "tools_text"]

_NAME, _TOOLS = 80, 200
"""Characters of a name, and of a list of tools."""

_MOST_TOOLS = 100
"""Tools that are compared one by one, which may take the cube of their number."""

_MOST_PERCENT = 999_999


Value: TypeAlias = str | int | float | Decimal | tuple[str, ...] | None
"""A status, a number, or the names of tools."""


class RunDifference(Struct, frozen=True):
    """A difference between two runs.

    Attributes:
        field: ``"status"``, ``"attempts"``, ``"tools"``, ``"requests"``, ``"input_tokens"``,
            ``"output_tokens"``, ``"total_tokens"``, ``"unmetered"``, ``"usd"`` or ``"duration"`` (seconds).
        before: the value in the first run. None if it is unknown, or if the node is missing.
        after: the value in the second run.
        node_id: the node; None for the run.
        model: the model, as ``"provider/model"``; None for all.
        limit: the exceeded limit.
    """

    field: str
    before: Value
    after: Value
    node_id: str | None = None
    model: str | None = None
    limit: str | None = None

    @property
    def increase(self) -> int | float | Decimal | None:
        """The second number minus the first; None if one is unknown, or for a status or tools."""
        return _increase(self.before, self.after)

    def __str__(self) -> str:
        """The difference on one line, safe to print."""
        subject = "run" if self.node_id is None else f"node {_label(self.node_id)}"
        if self.model is not None:
            subject = _label(self.model)
        limit = "" if self.limit is None else f", limit {self.limit}"
        return f"{subject}: {change_text(self)}{limit}"

    def __repr__(self) -> str:  # short, because pytest shows a list of them on one line
        return f"<{self}>"


def change_text(difference: RunDifference) -> str:
    """Return both values of a difference, in a few words.

    >>> change_text(RunDifference("status", "succeeded", None, "edit"))
    'vanished, was succeeded'
    """
    field, before, after = difference.field, difference.before, difference.after
    if field == "tools":
        return f"tools {tools_text(_tuple(before), _tuple(after))}"
    if field == "status":
        if before is None:
            return f"appeared, {after}"
        return f"vanished, was {before}" if after is None else f"{before} → {after}"
    name = "cost" if field == "usd" else field.replace("_", " ")
    change = "" if field == "attempts" else increase_text(field, before, after)
    values = f"{name} {_figure(field, before)} → {_figure(field, after)}"
    return f"{values} ({change})" if change else values


def increase_text(field: str, before: Any, after: Any) -> str:
    """Return an increase, absolute and in percent; empty if it is unknown or 0.

    >>> increase_text("total_tokens", 1200, 1500), increase_text("duration", 2.0, 1.5)
    ('+300, +25.0%', '-500 ms, -25.0%')
    """
    increase = _increase(before, after)
    if not increase:
        return ""
    sign = "+" if increase > 0 else "-"
    text = f"{sign}{_figure(field, abs(increase))}"
    if not before:
        return text
    percent = abs(float(increase) / float(before) * 100)
    return f"{text}, {sign}{percent:,.1f}%" if percent <= _MOST_PERCENT else text


def tools_text(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    """Return the tools of both runs, those of one run alone with a sign.

    >>> tools_text(("search", "fetch", "sum"), ("search", "sum", "sum"))
    'search, -fetch, sum, +sum'
    """
    if len(before) > _MOST_TOOLS or len(after) > _MOST_TOOLS:
        return f"{counted(len(before), 'call')} → {counted(len(after), 'call')}, not the same"
    return clipped(one_line(", ".join(_marked(before, after))), _TOOLS)


def _marked(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    for kind, old, old_end, new, new_end in SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            yield from before[old:old_end]
        else:
            yield from (f"-{name}" for name in before[old:old_end])
            yield from (f"+{name}" for name in after[new:new_end])


def _increase(before: object, after: object) -> Figure | None:
    if isinstance(before, Decimal) and isinstance(after, Decimal):
        return EXACT.subtract(after, before)
    if isinstance(before, int | float) and isinstance(after, int | float):
        increase = after - before
        return increase if isinstance(increase, int) else round(increase, 6)  # without the error of floats
    return None


def _figure(field: str, value: Any) -> str:
    if field == "usd":
        return money(value)
    if value is None:
        return "unknown"
    return duration(value) if field == "duration" else f"{value:,}"


def _label(name: str) -> str:
    return one_line(clipped(name, _NAME))


def _tuple(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
