"""The charts of tokens and cost over time, and of cost by model."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rxruns._display._text import clipped, counted, money, visible
from rxruns.charts._altair import (
    BACK,
    SERIES,
    TAIL,
    TEXT,
    WIDTH,
    Layered,
    Stacked,
    alt,
    amounts_axis,
    described,
    empty,
    names_axis,
    over,
    plain,
    time_axis,
)
from rxruns.charts._timeline import Window
from rxruns.costs import CostLineItem, CostTotals, Prices
from rxruns.events import NodeLLMCall, RunEvent

_POINTS = 400
"""The most times drawn: about one for each two pixels."""
_TALL = 150
_ROW = 28
_ROOM = 1.5
"""Space for the label beside the longest bar, as a multiple of it."""
_OTHERS = "others"


def tokens_over_time(events: Iterable[RunEvent], prices: Prices | None = None) -> Stacked:
    """Draw the tokens so far by model; with prices, also the cost so far.

    The five models with the most tokens have a colour each; the others share one.

    Args:
        events: of one run, or of several parallel ones.
        prices: by (provider, model), for the cost.

    >>> tokens_over_time([]).to_dict()["vconcat"][0]["title"]["subtitle"]
    'no model was called'
    """
    events = list(events)
    times = [event.ts for event in events]
    window = (min(times), max(times)) if times else None
    chart: Stacked = plain(Stacked(vconcat=usage_panels(events, prices, window)))
    return chart


def usage_panels(events: Iterable[RunEvent], prices: Prices | None, window: Window | None) -> list[Any]:
    """Return the charts without their theme, as parts of another."""
    calls = sorted((event for event in events if isinstance(event, NodeLLMCall)), key=lambda event: event.ts)
    if window is None or not calls:
        return [empty("Tokens so far", "no model was called")]
    first, last = window
    steps = _steps(calls, prices, first, last)
    seconds = (last - first).total_seconds()
    panels: list[Any] = [_tokens(steps, seconds)]
    if prices:
        panels.append(_cost(steps, seconds))
    return panels


def _steps(
    calls: list[NodeLLMCall], prices: Prices | None, first: datetime, last: datetime
) -> list[tuple[float, CostTotals]]:
    """Return the totals by seconds, thinned out to the number that is visible."""
    totals = CostTotals(prices)
    steps = [(0.0, totals)]
    every = max(1, len(calls) // _POINTS)
    for number, call in enumerate(calls):
        totals = totals.step(call)
        if number % every == 0 or number == len(calls) - 1:
            steps.append(((call.ts - first).total_seconds(), totals))
    return [*steps, (max((last - first).total_seconds(), 1e-3) * TAIL, totals)]


def _tokens(steps: list[tuple[float, CostTotals]], seconds: float) -> Any:
    final = steps[-1][1]
    ranked = sorted(final.line_items, key=lambda item: -item.total_tokens)
    names = {(item.provider, item.model): _name(item) for item in ranked[: len(SERIES) - 1]}
    series = [*dict.fromkeys(names.values()), *([_OTHERS] if len(ranked) > len(names) else [])]
    used = dict.fromkeys(series, 0)
    for item in ranked:
        used[names.get((item.provider, item.model), _OTHERS)] += item.total_tokens
    rows: list[dict[str, Any]] = []
    for at, totals in steps:
        tokens = dict.fromkeys(series, 0)
        for item in totals.line_items:
            tokens[names.get((item.provider, item.model), _OTHERS)] += item.total_tokens
        rows += [
            {
                "at": at,
                "model": name,
                "tokens": tokens[name],
                "order": place,
                "description": f"{name}: {counted(used[name], 'token')} in the end",
            }
            for place, name in enumerate(series)
        ]
    color = alt.Color(
        field="model", type="nominal", scale=alt.Scale(domain=series, range=SERIES), sort=series
    )
    area = over(rows).mark_area(interpolate="step-after", stroke=BACK, strokeWidth=1)
    return area.encode(
        x=time_axis(seconds),
        y=alt.Y(field="tokens", type="quantitative", stack="zero", axis=amounts_axis(",d")),
        color=color,
        order=alt.Order(field="order", type="quantitative"),
        description=described(),
    ).properties(
        title=alt.TitleParams(
            "Tokens so far", subtitle=f"{final.total_tokens:,} in {counted(final.requests, 'call')}"
        ),
        width=WIDTH,
        height=_TALL,
    )


def _cost(steps: list[tuple[float, CostTotals]], seconds: float) -> Any:
    """Draw the cost of the calls with a price."""
    rows = [
        {"at": at, "usd": float(sum(item.usd for item in totals.line_items if item.usd is not None))}
        for at, totals in steps
    ]
    final = steps[-1][1]
    unpriced = ", ".join(visible(f"{provider}/{model}") for provider, model in final.unpriced)
    subtitle = f"without {clipped(unpriced, 90)}: no price" if unpriced else money(final.usd)
    line = over(rows).mark_line(
        interpolate="step-after", color=TEXT, strokeWidth=2, description=f"Cost so far: {subtitle}"
    )
    return line.encode(
        x=time_axis(seconds),
        y=alt.Y(field="usd", type="quantitative", axis=amounts_axis("$~f")),
    ).properties(title=alt.TitleParams("Cost so far", subtitle=subtitle), width=WIDTH, height=_TALL * 2 // 3)


def cost_by_model(totals: CostTotals) -> Layered:
    """Draw the cost of each model in US dollars, with its calls and tokens; tokens alone without prices.

    Args:
        totals: from ``ops.cost_totals`` or ``costs.fold``.

    >>> cost_by_model(CostTotals()).to_dict()["title"]["subtitle"]
    'no model was called'
    """
    chart: Layered = plain(cost_panel(totals))
    return chart


def cost_panel(totals: CostTotals) -> Layered:
    """Return the chart without its theme, as a part of another."""
    items = sorted(totals.line_items, key=lambda item: (-(item.usd or 0), -item.total_tokens))
    if not items:
        return empty("Cost by model", "no model was called")
    priced = any(item.usd is not None for item in items)
    rows: list[dict[str, Any]] = [
        {
            "model": f"{place:04d} {_name(item)}",
            "amount": float(item.usd or 0) if priced else item.total_tokens,
            "text": _label(item),
            "description": f"{_name(item)}: {_label(item)}",
        }
        for place, item in enumerate(items)
    ]
    axis = alt.Axis(title=None, tickCount=5, format="$~f" if priced else ",d")
    room = alt.Scale(domain=[0, max(row["amount"] for row in rows) * _ROOM or 1])
    x = alt.X(field="amount", type="quantitative", axis=axis, scale=room)
    y = alt.Y(field="model", type="nominal", sort=None, axis=names_axis(5))
    chart = over(rows).encode(x=x, y=y)
    text = chart.mark_text(align="left", dx=5, fontSize=11, color=TEXT, aria=False)
    subtitle = (
        f"{money(totals.usd)} in all"
        if totals.usd is not None
        else "some model has no price"
        if priced
        else "tokens: no model has a price"
    )
    return Layered(
        layer=[
            chart.mark_bar(color=SERIES[0], cornerRadius=2).encode(description=described()),
            text.encode(text=alt.Text(field="text", type="nominal")),
        ],
        title=alt.TitleParams("Cost by model", subtitle=subtitle),
        width=WIDTH,
        height=alt.Step(_ROW),
    )


def _label(item: CostLineItem) -> str:
    cost = "no price" if item.usd is None else money(item.usd)
    return f"{cost}, {item.total_tokens:,} tokens in {counted(item.requests, 'call')}"


def _name(item: CostLineItem) -> str:
    return clipped(visible(f"{item.provider or '(no provider)'} / {item.model or '(no model)'}"), 40)
