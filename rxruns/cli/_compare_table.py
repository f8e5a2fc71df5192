"""A comparison as a table and as a JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rxruns._display._text import clipped, counted, duration, money, status_label
from rxruns._display._visible import one_line
from rxruns.cli._cost import WIDE
from rxruns.cli._figures import COLUMNS, costs_record
from rxruns.cli._table import totals
from rxruns.costs import CostTotals
from rxruns.costs._spent import model_name
from rxruns.testing._compare import RunComparison
from rxruns.testing._difference import RunDifference, change_text, increase_text, tools_text
from rxruns.testing._figures import NodeFigures, RunFigures

Row: TypeAlias = tuple[str, str, str, str]
"""A label, the two runs, and their difference."""

_NODES = 100
"""Nodes in a table, those with differences first; only the number of the others is given."""

_NAME, _TOOLS, _MOST_TOOLS = 80, 200, 100
"""Characters of a node's id and of its tools, and the number of these."""


def table(comparison: RunComparison, console: Console) -> Table:
    """Return a table of two runs: their figures, models and nodes, one row each."""
    before, after = comparison.before, comparison.after
    length = None if console.width >= WIDE or not console.is_terminal else 8
    rows = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("", "before", "after", "difference"):
        rows.add_column(name, overflow="fold")
    for label, old, new, difference in (
        ("run", str(before.run_id)[:length], str(after.run_id)[:length], ""),
        *_of_run(before, after),
        *_of_models(before.costs, after.costs),
        *_of_nodes(comparison),
    ):
        texts = [Text(one_line(text)) for text in (label, old, new)]
        rows.add_row(*texts, Text(one_line(difference), "yellow"))
    return rows


def record(comparison: RunComparison, exceeded: tuple[RunDifference, ...]) -> dict[str, Any]:
    """Return the comparison as a JSON object."""
    return {
        "before": _run_record(comparison.before),
        "after": _run_record(comparison.after),
        "differences": comparison.differences,
        "exceeded": exceeded,
    }


def _run_record(run: RunFigures) -> dict[str, Any]:
    figures = {"run_id": run.run_id, "status": run.status, "duration": run.duration}
    nodes = [
        {
            "node_id": node.node_id,
            "status": node.status,
            "attempts": node.attempts,
            "duration": node.duration,
            "tools": node.tools,
            **costs_record(node.costs),
        }
        for node in run.nodes.values()
    ]
    return {**figures, **costs_record(run.costs), "nodes": nodes}


def _of_run(before: RunFigures, after: RunFigures) -> Iterator[Row]:
    changed = "" if before.status == after.status else f"{before.status} → {after.status}"
    yield "status", status_label(before.status), status_label(after.status), changed
    times = before.duration, after.duration
    yield "duration", _seconds(times[0]), _seconds(times[1]), increase_text("duration", *times)
    for name in COLUMNS:
        old, new = getattr(before.costs, name), getattr(after.costs, name)
        yield name.replace("_", " "), f"{old:,}", f"{new:,}", increase_text(name, old, new)
    old, new = before.costs.usd, after.costs.usd
    yield "cost", money(old), money(new), increase_text("usd", old, new)


def _of_models(before: CostTotals, after: CostTotals) -> Iterator[Row]:
    """Yield a row for each model, unless both runs called the same one alone."""
    runs = [
        {model_name(item.provider, item.model): CostTotals(line_items=[item]) for item in costs.line_items}
        for costs in (before, after)
    ]
    models = sorted({*runs[0], *runs[1]})
    for model in models if len(models) > 1 else ():
        old, new = (run.get(model, CostTotals()) for run in runs)
        change = increase_text("total_tokens", old.total_tokens, new.total_tokens)
        yield model, _spent(old), _spent(new), change


def _of_nodes(comparison: RunComparison) -> Iterator[Row]:
    """Yield a row for each node, and one for its tools."""
    old_nodes, new_nodes = dict(comparison.before.nodes), dict(comparison.after.nodes)
    changes: dict[str, list[str]] = {}
    for difference in comparison.differences:
        if difference.node_id is not None:
            texts = changes.setdefault(difference.node_id, [])
            texts += [change_text(difference)] if difference.field != "tools" else []
    nodes = list({**old_nodes, **new_nodes})
    kept = set(sorted(nodes, key=lambda node_id: node_id not in changes)[:_NODES])
    for node_id in filter(kept.__contains__, nodes):
        old, new = old_nodes.get(node_id), new_nodes.get(node_id)
        times = old and old.duration, new and new.duration
        change = ", ".join(changes.get(node_id, ())) or increase_text("duration", *times)
        yield f"node {clipped(node_id, _NAME)}", _node(old), _node(new), change
        tools = old.tools if old else (), new.tools if new else ()
        if tools != ((), ()):
            yield (
                "  tools",
                _tools(tools[0]),
                _tools(tools[1]),
                tools_text(*tools) if tools[0] != tools[1] else "",
            )
    if len(nodes) > len(kept):
        yield f"… {counted(len(nodes) - len(kept), 'more node')}", "", "", ""


def _node(node: NodeFigures | None) -> str:
    if node is None:
        return ""
    tokens = f"{node.costs.total_tokens:,} tokens" if node.costs.requests else ""
    return "  ".join(filter(None, (status_label(node.status), duration(node.duration), tokens)))


def _tools(names: tuple[str, ...]) -> str:
    return clipped(", ".join(names[:_MOST_TOOLS]), _TOOLS)


def _spent(costs: CostTotals) -> str:
    return totals(costs) if costs.requests else ""


def _seconds(seconds: float | None) -> str:
    return duration(seconds) or "unknown"
