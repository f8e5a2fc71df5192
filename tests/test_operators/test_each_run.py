from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import pytest
import reactivex
from reactivex.testing.marbles import marbles_testing

from rxruns import CostTotals, Price, RunNotFollowed, merge_runs
from rxruns import operators as ops
from rxruns.devserver import DevServer
from rxruns.errors import BudgetError, InvalidArgumentError, StreamInterruptedError
from rxruns.events import RunEvent
from rxruns.testing import subscription_times
from tests.conftest import HANG
from tests.making import OTHER_RUN, RUN, delta, llm_call, run_completed, run_failed, run_started, tokens
from tests.observing import run_of
from tests.soak import MIB, both_sizes, peak_of_memory

PRICES = {("openai", "gpt-5"): Price(1_000_000, 0)}
EVENTS: dict[str | float, Any] = {
    "a": run_started(1),
    "A": run_completed(9),
    "b": run_started(1, OTHER_RUN),
    "B": run_failed(9, OTHER_RUN),
    "c": llm_call(usage=tokens(3, 5), seq=2),
    "d": delta(seq=3),
}
GONE = StreamInterruptedError("gone", run_id=RUN, last_seq=2)
FAULT = RuntimeError("the line is dead")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a-b-d-B-A-|", "-------2-3-|"),
        ("-a-b-d-A-|", "-------3-(1,|)"),
        ("-a-A-a-A-|", "---2---2-|"),
        ("-a-b-#", "-----#"),
        ("-|", "-|"),
    ],
)
def test_operators_see_one_run_each_and_complete_with_its_terminal_event(source: str, expected: str) -> None:
    with marbles_testing() as (start, _, hot, exp):
        counts = hot(source, EVENTS, FAULT).pipe(ops.each_run(ops.count()))
        assert exp(expected, None, FAULT) == start(counts)


def test_without_operators_events_pass_as_they_are() -> None:
    events = [EVENTS[name] for name in "abcdBA"]
    assert events == reactivex.from_iterable(events).pipe(ops.each_run(), ops.to_list()).run()


def test_an_error_of_one_runs_operators_ends_the_stream() -> None:
    seen: list[Any] = []
    events = reactivex.of(*map(EVENTS.__getitem__, "abcBA"))
    events.pipe(ops.each_run(ops.budget(1, PRICES))).subscribe(seen.append, seen.append)

    assert [EVENTS["a"], EVENTS["b"], EVENTS["c"]] == seen[:-1]
    assert BudgetError is type(seen[-1])


def test_an_error_that_is_handled_inside_ends_that_run_alone() -> None:
    handled = ops.catch(lambda error, source: reactivex.empty())
    events = reactivex.of(*map(EVENTS.__getitem__, "acbdBA"))
    seen = events.pipe(ops.each_run(ops.budget(1, PRICES), handled), ops.to_list()).run()

    assert [EVENTS[name] for name in "acbB"] == seen


def test_a_run_that_was_not_followed_completes_and_its_error_passes() -> None:
    lost = RunNotFollowed(
        run_id=RUN, last_seq=2, error=StreamInterruptedError("gone", run_id=RUN, last_seq=2)
    )
    unseen = RunNotFollowed(run_id=UUID(int=7), last_seq=0, error=GONE)
    values: list[Any] = [EVENTS["a"], EVENTS["b"], lost, unseen, EVENTS["B"]]
    seen = reactivex.from_iterable(values).pipe(ops.each_run(ops.count()), ops.to_list()).run()

    assert [1, lost, unseen, 2] == seen


def test_disposing_leaves_the_source() -> None:
    piped = reactivex.compose(ops.each_run(ops.map(lambda event: event.seq)), ops.take(2))
    assert [(0, 2)] == subscription_times(piped, [EVENTS[name] for name in "abAB"])


def test_runs_of_a_queue_that_never_ends_emit_at_their_ends(no_leaks: None) -> None:
    queue: SimpleQueue[UUID] = SimpleQueue()
    ended = threading.Semaphore(0)
    states: list[Any] = []
    with DevServer() as server, server.client() as client:
        merged = merge_runs(iter(queue.get, UUID(int=0)), client=client, max_concurrent=2)
        merged.pipe(ops.each_run(ops.run_state(), ops.last())).subscribe(
            lambda state: (states.append(state), ended.release())
        )
        runs = [server.add_run(events=run_of(2)).run_id for _ in range(3)]
        for run_id in runs:
            queue.put(run_id)
            assert ended.acquire(timeout=HANG)
        queue.put(UUID(int=0))
    assert runs == [state.run_id for state in states]


def many(count: int) -> Iterator[RunEvent]:
    """Runs that take turns, of which four are open at a time."""
    for number in range(1, count + 4):
        if number > 3:
            yield run_completed(3, UUID(int=number - 3))
        yield run_started(1, UUID(int=number))
        yield llm_call(usage=tokens(3, 5), seq=2, run_id=UUID(int=number))


@both_sizes
def test_ended_runs_leave_no_memory_behind(soaking: bool) -> None:
    count = 20_000 if soaking else 2_000
    each = ops.each_run(ops.fold(CostTotals(PRICES)), ops.last())

    def follow(runs: int) -> int:
        return reactivex.from_iterable(many(runs)).pipe(each, ops.count()).run()

    follow(200)
    with peak_of_memory() as grown:
        assert count + 3 == follow(count)
        assert grown() < 5 * MIB


def test_an_operator_that_cannot_be_called_is_refused_at_once() -> None:
    wrong: Any = 3
    with pytest.raises(InvalidArgumentError, match="operators must be operators, as for pipe, got 3"):
        ops.each_run(wrong)
