"""Recorded logs on this machine, as users start the programs: ``rxruns cost`` beside DuckDB and Polars."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.cluster import QUERY, large_log
from benchmarks.measuring import Sample, ratio, side_by_side, spread
from benchmarks.report import Report
from benchmarks.sections import Plan

MIB = 2**20

OURS, DUCKDB, POLARS = "rxruns cost", "DuckDB, two threads", "Polars"
GZIP, PIPE, PLAIN = "fold_logs of a gzip log", "gzip -dc | cat", "fold_logs of the plain log"

DUCKDB_PROGRAM = """
import sys, duckdb
with duckdb.connect(config={"threads": 2}) as connection:
    connection.execute("SET enable_progress_bar = false")
    print(sorted(connection.execute(sys.argv[1]).fetchall()))
"""

POLARS_PROGRAM = """
import sys, polars as pl
usage = pl.Struct({"input_tokens": pl.Int64, "output_tokens": pl.Int64})
call = pl.Struct({"provider": pl.String, "model": pl.String, "usage": usage})
log = pl.scan_ndjson(sys.argv[1], schema={"type": pl.String, "llm_call": call})
calls = log.filter(pl.col("type") == "node_llm_call").unnest("llm_call").unnest("usage")
totals = calls.group_by("provider", "model").agg(
    pl.len(), pl.col("input_tokens").sum(), pl.col("output_tokens").sum()
)
print(sorted(totals.collect().rows()))
"""

FOLD_PROGRAM = """
import sys
from rxruns import CostTotals
from rxruns.folds import fold_logs
print(fold_logs(sys.argv[1], CostTotals(), processes=1).requests)
"""


def logs_tables(plan: Plan, report: Report) -> None:
    """Measure whole programs over a large log, and a compressed log beside gzip."""
    with large_log((96 if plan.quick else 1_000) * MIB) as path:
        _beside_databases(path, 3 if plan.quick else plan.rounds, report)
    with large_log((48 if plan.quick else 1_450) * MIB) as path:  # 100 MiB in gzip
        _beside_gzip(path, 3 if plan.quick else 5, report)


def _beside_databases(path: Path, rounds: int, report: Report) -> None:
    query = QUERY.format(path=path)
    programs: dict[str, Callable[[], str]] = {
        OURS: partial(_output, "-m", "rxruns", "cost", path, "--json"),
        DUCKDB: partial(_output, "-c", DUCKDB_PROGRAM, query),
    }
    if find_spec("polars") is not None:
        programs[POLARS] = partial(_output, "-c", POLARS_PROGRAM, path)
    items = json.loads(programs[OURS]())["total"]["line_items"]
    names = ("provider", "model", "requests", "input_tokens", "output_tokens")
    ours = [tuple(item[name] for name in names) for item in items]
    assert {repr(ours)} == {program().strip() for name, program in programs.items() if name != OURS}

    samples = side_by_side(programs, rounds)
    _table(report, f"Cost totals of a log of {path.stat().st_size / MIB:,.0f} MiB", samples, path)
    for peer in samples.keys() - {OURS}:
        report.mark(f"rxruns cost / {peer.partition(',')[0]}, rate", ratio(samples, peer, OURS, "wall"))


def _beside_gzip(path: Path, rounds: int, report: Report) -> None:
    with tempfile.TemporaryDirectory() as directory:
        packed = Path(directory, "runs.ndjson.gz")
        with gzip.open(packed, "wb", compresslevel=1) as file, path.open("rb") as plain:
            while piece := plain.read(MIB):
                file.write(piece)
        programs: dict[str, Callable[[], str]] = {
            GZIP: partial(_output, "-c", FOLD_PROGRAM, packed),
            PLAIN: partial(_output, "-c", FOLD_PROGRAM, path),
            PIPE: lambda: subprocess.check_output(
                ["sh", "-c", f"gzip -dc '{packed}' | cat > /dev/null"], text=True
            ),
        }
        assert programs[GZIP]() == programs[PLAIN]()
        samples = side_by_side(programs, rounds)
        _table(report, f"A gzip log of {packed.stat().st_size / MIB:,.0f} MiB", samples, path)
    parts = zip(samples[GZIP], samples[PIPE], samples[PLAIN], strict=True)
    times = [ours.wall / (unpacked.wall + fold.wall) for ours, unpacked, fold in parts]
    report.mark("fold of a gzip log / gzip -dc and the fold, time", spread(times))


def _output(*arguments: object) -> str:
    return subprocess.check_output([sys.executable, *map(str, arguments)], text=True)


def _table(report: Report, title: str, samples: dict[str, list[Sample]], path: Path) -> None:
    size = path.stat().st_size / MIB
    rows = [
        (name, spread([sample.wall for sample in mine]), spread([size / sample.wall for sample in mine]))
        for name, mine in samples.items()
    ]
    report.table(title, ("", "s, wall", "MiB/s of plain lines"), rows)
