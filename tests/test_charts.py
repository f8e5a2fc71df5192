"""Charts of a run: their marks and their texts, readable without colours and drawn without a network."""

from __future__ import annotations

import re
import struct
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex

from rxruns import Price, charts, costs, ops
from rxruns._display._palette import LIGHT
from rxruns._display._text import MARKS
from rxruns.charts._altair import SERIES, alt, svg
from rxruns.costs import CostTotals
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.state import NodeSpan
from tests.making import (
    NOON,
    OTHER_RUN,
    RUN,
    delta,
    in_turn,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_failed,
    run_started,
    tokens,
)
from tests.waiting import waiting

PRICES = {("openai", "gpt-5"): Price(2, 10)}
EVENTS = in_turn(
    run_started(),
    node_started(),
    waiting(3),
    llm_call(usage=tokens(1_000, 100)),
    node_failed(),
    run_failed(),
)
HOSTILE = "</text><script>alert(1)</script>\x1b[2J\u202e&"


def span(
    node_id: str, start: float | None, end: float | None, status: str = "succeeded", **fields: Any
) -> NodeSpan:
    def at(seconds: float | None) -> Any:
        return None if seconds is None else NOON + timedelta(seconds=seconds)

    times = {"started_at": at(start), "ended_at": at(end)}
    return NodeSpan(run_id=RUN, node_id=node_id, status=status, **times, **fields)


def texts(chart: Any) -> list[str]:
    """All texts of the picture, in the order in which they are drawn."""
    root = ElementTree.fromstring(svg(chart))
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def spec(chart: Any) -> Any:
    """The chart as Vega-Lite, each part with its own data."""
    with alt.data_transformers.enable(consolidate_datasets=False):
        return chart.to_dict()


def bars(chart: Any) -> list[dict[str, Any]]:
    """The rows of a chart's first layer, or of the chart if all layers share them."""
    content = spec(chart)
    found: list[dict[str, Any]] = (content["layer"][0].get("data") or content["data"])["values"]
    return found


def spans_of(events: Iterable[RunEvent]) -> list[NodeSpan]:
    found: list[NodeSpan] = reactivex.from_iterable(events).pipe(ops.node_spans(), ops.to_list()).run()
    return found


def test_a_timeline_labels_each_node_with_its_status_and_time() -> None:
    labels = texts(
        charts.timeline([span("draft", 0, 4.2), span("edit", 2, 5, "failed"), span("ask", 5, 6, "canceled")])
    )

    assert {"draft", "edit", "ask", "✓ 4.2 s", "✗ 3.0 s", "⊘ 1.0 s"} <= set(labels)
    assert {"✓ succeeded", "✗ failed", "⊘ canceled"} <= set(labels)
    assert "3 nodes, 6.0 s from 2026-01-31 12:00:00 UTC" in labels


def test_each_attempt_has_a_bar_in_the_row_of_its_node() -> None:
    events = in_turn(node_started(), node_failed(), node_started(), node_succeeded())

    drawn = bars(charts.timeline(spans_of(events)))
    assert [("✗", 0, 1), ("✓", 2, 3)] == [(bar["sign"], bar["at"], bar["until"]) for bar in drawn]
    assert 1 == len({bar["node"] for bar in drawn})


def test_an_open_node_goes_to_now() -> None:
    (bar,) = bars(charts.timeline([span("ask", 0, None, "waiting")], now=NOON + timedelta(minutes=2)))

    assert (120, "‖ waiting 2 min 00 s") == (bar["until"], bar["text"])
    assert bar["open"] > 0


def test_a_span_without_start_or_end_is_drawn_from_edge_to_edge_without_a_time() -> None:
    drawn = bars(
        charts.timeline([span("draft", 1, 3), span("lost", None, 2), span("odd", None, None, "paused")])
    )

    assert [(0, 2, "✓ 2.0 s"), (0, 1, "✓"), (0, 2, "? paused")] == sorted(
        ((bar["at"], bar["until"], bar["text"]) for bar in drawn),
        key=lambda bar: "✓ 2.0 s ✓ ? paused".index(bar[2]),
    )


