"""What calls of models used, one after the other: the page draws its curves from it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from rxruns.costs import CostLineItem, CostTotals, Prices
from rxruns.costs._prices import EXACT
from rxruns.events import NodeLLMCall
from rxruns.page._columns import milliseconds


class Usage:
    """A run's calls, each with its tokens and what it cost.

    Args:
        prices: by (provider, model).
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._nothing = CostTotals(prices)
        self._calls: list[tuple[datetime, CostLineItem]] = []

    def append(self, event: NodeLLMCall) -> None:
        """Take a call in, metered and priced as in :class:`~rxruns.costs.CostTotals`."""
        (item,) = self._nothing.step(event).line_items
        self._calls.append((event.ts, item))

    def content(self, began: datetime) -> dict[str, Any]:
        """What is written into the page: the calls in the order of their times, as columns.

        ``tokens`` is None for a call without usage. ``usd`` is the sum so far of all that has a price, added
        exactly, so that a browser need not add; a model says with its name whether it has one.
        """
        models: dict[tuple[str, str, bool], int] = {}
        columns: dict[str, list[Any]] = {"at": [], "model": [], "tokens": [], "usd": []}
        spent = Decimal(0)
        for at, item in sorted(self._calls, key=lambda call: call[0]):
            spent = EXACT.add(spent, item.usd or 0)
            model = (item.provider, item.model, item.usd is not None)
            columns["at"].append(milliseconds(at, began))
            columns["model"].append(models.setdefault(model, len(models)))
            columns["tokens"].append(None if item.unmetered else item.total_tokens)
            columns["usd"].append(float(spent))
        return {"models": list(models), **columns}
