from __future__ import annotations

from typing import Any

import pytest
import reactivex
from reactivex.testing.marbles import marbles_testing

from rxruns import operators as ops
from rxruns.errors import RunFailedError
from rxruns.events import RunCanceled, RunFailed
from rxruns.testing import subscription_times
from tests.making import OTHER_RUN, run_canceled, run_completed, run_failed, run_started

EVENTS: dict[str | float, Any] = {
    "r": run_started(),
    "F": run_failed(),
    "C": run_canceled(),
    "E": run_completed(),
}


@pytest.mark.parametrize("event", [run_failed(), run_canceled()])
def test_the_terminal_event_passes_and_then_the_error_comes(event: RunFailed | RunCanceled) -> None:
    seen: list[Any] = []
    reactivex.of(run_started(), event, run_started()).pipe(ops.raise_on_failure()).subscribe(
        seen.append, seen.append, lambda: seen.append("completed")
    )
    assert [run_started(), event] == seen[:2]
    assert [RunFailedError] == [type(error) for error in seen[2:]]
    assert event is seen[2].event


def test_a_run_that_completes_passes_untouched() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-E|", EVENTS, None)
        assert exp("-r-E|", EVENTS, None) == start(source.pipe(ops.raise_on_failure()))


def test_a_failure_leaves_the_source() -> None:
    assert [(0, 2)] == subscription_times(ops.raise_on_failure(), [EVENTS["r"], EVENTS["F"], EVENTS["r"]])


def test_an_error_of_the_source_passes_as_it_is() -> None:
    fault = RuntimeError("the line is dead")
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-#", EVENTS, fault)
        assert exp("-r-#", EVENTS, fault) == start(source.pipe(ops.raise_on_failure()))


def test_a_subscriber_that_leaves_at_the_event_hears_of_no_error() -> None:
    seen: list[Any] = []
    reactivex.of(run_failed()).pipe(ops.raise_on_failure(), ops.take(1)).subscribe(seen.append, seen.append)
    assert [run_failed()] == seen


def test_merged_runs_go_on_when_each_is_guarded() -> None:
    runs = [
        reactivex.of(run_failed()),
        reactivex.of(run_started(run_id=OTHER_RUN), run_completed(run_id=OTHER_RUN)),
    ]
    guarded = (run.pipe(ops.raise_on_failure(), ops.catch(reactivex.empty())) for run in runs)
    assert 3 == len(reactivex.merge(*guarded).pipe(ops.to_list()).run())
