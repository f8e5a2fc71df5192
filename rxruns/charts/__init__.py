"""Pictures of a run: when its nodes worked, what it used over time, what each model cost. Extra ``charts``.

They are Altair's charts: they take ``.properties(...)`` and show themselves in a notebook, as SVG, without a
network. :func:`save` writes PNG or SVG, with neither a network nor a browser. A status has a sign beside its
colour. What a run says is drawn as text, with control characters made visible.

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
from rxruns.charts._altair import Layered, Stacked, alt, plain, png, svg
from rxruns.charts._timeline import NodeWait, layers, timeline
from rxruns.charts._usage import cost_by_model, cost_panel, tokens_over_time, usage_panels
from rxruns.costs import Prices
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.state import NodeSpan
from rxruns.state._spans import RunHistory

__all__ = ["Layered", "Stacked", "cost_by_model", "overview", "save", "timeline", "tokens_over_time"]

SCALE = 2.0
"""Pixels of a PNG for one of the chart's: sharp on a screen of today."""
_MESSAGE = 110


def overview(
    events: Iterable[RunEvent], prices: Prices | None = None, *, now: datetime | None = None
) -> Stacked:
    """One run in one picture: its status, its nodes over time and where they waited, tokens and cost.

    Args:
        events: of one run.
        prices: by (provider, model), for the cost.
        now: until when the nodes of an open run are drawn. None: its last event.

    Raises:
        InvalidArgumentError: for events of two runs.

    >>> overview([]).to_dict()["title"]["text"]
    '► running: run without events'
    """
    run = RunHistory(prices)
    events = [event for event in events if run.add(event)]
    state, costs = run.state, run.state.costs
    title = f"{status_label(state.status)}: run {state.run_id or 'without events'}"
    said = [
        f"{counted(costs.requests, 'model call')}, {costs.total_tokens:,} tokens, cost {money(costs.usd)}"
    ]
    if state.error is not None:
        said.append(clipped(visible(state.error.message), _MESSAGE))
    last = run.until(now)
    window = None if run.began is None or last is None else (run.began, last)
    panels = [
        layers(_spans(run), _waits(run), window, "Nodes over time"),
        *usage_panels(events, prices, window),
        cost_panel(costs),
    ]
    head = alt.TitleParams(title, subtitle=said, offset=18, fontSize=18, subtitleFontSize=13)
    stacked = Stacked(vconcat=panels, title=head, spacing=30, resolve={"scale": {"color": "independent"}})
    chart: Stacked = plain(stacked)
    return chart


def _spans(run: RunHistory) -> list[NodeSpan]:
    return [
        replace(attempt.span, started_at=attempt.node.started_at or attempt.seen_at)
        for attempts in run.attempts().values()
        for attempt in attempts
    ]


def _waits(run: RunHistory) -> list[NodeWait]:
    return [
        NodeWait(node_id, *wait)
        for node_id, attempts in run.attempts().items()
        for attempt in attempts
        for wait in attempt.waits
    ]


def save(chart: Any, path: str | os.PathLike[str], *, scale: float = SCALE) -> None:
    """Write a chart to a PNG or SVG file, by its suffix; at once or not at all.

    Args:
        chart: any of Altair's.
        path: ends in ``.png`` or ``.svg``; replaced if it is there.
        scale: of a PNG: its pixels for one of the chart's.

    Raises:
        InvalidArgumentError: for another suffix.
        StoreError: it could not be written; what was there before is untouched.
    """
    path = check_path("path", path)
    match path.suffix.lower():
        case ".png":
            write_whole(path, png(chart, scale))
        case ".svg":
            write_whole(path, svg(chart).encode())
        case suffix:
            raise InvalidArgumentError(f"path: {suffix!r} is neither .png nor .svg: {path}", field="path")
