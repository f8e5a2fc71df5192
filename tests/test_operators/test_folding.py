from __future__ import annotations

import pickle
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing.marbles import marbles_testing

from rxruns import CostTotals, Price
from rxruns import operators as ops
from rxruns.errors import InvalidArgumentError
from rxruns.folds import By, Folded, NodeSpans, RunStates, Together
from rxruns.testing import subscription_times
from tests.folding import Refusing, Seen, SeenCalls
from tests.making import OTHER_RUN, RUN, delta, llm_call, node_started, run_completed, run_started, tokens
from tests.records import examples

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}
EVENTS: dict[str | float, Any] = {
    "r": run_started(1),
    "c": llm_call(usage=tokens(3, 5), seq=2),
    "d": delta(seq=3),
    "k": llm_call(usage=tokens(1, 2), seq=4),
    "E": run_completed(5),
    "o": run_started(1, OTHER_RUN),
}
FAULT = RuntimeError("the line is dead")


def folded(fold: Any, names: str) -> Folded[Any]:
    value = Folded(fold)
    for name in names:
        value = value.step(EVENTS[name])
    return value


VALUES: dict[str | float, Any] = {
    "x": folded(CostTotals(PRICES), "rc"),
    "y": folded(CostTotals(PRICES), "rcdk"),
    "z": folded(CostTotals(PRICES), "rcdkE"),
    "w": folded(CostTotals(PRICES), "rcd"),
    "v": folded(CostTotals(PRICES), "rcdkEo"),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-r-c-d-k-E-|", "---x---y-z-|"),
        ("-r-c-d-|", "---x---(w,|)"),
        ("-r-c-#", "---x-#"),
        ("-r-c-c-r-d-k-d-E-|", "---x-------y---z-|"),
        ("-r-c-d-k-E-o-|", "---x---y-z---(v,|)"),
    ],
)
def test_values_come_with_their_cursors_after_each_change(source: str, expected: str) -> None:
    with marbles_testing() as (start, _, hot, exp):
        result = start(hot(source, EVENTS, FAULT).pipe(ops.fold(CostTotals(PRICES))))
        assert exp(expected, VALUES, FAULT) == result


def test_a_cursor_is_the_seq_of_the_last_event_of_each_run() -> None:
    last = reactivex.of(*map(EVENTS.__getitem__, "rcodk")).pipe(ops.fold(RunStates())).run()
    assert {RUN: 4, OTHER_RUN: 1} == last.cursors
    assert {RUN, OTHER_RUN} == set(last.value)


def test_a_source_without_events_gives_the_value_it_continues_from() -> None:
    assert [VALUES["x"]] == reactivex.empty().pipe(
        ops.fold(CostTotals(PRICES), initial=VALUES["x"]), ops.to_list()
    ).run()


@examples(60)
@given(crashes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=4))
@pytest.mark.parametrize(
    "fold",
    [CostTotals(PRICES), Seen(), By("node_id", Seen()), Together(a=SeenCalls(), b=RunStates())],
    ids=str,
)
def test_events_that_come_again_after_a_crash_change_nothing(
    fold: Any, crashes: list[tuple[int, int]]
) -> None:
    """Each life reads some events, from an earlier one on, and stores the last value that was emitted."""
    log = [EVENTS[name] for name in "rcodkE"]
    stored: Folded[Any] | None = None
    for end, rewound in [*crashes, (6, 0)]:
        cursors = {} if stored is None else stored.cursors
        events = [event for event in log if event.seq > cursors.get(event.run_id, 0) - rewound][:end]
        values: list[Folded[Any]] = []
        died = reactivex.concat(reactivex.from_iterable(events), reactivex.never())
        died.pipe(ops.fold(fold, initial=stored)).subscribe(values.append)
        if values:
            stored = pickle.loads(pickle.dumps(values[-1]))

    whole = reactivex.from_iterable(log).pipe(ops.fold(fold, initial=stored)).run()
    if isinstance(fold, CostTotals):
        assert folded(fold, "rcodkE") == whole
    assert folded(fold, "rcodkE").cursors == whole.cursors


def test_plain_dicts_serve_as_cursors() -> None:
    initial = Folded(CostTotals(PRICES), {RUN: 3})
    assert 1 == reactivex.of(*map(EVENTS.__getitem__, "rcdk")).pipe(
        ops.fold(CostTotals(), initial=initial)
    ).run().value.requests  # fmt: skip


def test_an_error_of_the_fold_ends_the_stream() -> None:
    seen: list[Any] = []
    reactivex.of(node_started()).pipe(ops.fold(Refusing())).subscribe(seen.append, seen.append)
    assert [ArithmeticError] == list(map(type, seen))


def test_disposing_leaves_the_source() -> None:
    piped = reactivex.compose(ops.fold(NodeSpans()), ops.take(1))
    assert [(0, 1)] == subscription_times(piped, [node_started(seq=1), node_started(seq=2)])


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ops.fold(CostTotals), "fold"),  # type: ignore[type-var]
        (lambda: ops.fold(CostTotals().step(EVENTS["c"])), "fold"),
        (lambda: ops.fold(CostTotals(), initial=CostTotals()), "initial"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_refused_at_once(make: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert field == caught.value.field
