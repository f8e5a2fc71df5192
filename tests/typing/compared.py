"""Typed uses of comparisons: checked by mypy and pyright, never run."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import assert_type

from rxruns.costs import CostTotals
from rxruns.testing import NodeFigures, RunComparison, RunDifference, compare_runs, events


def compared() -> None:
    found = compare_runs(events.run(), Path("run.ndjson"))
    assert_type(found, RunComparison)
    assert_type(compare_runs(list(events.run()), "run.ndjson"), RunComparison)
    assert_type(found.differences, tuple[RunDifference, ...])
    assert_type(found.exceeding(cost="+10%", tokens="+500", nodes=True), tuple[RunDifference, ...])
    assert_type(found.appeared, tuple[str, ...])
    assert_type(found.before.costs, CostTotals)
    assert_type(found.before.nodes, Mapping[str, NodeFigures])
    assert_type(found.differences[0].increase, int | float | Decimal | None)
    compare_runs(7, "run.ndjson")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    found.exceeding(cost=10)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
