"""Tables for people, and the same figures for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.marks import MARKS, Figure
from benchmarks.measuring import Spread

Cell = str | float | int | Spread


class Report:
    """Collects tables, which are printed at once, and figures that have a mark."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self._tables: list[dict[str, Any]] = []

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Print a table, and keep it."""
        self._tables.append({"title": title, "columns": list(columns), "rows": [list(row) for row in rows]})
        print(f"{title}\n{as_text([list(columns), *(list(map(_text, row)) for row in rows)])}\n", flush=True)

    def mark(self, name: str, measured: Spread, unit: str = "") -> None:
        """Keep a figure that has a mark of this name."""
        self.figures.append(Figure(MARKS[name], measured, unit))

    def print_marks(self) -> None:
        """Print all figures with their marks."""
        rows = [
            [
                figure.mark.name + (f", {figure.unit}" if figure.unit else ""),
                str(figure.measured),
                f"{'at most' if figure.mark.at_most else 'at least'} {figure.mark.least:g}",
                f"{figure.mark.aim:g}",
                figure.mark.verdict(figure.measured),
            ]
            for figure in self.figures
        ]
        print(
            "Marks\n" + as_text([["figure", "measured (quartiles)", "mark", "aim", ""], *rows]),
            flush=True,
        )

    def content(self, environment: dict[str, Any]) -> dict[str, Any]:
        """The content of the JSON file."""
        marks = [
            {
                "name": figure.mark.name,
                "unit": figure.unit or "ratio",
                "measured": figure.measured,
                "least": figure.mark.least,
                "aim": figure.mark.aim,
                "smaller_is_better": figure.mark.at_most,
                "verdict": figure.mark.verdict(figure.measured),
            }
            for figure in self.figures
        ]
        return {"environment": environment, "marks": marks, "tables": self._tables}


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, the first row underlined.

    >>> print(as_text([["name", "ratio"], ["orjson", "0.7"]]))
    name    ratio
    ------  -----
    orjson  0.7
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *body = rows
    lines = [header, ["-" * width for width in widths], *body]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    )


def _text(cell: Cell) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
