"""``rxruns compare``: two runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from rxruns._display._visible import one_line
from rxruns.cli._compare_table import record, table
from rxruns.cli._figures import write_json, write_table
from rxruns.cli._limits import with_limits
from rxruns.cli._panel import NO_EVENT, Exit, early_end
from rxruns.cli._prices import with_prices
from rxruns.cli._reading import exit_of, of_one_run, read_all
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.costs import Prices
from rxruns.costs._spent import unpriced_models
from rxruns.errors import StreamError
from rxruns.state._spans import RunHistory
from rxruns.testing._compare import RunComparison, listed
from rxruns.testing._figures import FiguresFold


def _run_option(side: str, which: str) -> Callable[[Any], Any]:
    text = f"The run to compare, if the {which} log has several."
    return click.option(f"--{side}-run", metavar="RUN_ID", type=click.UUID, help=text)


@click.command(
    short_help="Compare two runs, with limits for CI.",
    epilog="""\b
Example: rxruns compare main.ndjson branch.ndjson --same-nodes --same-tools --max-tokens +10%
         rxruns compare main.ndjson 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11 --prices list --max-cost +5%
         rxruns compare main.ndjson branch.ndjson --json | jq .differences
""",
)
@source_argument("before")
@source_argument("after")
@with_limits
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of a table.")
@_run_option("before", "first")
@_run_option("after", "second")
@click.option("--no-follow", is_flag=True, help="Compare the existing events, also of open runs.")
@with_prices
@with_service
def compare(
    before: Source,
    after: Source,
    before_run: UUID | None,
    after_run: UUID | None,
    limits: dict[str, Any],
    as_json: bool,
    no_follow: bool,
    prices: Prices | None,
    service: Service,
) -> Exit:
    """Compare the status, nodes, tools, tokens, cost and duration of two runs.

    Open runs are followed to their ends. The exit code is 1 if the second run exceeds a limit; stderr has a
    line for each. Without limits it is 0, whatever the differences.
    """
    if before == after == Path("/dev/stdin"):
        raise click.UsageError("only one of the two can be standard input")
    if limits["cost"] and prices is None:
        raise click.UsageError("--max-cost needs --prices")
    try:
        folds = [
            _folded(before, before_run, "before", prices, service, not no_follow),
            _folded(after, after_run, "after", prices, service, not no_follow),
        ]
    except StreamError as error:
        return exit_of(error)
    problems = [_problem(fold.history, not no_follow) for fold in folds]
    for source, problem in zip((before, after), problems, strict=True):
        if problem:
            click.echo(one_line(f"rxruns: {source}: {problem}"), err=True)
    if NO_EVENT in problems:
        return Exit.NOT_FOLLOWED
    comparison = RunComparison(*(fold.figures() for fold in folds))
    exceeded = comparison.exceeding(**limits)
    if as_json:
        write_json(record(comparison, exceeded))
    else:
        write_table(partial(table, comparison))
    for line in listed(exceeded):
        click.echo(f"rxruns: {line}", err=True)
    unpriced = unpriced_models(comparison.before.costs + comparison.after.costs)
    if unpriced and any(difference.field == "usd" for difference in exceeded):
        click.echo(f"rxruns: no price for {unpriced}", err=True)
    return Exit.NOT_FOLLOWED if any(problems) else Exit.FAILED if exceeded else Exit.SUCCEEDED


def _folded(
    source: Source, run_id: UUID | None, side: str, prices: Prices | None, service: Service, follows: bool
) -> FiguresFold:
    fold = FiguresFold(prices, side)
    events = service.events(source, wait=follows)
    read_all(of_one_run(source, run_id, f"--{side}-run")(events), source, fold.add)
    return fold


def _problem(history: RunHistory, follows: bool) -> str:
    """Return the reason why the comparison is not of the whole run; empty if it is."""
    state = history.state
    if state.run_id is None:
        return NO_EVENT
    is_open = follows and state.final_status is None
    return f"run {state.run_id}: {early_end(state.last_seq)}" if is_open else ""
