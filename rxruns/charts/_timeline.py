"""The chart of a run's nodes over time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from rxruns._display._text import clipped, counted, duration, status_label, visible
from rxruns.charts._altair import (
    BACK,
    TEXT,
    WIDTH,
    Layered,
    alt,
    described,
    empty,
    names_axis,
    over,
    plain,
    status_color,
    time_axis,
)
from rxruns.state import NodeSpan

_NAMED = 60
"""The most rows of full height with names. With more, only nodes that did not succeed are named."""
_NAME = 34
_LABELS = 40
_SIGN = 18
_TALL, _ALL_TALL = 24, 1_200
"""Pixels: of a row, and of all rows if there are many."""


class NodeWait(NamedTuple):
    """A wait of a node; ``ended_at`` is None while it lasts."""

    node_id: str
    began_at: datetime
    ended_at: datetime | None


Window = tuple[datetime, datetime]
"""The start and the end of a chart."""


def layers(
    spans: Iterable[NodeSpan], waits: Iterable[NodeWait], window: Window | None, title: str
) -> Layered:
    """Return the chart without its theme, as a part of another."""
    spans = list(spans)
    if window is None or not spans:
        return empty(title, "no node has started")
    first, last = window
    spans.sort(key=lambda span: span.started_at or first)
    rows = list(dict.fromkeys((span.run_id, span.node_id) for span in spans))
    many = len(rows) > _NAMED
    keys = {row: f"{place:06d} {clipped(visible(row[1]), _NAME)}" for place, row in enumerate(rows)}
    names = {node_id: key for (_, node_id), key in keys.items()}
    bars = [_bar(span, keys[span.run_id, span.node_id], window) for span in spans]
    waited = [_waited(wait, names[wait.node_id], window) for wait in waits if wait.node_id in names]
    seconds = (last - first).total_seconds()
    subtitle = f"{counted(len(rows), 'node')}, {duration(seconds)} from {first:%Y-%m-%d %H:%M:%S %Z}"
    if many:
        subtitle += "; succeeded nodes are not named"
    return Layered(
        layer=_marks(bars, waited, seconds, many),
        title=alt.TitleParams(title, subtitle=subtitle),
        width=WIDTH,
        height=_ALL_TALL if many else alt.Step(_TALL),
    )


def window_of(spans: Iterable[NodeSpan], now: datetime | None) -> Window | None:
    """Return the first and the last time of the spans; None if they have none."""
    times = [at for span in spans for at in (span.started_at, span.ended_at) if at is not None]
    return (min(times), max([*times, *([] if now is None else [now])])) if times else None


def _marks(
    bars: list[dict[str, Any]], waited: list[dict[str, Any]], seconds: float, many: bool
) -> list[alt.Chart]:
    x, until = time_axis(seconds), alt.X(field="until", type="quantitative")
    scale = alt.Scale(padding=0 if many else 0.2)
    y = alt.Y(field="node", type="nominal", axis=names_axis(7, labels=not many), scale=scale)
    color = status_color({bar["kind"] for bar in [*bars, *waited]})
    outline = alt.value(0) if many else alt.StrokeWidth(field="open", type="quantitative", scale=None)
    drawn = over(bars).mark_bar(cornerRadius=0 if many else 2, minBandSize=2, stroke=TEXT, strokeDash=[4, 3])
    inset = over([] if many else waited).mark_bar(height={"band": 0.45}, stroke=BACK, strokeWidth=1)
    # Screen readers get the descriptions of the bars instead of this text.
    letters: dict[str, Any] = {"align": "left", "dx": 5, "fontSize": 11, "aria": False}
    inside = over([] if many else _signs(bars, seconds)).mark_text(color=BACK, **letters)
    beside = over(_labels(bars, many)).mark_text(color=TEXT, **letters)
    text = alt.Text(field="text", type="nominal")
    return [
        drawn.encode(
            x=x, x2=alt.X2(field="until"), y=y, color=color, strokeWidth=outline, description=described()
        ),
        inset.encode(x=x, x2=alt.X2(field="until"), y=y, color=color, description=described()),
        inside.encode(x=x, y=y, text=alt.Text(field="sign", type="nominal")),
        beside.encode(x=until, y=y, text=text),
    ]


def _bar(span: NodeSpan, key: str, window: Window) -> dict[str, Any]:
    first, last = window
    start, end = span.started_at or first, span.ended_at or last
    took = "" if span.started_at is None else duration((end - start).total_seconds())
    is_open = span.ended_at is None
    status = status_label(span.status)
    at, until = (start - first).total_seconds(), (max(end, start) - first).total_seconds()
    return {
        "node": key,
        "at": at,
        "until": until,
        "description": f"{key[7:]}: {status}, {_stretch(at, until)}",
        "status": status,
        "kind": span.status,
        "sign": status.split()[0],
        "open": 1.5 if is_open else 0,
        "text": " ".join(filter(None, [status if is_open else status.split()[0], took])),
    }


def _waited(wait: NodeWait, key: str, window: Window) -> dict[str, Any]:
    first, last = window
    at, until = (wait.began_at - first).total_seconds(), ((wait.ended_at or last) - first).total_seconds()
    return {
        "node": key,
        "at": at,
        "until": until,
        "description": f"{key[7:]}: {status_label('waiting')}, {_stretch(at, until)}",
        "status": status_label("waiting"),
        "kind": "waiting",
    }


def _stretch(at: float, until: float) -> str:
    return f"{duration(at)} to {duration(until)} after the start"


def _signs(bars: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Return the bars with space for a sign, and no stripe there."""
    least = _SIGN / WIDTH * seconds
    return [bar for bar in bars if bar["until"] - bar["at"] > least and bar["kind"] != "waiting"]


def _labels(bars: list[dict[str, Any]], many: bool) -> list[dict[str, Any]]:
    """Return the labels: of the last bar in each row, or with many rows, of some that did not succeed."""
    last = list({bar["node"]: bar for bar in bars}.values())
    if not many:
        return last
    notable = [bar for bar in last if bar["kind"] != "succeeded"][:_LABELS]
    return [{**bar, "text": f"{bar['text']}  {bar['node'][7:]}"} for bar in notable]


def timeline(
    spans: Iterable[NodeSpan], *, now: datetime | None = None, title: str = "Nodes over time"
) -> Layered:
    """Draw when each node worked: a row per node and a bar per attempt, with its status and time.

    The bar of an open node is dashed and ends at ``now``; a bar without a start begins at the left edge. With
    more than 60 nodes the rows are thin, and only those that did not succeed are named.

    Args:
        spans: from ``ops.node_spans``.
        now: the end of the bars of open nodes. None: the last time in ``spans``.
        title: above the chart.

    >>> from datetime import timedelta, timezone
    >>> from uuid import UUID
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    >>> times = {"started_at": noon, "ended_at": noon + timedelta(seconds=2)}
    >>> span = NodeSpan(run_id=UUID(int=1), node_id="draft", **times, status="succeeded")
    >>> timeline([span]).to_dict()["title"]["subtitle"]
    '1 node, 2.0 s from 2026-01-31 12:00:00 UTC'
    """
    spans = list(spans)
    chart: Layered = plain(layers(spans, (), window_of(spans, now), title))
    return chart
