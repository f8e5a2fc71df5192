from __future__ import annotations

from typing import Any

import pytest
import reactivex
from reactivex.testing.marbles import marbles_testing

from rxruns import operators as ops
from rxruns.costs import CostTotals, Price, fold
from rxruns.errors import InvalidArgumentError
from rxruns.operators._fold import changes
from rxruns.testing import subscription_times
from tests.making import delta, llm_call, node_started, run_completed, run_started, tokens

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}
c, k = llm_call(usage=tokens(1000, 200)), llm_call(usage=tokens(10, 20), seq=5)
EVENTS: dict[str | float, Any] = {"r": run_started(), "c": c, "k": k, "d": delta(), "E": run_completed()}
TOTALS: dict[str | float, Any] = {"x": fold([c], PRICES), "y": fold([c, k], PRICES)}
FAULT = RuntimeError("the line is dead")


def test_totals_come_after_each_event_that_changes_them() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-c-d-k-E-|", EVENTS, None)
        assert exp("---x---y---|", TOTALS, None) == start(source.pipe(ops.cost_totals(PRICES)))


def test_an_error_passes_after_the_totals_before_it() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-c-#", EVENTS, FAULT)
        assert exp("---x-#", TOTALS, FAULT) == start(source.pipe(ops.cost_totals(PRICES)))


def test_a_run_without_calls_has_no_totals() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-d-E-|", EVENTS, None)
        assert exp("-------|", TOTALS, None) == start(source.pipe(ops.cost_totals()))


def test_a_fold_goes_on_from_a_stored_value_and_its_prices() -> None:
    stored = fold([c], PRICES)
    assert fold([c, k], PRICES) == reactivex.of(k).pipe(ops.cost_totals(initial=stored)).run()


def test_prices_that_are_given_hold_for_what_follows() -> None:
    stored = fold([c], {("openai", "gpt-5"): Price(1_000_000, 0)})
    totals = reactivex.of(k).pipe(ops.cost_totals({("openai", "gpt-5"): Price(1, 0)}, initial=stored)).run()
    assert "1000.000010" == f"{totals.usd:f}"


def test_each_subscription_folds_for_itself() -> None:
    totals = reactivex.of(c, k).pipe(ops.cost_totals(PRICES))
    assert 2 == totals.run().requests == totals.run().requests


def test_bad_prices_are_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentError):
        ops.cost_totals({("openai", "gpt-5"): 3})  # type: ignore[dict-item]


def test_disposing_leaves_the_source() -> None:
    assert [(0, 2)] == subscription_times(
        reactivex.compose(ops.cost_totals(), ops.take(1)),
        [EVENTS["r"], EVENTS["c"], EVENTS["k"], EVENTS["c"]],
    )


def test_a_value_that_refuses_an_event_ends_the_stream() -> None:
    class Picky(CostTotals):
        def step(self, event: object) -> Any:
            raise FAULT

    seen: list[object] = []
    reactivex.of(node_started(), c).pipe(changes(Picky())).subscribe(seen.append, seen.append)
    assert [FAULT] == seen
