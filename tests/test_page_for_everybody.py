"""The accessibility of the page in a headless Chromium: contrast, keyboard, forced colours, print."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from rxruns.events import RunEvent
from tests.browser import Open
from tests.making import delta, llm_call, node_failed, node_started, node_succeeded, tokens
from tests.test_page_in_browser import (
    CONTRASTS,
    DESKTOP,
    ENDED,
    NOON,
    PHONE,
    SCRIPT,
    at,
    page_of,
)
from tests.waiting import waiting

FAN_OUT: list[RunEvent] = [
    *SCRIPT,
    *(at(8, node_started(f"each[{number}]", 20 + number)) for number in range(6)),
    at(9, node_succeeded("each[0]", 30)),
    at(9, node_failed("each[1]", 31)),
    at(9, waiting(32, node_id="each[2]")),
    at(9, delta("So", "each[3]", 33)),
    at(9, llm_call("openai", "gpt-5", usage=tokens(1000, 200), seq=34)),
]
"""Every status but canceled, also in a group."""

RULES = {
    # The row's name has the bar's words in another order; voice control doesn't need it to select a row.
    "label-content-name-mismatch": {"enabled": False}
}
OPTIONS = {
    "resultTypes": ["violations"],
    "rules": RULES,
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}


def violations(page: Any) -> list[str]:
    """Return the violations that axe-core finds."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_wrong(open_page: Open, scheme: str, viewport: dict[str, int]) -> None:
    opened = open_page(page_of(FAN_OUT, refresh=60, note="a note"), color_scheme=scheme, viewport=viewport)
    assert [] == violations(opened.page)

    opened.page.click("summary")
    opened.page.click("#fold")
    opened.press("#list", "ArrowDown")
    opened.press("#bars", "ArrowDown", "ArrowDown")
    assert opened.page.locator("#tip").is_visible()
    assert [] == violations(opened.page)

    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#detail").is_visible()
    assert [] == violations(opened.page)


# What is focused, by its name or else its id, and whether one can see that.
FOCUSED = """() => {
    const now = document.activeElement;
    const style = getComputedStyle(now);
    const name = now.id || now.getAttribute("aria-labelledby") || now.textContent;
    return [name, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}"""


def test_the_tab_key_moves_from_top_to_bottom_and_the_focus_is_visible(open_page: Open) -> None:
    opened = open_page(page_of(SCRIPT, refresh=60, now=NOON), viewport=DESKTOP)
    met = []
    while not met or met[-1][0] != "list":
        opened.page.keyboard.press("Tab")
        met.append(opened.page.evaluate(FOCUSED))

    names = [name for name, _ in met]
    assert ["Skip to the events", "pause", "check", "ask", "node-search", "node-status"] == names[:6]
    assert ["zoom-out", "zoom-in", "zoom-fit", "bars", "curves", "In numbers", "node ▴"] == names[6:13]
    assert ["draft", "check", "ask", "costs-title", "search", "type", "node", "join", "list"] == names[-9:]
    assert [] == [name for name, is_seen in met if not is_seen]


def test_the_sign_of_a_bar_is_readable_over_the_stripes_of_its_wait(open_page: Open) -> None:
    opened = open_page(
        page_of([at(0, node_started("ask", 1)), at(0, waiting(2, node_id="ask")), at(9, delta("", seq=3))])
    )
    color = "([one]) => getComputedStyle(one).backgroundColor"
    bar, sign = (
        opened.page.locator(f"#bars {one}").evaluate_all(color) for one in (".span", ".wait ~ .sign")
    )
    assert bar == sign


def test_escape_hides_the_tooltip_of_a_bar(open_page: Open) -> None:
    opened = open_page(page_of(ENDED))
    opened.press("#bars", "ArrowDown")
    assert opened.page.locator("#tip").is_visible()
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#tip").is_visible()


LOOKS = """() => [...document.querySelectorAll("#legend :is(.span, .wait)")].map((bar) => {
    const style = getComputedStyle(bar);
    return [style.backgroundColor, style.backgroundImage, style.borderStyle, style.forcedColorAdjust].join();
})"""
COLOURS = """() => {
    const shown = (color) => {
        const probe = element("span", {});
        probe.style.forcedColorAdjust = "none";
        probe.style.color = color;
        document.body.append(probe);
        const found = getComputedStyle(probe).color;
        probe.remove();
        return found;
    };
    const allowed = new Set(["Canvas", "CanvasText", "Highlight"].map(shown));
    const used = "#timeline :is(.span, .wait, .layer, .sign), #legend *, #tip";
    return [...document.querySelectorAll(used)].flatMap((one) => {
        const { color, backgroundColor, backgroundImage } = getComputedStyle(one);
        return [color, backgroundColor, backgroundImage].join(" ").match(/rgba?\\([^)]*\\)/g)
            .filter((found) => !allowed.has(found) && !found.endsWith(", 0)"));
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_forced_colours_bars_differ_by_pattern_and_all_text_is_readable(
    open_page: Open, scheme: str
) -> None:
    opened = open_page(page_of(FAN_OUT), forced_colors="active", color_scheme=scheme, viewport=DESKTOP)
    opened.press("#bars", "ArrowDown")

    assert [] == [look for look, times in Counter(opened.page.evaluate(LOOKS)).items() if times > 1]
    assert [] == opened.page.evaluate(COLOURS)
    assert [] == opened.page.evaluate(CONTRASTS)
    assert "solid" == opened.page.evaluate("getComputedStyle(byId('tip')).borderTopStyle")
    assert ["✗ 1 ‖ 1 ► 3 ✓ 1"] == [text for text in opened.texts("#bars .length") if text.startswith("✗ 1")]


OUTLINE = "one => { const s = getComputedStyle(one); return [s.outlineStyle, s.outlineColor]; }"


def test_in_forced_colours_active_and_focused_elements_are_outlined(open_page: Open) -> None:
    opened = open_page(page_of(FAN_OUT), forced_colors="active")
    opened.press("#bars", "ArrowDown")

    for selector in ("#bars", "#bars .row.active"):
        kind, color = opened.page.locator(selector).evaluate(OUTLINE)
        assert "solid" == kind
        assert color != opened.page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_a_printed_page_is_light_and_has_no_buttons(open_page: Open) -> None:
    opened = open_page(page_of(FAN_OUT, refresh=60), color_scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="dark")

    assert "rgb(255, 255, 255)" == opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert [] == opened.page.evaluate(CONTRASTS)
    assert 0 == opened.page.locator("button:not(.link):not(thead *):visible, input:visible").count()
    assert "exact" == opened.page.evaluate(
        "getComputedStyle(document.querySelector('.span')).printColorAdjust"
    )


def test_the_page_has_no_animations(open_page: Open) -> None:
    moving = """all => all.map((one) => getComputedStyle(one)).filter((s) => s.animationName !== "none"
        || parseFloat(s.transitionDuration) || s.scrollBehavior === "smooth").length"""
    assert 0 == open_page(page_of(FAN_OUT, refresh=60)).page.locator("*").evaluate_all(moving)
