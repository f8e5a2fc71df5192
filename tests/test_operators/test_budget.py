from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import reactivex

from rxruns import operators as ops
from rxruns.costs import Price
from rxruns.errors import BudgetError, InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.testing import subscription_times
from tests.making import OTHER_RUN, delta, llm_call, tokens

PRICES = {("openai", "gpt-5"): Price(1, 1)}
DOLLAR = llm_call(usage=tokens(1_000_000, 0))
OTHERS_DOLLAR = llm_call(usage=tokens(1_000_000, 0), run_id=OTHER_RUN)
UNPRICED = llm_call("anthropic", "claude")


def followed(*events: RunEvent, **options: Any) -> tuple[list[RunEvent], Any]:
    """The emitted events, and the error after them."""
    emitted: list[RunEvent] = []
    errors: list[Any] = [None]
    operator = ops.budget(**{"limit_usd": 2, "prices": PRICES} | options)
    reactivex.from_iterable(events).pipe(operator).subscribe(emitted.append, errors.append)
    return emitted, errors[-1]


def test_the_call_that_exceeds_the_limit_is_emitted_before_the_error() -> None:
    emitted, error = followed(DOLLAR, delta(), DOLLAR, OTHERS_DOLLAR, delta())
    assert [DOLLAR, delta(), DOLLAR, OTHERS_DOLLAR] == emitted
    assert isinstance(error, BudgetError)
    assert (3, Decimal(3), ()) == (error.totals.requests, error.totals.usd, error.unpriced)
    assert "3 US dollars were spent, the limit is 2" == str(error)


def test_a_model_without_a_price_ends_the_stream_at_once() -> None:
    emitted, error = followed(UNPRICED, delta())
    assert ([UNPRICED], (("anthropic", "claude"),)) == (emitted, error.unpriced)
    assert "anthropic/claude" in str(error)


def test_models_without_a_price_can_be_ignored() -> None:
    emitted, error = followed(UNPRICED, DOLLAR, DOLLAR, DOLLAR, delta(), ignore_unpriced=True)
    assert 4 == len(emitted)
    assert "3 US dollars" in str(error)
    assert (("anthropic", "claude"),) == error.unpriced


def test_a_call_of_unknown_cost_does_not_hide_the_cost_of_other_calls() -> None:
    only_a_total = llm_call(usage=tokens(total=5))
    assert (("openai", "gpt-5"),) == followed(only_a_total)[1].unpriced
    emitted, error = followed(only_a_total, DOLLAR, DOLLAR, DOLLAR, delta(), ignore_unpriced=True)
    assert 4 == len(emitted)
    assert "3 US dollars were spent, the limit is 2" == str(error)


def test_spending_exactly_the_limit_is_allowed() -> None:
    assert ([DOLLAR, DOLLAR], None) == followed(DOLLAR, DOLLAR)


@pytest.mark.parametrize("limit", [-1, "much", float("nan"), True, None])
def test_a_limit_that_is_not_a_number_of_dollars_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="^limit_usd must be a number of US") as refused:
        ops.budget(limit, PRICES)
    assert "limit_usd" == refused.value.field


def test_each_subscription_has_its_own_budget() -> None:
    spending = reactivex.of(DOLLAR, DOLLAR).pipe(ops.budget(2, PRICES), ops.count())
    assert [2, 2] == [spending.run(), spending.run()]


def test_the_error_is_emitted_with_the_event_and_unsubscribes_from_the_source() -> None:
    assert [(0, 2)] == subscription_times(ops.budget(1, PRICES), [DOLLAR, DOLLAR, delta()])
