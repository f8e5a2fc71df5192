"""Typed uses of folds and of the cluster: checked by mypy and pyright, never run."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self, assert_type
from uuid import UUID

from rxruns import CostTotals, RunsClient
from rxruns import folds as folds_here
from rxruns.dask import FoldedRuns, fold_logs, fold_runs
from rxruns.errors import StreamProtocolError
from rxruns.events import RunEvent
from rxruns.folds import By, Fold, NodeSpans, RunStates, Together


@dataclass(frozen=True)
class Counted:
    count: int = 0

    def step(self, event: RunEvent) -> "Counted":
        return Counted(self.count + 1)

    def combine(self, other: "Counted") -> "Counted":
        return Counted(self.count + other.count)


class Inherited:
    def step(self, event: RunEvent) -> Self:
        return self

    def combine(self, other: Self) -> Self:
        return self


class Halfway:
    def step(self, event: RunEvent) -> Self:
        return self


def folds(run_ids: list[UUID], logs: list[Path]) -> None:
    assert_type(fold_runs(run_ids, CostTotals()), FoldedRuns[CostTotals])
    assert_type(fold_runs(["id"], RunStates(), wait=False, resume=None).value, RunStates)
    assert_type(fold_logs("*.ndjson", NodeSpans()), NodeSpans)
    assert_type(fold_logs(logs, Counted(), every_line=True), Counted)
    assert_type(fold_logs(logs, Inherited()), Inherited)
    fold_logs(logs, Halfway())  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def arguments(logs: list[Path], errors: list[StreamProtocolError], client: RunsClient) -> None:
    fold_logs(logs, Counted(), on_invalid=errors.append)
    fold_logs(logs, Counted(), on_invalid="skip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fold_runs([], Counted(), connect=lambda: client)
    fold_runs([], Counted(), connect=client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


everything: list[Fold] = [CostTotals(), RunStates(), NodeSpans(), Counted(), Inherited()]


def on_this_machine(logs: list[Path]) -> None:
    assert_type(folds_here.fold_logs("*.ndjson", NodeSpans()), NodeSpans)
    assert_type(folds_here.fold_logs(logs, Counted(), processes=2, on_progress=print), Counted)
    folds_here.fold_logs(logs, Halfway())  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def of_seq(event: RunEvent) -> int:
    return event.seq


def by_key() -> None:
    assert_type(By("run_id", CostTotals()), By[UUID, CostTotals])
    assert_type(By("model", CostTotals())["gpt-5"], CostTotals)
    assert_type(By("minute", Counted()), By[datetime, Counted])
    assert_type(folds_here.fold_logs("*.ndjson", By(of_seq, Counted())), By[int, Counted])
    assert_type(folds_here.fold_logs("*.ndjson", Together(cost=CostTotals())), Together)