def test_nodes_of_two_runs_with_one_name_have_a_row_each_and_no_nodes_a_text() -> None:
    other = msgspec.structs.replace(span("draft", 1, 2), run_id=OTHER_RUN)

    assert 2 == texts(charts.timeline([span("draft", 0, 1), other])).count("draft")
    for spans in ([], [span("draft", None, None)]):
        assert "no node has started" in texts(charts.timeline(spans))


def test_a_wide_fan_out_has_a_fixed_height_and_names_of_failed_nodes() -> None:
    spans = [span(f"child[{number}]", number / 10, 100) for number in range(500)]
    chart = charts.timeline([*spans, span("child[500]", 1, 3, "failed")])
    labels = texts(chart)

    assert 1_200 == chart.to_dict()["height"]
    assert "✗ 2.0 s  child[500]" in labels
    assert "501 nodes, 1 min 40 s from 2026-01-31 12:00:00 UTC; succeeded nodes are not named" in labels
    assert len(labels) < 40


def test_tokens_and_cost_add_up_over_time() -> None:
    events = in_turn(
        run_started(),
        llm_call(usage=tokens(1_000, 100)),
        llm_call("other", "free", usage=tokens(10, 0)),
        llm_call(usage=tokens(1_000, 100)),
        delta(),
    )
    used, cost = spec(charts.tokens_over_time(events, PRICES))["vconcat"]

    values = used["data"]["values"]
    assert [0, 1100, 1100, 2200, 2200] == [
        row["tokens"] for row in values if row["model"] == "openai / gpt-5"
    ]
    assert [0, 0, 10, 10, 10] == [row["tokens"] for row in values if row["model"] == "other / free"]
    assert [0, 0.003, 0.003, 0.006, 0.006] == [row["usd"] for row in cost["data"]["values"]]
    assert "without other/free: no price" == cost["title"]["subtitle"]


def test_a_call_at_the_end_is_visible_and_without_prices_there_is_no_cost() -> None:
    events = in_turn(run_started(), llm_call(usage=tokens(7)))
    chart = spec(charts.tokens_over_time(events))

    assert [(0, 0), (1, 7), (1.02, 7)] == [(row["at"], row["tokens"]) for row in chart["data"]["values"]]
    assert [0, 1.02] == chart["vconcat"][0]["encoding"]["x"]["scale"]["domain"]
    assert ["Tokens so far"] == [panel["title"]["text"] for panel in chart["vconcat"]]


def test_many_calls_and_models_are_reduced_to_what_is_visible() -> None:
    events = in_turn(
        *(llm_call("p", f"model {number % 30}", usage=tokens(number)) for number in range(5_000))
    )
    values = spec(charts.tokens_over_time(events))["data"]["values"]

    assert len(SERIES) == len({row["model"] for row in values})
    assert len(values) < 450 * len(SERIES)
    last = [row["tokens"] for row in values][-len(SERIES) :]
    assert sum(range(5_000)) == sum(last)


def test_cost_by_model_names_models_without_a_price_and_shows_tokens_without_prices() -> None:
    calls = [llm_call(usage=tokens(1_000_000)), llm_call("other", "free", usage=tokens(7))]
    labels = texts(charts.cost_by_model(costs.fold(calls, PRICES)))
    assert {"openai / gpt-5", "$2.00, 1,000,000 tokens in 1 call"} <= set(labels)
    assert {"other / free", "no price, 7 tokens in 1 call", "some model has no price"} <= set(labels)

    chart = charts.cost_by_model(costs.fold(calls))
    assert [1_000_000, 7] == [row["amount"] for row in bars(chart)]
    assert "tokens: no model has a price" in texts(chart)


def test_an_overview_shows_one_run_with_its_waits_until_now() -> None:
    chart = charts.overview(EVENTS, PRICES)
    labels = texts(chart)
    assert f"✗ failed: run {RUN}" in labels
    assert "1 model call, 1,100 tokens, cost $0.003000no luck" in labels  # two lines
    assert {"Nodes over time", "Tokens so far", "Cost so far", "Cost by model"} <= set(labels)
    (wait,) = spec(chart)["vconcat"][0]["layer"][1]["data"]["values"]
    assert (2, 4, "‖ waiting") == (wait["at"], wait["until"], wait["status"])

    still_open = charts.overview(EVENTS[:3], now=NOON + timedelta(seconds=60))
    assert 60 == spec(still_open)["vconcat"][0]["layer"][0]["data"]["values"][0]["until"]
    with pytest.raises(InvalidArgumentError, match="an event of run"):
        charts.overview([node_started(), node_started(seq=3, run_id=OTHER_RUN)])


