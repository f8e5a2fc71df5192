"""The operator that limits the cost of runs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from reactivex import Observable, abc

from rxruns._errors import must_be
from rxruns.costs import CostTotals, Price, Prices
from rxruns.costs._prices import EXACT
from rxruns.errors import BudgetError, InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.operators._stateful import Handlers, stateful

__all__ = ["budget"]

_E = TypeVar("_E", bound=RunEvent)


def budget(
    limit_usd: Decimal | str | float, prices: Prices, ignore_unpriced: bool = False
) -> Callable[[Observable[_E]], Observable[_E]]:
    """Pass events on until their cost exceeds the limit; then end with an error.

    ::

        -started-call($2)-delta-call($2)-delta-|
        -started-call($2)-delta-call($2)-#     budget(3, prices)

    The call that exceeds the limit is emitted before the error. The error stops following the run, but the
    run continues at the service and may cost more. All runs of a merged source count together.

    Args:
        limit_usd: US dollars; spending exactly this amount is allowed.
        prices: US dollars per million tokens by (provider, model).
        ignore_unpriced: skip calls of unknown cost, such as those of models without a price. Otherwise the
            first such call ends the stream too.

    Raises:
        InvalidArgumentError: ``limit_usd`` isn't a number of at least 0, or a price is invalid.

    ``on_error`` receives a :class:`~rxruns.errors.BudgetError` with the ``totals`` so far and the
    ``unpriced`` models.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import LLMCall, NodeLLMCall, TokenUsage
    >>> call = NodeLLMCall(run_id=UUID(int=1), seq=4, ts=datetime.now(timezone.utc), node_id="draft",
    ...     llm_call=LLMCall(step=0, request_id=UUID(int=2), provider="openai", model="gpt-5",
    ...                      usage=TokenUsage(input_tokens=1000, output_tokens=200)))
    >>> spending = reactivex.of(call, call).pipe(budget("0.004", {("openai", "gpt-5"): Price("1.25", "10")}))
    >>> subscription = spending.subscribe(lambda event: print(event.type), on_error=print)
    node_llm_call
    node_llm_call
    0.0065 US dollars were spent, the limit is 0.004
    """
    limit = _limit(limit_usd)
    start = CostTotals(prices)

    def handlers(observer: abc.ObserverBase[_E]) -> Handlers[_E]:
        totals, spent = start, Decimal(0)

        def on_next(event: _E) -> None:
            nonlocal totals, spent
            before, totals = totals, totals.step(event)
            observer.on_next(event)
            if totals is not before:
                # Each call alone: in the totals, one call of unknown cost hides the cost of its model.
                spent = EXACT.add(spent, start.step(event).usd or 0)
                error = _exceeded(totals, spent, limit, ignore_unpriced)
                if error is not None:
                    observer.on_error(error)

        return on_next, observer.on_completed

    return stateful(handlers)


def _limit(limit_usd: Decimal | str | float) -> Decimal:
    try:
        return Price(limit_usd, 0).input_usd_per_million  # parses and checks any form of money
    except InvalidArgumentError as error:
        raise must_be("limit_usd", "a number of US dollars, 0 or more", limit_usd) from error


def _exceeded(
    totals: CostTotals, spent: Decimal, limit: Decimal, ignore_unpriced: bool
) -> BudgetError | None:
    unpriced = totals.unpriced
    if spent > limit:
        message = f"{_plain(spent)} US dollars were spent, the limit is {_plain(limit)}"
        return BudgetError(message, totals=totals, unpriced=unpriced)
    if unpriced and not ignore_unpriced:
        names = ", ".join(f"{provider}/{model}" for provider, model in unpriced)
        message = f"the cost of {names} is unknown: add a price, or pass ignore_unpriced=True"
        return BudgetError(message, totals=totals, unpriced=unpriced)
    return None


def _plain(usd: Decimal) -> str:
    return f"{usd.normalize(EXACT):f}"
