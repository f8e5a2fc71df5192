"""Typed uses of pages and pictures: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from rxruns import Price, block_on, charts, ops, run_events
from rxruns.costs import CostTotals
from rxruns.page import RunPage, write_page
from rxruns.state import NodeSpan, RunState

prices = {("anthropic", "claude-sonnet-4-5"): Price(3, 15)}


def pages() -> None:
    page = RunPage(prices)
    block_on(run_events("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11").pipe(ops.tap(page.add)))
    assert_type(page.state, RunState)
    assert_type(page.html(refresh=2, note="stopped"), str)
    assert_type(write_page("run.html", [], prices), RunPage)


def pictures(spans: list[NodeSpan]) -> None:
    assert_type(charts.timeline(spans), charts.Layered)
    assert_type(charts.tokens_over_time([], prices), charts.Stacked)
    assert_type(charts.cost_by_model(CostTotals()), charts.Layered)
    assert_type(charts.overview([], prices), charts.Stacked)
    charts.save(charts.overview([]), "run.png", scale=1)
