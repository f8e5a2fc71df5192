"""Measure, print the tables, write JSON: ``python -m benchmarks [--quick] [--only SECTION]``."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks import cluster, report, sections
from benchmarks.marks import Figure
from benchmarks.sections import Plan

FULL = Plan(
    events=50_000, loopback_events=50_000, rounds=9, lone=2_000, idle_seconds=5.0, growth_events=10_000_000
)
QUICK = Plan(
    events=10_000,
    loopback_events=10_000,
    rounds=5,
    lone=200,
    idle_seconds=1.0,
    growth_events=200_000,
    quick=True,
)
PEERS = (
    "rxruns",
    "reactivex",
    "requests",
    "urllib3",
    "marshmallow",
    "msgspec",
    "pydantic",
    "httpx",
    "orjson",
    "dask",
    "duckdb",
)

SECTIONS: dict[str, Callable[[Plan, report.Report], None]] = {
    "memory": sections.in_memory_tables,
    "loopback": sections.loopback_tables,
    "latency": sections.latency_table,
    "idle": sections.idle_table,
    "streams": sections.streams_table,
    "fleet": sections.fleet_tables,
    "operators": sections.operators_tables,
    "growth": sections.growth_table,
    "view": sections.view_table,
    "page": sections.page_table,
    "nodes": sections.nodes_table,
    "import": sections.import_table,
    "cluster": cluster.cluster_tables,
}


def main() -> int:
    """Run the sections; return 1 if a figure misses its mark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small inputs and few rounds: less than a minute"
    )
    parser.add_argument("--only", choices=SECTIONS, action="append", help="run this section; may be repeated")
    parser.add_argument("--rounds", type=_at_least_one, help="number of rounds of each comparison")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="file for the figures")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if options.rounds:
        plan = msgspec.structs.replace(plan, rounds=options.rounds)

    results = report.Report()
    for name, section in SECTIONS.items():
        if options.only is None or name in options.only:
            started = time.perf_counter()
            section(plan, results)
            print(f"({name}: {time.perf_counter() - started:.0f} s)\n", file=sys.stderr)
    results.print_marks()
    environment = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        "versions": {name: _version(name) for name in PEERS},
        "plan": plan,
    }
    options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results.content(environment))))
    return int(any(_is_short(figure) for figure in results.figures))


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _is_short(figure: Figure) -> bool:
    return figure.mark.verdict(figure.measured) == "short"


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
