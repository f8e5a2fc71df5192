"""Totals in a few words."""

from __future__ import annotations

from rxruns._display._text import clipped, counted, money
from rxruns._display._visible import one_line
from rxruns.costs import CostTotals

__all__ = ["model_name", "spent", "unpriced_models"]

_LENGTH = 200
"""Characters of a list of models."""


def model_name(provider: str, model: str) -> str:
    """Return the name of a model, as in price files.

    >>> model_name("openai", "gpt-5"), model_name("", "")
    ('openai/gpt-5', '?/?')
    """
    return f"{provider or '?'}/{model or '?'}"


def unpriced_models(costs: CostTotals) -> str:
    """Return the models with an unknown cost, on one line of limited length; empty if there are none."""
    return clipped(one_line(", ".join(model_name(*pair) for pair in costs.unpriced)), _LENGTH)


def spent(costs: CostTotals) -> str:
    """Return calls, tokens and money.

    >>> from rxruns.costs import CostLineItem
    >>> spent(CostTotals(line_items=[CostLineItem("openai", "gpt-5", 2, 1000, 200, usd=None)]))
    '2 calls, 1000 + 200 tokens, cost unknown: no price for openai/gpt-5'
    """
    cost = f", {money(costs.usd)}" if costs.requests else ""
    if costs.unpriced:
        cost = f", cost unknown: no price for {unpriced_models(costs)}"
    return f"{counted(costs.requests, 'call')}, {costs.input_tokens} + {costs.output_tokens} tokens{cost}"