def test_untrusted_text_is_text_in_a_picture() -> None:
    events = in_turn(
        node_started(HOSTILE), delta(HOSTILE, HOSTILE), llm_call(HOSTILE, HOSTILE, usage=tokens(5))
    )
    for chart in (
        charts.timeline(spans_of(events)),
        charts.tokens_over_time(events, PRICES),
        charts.cost_by_model(costs.fold(events)),
        charts.overview(events),
    ):
        root = ElementTree.fromstring(svg(chart))
        assert not {"script", "image", "a"} & {element.tag.rpartition("}")[2] for element in root.iter()}
        content = "".join(root.itertext())
        assert "</text><script>" in content
        assert not set(content) & {"\x1b", "\u202e"}


def test_an_svg_labels_its_marks_for_screen_readers() -> None:
    spans = [span("draft", 0, 1, "failed"), span("draft", 2, 4)]
    calls = in_turn(run_started(), node_started(), llm_call("openai", "gpt-5", usage=tokens(1000, 200)))
    drawn = [
        charts.timeline(spans),
        charts.tokens_over_time(calls, PRICES),
        charts.cost_by_model(costs.fold(calls, PRICES)),
    ]
    labels = [
        element.get("aria-label")
        for chart in drawn
        for element in ElementTree.fromstring(svg(chart)).iter()
        if element.get("role") == "graphics-symbol" and "axis" not in str(element.get("aria-roledescription"))
    ]
    marks = [text for text in labels if text and not text.startswith(("Title", "Subtitle", "Symbol"))]
    assert [
        "draft: ✗ failed, 0 ms to 1.0 s after the start",
        "draft: ✓ succeeded, 2.0 s to 4.0 s after the start",
        "openai / gpt-5: 1,200 tokens in the end",
        "Cost so far: $0.004000",
        "openai / gpt-5: $0.004000, 1,200 tokens in 1 call",
    ] == marks


def test_signs_and_colours_contrast_with_the_background() -> None:
    def light(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(color: str) -> float:
        return 1.05 / (light(color) + 0.05)

    names = [*MARKS, "text", "muted", *(f"series-{number}" for number in range(1, 7))]
    assert [] == [name for name in names if contrast(LIGHT[name]) < 4.5]


def test_a_png_is_sharp_an_svg_is_whole_and_another_suffix_is_refused(tmp_path: Path) -> None:
    chart = charts.cost_by_model(CostTotals())
    for name in ("once.png", "twice.png"):
        charts.save(chart, tmp_path / name, scale=1 if name == "once.png" else 2)
    charts.save(chart, tmp_path / "chart.svg")
    with pytest.raises(InvalidArgumentError, match=r"ends in \.png or \.svg, got '\.gif'") as raised:
        charts.save(chart, tmp_path / "a.gif")

    once, twice = ((tmp_path / name).read_bytes() for name in ("once.png", "twice.png"))
    assert once.startswith(b"\x89PNG\r\n")
    sizes = [struct.unpack(">II", png[16:24]) for png in (once, twice)]
    assert tuple(2 * side for side in sizes[0]) == pytest.approx(sizes[1], abs=2)
    ElementTree.parse(tmp_path / "chart.svg")
    assert {"once.png", "twice.png", "chart.svg"} == {path.name for path in tmp_path.iterdir()}
    assert "path" == raised.value.field


def test_a_notebook_shows_svg_without_a_network_unless_another_renderer_is_enabled() -> None:
    chart = charts.timeline([span("draft", 0, 1)])
    bundle = chart._repr_mimebundle_()
    assert ["image/svg+xml"] == list(bundle)
    assert not re.search(r"https?://(?!www\.w3\.org/)", bundle["image/svg+xml"])

    alt.renderers.register("chosen", lambda spec, **options: {"text/plain": spec["title"]["text"]})
    with alt.renderers.enable("chosen"):
        assert {"text/plain": "Nodes over time"} == chart._repr_mimebundle_()


def test_a_missing_extra_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("rxruns.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "altair", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rxruns\[charts\]'"):
        __import__("rxruns.charts")
