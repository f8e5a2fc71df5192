"""``rxruns cost``."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import click
import msgspec
import reactivex
from reactivex import Observable
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from rxruns import operators as ops
from rxruns._display._text import counted, money
from rxruns._display._visible import one_line, printable_json
from rxruns._streams._run_events import block_on
from rxruns.cli._output import Lines
from rxruns.cli._panel import NO_EVENT, Exit, early_end
from rxruns.cli._prices import with_prices
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.costs import CostLineItem, CostTotals, Prices
from rxruns.errors import RunsError
from rxruns.events import RunEvent, TerminalEvent

Costs: TypeAlias = dict[UUID, CostTotals]
"""By run: a log may hold several."""

WIDE, FILE_WIDTH = 120, 200
"""Columns: of a terminal that shows whole run ids, and of a table in a file."""

AT_ONCE = 8
"""Runs that are read at the same time."""

COLUMNS = ("requests", "input_tokens", "output_tokens", "total_tokens")


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
@with_service
def cost(sources: tuple[Source, ...], prices: Prices | None, as_json: bool, service: Service) -> Exit:
    """Sum up the model calls and tokens of runs and, with --prices, their cost in US dollars.

    The cost is unknown (null in JSON) if a model has no price, never zero.
    """
    costs, errors = _read(sources, prices or {}, service)
    if errors and not costs:
        pass  # an empty sum would look like a run without costs
    elif as_json:
        Lines().write(_json(costs))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = FILE_WIDTH
        with console.capture() as captured:
            console.print(table(costs, console, is_whole=not errors))
        Lines().write(captured.get().rstrip("\n"))
    for source, why in errors.items():
        click.echo(one_line(f"rxruns: {source}: {why}"), err=True)
    return Exit.NOT_FOLLOWED if errors else Exit.SUCCEEDED


def _read(sources: tuple[Source, ...], prices: Prices, service: Service) -> tuple[Costs, dict[Source, str]]:
    """Return the costs of all runs, and the reasons why sources could not be read to their end."""
    found: dict[Source, Costs] = {source: {} for source in sources}
    errors: dict[Source, str] = {}
    lasts: dict[Source, dict[UUID, RunEvent]] = {source: {} for source in sources}
    empty = CostTotals(prices)

    def count(source: Source) -> Observable[RunEvent]:
        costs, last = found[source], lasts[source]

        def add(event: RunEvent) -> None:
            costs[event.run_id] = costs.get(event.run_id, empty).step(event)
            last[event.run_id] = event

        def failed(error: Exception, _: Observable[RunEvent]) -> Observable[RunEvent]:
            if not isinstance(error, RunsError):
                raise error
            errors[source] = f"{error}{'; the events before it are counted' if costs else ''}"
            return reactivex.empty()

        events = service.events(source, wait=False).pipe(ops.tap(add))
        return events.pipe(ops.ignore_elements(), ops.catch(failed))

    stderr = Console(stderr=True)
    with Progress(
        console=stderr, transient=True, disable=len(sources) == 1 or not stderr.is_terminal
    ) as progress:
        task = progress.add_task("reading", total=len(found))
        ended = ops.do_action(on_completed=lambda: progress.advance(task))
        read = reactivex.from_iterable(found).pipe(ops.map(lambda source: count(source).pipe(ended)))
        block_on(read.pipe(ops.merge(max_concurrent=AT_ONCE)))
    for source in found:
        if isinstance(source, Path) and not found[source]:
            errors.setdefault(source, NO_EVENT)
    for source, why in _early_ends(lasts).items():
        errors.setdefault(source, why)
    costs: Costs = {}
    for run_id, totals in chain.from_iterable(costs.items() for costs in found.values()):
        # The arguments may name both a run and its log: the one with more calls counts.
        costs[run_id] = max(totals, costs.get(run_id, totals), key=lambda one: one.requests)
    return costs, errors


def _early_ends(lasts: dict[Source, dict[UUID, RunEvent]]) -> dict[Source, str]:
    """Return a message for each log with a run whose end is in none of the sources."""
    events = [event for by_run in lasts.values() for event in by_run.values()]
    ended = {event.run_id for event in events if isinstance(event, TerminalEvent)}
    found: dict[Source, str] = {}
    for source, by_run in lasts.items():
        early = [
            event for event in by_run.values() if event.run_id not in ended and event.run_id not in lasts
        ]
        if early and isinstance(source, Path):
            more = f", and {len(early) - 1} more" if len(early) > 1 else ""
            found[source] = f"run {early[0].run_id}: {early_end(early[0].seq)}{more}"
    return found


def table(costs: Costs, console: Console, *, is_whole: bool = True) -> Table:
    """Return a table of costs by run and model, with their sum; `is_whole` is False if events are missing."""
    is_wide = console.width >= WIDE or not console.is_terminal
    rows = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    rows.add_column("run", no_wrap=True)
    rows.add_column("model", overflow="fold")
    for name in ("requests", "input", "output", "tokens", "cost"):
        rows.add_column(name, justify="right", no_wrap=True)
    for run_id, totals in costs.items():
        run = str(run_id) if is_wide else str(run_id)[:8]
        for place, item in enumerate(totals.line_items):
            model = Text(one_line(f"{item.provider or '?'}/{item.model or '?'}"))
            rows.add_row("" if place else run, model, *_figures(item))
        if not totals.line_items:
            rows.add_row(run, Text("no calls", style="dim"))
    name = "total" if is_whole else "total of the events read"
    rows.add_row(name, counted(len(costs), "run"), *_figures(_sum(costs)), style="bold")
    return rows


def _figures(costs: CostTotals | CostLineItem) -> list[str]:
    return [*(f"{getattr(costs, name):,}" for name in COLUMNS), money(costs.usd)]


def _sum(costs: Costs) -> CostTotals:
    return sum(costs.values(), CostTotals())


def _json(costs: Costs) -> bytes:
    """Return the costs as JSON, with money as exact numbers."""
    runs = [{"run_id": run_id, **_record(totals)} for run_id, totals in costs.items()]
    encoder = msgspec.json.Encoder(decimal_format="number")
    return printable_json(encoder.encode({"runs": runs, "total": _record(_sum(costs))}))


def _record(costs: CostTotals) -> dict[str, Any]:
    names = (*COLUMNS, "unmetered", "usd", "line_items")
    return {name: getattr(costs, name) for name in names}
