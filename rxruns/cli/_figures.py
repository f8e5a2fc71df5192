"""Figures of runs, written as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from rxruns._display._visible import printable_json
from rxruns.cli._output import Lines
from rxruns.costs import CostTotals

FILE_WIDTH = 200
"""Columns of a table in a file."""

COLUMNS = ("requests", "input_tokens", "output_tokens", "total_tokens")


def write_table(make: Callable[[Console], Table]) -> None:
    """Write a table to stdout, as wide as the terminal.

    Args:
        make: returns the table for a console.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    with console.capture() as captured:
        console.print(make(console))
    Lines().write("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def write_json(value: object) -> None:
    """Write a value to stdout as a line of JSON, with money as exact numbers."""
    Lines().write(printable_json(msgspec.json.Encoder(decimal_format="number").encode(value)))


def costs_record(costs: CostTotals) -> dict[str, Any]:
    """Return costs as a JSON object."""
    names = (*COLUMNS, "unmetered", "usd", "line_items")
    return {name: getattr(costs, name) for name in names}
