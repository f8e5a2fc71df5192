"""Typed uses of many runs at once: checked by mypy and pyright, never run."""

from collections.abc import Callable, Iterable
from typing import assert_type
from uuid import UUID

from reactivex import Observable

from rxruns import RunNotFollowed, merge_runs, ops
from rxruns._streams._merge_runs import OnRunError
from rxruns.costs import CostTotals
from rxruns.cursors import CursorStore, Lease, PostgresCursors, SqliteCursors
from rxruns.events import RunEvent


def ids(
    several: list[UUID], texts: Iterable[str], emitted: Observable[UUID], emitted_texts: Observable[str]
) -> None:
    assert_type(merge_runs(several), Observable[RunEvent])
    assert_type(merge_runs(texts, max_concurrent=100), Observable[RunEvent])
    assert_type(merge_runs(emitted, on_run_error="raise"), Observable[RunEvent])
    assert_type(merge_runs(emitted_texts, limit=3), Observable[RunEvent])


def failures(several: list[UUID], either: OnRunError) -> None:
    values = merge_runs(several, on_run_error="emit")
    assert_type(values, Observable[RunEvent | RunNotFollowed])
    assert_type(merge_runs(several, on_run_error=either), Observable[RunEvent | RunNotFollowed])
    assert_type(values.pipe(ops.of_type(RunEvent)), Observable[RunEvent])
    assert_type(values.pipe(ops.of_type(RunEvent), ops.cost_totals()), Observable[CostTotals])
    values.subscribe(look)


def look(value: RunEvent | RunNotFollowed) -> None:
    if isinstance(value, RunNotFollowed):
        assert_type(value.run_id, UUID | None)
        assert_type(value.error, Exception)
        assert_type(value.last_seq, int)
    else:
        assert_type(value, RunEvent)


def claims(several: list[UUID], sqlite: SqliteCursors, postgres: PostgresCursors) -> None:
    assert_type(merge_runs(several, claim=sqlite), Observable[RunEvent])
    assert_type(
        merge_runs(several, claim=postgres, on_run_error="emit"), Observable[RunEvent | RunNotFollowed]
    )
    assert_type(sqlite.claim("a"), Lease | None)
    merge_runs(several).pipe(ops.checkpoint(postgres))


def cursors(several: list[UUID], store: CursorStore, own: Callable[[UUID], int]) -> None:
    merge_runs(several, after_seq=store.get)
    merge_runs(several, after_seq=own)
