"""Charts of a run: its nodes over time, its tokens and costs, the cost of each model. Extra ``charts``.

They are Altair charts: they have ``.properties(...)``, and a notebook shows them as SVG without a network.
:func:`save` writes PNG or SVG, without a network or a browser. A status has a sign besides its colour. The
text of a run is drawn as text, with signs for control characters.

>>> from rxruns.costs import CostTotals
>>> sorted(cost_by_model(CostTotals())._repr_mimebundle_())
['image/svg+xml']
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from rxruns._arguments import check_path
from rxruns._display._files import write_whole
from rxruns._display._text import clipped, counted, money, status_label, visible
from rxruns._errors import must_be
from rxruns.charts._altair import Layered, Stacked, alt, plain, png, svg
from rxruns.charts._timeline import NodeWait, layers, timeline
from rxruns.charts._usage import cost_by_model, cost_panel, tokens_over_time, usage_panels
from rxruns.costs import Prices
from rxruns.events import RunEvent
from rxruns.state._spans import RunHistory

__all__ = ["Layered", "Stacked", "cost_by_model", "overview", "save", "timeline", "tokens_over_time"]

SCALE = 2.0
"""Pixels of a PNG for each of the chart's, for high-density screens."""
_MESSAGE = 110


def overview(
    events: Iterable[RunEvent], prices: Prices | None = None, *, now: datetime | None = None
) -> Stacked:
    """Draw one run in one picture: its status, its nodes over time with their waits, tokens and cost.

    Args:
        events: of one run.
        prices: by (provider, model), for the cost.
        now: the end of the bars of an open run. None: its last event.

    Raises:
        InvalidArgumentError: for events of two runs.

    >>> overview([]).to_dict()["title"]["text"]
    '► running: run without events'
    """
    run = RunHistory(prices)
    events = [event for event in events if run.add(event)]
    state, costs = run.state, run.state.costs
    title = f"{status_label(state.status)}: run {state.run_id or 'without events'}"
    subtitle = [
        f"{counted(costs.requests, 'model call')}, {costs.total_tokens:,} tokens, cost {money(costs.usd)}"
    ]
    if state.error is not None:
        subtitle.append(clipped(visible(state.error.message), _MESSAGE))
    last = run.until(now)
    window = None if run.began is None or last is None else (run.began, last)
    attempts = [attempt for of_node in run.attempts().values() for attempt in of_node]
    spans = [
        replace(attempt.span, started_at=attempt.node.started_at or attempt.seen_at) for attempt in attempts
    ]
    waits = [NodeWait(attempt.node.id, *wait) for attempt in attempts for wait in attempt.waits]
    panels = [
        layers(spans, waits, window, "Nodes over time"),
        *usage_panels(events, prices, window),
        cost_panel(costs),
    ]
    head = alt.TitleParams(title, subtitle=subtitle, offset=18, fontSize=18, subtitleFontSize=13)
    stacked = Stacked(vconcat=panels, title=head, spacing=30, resolve={"scale": {"color": "independent"}})
    chart: Stacked = plain(stacked)
    return chart


def save(chart: Any, path: str | os.PathLike[str], *, scale: float = SCALE) -> None:
    """Write a chart atomically to a PNG or SVG file, depending on its suffix.

    Args:
        chart: an Altair chart.
        path: ends in ``.png`` or ``.svg``; replaced if it exists.
        scale: pixels of a PNG for each of the chart's.

    Raises:
        InvalidArgumentError: for another suffix.
        StoreError: it could not be written; an existing file is unchanged.
    """
    path = check_path("path", path)
    match path.suffix.lower():
        case ".png":
            write_whole(path, png(chart, scale))
        case ".svg":
            write_whole(path, svg(chart).encode())
        case suffix:
            raise must_be("path", "a path that ends in .png or .svg", suffix)
