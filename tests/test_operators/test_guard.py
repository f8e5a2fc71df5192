from __future__ import annotations

from typing import Any

import pytest
import reactivex

from rxruns import operators as ops
from rxruns.errors import RunFailedError
from rxruns.events import RunCanceled, RunFailed
from rxruns.testing import subscription_times
from tests.making import OTHER_RUN, run_canceled, run_completed, run_failed, run_started
from tests.test_operators.marbles import check


@pytest.mark.parametrize("event", [run_failed(), run_canceled()])
def test_the_error_is_emitted_after_the_terminal_event(event: RunFailed | RunCanceled) -> None:
    seen: list[Any] = []
    reactivex.of(run_started(), event, run_started()).pipe(ops.raise_on_failure()).subscribe(
        seen.append, seen.append, lambda: seen.append("completed")
    )
    assert [run_started(), event] == seen[:2]
    assert [RunFailedError] == [type(error) for error in seen[2:]]
    assert event is seen[2].event


@pytest.mark.parametrize("drawing", ["-r-E|", "-r-#"])
def test_a_run_that_completes_and_an_error_of_the_source_pass_unchanged(drawing: str) -> None:
    check(ops.raise_on_failure(), drawing, drawing, {"r": run_started(), "E": run_completed()})


def test_a_failure_unsubscribes_from_the_source() -> None:
    assert [(0, 2)] == subscription_times(
        ops.raise_on_failure(), [run_started(), run_failed(), run_started()]
    )


def test_a_subscriber_that_disposes_at_the_event_gets_no_error() -> None:
    seen: list[Any] = []
    reactivex.of(run_failed()).pipe(ops.raise_on_failure(), ops.take(1)).subscribe(seen.append, seen.append)
    assert [run_failed()] == seen


def test_merged_runs_continue_when_each_is_guarded() -> None:
    runs = [
        reactivex.of(run_failed()),
        reactivex.of(run_started(run_id=OTHER_RUN), run_completed(run_id=OTHER_RUN)),
    ]
    guarded = (run.pipe(ops.raise_on_failure(), ops.catch(reactivex.empty())) for run in runs)
    assert 3 == len(reactivex.merge(*guarded).pipe(ops.to_list()).run())
