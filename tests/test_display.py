"""Formatted values are safe, complete, and readable without colours."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns import Price
from rxruns._display._text import clipped, duration, html_table, money
from rxruns._display._visible import one_line, printable_json, visible
from rxruns.costs import CostTotals
from rxruns.events import NodeStarted, RunEvent
from rxruns.state import RunState
from tests.making import (
    NOON,
    RUN,
    delta,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_failed,
    run_started,
    tokens,
)
from tests.waiting import call, waiting

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e&\n"


class Seen(HTMLParser):
    """The elements and the cells' text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.cells: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def folded(*events: RunEvent, prices: Any = None) -> RunState:
    state = RunState(costs=CostTotals(prices))
    for event in events:
        state = state.step(event)
    return state


@given(st.text())
def test_visible_text_is_printable_and_never_longer(text: str) -> None:
    for result in (visible(text), one_line(text)):
        assert result.isprintable()
        assert len(result) <= len(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])).filter(str.isprintable))
def test_printable_text_is_left_unchanged(text: str) -> None:
    assert text == visible(text) == one_line(text)


def test_each_control_character_has_a_sign_and_each_break_in_a_terminal_is_a_space() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[bold]fat[/bold]\r\nnext\u202e\x9b31m\x7f👩\u200d💻"
    assert "␛]0;owned␇␛[2J[bold]fat[/bold] next��31m␡👩💻" == one_line(hostile)
    assert "a b c d e f" == one_line("a\tb\u00a0c\u2028d\x85e\r\nf")
    assert "a␉b c�d�e␍␊f" == visible("a\tb\u00a0c\u2028d\x85e\r\nf")


def test_a_stack_of_combining_marks_is_cut_to_four() -> None:
    assert "Z" + "\u0317" * 4 + "algo" == visible("Z" + "\u0317" * 500 + "algo")
    assert "שָׁלוֹם, cafe\u0301, ก็้" == visible("שָׁלוֹם, cafe\u0301, ก็้")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_printable_json_has_the_same_value_and_no_invisible_character(text: str) -> None:
    line = json.dumps({"text": text}, ensure_ascii=False).encode()
    printed = printable_json(line)

    assert json.loads(line) == json.loads(printed)
    assert not [char for char in printed.decode() if category(char) in ("Cc", "Cf", "Zl", "Zp")]


@given(st.text())
def test_no_text_makes_an_element_of_a_table(text: str) -> None:
    plain = Seen(html_table("", ["a"], [[""]], notes=[""])).elements

    assert plain == Seen(html_table(text, [text], [[text]], notes=[text])).elements


@given(st.text(), st.integers(2, 30))
def test_clipped_text_fits(text: str, length: int) -> None:
    assert min(len(text), length) == len(clipped(text, length))


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0 ms"), (0.9996, "1.0 s"), (59.96, "1 min 00 s"), (3599.7, "1 h 00 min")]
)
def test_a_duration_is_rounded_before_its_unit_is_chosen(seconds: float, expected: str) -> None:
    assert expected == duration(seconds)


@pytest.mark.parametrize(
    ("usd", "expected"),
    [("0.1", "$0.100000"), ("0.0000123456", "$0.000012"), ("0.0000001", "< $0.000001"), ("12", "$12.00")],
)
def test_small_money_keeps_digits_that_count(usd: str, expected: str) -> None:
    assert expected == money(Decimal(usd))


def test_a_run_shows_its_nodes_in_a_notebook() -> None:
    state = folded(
        run_started(),
        node_started("draft", 2),
        delta("all <b>well</b>", seq=3),
        node_succeeded("draft", 4),
        node_started("edit", 5),
        node_failed("edit", 6),
        run_failed(7),
    )
    seen = Seen(state._repr_html_())

    assert ["draft", "✓ succeeded", "1", "0 ms", "all <b>well</b>"] == seen.cells[5:10]
    assert ["edit", "✗ failed", "1", "0 ms"] == seen.cells[10:14]
    assert "b" not in seen.elements
    assert f"run {RUN}: ✗ failed" in state._repr_html_()
    assert "run failed: no luck" in state._repr_html_()


def test_a_run_shows_what_its_nodes_wait_for() -> None:
    state = folded(node_started(), waiting(3, call("get_<weather>")))

    assert ["‖ waiting", "1", "", "waits for get_<weather>"] == Seen(state._repr_html_()).cells[6:]


def test_a_fan_out_of_thousands_is_counted_not_listed() -> None:
    state = folded(*(node_started(f"child[{number}]", number + 1) for number in range(1_000)))

    html = state._repr_html_()
    assert 201 == Seen(html).elements.count("tr")
    assert "and 800 more" in html


def test_a_run_without_events_shows_itself() -> None:
    assert "run None: ► running, 0 tokens, cost $0.00" in RunState()._repr_html_()


def test_costs_show_the_models_whose_cost_is_unknown() -> None:
    totals = CostTotals({("openai", "gpt-5"): Price(1, 2)})
    for event in (llm_call(usage=tokens(1_000_000, 10)), llm_call("other", "<b>"), llm_call()):
        totals = totals.step(event)
    seen = Seen(totals._repr_html_())

    assert ["openai", "gpt-5", "2", "1,000,000", "10", "$1.00"] == seen.cells[6:12]
    assert ["other", "<b>", "1", "0", "0"] == seen.cells[12:17]
    assert "the cost of other/&lt;b&gt; is unknown" in totals._repr_html_()
    assert "2 calls came without usage" in totals._repr_html_()


def test_a_notebook_shows_untrusted_text_as_text() -> None:
    hostile = NodeStarted(run_id=RUN, seq=1, ts=NOON, node_id=HOSTILE)
    html = folded(hostile, delta(HOSTILE, HOSTILE, 2))._repr_html_()

    assert "img" not in Seen(html).elements
    assert html.isprintable()
    assert "␛[2J" in html
