"""``rxruns cost``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rxruns._display._text import counted, money
from rxruns._display._visible import one_line
from rxruns.cli._cost_reading import read_costs
from rxruns.cli._figures import COLUMNS, costs_record, write_json, write_table
from rxruns.cli._panel import Exit
from rxruns.cli._prices import with_prices
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.costs import CostLineItem, CostTotals, Prices
from rxruns.costs._spent import model_name
from rxruns.folds import By
from rxruns.folds._run_cost import RunCost, RunCosts

Costs: TypeAlias = Mapping[Any, CostTotals]
"""By run, node, day or model."""

WIDE = 120
"""Columns of a terminal that shows whole run ids."""

KEYS = {
    "run": ("runs", "run_id"),
    "node": ("nodes", "node_id"),
    "day": ("days", "day"),
    "model": ("models", "model"),
}
"""By value of --by: the names in JSON of all groups and of a group's key."""


@click.command(
    short_help="Sum up the tokens and the cost of runs.",
    epilog="""\b
Example: rxruns cost 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11 run.ndjson --prices prices.json
         rxruns cost *.ndjson --prices list --json | jq .total.usd
""",
)
@source_argument("sources", nargs=-1)
@with_prices
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of a table.")
@click.option(
    "--by",
    type=click.Choice(tuple(KEYS)),
    default="run",
    help="One row for each run, node, day (UTC) or model, and for each model in it; by default for each run.",
)
@click.option(
    "--every-line", is_flag=True, help="Validate the lines of a log that no cost is read from, too. Slower."
)
@with_service
def cost(
    sources: tuple[Source, ...],
    prices: Prices | None,
    as_json: bool,
    by: str,
    every_line: bool,
    service: Service,
) -> Exit:
    """Sum up the model calls and tokens of runs and, with --prices, their cost in US dollars.

    The cost is unknown (null in JSON) if a model has no price, never zero.
    """
    totals = CostTotals(prices or {})
    empty = RunCost(By("node_id" if by == "node" else "day", totals) if by in ("node", "day") else totals)
    runs, errors = read_costs(sources, empty, service, every_line)
    costs = _groups(runs, by)
    if errors and not runs:
        pass  # an empty sum would look like a run without costs
    elif as_json:
        write_json(_record(costs, by))
    else:
        write_table(lambda console: table(costs, console, is_whole=not errors, by=by, runs=len(runs)))
    for source, why in errors.items():
        click.echo(one_line(f"rxruns: {source}: {why}"), err=True)
    return Exit.NOT_FOLLOWED if errors else Exit.SUCCEEDED


def _groups(runs: RunCosts, by: str) -> Costs:
    """Return costs by run, node, day or model."""
    if by == "run":
        return {str(run_id): run.costs for run_id, run in runs.items()}
    if by == "model":
        total = _sum(run.costs for run in runs.values())
        return {
            model_name(item.provider, item.model): CostTotals(line_items=[item]) for item in total.line_items
        }
    parts = [part for run in runs.values() for part in run.costs.items()]
    keys = dict.fromkeys(key for key, _ in parts)
    if by == "day":
        return {f"{day:%Y-%m-%d}": _sum(costs for key, costs in parts if key == day) for day in sorted(keys)}
    return {node or "?": _sum(costs for key, costs in parts if key == node) for node in keys}


def table(
    costs: Costs, console: Console, *, is_whole: bool = True, by: str = "run", runs: int | None = None
) -> Table:
    """Return a table of costs by key and model, with their sum.

    Args:
        costs: by run, node, day or model.
        console: is as wide as the table may be.
        is_whole: False if events are missing.
        by: the kind of key.
        runs: the number of runs; None: there is one for each key.
    """
    is_wide = console.width >= WIDE or not console.is_terminal
    rows = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    rows.add_column(by, no_wrap=by == "run", overflow="fold")
    rows.add_column("model" if by != "model" else "", overflow="fold")
    for name in ("requests", "input", "output", "tokens", "cost"):
        rows.add_column(name, justify="right", no_wrap=True)
    for key, totals in costs.items():
        label = Text(one_line(str(key) if is_wide or by != "run" else str(key)[:8]))
        for place, item in enumerate(totals.line_items):
            model = "" if by == "model" else model_name(item.provider, item.model)
            rows.add_row("" if place else label, Text(one_line(model)), *_figures(item))
        if not totals.line_items:
            rows.add_row(label, Text("no calls", style="dim"))
    name = "total" if is_whole else "total of the events read"
    number = counted(len(costs) if runs is None else runs, "run")
    rows.add_row(name, number, *_figures(_sum(costs.values())), style="bold")
    return rows


def _figures(costs: CostTotals | CostLineItem) -> list[str]:
    return [*(f"{getattr(costs, name):,}" for name in COLUMNS), money(costs.usd)]


def _sum(costs: Iterable[CostTotals]) -> CostTotals:
    return sum(costs, CostTotals())


def _record(costs: Costs, by: str) -> dict[str, Any]:
    plural, name = KEYS[by]
    groups = [{name: key, **costs_record(totals)} for key, totals in costs.items()]
    return {plural: groups, "total": costs_record(_sum(costs.values()))}
