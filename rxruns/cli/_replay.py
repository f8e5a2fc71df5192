"""``rxruns replay``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import click
import reactivex
from reactivex import Observable

from rxruns import operators as ops
from rxruns._display._visible import one_line
from rxruns._streams._recorded import recorded_events
from rxruns._streams._run_events import block_on
from rxruns.cli._following import report
from rxruns.cli._panel import NO_EVENT, Exit
from rxruns.cli._prices import with_prices
from rxruns.cli._sources import files, log, naming, skip_option, skipping
from rxruns.cli._view import RunView
from rxruns.costs import Prices
from rxruns.events import RunEvent


@click.command(
    epilog="""\b
Example: rxruns replay run.ndjson --speed 10
         rxruns replay run.ndjson.gz --speed inf    (without pauses)
"""
)
@click.argument("log", metavar="FILE", type=log, shell_complete=files)
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="1 is the recorded speed, 2 twice as fast, inf without pauses.",
)
@skip_option
@with_prices
def replay(log: Path, speed: float, skip_invalid: bool, prices: Prices | None) -> Exit:
    """Show a recorded log as if its runs were live.

    FILE is a log of one or more runs, written by `rxruns events --record` or ops.record; - is standard input.
    """
    on_invalid = skipping() if skip_invalid else "raise"
    events = recorded_events(log, speed=None if math.isinf(speed) else speed, on_invalid=on_invalid)
    with naming(log):
        return show(events, [log], prices)


def show(
    events: Observable[RunEvent],
    logs: Sequence[Path],
    prices: Prices | None,
    *,
    timeout: float | None = None,
    is_partial: bool = False,
) -> Exit:
    """Show the runs of recorded events.

    Args:
        events: of any runs.
        logs: the files of the events.
        prices: by (provider, model).
        timeout: seconds after which the replay stops; None for no limit.
        is_partial: a run without its end is expected.
    """
    with RunView(prices, is_replay=True) as view:
        updated = events.pipe(ops.tap(view.update))
        block_on(updated if timeout is None else updated.pipe(ops.take_until(reactivex.timer(timeout))))
    if not view.panels and timeout is None:
        names = ", ".join(map(str, logs))
        click.echo(one_line(f"rxruns: {names}: {NO_EVENT}"), err=True)
        return Exit.NOT_FOLLOWED
    for panel in view.panels:
        panel.is_partial = is_partial
    return report(view.panels, timeout)
