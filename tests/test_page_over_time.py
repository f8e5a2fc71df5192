"""The page's tokens and cost over time, its folded groups, and fingers on it, in a headless Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns import Price
from rxruns._display._text import money
from rxruns.costs import fold
from rxruns.events import NodeLLMCall, RunEvent
from rxruns.page import RunPage
from rxruns.page._usage import Usage
from tests.browser import Open
from tests.making import (
    NOON,
    delta,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_completed,
    run_started,
    tokens,
)

PRICES = {("openai", "gpt-5"): Price(2, 10), ("anthropic", "opus"): Price(5, 25)}
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def log(*timed: tuple[float, RunEvent]) -> list[RunEvent]:
    """The events at the given seconds, numbered."""
    return [
        msgspec.structs.replace(event, seq=place + 1, ts=NOON + timedelta(seconds=at))
        for place, (at, event) in enumerate(timed)
    ]


def page_of(events: Iterable[RunEvent], prices: Any = PRICES, **options: Any) -> str:
    page = RunPage(prices)
    for event in events:
        page.add(event)
    return page.html(**options)


GPT, OPUS = ("openai", "gpt-5"), ("anthropic", "opus")
CALLS = log(
    (0, run_started()),
    (2, llm_call(*GPT, usage=tokens(1000, 200))),
    (4, llm_call(*OPUS, usage=tokens(400, 100))),
    (6, llm_call(*GPT, usage=None)),
    (8, llm_call(*GPT, usage=tokens(300, 0))),
    (10, run_completed()),
)

_CALLS = st.lists(
    st.tuples(
        st.floats(0, 1000),
        st.builds(
            lambda model, usage: llm_call(*model, usage=usage),
            st.sampled_from([GPT, OPUS, ("unknown", "new")]),
            st.one_of(st.none(), st.builds(tokens, st.integers(0, 10**7), st.integers(0, 10**7))),
        ),
    ),
    max_size=20,
)


@given(_CALLS)
def test_the_columns_of_usage_add_up_to_the_totals_of_the_fold(
    timed: list[tuple[float, NodeLLMCall]],
) -> None:
    events = log(*timed)
    usage, totals = Usage(PRICES), fold(events, PRICES)
    for event in events:
        if isinstance(event, NodeLLMCall):
            usage.append(event)
    content = usage.content(NOON)

    assert totals.total_tokens == sum(used or 0 for used in content["tokens"])
    assert totals.unmetered == content["tokens"].count(None)
    known = sum(item.usd for item in totals.line_items if item.usd is not None)
    assert float(known) == (content["usd"] or [0])[-1]
    assert sorted(content["at"]) == content["at"]
    assert set(totals.unpriced) == {
        (provider, name) for provider, name, known in content["models"] if not known
    }


def usage_text(opened: Any) -> str:
    return " ".join(opened.texts("#usage-summary"))


def test_the_sums_at_a_moment_are_read_by_the_keyboard(open_page: Open) -> None:
    opened = open_page(page_of(CALLS), viewport=DESKTOP)
    opened.press("#curves", "Home", "ArrowRight")
    first = (
        "at 2.000 s: 1,200 tokens in 1 call\n1 openai / gpt-5: 1,200\n2 anthropic / opus: 0\ncost $0.004000"
    )
    assert [first] == opened.texts("#tip")

    opened.page.keyboard.press("ArrowRight")
    second = (
        "at 4.000 s: 1,700 tokens in 2 calls; 1 openai / gpt-5: 1,200; 2 anthropic / opus: 500; cost $0.00"
    )
    assert second + "8500" == opened.page.get_attribute("#curves", "aria-valuetext")
    opened.page.keyboard.press("End")
    assert "cost $0.009100" == opened.texts("#tip")[0].split("\n")[-1]
    assert "10" == opened.page.get_attribute("#curves", "aria-valuenow")
    opened.page.keyboard.press("ArrowLeft")
    assert "at 8.000 s: 2,000 tokens in 4 calls" == opened.texts("#tip")[0].split("\n")[0]
    opened.page.keyboard.press("Tab")
    assert not opened.page.locator("#tip").is_visible()


def test_the_sums_at_a_time_are_shown_where_the_mouse_points(open_page: Open) -> None:
    opened = open_page(page_of(CALLS), viewport=DESKTOP)
    opened.page.locator("#tokens").scroll_into_view_if_needed()
    box = opened.page.locator("#tokens").bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)

    tip = opened.texts("#tip")[0]
    assert tip.startswith("at 5.") and tip.endswith("\ncost $0.008500")
    opened.page.mouse.move(5, 5)
    assert not opened.page.locator("#tip").is_visible()


def test_the_curves_are_described_in_words_and_numbers(open_page: Open) -> None:
    opened = open_page(page_of(CALLS))

    expected = "2,000 tokens in 4 calls, half of them by 2.0 s. 1 call without usage is not counted."
    assert f"{expected} Cost $0.009100." == usage_text(opened)
    assert ["1openai / gpt-5: 1,500 tokens", "2anthropic / opus: 500 tokens"] == opened.texts("#series li")
    opened.page.click("#usage summary")
    assert opened.page.locator("#usage-table").is_visible()
    rows = opened.page.locator("#usage-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert ["2.00 s", "1,200", "0", "1,200", "$0.004000"] == rows[2]
    assert ["10.00 s", "1,500", "500", "2,000", "$0.009100"] == rows[10]


def test_unknown_costs_and_runs_without_calls_have_no_curve(open_page: Open) -> None:
    opened = open_page(page_of(CALLS, prices=None))
    assert "The cost is unknown: no price for openai / gpt-5, anthropic / opus." in usage_text(opened)
    assert [False, True] == [opened.page.locator(id).is_visible() for id in ("#cost", "#tokens")]
    opened.press("#curves", "End")
    assert "cost unknown" == opened.texts("#tip")[0].split("\n")[-1]

    opened = open_page(page_of(log((0, run_started()), (1, run_completed()))))
    assert not opened.page.locator("#usage").is_visible()
    assert [] == opened.logged


def test_from_the_first_call_without_a_price_the_known_part_is_dashed(open_page: Open) -> None:
    opened = open_page(page_of(CALLS, prices={GPT: PRICES[GPT]}))

    assert "The cost is unknown from 4.0 s (no price for anthropic / opus)" in usage_text(opened)
    lines = opened.page.locator("#cost .curve-line")
    assert ["curve-line", "curve-line at-least"] == lines.evaluate_all(
        "all => all.map(one => one.getAttribute('class'))"
    )
    width = opened.page.evaluate("byId('axis').clientWidth")
    start = float(re.match(r"M([\d.]+)", lines.nth(1).get_attribute("d"))[1])  # type: ignore[index]
    assert 0.4 * width <= start <= 0.4 * width + 1
    opened.press("#curves", "End")
    assert "cost unknown, at least $0.004600" == opened.texts("#tip")[0].split("\n")[-1]


# For each pixel of the plot what the tokens of all calls until its moment are, and what the upper edge says.
PIXELS = """() => {
    const { timeline } = view.curves;
    const top = Number(document.querySelector("#usage .scale").lastChild.textContent.replace(/,/g, ""));
    const { tokens, at } = content.usage;
    const width = byId("axis").clientWidth;
    const paths = [...document.querySelectorAll("#tokens path")].map((path) => path.getAttribute("d"));
    const edge = [];
    let x = 0;
    for (const [, step, one, other] of paths.at(-1).matchAll(/([MHV])([\\d.]+)(?: ([\\d.]+))?/g)) {
        if (step === "H") x = Number(one);
        else edge.push([x, Number(step === "M" ? other : one)]);
        if (x === width) break;
    }
    const expected = [], drawn = [];
    for (let x = 0; x < width; x++) {
        const moment = timeline.from + (timeline.to - timeline.from) * x / width;
        expected.push(at.reduce((sum, when, call) => sum + (when <= moment ? tokens[call] ?? 0 : 0), 0));
        drawn.push(Math.round(top * (1 - edge.findLast(([from]) => from <= x)[1] / 120)));
    }
    return { expected, drawn, width, points: paths.map((path) => path.split("H").length) };
}"""


def busy(calls: int) -> list[RunEvent]:
    """Many calls, in bursts."""
    random = Random(7)
    models = [("openai", f"gpt-{number}") for number in range(9)]
    timed = sorted((random.random() ** 3 * 100, random.choice(models)) for _ in range(calls))
    called = [(at, llm_call(*model, usage=tokens(random.randrange(500), 7))) for at, model in timed]
    return log((0, run_started()), *called, (100, run_completed()))


def test_each_pixel_shows_the_sum_at_its_moment_however_many_calls(open_page: Open) -> None:
    opened = open_page(page_of(busy(3_000)), viewport=DESKTOP)
    for _ in range(3):  # all of it, then ever nearer
        seen = opened.page.evaluate(PIXELS)
        assert seen["expected"] == seen["drawn"]
        assert max(seen["points"]) <= 2 * seen["width"] + 4
        assert 6 == len(seen["points"])  # nine models: five bands, and one for the others
        opened.press("#curves", "+", "+")
    assert "4 other models" in opened.texts("#series li")[-1]


def test_the_curves_show_the_time_range_of_the_timeline(open_page: Open) -> None:
    opened = open_page(page_of(CALLS), viewport=DESKTOP)
    ticks = opened.texts("#axis .tick")
    assert ticks == opened.texts("#usage-axis .tick")

    opened.page.click("#zoom-in")
    assert opened.texts("#axis .tick") == opened.texts("#usage-axis .tick") != ticks
    opened.page.locator("#tokens").scroll_into_view_if_needed()
    box = opened.page.locator("#tokens").bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 60)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    opened.page.mouse.up()
    assert [3000, 5000] == pytest.approx(look(opened), abs=30)


# How the numbers in the bands stand out from them, and the bands from the page.
BANDS = """() => {
    const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255).map((part) =>
        part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ratio = (...colors) => {
        const [dark, bright] = colors.map(light).sort((one, other) => one - other);
        return (bright + 0.05) / (dark + 0.05);
    };
    const back = getComputedStyle(document.body).backgroundColor;
    const bands = [...document.querySelectorAll(".band")].map((band) => getComputedStyle(band).fill);
    const mark = getComputedStyle(document.querySelector(".mark")).fill;
    return bands.map((band) => [ratio(mark, band), ratio(band, back)]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bands_are_numbered_and_seen_in_light_and_dark(open_page: Open, scheme: str) -> None:
    opened = open_page(page_of(busy(50)), color_scheme=scheme)

    ratios = opened.page.evaluate(BANDS)
    assert 6 == len(ratios)
    assert all(number >= 4.5 and band >= 3 for number, band in ratios)
    assert {"1", "2"} <= set(opened.texts("#tokens .mark"))


def look(opened: Any) -> Any:
    """The visible time range, in milliseconds."""
    return opened.page.evaluate("[view.timeline.from, view.timeline.to]")


class Fingers:
    """Fingers on a touch screen, at places given as fractions of the time axis."""

    def __init__(self, opened: Any, row: str = "#bars .row") -> None:
        self.session = opened.context.new_cdp_session(opened.page)
        opened.page.locator(row).first.scroll_into_view_if_needed()
        self.axis = opened.page.locator("#axis").bounding_box()
        box = opened.page.locator(row).first.bounding_box()
        self.y = box["y"] + box["height"] / 2

    def send(self, kind: str, *places: float) -> None:
        points = [
            {"x": self.axis["x"] + self.axis["width"] * place, "y": self.y, "id": number}
            for number, place in enumerate(places)
        ]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def slide(self, *path: tuple[float, ...]) -> None:
        """Touch the first places, move through the others, and lift."""
        self.send("touchStart", path[0][0])
        if len(path[0]) > 1:
            self.send("touchStart", *path[0])
        for places in path[1:]:
            self.send("touchMove", *places)
        self.send("touchEnd")


NODES = log(
    (0, node_started("draft")),
    (4, node_succeeded("draft")),
    (4, node_started("check")),
    (10, run_completed()),
)


def test_spreading_two_fingers_zooms_and_a_tap_still_opens_a_node(open_page: Open) -> None:
    opened = open_page(page_of(NODES), **PHONE)
    Fingers(opened).slide((0.4, 0.6), (0.35, 0.65), (0.3, 0.7), (0.2, 0.8))

    # The times under the fingers, 4 s and 6 s, are now at a fifth and four fifths of the width.
    assert [3333, 6667] == pytest.approx(look(opened), abs=60)
    assert not opened.page.locator("#detail").is_visible()
    assert 1 == opened.page.evaluate("visualViewport.scale")
    opened.page.locator("#bars .row").first.tap()
    assert ["✓ succeeded draft"] == opened.texts("#detail-title")


def test_one_finger_moves_the_time_range_but_never_beyond_the_run(open_page: Open) -> None:
    opened = open_page(page_of(NODES), **PHONE)
    opened.page.evaluate("view.timeline.look(4000, 6000)")
    fingers = Fingers(opened)

    fingers.slide((0.2,), (0.3,), (0.45,), (0.7,))
    assert [3000, 5000] == pytest.approx(look(opened), abs=20)
    fingers.slide((0.1,), (0.5,), (0.9,))
    fingers.slide((0.1,), (0.5,), (0.9,))
    fingers.slide((0.1,), (0.5,), (0.9,))
    assert 0 == look(opened)[0]


def test_a_finger_reads_the_curves_and_two_zoom_them(open_page: Open) -> None:
    opened = open_page(page_of(CALLS), **PHONE)
    fingers = Fingers(opened, "#tokens")
    fingers.slide((0.3,), (0.5,), (0.9,))
    assert opened.texts("#tip")[0].startswith("at 9.")
    assert [0, 10_000] == look(opened)

    fingers.slide((0.4, 0.6), (0.3, 0.7), (0.2, 0.8))
    assert [3333, 6667] == pytest.approx(look(opened), abs=60)


FAN_OUT = log(
    (0, run_started()),
    (1, node_started("each")),
    (1, node_started("each.one[0]")),
    (2, node_started("each.one[1]")),
    (3, node_started("last")),
    (4, node_started("each.one[2]")),
    (5, node_failed("each.one[1]")),
    (6, delta("word", "each.one[0]")),
    (7, node_succeeded("each.one[0]")),
    (8, node_succeeded("each.one[2]")),
    (9, node_succeeded("each")),
    (10, node_succeeded("last")),
)
FOLDED = ["each", "▸each.one\u00a0×3", "last"]
UNFOLDED = ["each", "▾each.one\u00a0×3", "each.one[0]", "each.one[1]", "each.one[2]", "last"]


def names(opened: Any) -> list[str]:
    return opened.texts("#bars .name")


def test_children_of_a_fan_out_are_one_row_with_the_worst_of_them_and_their_span(open_page: Open) -> None:
    opened = open_page(page_of(FAN_OUT), viewport=DESKTOP)

    assert FOLDED == names(opened)
    bar = opened.page.locator("#bars .span.group")
    assert ["10%", "70%"] == bar.evaluate("bar => [bar.style.left, bar.style.width]")
    assert ["layer failed", "layer succeeded"] == bar.evaluate(
        "bar => [...bar.children].map(one => one.className)"
    )
    assert ["✗ 1 ✓ 2 · 7.0 s"] == opened.texts("#bars .row:nth-child(2) .length")
    opened.page.locator("#bars .row").nth(1).hover()
    expected = [
        "each.one: 3 nodes in parallel",
        "✗ 1 failed, ✓ 2 succeeded",
        "from 1.000 s to 8.000 s: 7.0 s",
    ]
    assert expected == opened.texts("#tip")[0].split("\n")


def test_the_bar_of_an_open_group_has_no_end(open_page: Open) -> None:
    opened = open_page(page_of(FAN_OUT[:7], now=NOON + timedelta(seconds=20)), viewport=DESKTOP)

    assert 1 == opened.page.locator("#bars .span.group.open").count()
    assert ["✗ 1 ► 2"] == opened.texts("#bars .row:nth-child(2) .length")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_group_is_unfolded_and_folded_by_the_keyboard(open_page: Open, key: str) -> None:
    opened = open_page(page_of(FAN_OUT))
    row = opened.page.locator("#bars [role=treeitem]").nth(1)
    assert "false" == row.get_attribute("aria-expanded")

    opened.press("#bars", "ArrowDown", "ArrowDown", key)
    assert UNFOLDED == names(opened)
    assert "true" == row.get_attribute("aria-expanded")
    levels = opened.page.locator("#bars .row").evaluate_all(
        "rows => rows.map(row => [row.ariaLevel, row.ariaPosInSet, row.ariaSetSize].map(Number))"
    )
    assert [[1, 1, 3], [1, 2, 3], [2, 1, 3], [2, 2, 3], [2, 3, 3], [1, 3, 3]] == levels
    opened.page.keyboard.press(key)
    assert FOLDED == names(opened)
    assert "bars" == opened.page.evaluate("document.activeElement.id")
    assert [FOLDED[1]] == opened.texts("#bars .row.active .name")


def test_groups_unfold_by_click_or_button_and_a_filter_finds_folded_nodes(open_page: Open) -> None:
    opened = open_page(page_of(FAN_OUT))
    opened.page.locator("#bars .row").nth(1).click()
    assert (UNFOLDED, ["Fold all"]) == (names(opened), opened.texts("#fold"))
    assert not opened.page.locator("#detail").is_visible()
    opened.page.click("#fold")
    assert (FOLDED, ["Unfold all"]) == (names(opened), opened.texts("#fold"))
    opened.page.click("#fold")
    assert UNFOLDED == names(opened)
    opened.page.click("#fold")

    opened.page.select_option("#node-status", label="failed")
    assert ["each.one[1]"] == names(opened)
    assert not opened.page.locator("#fold").is_visible()
    opened.page.select_option("#node-status", label="all statuses")
    assert FOLDED == names(opened)


def test_only_children_of_a_fan_out_are_folded_and_only_several(open_page: Open) -> None:
    nodes = ["each", "each_one_0", "each_one_1", "draft_0", "draft_1", "last"]
    opened = open_page(page_of(log(*enumerate([run_started(), *map(node_started, nodes)]))))
    assert ["each", "▸each_one\u00a0×2", "draft_0", "draft_1", "last"] == names(opened)

    opened = open_page(page_of([*FAN_OUT[:3], run_completed(4)]))
    assert ["each", "each.one[0]"] == names(opened)
    assert not opened.page.locator("#fold").is_visible()


def test_unfolded_groups_and_selections_survive_a_reload(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    page = RunPage()
    for event in FAN_OUT[:9]:
        page.add(event)
    page.write(path, refresh=3600)
    opened = open_page(path)
    opened.page.locator("#bars .row").nth(1).click()
    opened.press("#bars", "End")  # `last`, after which a node comes before it

    page.add(msgspec.structs.replace(node_started("each.one[3]"), seq=10, ts=FAN_OUT[9].ts))
    page.add(run_completed(11))
    page.write(path)
    opened.page.evaluate("keep()")  # as before each reload of its own
    opened.page.reload()

    opened.page.wait_for_selector("html[data-ready]")
    assert [*UNFOLDED[:-1], "each.one[3]", "last"] == [name.replace("×4", "×3") for name in names(opened)]
    assert ["last"] == opened.texts("#bars .row.active .name")


def test_the_page_formats_money_and_invisible_characters_as_the_library_does(open_page: Open) -> None:
    amounts = ["0", "0.0000001", "0.000001", "0.0123456", "0.999999", "1", "1.125", "1.135", "1234.5"]
    opened = open_page(page_of([run_started(1, UUID(int=5))]))
    assert [money(Decimal(usd)) for usd in amounts] == opened.page.evaluate(
        "amounts => amounts.map(usd => money(Number(usd)))", amounts
    )
    assert "a␛[31mb�c\nd" == opened.page.evaluate("visibleLines('a\\x1b[31mb\\u202ec\\r\\nd')")
    assert [str(UUID(int=5))] == opened.texts("#run")
