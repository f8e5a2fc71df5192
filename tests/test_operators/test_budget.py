from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import reactivex
from reactivex.testing.marbles import marbles_testing

from rxruns import operators as ops
from rxruns.costs import Price
from rxruns.errors import BudgetError, InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.testing import subscription_times
from tests.making import OTHER_RUN, delta, llm_call, run_started, tokens

PRICES = {("openai", "gpt-5"): Price(1, 1)}
DOLLAR = llm_call(usage=tokens(1_000_000, 0))
OTHERS_DOLLAR = llm_call(usage=tokens(1_000_000, 0), run_id=OTHER_RUN)
UNPRICED = llm_call("anthropic", "claude")


def followed(*events: RunEvent, **options: Any) -> tuple[list[RunEvent], Any]:
    """What came, and the error that ended it."""
    came: list[RunEvent] = []
    errors: list[Any] = [None]
    reactivex.from_iterable(events).pipe(
        ops.budget(**{"limit_usd": 2, "prices": PRICES} | options)
    ).subscribe(came.append, errors.append)
    return came, errors[-1]


def test_the_call_that_passes_the_limit_comes_and_then_the_error() -> None:
    came, error = followed(DOLLAR, delta(), DOLLAR, OTHERS_DOLLAR, delta())
    assert [DOLLAR, delta(), DOLLAR, OTHERS_DOLLAR] == came
    assert isinstance(error, BudgetError)
    assert (3, Decimal(3), ()) == (error.totals.requests, error.totals.usd, error.unpriced)
    assert "3 US dollars were spent, the limit is 2" == str(error)


def test_the_error_comes_with_the_event() -> None:
    _, error = followed(DOLLAR, limit_usd=0)
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-a-b-c-|", {"a": run_started(), "b": DOLLAR, "c": delta()}, None)
        messages = start(source.pipe(ops.budget(0, PRICES)))
        kinds = [(message.time, message.value.kind) for message in messages]
        assert [(201.0, "N"), (203.0, "N"), (203.0, "E")] == kinds
    assert isinstance(error, BudgetError)


def test_a_model_without_a_price_ends_it_at_once() -> None:
    came, error = followed(UNPRICED, delta())
    assert ([UNPRICED], (("anthropic", "claude"),)) == (came, error.unpriced)
    assert "anthropic/claude" in str(error)


def test_models_without_a_price_can_be_left_out() -> None:
    came, error = followed(UNPRICED, DOLLAR, DOLLAR, DOLLAR, delta(), ignore_unpriced=True)
    assert 4 == len(came)
    assert "3 US dollars" in str(error)
    assert (("anthropic", "claude"),) == error.unpriced


def test_a_call_of_unknown_cost_hides_nothing_that_its_model_spends() -> None:
    only_a_total = llm_call(usage=tokens(total=5))
    assert (("openai", "gpt-5"),) == followed(only_a_total)[1].unpriced
    came, error = followed(only_a_total, DOLLAR, DOLLAR, DOLLAR, delta(), ignore_unpriced=True)
    assert 4 == len(came)
    assert "3 US dollars were spent, the limit is 2" == str(error)


def test_to_spend_the_limit_is_allowed() -> None:
    assert ([DOLLAR, DOLLAR], None) == followed(DOLLAR, DOLLAR)


@pytest.mark.parametrize("limit", [-1, "much", float("nan"), True, None])
def test_a_limit_is_a_number_of_dollars(limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="limit_usd") as refused:
        ops.budget(limit, PRICES)
    assert "limit_usd" == refused.value.field


def test_each_subscription_has_its_own_budget() -> None:
    spending = reactivex.of(DOLLAR, DOLLAR).pipe(ops.budget(2, PRICES), ops.count())
    assert [2, 2] == [spending.run(), spending.run()]


def test_the_error_leaves_the_source() -> None:
    assert [(0, 2)] == subscription_times(ops.budget(1, PRICES), [DOLLAR, DOLLAR, delta()])
