from __future__ import annotations

from typing import Any

import pytest
import reactivex

from rxruns import operators as ops
from rxruns.costs import CostTotals, Price, fold
from rxruns.errors import InvalidArgumentError
from rxruns.operators._fold import changes
from rxruns.testing import subscription_times
from tests.making import delta, llm_call, node_started, run_completed, run_started, tokens
from tests.test_operators.marbles import FAULT, check

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}
c, k = llm_call(usage=tokens(1000, 200)), llm_call(usage=tokens(10, 20), seq=5)
VALUES = {
    "r": run_started(),
    "c": c,
    "k": k,
    "d": delta(),
    "E": run_completed(),
    "x": fold([c], PRICES),
    "y": fold([c, k], PRICES),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-r-c-d-k-E-|", "---x---y---|"),
        ("-r-c-#", "---x-#"),
        ("-r-d-E-|", "-------|"),
    ],
)
def test_totals_are_emitted_after_each_event_that_changes_them(source: str, expected: str) -> None:
    check(ops.cost_totals(PRICES), source, expected, VALUES)


def test_a_fold_continues_from_a_stored_value_and_its_prices() -> None:
    stored = fold([c], PRICES)
    assert fold([c, k], PRICES) == reactivex.of(k).pipe(ops.cost_totals(initial=stored)).run()


def test_new_prices_hold_for_later_calls() -> None:
    stored = fold([c], {("openai", "gpt-5"): Price(1_000_000, 0)})
    totals = reactivex.of(k).pipe(ops.cost_totals({("openai", "gpt-5"): Price(1, 0)}, initial=stored)).run()
    assert "1000.000010" == f"{totals.usd:f}"


def test_each_subscription_has_its_own_totals() -> None:
    totals = reactivex.of(c, k).pipe(ops.cost_totals(PRICES))
    assert 2 == totals.run().requests == totals.run().requests


def test_bad_prices_are_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentError):
        ops.cost_totals({("openai", "gpt-5"): 3})  # type: ignore[dict-item]


def test_dispose_unsubscribes_from_the_source() -> None:
    operator = reactivex.compose(ops.cost_totals(), ops.take(1))
    assert [(0, 2)] == subscription_times(operator, [run_started(), c, k, c])


def test_a_value_that_refuses_an_event_ends_the_stream() -> None:
    class Picky(CostTotals):
        def step(self, event: object) -> Any:
            raise FAULT

    seen: list[object] = []
    reactivex.of(node_started(), c).pipe(changes(Picky())).subscribe(seen.append, seen.append)
    assert [FAULT] == seen
