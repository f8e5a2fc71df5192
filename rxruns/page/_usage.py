"""The tokens and the cost of each model call, for the page's curves."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from rxruns.costs import CostLineItem, CostTotals, Prices
from rxruns.costs._prices import EXACT
from rxruns.events import NodeLLMCall
from rxruns.page._columns import milliseconds


class Usage:
    """The calls of a run, with their tokens and costs.

    Args:
        prices: by (provider, model).
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._nothing = CostTotals(prices)
        self._calls: list[tuple[datetime, CostLineItem]] = []

    def append(self, event: NodeLLMCall) -> None:
        """Add a call, metered and priced as in :class:`~rxruns.costs.CostTotals`."""
        (item,) = self._nothing.step(event).line_items
        self._calls.append((event.ts, item))

    def content(self, began: datetime) -> dict[str, Any]:
        """Return the calls as columns, sorted by time.

        ``tokens`` is None for a call without usage. ``usd`` is the exact sum so far of the priced calls. A
        model is its provider, its name, and True if it has a price.
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
