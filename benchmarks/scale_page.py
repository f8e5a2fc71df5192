"""Write the tables of docs/scale.md: ``python -m benchmarks.scale_page``. A test finds stale ones."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.simulation import MEASURED, STREAMS, Load, follow, reconnect
from rxruns import ResumePolicy

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"
MONTH = 30 * 86_400.0
EVENT_BYTES = 236
"""Of a line, on average: the benchmarks' mix of a streaming run."""


def tables() -> dict[str, str]:
    """The tables of the page, by name."""
    return {"fleet": _fleet_table(), "cost": _cost_table(), "storm": _storm_table()}


def page(text: str) -> str:
    """The page with its tables as they are now."""
    for name, table in tables().items():
        text, found = re.subn(
            rf"(<!-- {name}: .*? -->\n\n).*?(\n\n<!-- /{name} -->)",
            lambda marks, table=table: marks[1] + table + marks[2],  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
        assert found == 1, name
    return text


def _fleet_table() -> str:
    rows = [
        (
            "runs a month",
            "runs a second",
            "live streams",
            "processes",
            "most at once in one",
            "its processor",
            "lag, 99 of 100",
            "memory of all",
        )
    ]
    for millions in (1, 10, 100, 1_000):
        rate = millions * 1e6 / MONTH
        load, cost = Load(runs_per_second=rate), MEASURED
        processes = processes_for(rate * load.seconds_per_run)
        one = follow(Load(runs_per_second=rate / processes), cost=cost, seconds=100.0)
        live = one.mean_live * processes
        memory = live * cost.stream + processes * cost.process
        rows.append(
            (
                f"{millions:,} million",
                f"{rate:.3g}",
                f"{live:,.0f}",
                f"{processes}",
                f"{one.peak_live:,}",
                f"{one.busy:.1%}",
                f"{one.p99_lag * 1e3:.2g} ms",
                f"{memory / 2**30:.2g} GiB",
            )
        )
    return _markdown(rows)


def processes_for(live: float) -> int:
    """How many processes hold so many streams on average, with room for what comes by chance.

    >>> [processes_for(live) for live in (10, 870, 890, 10_000)]
    [1, 1, 2, 12]
    """
    processes = max(1, math.ceil(live / STREAMS))
    while live / processes + 4 * math.sqrt(live / processes) > STREAMS:
        processes += 1
    return processes


def _cost_table() -> str:
    load, cost, runs = Load(runs_per_second=1.0), MEASURED, 1_000_000
    events = load.events_per_second * load.seconds_per_run
    following = runs * events * cost.event / 3600
    opening = runs * cost.opening / 3600
    memory = runs * load.seconds_per_run * cost.stream / 3600 / 2**30
    return _markdown(
        [
            ("a million runs take", ""),
            ("to open their streams", f"{opening:.2f} hours of a processor"),
            ("to follow their events", f"{following:.2f} hours of a processor"),
            ("memory of their streams", f"{memory:.2f} GiB for an hour"),
            ("on the network", f"{runs * events * EVENT_BYTES / 1e9:.0f} GB"),
        ]
    )


def _storm_table() -> str:
    rows = [
        (
            "streams",
            "service is away",
            "`max_reconnects`",
            "back",
            "given up",
            "the last one back after",
            "requests",
            "in the busiest second",
        )
    ]
    for streams in (1_000, 10_000):
        for outage in (0.0, 5.0, 30.0):
            for reconnects in (5, 10):
                seen = reconnect(
                    streams, ResumePolicy(max_reconnects=reconnects), outage=outage, accepts_per_second=500
                )
                rows.append(
                    (
                        f"{streams:,}",
                        f"{outage:.0f} s",
                        f"{reconnects}",
                        f"{seen.back:,}",
                        f"{seen.given_up:,}",
                        f"{seen.seconds:.0f} s" if seen.back else "",
                        f"{seen.requests:,}",
                        f"{seen.busiest_second:,}",
                    )
                )
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
