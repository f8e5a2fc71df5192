from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import Any
from uuid import UUID

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rxruns import CostTotals
from rxruns import operators as ops
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.folds import By, Window
from rxruns.testing import subscription_times
from tests.folding import Refusing, Seen
from tests.making import NOON, delta, llm_call, tokens
from tests.records import examples

MINUTE = timedelta(minutes=1)


def at(seconds: float, seq: int = 1, event: RunEvent | None = None) -> RunEvent:
    return replace(event or delta(), ts=NOON + timedelta(seconds=seconds), seq=seq)


def emitted(seconds: list[float], lateness: float = 0.0) -> list[list[Any]]:
    """Return the windows after each event and at the end: the start in minutes, the events in seconds."""
    found: list[list[Any]] = [[]]

    def keep(window: Window[Seen]) -> None:
        assert MINUTE == window.end - window.start
        found[-1].append((int((window.start - NOON) / MINUTE), [seq for _, seq, _ in window.value.events]))

    source: reactivex.Subject[RunEvent] = reactivex.Subject()
    source.pipe(ops.fold_windows(Seen(), 60, lateness=lateness)).subscribe(keep)
    for second in seconds:
        source.on_next(at(second, int(second)))
        found.append([])
    source.on_completed()
    return found


def test_a_window_closes_with_the_first_event_after_it_and_the_rest_at_completion() -> None:
    assert [[], [], [(0, [1, 59])], [], [(1, [60, 90])]] == emitted([1, 59, 60, 90])


def test_it_waits_for_late_events_as_long_as_they_may_be_late() -> None:
    found = emitted([1, 59, 62, 58, 89, 90, 91], lateness=30)
    assert [[], [], [], [], [], [(0, [1, 59, 58])], [], [(1, [62, 89, 90, 91])]] == found


def test_later_events_open_their_window_again_and_are_emitted_together() -> None:
    found = emitted([1, 90, 2, 3, 119, 120, 121, 200], lateness=30)
    assert [(0, [1])] == found[1]
    assert [(0, [2, 3])] == found[5]
    assert [(1, [90, 119])] == found[7]
    assert [(2, [120, 121]), (3, [200])] == found[8]


def test_windows_without_a_change_of_the_fold_are_not_emitted() -> None:
    events = [at(0), at(61, 2, llm_call(usage=tokens(3, 5))), at(130, 3)]
    (window,) = reactivex.from_iterable(events).pipe(ops.fold_windows(CostTotals(), 60), ops.to_list()).run()
    assert (NOON + MINUTE, 1) == (window.start, window.value.requests)


def test_two_hundred_runs_that_take_turns_make_one_window_a_second() -> None:
    events = [
        replace(at(second + run / 200 - 0.4 * (run % 2)), run_id=UUID(int=run + 1))
        for second in range(12)
        for run in range(200)
    ]
    windows = reactivex.from_iterable(events).pipe(
        ops.fold_windows(By("run_id", Seen()), 1, lateness=1), ops.to_list()
    )
    starts = [window.start for window in windows.run()]
    assert sorted(set(starts)) == starts
    assert 13 == len(starts)


@examples(100)
@given(
    seconds=st.lists(st.integers(1, 400), max_size=20, unique=True),
    lateness=st.sampled_from([0.0, 30.0, 1_000.0]),
)
def test_values_of_one_start_add_up_to_all_its_events(seconds: list[int], lateness: float) -> None:
    windows = [window for step in emitted(list(map(float, seconds)), lateness) for window in step]
    by_minute: dict[int, list[int]] = {}
    for minute, events in windows:
        by_minute.setdefault(minute, []).extend(events)

    assert sorted(seconds) == sorted(reduce(lambda one, other: one + other, by_minute.values(), []))
    assert [] == [
        (minute, event) for minute, found in by_minute.items() for event in found if event // 60 != minute
    ]
    if lateness > 400 or sorted(seconds) == seconds:
        assert len(by_minute) == len(windows)


def test_an_error_passes_and_drops_what_is_open() -> None:
    seen: list[Any] = []
    source = reactivex.concat(reactivex.of(at(1)), reactivex.throw(ValueError()))
    source.pipe(ops.fold_windows(Seen(), 60)).subscribe(seen.append, seen.append)
    reactivex.of(at(1)).pipe(ops.fold_windows(Refusing(), 60)).subscribe(seen.append, seen.append)
    assert [ValueError, ArithmeticError] == list(map(type, seen))


def test_disposing_leaves_the_source() -> None:
    piped = reactivex.compose(ops.fold_windows(Seen(), 60), ops.take(1))
    assert [(0, 2)] == subscription_times(piped, [at(0), at(60, 2), at(120, 3)])


@pytest.mark.parametrize(
    ("arguments", "options", "field"),
    [
        ((CostTotals, 60), {}, "fold"),
        ((CostTotals(), 0), {}, "seconds"),
        ((CostTotals(), "60"), {}, "seconds"),
        ((CostTotals(), 60), {"lateness": -1}, "lateness"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(arguments: Any, options: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ops.fold_windows(*arguments, **options)
    assert field == caught.value.field
