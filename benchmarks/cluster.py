"""Recorded logs on a cluster of this machine's cores, beside plain processes and DuckDB."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, reduce
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.corpus import RUN_ID, lines
from benchmarks.measuring import Sample, ratio, side_by_side, spread
from benchmarks.report import Report
from benchmarks.sections import Plan
from rxruns import CostTotals, Price
from rxruns._logs._fold_part import fold_part
from rxruns._logs._parts import LogPart, find_files, split
from rxruns.dask import fold_logs

FOLD = CostTotals({("anthropic", "claude-sonnet-4-5"): Price(3, 15)})
MIB = 2**20
EVENTS_OF_A_RUN = 5_000

PLAIN = "plain fold, one process"
PROCESSES = "two plain processes"
ONE, TWO = "one worker", "two workers"
OURS, DUCKDB = "fold_logs, two workers", "DuckDB, two threads"

QUERY = """
    SELECT llm_call.provider, llm_call.model, count(*), sum(llm_call.usage.input_tokens),
           sum(llm_call.usage.output_tokens)
    FROM read_json('{path}', format = 'newline_delimited', columns = {{
        type: 'VARCHAR',
        llm_call: 'STRUCT(provider VARCHAR, model VARCHAR,
                          usage STRUCT(input_tokens BIGINT, output_tokens BIGINT))'
    }})
    WHERE type = 'node_llm_call' GROUP BY ALL
"""


def cluster_tables(plan: Plan, report: Report) -> None:
    """The overhead of the cluster, and the rate over a log with the usual events."""
    with _large_log((48 if plan.quick else 1_344) * MIB) as path:
        _overhead(path, 3 if plan.quick else 5, report)
    with _large_log((96 if plan.quick else 2_560) * MIB) as path:
        _beside_duckdb(path, 3 if plan.quick else 5, report)


def _overhead(path: Path, rounds: int, report: Report) -> None:
    """Decode all lines of twelve parts, so that decoding and not reading dominates.

    Dask gives each worker two tasks at first, and a third before the other worker has its own: with six parts
    one worker often gets four of them.
    """
    (file,) = find_files(path)
    size = -(-file.size // 12)
    parts = split([file], size)
    work = partial(fold_part, fold=FOLD, every_line=True)
    with ExitStack() as stack:
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(2))
        clusters = {name: stack.enter_context(_cluster(workers)) for name, workers in ((ONE, 1), (TWO, 2))}
        contestants: dict[str, Callable[[], object]] = {
            PLAIN: partial(_plain, work, parts),
            PROCESSES: partial(_on_processes, pool, work, parts),
        }
        for name, client in clusters.items():
            contestants[name] = partial(
                fold_logs, path, FOLD, dask_client=client, partition_size=size, every_line=True
            )
        assert 1 == len({fold() for fold in contestants.values()})
        samples = side_by_side(contestants, rounds)
    _table(
        report, f"Cost totals, every line of {file.size / MIB:,.0f} MiB decoded", samples, PLAIN, file.size
    )
    report.mark("two workers / two plain processes, gain", ratio(samples, PROCESSES, TWO, "wall"))
    report.mark("one worker / plain fold, time", ratio(samples, ONE, PLAIN, "wall"))


def _beside_duckdb(path: Path, rounds: int, report: Report) -> None:
    import duckdb  # noqa: PLC0415  # a peer that the other sections don't need

    size = path.stat().st_size
    with _cluster(2) as client, duckdb.connect(config={"threads": 2}) as connection:
        contestants = {
            OURS: partial(fold_logs, path, FOLD, dask_client=client),
            DUCKDB: lambda: connection.execute(QUERY.format(path=path)).fetchall(),
        }
        totals, rows = contestants[OURS](), contestants[DUCKDB]()
        assert [
            (item.provider, item.model, item.requests, item.input_tokens, item.output_tokens)
            for item in totals.line_items
        ] == sorted(rows)
        samples = side_by_side(contestants, rounds)
    _table(report, f"Cost totals of a log of {size / MIB:,.0f} MiB", samples, DUCKDB, size)
    report.mark("cost totals of a large log / DuckDB, rate", ratio(samples, DUCKDB, OURS, "wall"))


def _table(report: Report, title: str, samples: dict[str, list[Sample]], peer: str, size: int) -> None:
    rows = [
        (name, spread([size / MIB / sample.wall for sample in mine]), ratio(samples, peer, name, "wall"))
        for name, mine in samples.items()
    ]
    report.table(title, ("", "MiB/s, wall", f"rate ÷ {peer}"), rows)


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    from distributed import Client  # noqa: PLC0415  # as above

    with Client(
        n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", set_as_default=False
    ) as client:
        yield client


def _plain(work: Callable[[LogPart], Any], parts: Sequence[LogPart]) -> CostTotals:
    return _sum(map(work, parts))


def _on_processes(pool: Pool, work: Callable[[LogPart], Any], parts: Sequence[LogPart]) -> CostTotals:
    return _sum(pool.imap(work, parts))


def _sum(parts: Any) -> CostTotals:
    return reduce(CostTotals.combine, (part.value for part in parts))


@contextmanager
def _large_log(size: int) -> Iterator[Path]:
    """A log of many runs, one after the other, deleted afterwards. Four events in five are text deltas."""
    run = b"".join(lines("stream", EVENTS_OF_A_RUN))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "runs.ndjson")
        with path.open("wb") as log:
            for number in range(1, size // len(run) + 2):
                log.write(run.replace(RUN_ID.encode(), str(UUID(int=number)).encode()))
        yield path
