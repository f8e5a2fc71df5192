"""Recorded logs are what other tools read, as they are."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import reactivex

from rxruns import block_on, merge_runs, ops, recorded_events
from rxruns.devserver import DevServer
from rxruns.events import RunEvent
from tests.conftest import ROOT
from tests.making import delta, llm_call, tokens
from tests.observing import run_of

duckdb: Any = pytest.importorskip("duckdb", reason="pip install duckdb, or the extra dev")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three runs as `ops.record` writes them."""
    path = tmp_path / "runs.ndjson"
    with DevServer(seed=3) as server, server.client() as client:
        ids = [server.add_run(events=run_of(deltas)).run_id for deltas in (3, 30, 300)]
        block_on(merge_runs(ids, client=client).pipe(ops.record(path)))
    return path


def test_a_recorded_log_is_read_by_duckdb_as_it_is(log: Path) -> None:
    events = block_on(recorded_events(log).pipe(ops.to_list())) or []
    rows = duckdb.sql(f"SELECT run_id::VARCHAR, seq, type FROM '{log}'").fetchall()

    assert [(str(event.run_id), event.seq, event.type) for event in events] == rows
    assert 3 * 4 + 333 == len(rows)


def test_the_text_of_a_log_is_the_same_in_duckdb(tmp_path: Path) -> None:
    """Whatever it holds: newlines, separators of other kinds, quotes, four-byte characters."""
    text = "a\nb\r\n\u2028\u0085\x0b\t\"'\\ \U0001f600 é"
    path = tmp_path / "run.ndjson"
    block_on(reactivex.of(*(delta(text, seq=seq) for seq in (1, 2, 3))).pipe(ops.record(path)))

    assert [(text,)] * 3 == duckdb.sql(f"SELECT delta.text_delta FROM '{path}'").fetchall()


def converted(log: str, parquet: Path, sql: str) -> list[tuple[Any, ...]]:
    runpy.run_path(str(ROOT / "examples" / "logs_to_parquet.py"))["to_parquet"](log, parquet)
    rows: list[tuple[Any, ...]] = duckdb.execute(sql, {"parquet": str(parquet)}).fetchall()
    return rows


def test_parquet_has_the_events_of_the_log(log: Path, tmp_path: Path) -> None:
    events = block_on(recorded_events(log).pipe(ops.to_list())) or []
    rows = converted(
        str(log), tmp_path / "runs.parquet", "SELECT run_id, seq, epoch_us(ts) FROM read_parquet($parquet)"
    )
    assert [(event.run_id, event.seq, round(event.ts.timestamp() * 1e6)) for event in events] == rows


def test_a_compressed_log_is_converted_as_well(log: Path, tmp_path: Path) -> None:
    compressed = tmp_path / "runs.ndjson.gz"
    compressed.write_bytes(gzip.compress(log.read_bytes()))
    assert [(345,)] == converted(
        str(compressed), tmp_path / "runs.parquet", "SELECT count(*) FROM read_parquet($parquet)"
    )


def test_logs_with_and_without_model_calls_make_one_table(tmp_path: Path) -> None:
    """Columns are named, not guessed from the first lines."""
    calls: list[RunEvent] = [llm_call(seq=1, usage=tokens(10, 20, 30)), llm_call(seq=2, run_id=UUID(int=7))]
    block_on(reactivex.of(*calls).pipe(ops.record(tmp_path / "a.ndjson")))
    with DevServer() as server, server.client() as client:
        ids = [server.add_run(events=run_of(1)).run_id]
        block_on(merge_runs(ids, client=client).pipe(ops.record(tmp_path / "b.ndjson")))
    rows = converted(
        f"{tmp_path}/*.ndjson",
        tmp_path / "runs.parquet",
        "SELECT llm_call.model, llm_call.usage.output_tokens, count(*) FROM read_parquet($parquet) "
        "GROUP BY ALL ORDER BY ALL",
    )
    assert [("gpt-5", 20, 1), ("gpt-5", None, 1), (None, None, 5)] == rows
