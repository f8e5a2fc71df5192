"""The page in a headless Chromium: its content, its controls and its requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rxruns import Price
from rxruns.events import (
    NodeError,
    NodeFailed,
    RunEvent,
)
from rxruns.page import RunPage
from tests.browser import Open, sync_api
from tests.making import (
    NOON,
    RUN,
    delta,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_completed,
    run_failed,
    run_started,
    tokens,
    unknown,
)
from tests.waiting import call, waiting

PRICES = {("openai", "gpt-5"): Price(2, 10)}
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def at(seconds: float, event: RunEvent) -> RunEvent:
    """The event at another time."""
    return msgspec.structs.replace(event, ts=NOON + timedelta(seconds=seconds))


def page_of(events: Iterable[RunEvent], **options: Any) -> str:
    page = RunPage(PRICES)
    for event in events:
        page.add(event)
    return page.html(**options)


SCRIPT = [
    at(0, run_started(1)),
    at(1, node_started("draft", 2)),
    at(1.5, delta("The quick ", "draft", 3)),
    at(1.6, delta("brown ", "draft", 4)),
    at(1.7, delta("fox.", "draft", 5)),
    at(2, llm_call(usage=tokens(1000, 200), seq=6)),
    at(3, node_succeeded("draft", 7)),
    at(3, node_started("check", 8)),
    at(4, node_failed("check", 9)),
    at(5, node_started("check", 10)),
    at(5.5, delta("Again.", "check", 11)),
    at(7, node_failed("check", 12)),
    at(7, node_started("ask", 13)),
    at(8, waiting(14, call("approve"), node_id="ask")),
]
ENDED = [*SCRIPT, at(10, run_failed(15))]


def test_a_run_is_drawn_with_a_bar_per_attempt_its_figures_and_errors(open_page: Open) -> None:
    opened = open_page(page_of(ENDED))

    bars = opened.page.locator("#bars .span").evaluate_all(
        "bars => bars.map(bar => [bar.className, bar.style.left, bar.style.width].join(' '))"
    )
    assert [
        "span succeeded 10% 20%",
        "span failed 30% 10%",
        "span failed 50% 20%",
        "span canceled 70% 30%",
    ] == bars
    assert ["✓", "✗", "✗", "⊘"] == opened.texts("#bars .sign")
    assert ["2.0 s", "2.0 s", "3.0 s"] == opened.texts("#bars .length")
    assert "✗ failed: run 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11" == opened.page.title()
    assert ["✗ failed"] == opened.texts("#status")
    facts = dict(zip(opened.texts("#facts dt"), opened.texts("#facts dd"), strict=True))
    assert "10.0 s" == facts["Took"].partition("from")[0]
    assert ("1,2001,000 in, 200 out", "$0.004000") == (facts["Tokens"], facts["Cost"])
    assert ["✗ Run failedno luck", "✗ checkno luck"] == opened.texts("#problems li")
    opened.page.locator("#bars .row").nth(1).hover()
    assert [
        "check",
        "attempt 1: ✗ failed, from 3.000 s to 4.000 s: 1.0 s",
        "no luck",
        "attempt 2: ✗ failed, from 5.000 s to 7.000 s: 2.0 s",
        "no luck",
    ] == opened.texts("#tip")[0].split("\n")
    assert [] == opened.logged


def test_an_open_run_shows_its_waits_on_top_and_in_bars(open_page: Open) -> None:
    opened = open_page(page_of(SCRIPT, now=NOON + timedelta(seconds=17)))

    assert ["‖ waiting"] == opened.texts("#bars .row:nth-child(3) .length")
    (wait,) = opened.page.locator("#bars .wait").evaluate_all(
        "all => all.map(one => parseFloat(one.style.width))"
    )
    assert 90 == pytest.approx(wait)
    assert 1 == opened.page.locator("#bars .span.open").count()
    assert ["‖ ask waits for the result of approve (9.0 s so far){}"] == opened.texts("#waits li")


def test_zoom_shows_less_time_and_fit_shows_all_of_it(open_page: Open) -> None:
    opened = open_page(page_of(ENDED))
    width = "parseFloat(document.querySelector('#bars .span').style.width)"

    opened.page.click("#zoom-in")
    assert 11 == opened.page.evaluate(width)  # 3 s at 10 %, and cut beyond the left edge
    assert ["2.5 s", "3.0 s", "7.5 s"] == [opened.texts("#axis .tick")[place] for place in (0, 1, -1)]
    opened.press("#bars", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert 40 == opened.page.evaluate(width)
    opened.press("#bars", "+")
    assert 41 <= opened.page.evaluate(width) <= 80
    opened.press("#bars", "0")
    assert 20 == opened.page.evaluate(width)


def test_dragging_over_a_time_range_zooms_into_it(open_page: Open) -> None:
    opened = open_page(page_of(ENDED), viewport=DESKTOP)
    box = opened.page.locator("#axis").bounding_box()
    row = opened.page.locator("#bars .row").first.bounding_box()

    opened.page.mouse.move(box["x"] + box["width"] * 0.5, row["y"] + 10)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.6, row["y"] + 10)
    opened.page.mouse.move(box["x"] + box["width"] * 0.7, row["y"] + 10)
    opened.page.mouse.up()

    assert "5.0 s" == opened.texts("#axis .tick")[0]
    assert not opened.page.locator("#detail").is_visible()


def test_the_keyboard_opens_nodes_and_events_and_focuses_the_search(open_page: Open) -> None:
    opened = open_page(page_of([*ENDED, unknown(16, weight=2**60, kind=["a", None])]))
    opened.press("#bars", "ArrowDown", "ArrowDown", "Enter")
    assert ["✗ failed check"] == opened.texts("#detail-title")
    assert ["1", "✗ failed", "3.000 s", "1.0 s", "", "0"] == opened.texts("#detail-body td")[:6]
    assert ["no luck", "no luck", "Again."] == opened.texts("#detail-body pre")
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#detail").is_visible()
    assert "bars" == opened.page.evaluate("document.activeElement.id")

    opened.page.keyboard.press("/")
    assert "search" == opened.page.evaluate("document.activeElement.id")
    opened.press("#list", "End", "Enter")
    record = msgspec.json.decode(opened.texts("#detail-body pre")[0])
    expected = {"seq": 16, "type": "news", "ts": "2026-01-31T12:00:00.000Z"}
    assert expected | {"weight": str(2**60), "kind": ["a", None]} == record


def kinds(opened: Any) -> list[str]:
    return opened.texts("#list .kind")


def wait_for_count(opened: Any, expected: str) -> None:
    """Wait until the list's event count reads `expected`."""
    opened.page.locator("#count", has_text=re.compile(f"^{expected}$")).wait_for()


def test_events_are_filtered_by_type_and_node(open_page: Open) -> None:
    opened = open_page(page_of(ENDED))
    assert ["15 events"] == opened.texts("#count")

    opened.page.select_option("#type", label="node_failed")
    assert ["✗ node_failed", "✗ node_failed"] == kinds(opened)
    assert ["2 of 15 events"] == opened.texts("#count")
    opened.page.select_option("#type", label="all types")
    opened.page.select_option("#node", label="draft")
    assert ["node_started", "node_output_delta ×3", "node_llm_call", "node_succeeded"] == kinds(opened)
    opened.page.uncheck("#join")
    assert ["The quick ", "brown ", "fox."] == opened.texts("#list .what")[1:4]


@pytest.mark.parametrize(
    ("join", "words", "found", "text"),
    [
        (True, "QUICK brown fox", 3, ["The quick brown fox."]),
        (False, "no luck", 3, None),
        (False, "gpt-5", 1, None),
        (False, "nowhere", 0, []),
        (False, "again", 1, ["Again."]),
        (False, "e q", 1, ["The quick "]),
        (False, "tool_results", 1, None),
    ],
)
def test_a_search_finds_words_in_all_events_and_across_deltas(
    open_page: Open, join: bool, words: str, found: int, text: list[str] | None
) -> None:
    opened = open_page(page_of(ENDED))
    opened.page.set_checked("#join", join)
    opened.page.fill("#search", words)
    wait_for_count(opened, f"{found} of 15 events")
    assert (1 if join else found) == len(kinds(opened))
    assert text in (None, opened.texts("#list .what"))


def test_nodes_are_filtered_in_timeline_and_table(open_page: Open) -> None:
    opened = open_page(page_of(ENDED))

    opened.page.select_option("#node-status", label="failed")
    assert ["check"] == opened.texts("#nodes tbody td.node") == opened.texts("#bars .name")
    opened.page.fill("#node-search", "nowhere")
    assert ["No matching node."] == opened.texts("#no-nodes")


def test_the_table_of_nodes_is_sorted_by_a_click_and_leads_to_their_events(open_page: Open) -> None:
    opened = open_page(page_of(ENDED))
    assert ["draft", "check", "ask"] == opened.texts("#nodes tbody td.node")

    opened.page.click("#nodes th button:text('took')")
    assert ["check", "ask", "draft"] == opened.texts("#nodes tbody td.node")
    assert "descending" == opened.page.locator("#nodes th").nth(3).get_attribute("aria-sort")
    opened.page.keyboard.press("Enter")
    assert ["draft", "check", "ask"] == opened.texts("#nodes tbody td.node")

    opened.page.click("#nodes tbody tr:nth-child(3) button")
    opened.page.click("text=Show its events")
    assert ["node_started", "node_waiting"] == kinds(opened)


HOSTILE = [
    "</script><script>window.pwned=1</script>",
    "<!--<script>",
    "<img src=http://127.0.0.1:1/x onerror=window.pwned=2>",
    "\u2028window.pwned=3\u2029",
    "<svg/onload=window.pwned=4>",
    "javascript:window.pwned=5",
    "{{content}}{{script}}",
    "\x1b]0;owned\x07\x1b[2J\u202egnp\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_untrusted_text_is_shown_and_never_executed(open_page: Open, text: str) -> None:
    failed = NodeFailed(run_id=RUN, seq=4, ts=NOON, node_id=text, error=NodeError(message=text, code=text))
    events = [
        run_started(1),
        node_started(text, 2),
        delta(text, text, 3),
        failed,
        node_started("draft", 5),
        delta(text, "draft", 6),
        llm_call(text, text, usage=tokens(1, 1), seq=7),
        unknown(8, text=text, **{text: text}),
    ]
    opened = open_page(page_of(events, note=text))
    for place in range(2):
        opened.page.locator("#nodes tbody button").nth(place).click()
        assert text.splitlines()[0][:3].strip("\x1b") in opened.page.locator("#detail-body").inner_text()
        opened.page.keyboard.press("Escape")
    opened.page.locator("#bars .row").first.hover()
    opened.press("#list", "Home", *["ArrowDown"] * 7, "Enter")

    assert opened.page.evaluate("window.pwned") is None
    assert 0 == opened.page.locator("img, svg:not(#curves svg), iframe, a[href^='javascript']").count()
    assert 3 == opened.page.evaluate("document.scripts.length") + 1  # the columns' own is read and gone
    assert [] == opened.dialogs + opened.logged
    assert 1 == len(opened.requests)
    text = opened.page.evaluate("document.body.innerText")
    assert not set(text) & set("\x1b\x07\x00\u202e\u2028")


INJECTIONS = (
    """() => document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.pwned=1'>")""",
    """() => { document.createElement("script").text = "window.pwned=2"; }""",
    """() => document.body.setAttribute("onclick", "window.pwned=3")""",
)


def test_markup_made_from_text_and_foreign_scripts_are_refused(open_page: Open) -> None:
    foreign = "<script>window.pwned=1</script><p onclick='window.pwned=2'>here</p></body>"
    opened = open_page(page_of(ENDED).replace("</body>", foreign))
    opened.page.click("text=here")
    assert 2 == sum("Content Security Policy" in line for line in opened.logged)
    for injection in INJECTIONS:
        with pytest.raises(sync_api.Error, match="TrustedHTML|TrustedScript"):
            opened.page.evaluate(injection)
    assert opened.page.evaluate("window.pwned") is None


@pytest.fixture
def served() -> Iterator[tuple[dict[str, bytes], list[str], str]]:
    """A server with the pages in a dict; it lists the requested paths."""
    pages: dict[str, bytes] = {}
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            body = pages.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield pages, requests, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_page_requests_nothing_but_itself(
    open_page: Open, served: tuple[dict[str, bytes], list[str], str]
) -> None:
    pages, requests, url = served
    html = page_of(ENDED)
    pages["/run.html"] = html.encode()
    over_http = open_page(html, url=f"{url}/run.html")
    from_file = open_page(html)
    for opened in (over_http, from_file):
        opened.press("#bars", "ArrowDown", "+", "Enter")
        opened.page.keyboard.press("Escape")
        opened.page.fill("#search", "fox")
        wait_for_count(opened, "1 of 15 events")

    assert ["/run.html"] == requests
    assert [f"{url}/run.html"] == over_http.requests
    assert 1 == len(from_file.requests)
    assert from_file.requests[0].startswith("file://")


def many(events: int, nodes: int = 3) -> list[RunEvent]:
    """A long run: text deltas of some nodes in turn."""
    started = [node_started(f"node[{number}]", number + 1) for number in range(nodes)]
    return [
        *started,
        *(delta(f"word {seq} ", f"node[{seq % nodes}]", seq) for seq in range(nodes + 1, events)),
        run_completed(events),
    ]


def test_a_long_run_holds_few_rows(open_page: Open) -> None:
    opened = open_page(page_of(many(20_000)), viewport=DESKTOP)

    def rows() -> int:
        return int(opened.page.locator("#list .row").count())

    assert ["20,000 events"] == opened.texts("#count")
    assert 10 < rows() < 60
    opened.press("#list", "End")
    assert ["20000"] == opened.texts("#list .row.active .seq")
    assert 10 < rows() < 60
    assert opened.page.evaluate("document.querySelectorAll('*').length") < 1_500


def test_a_wide_fan_out_holds_few_rows(open_page: Open) -> None:
    opened = open_page(page_of(many(6_000, nodes=2_000)), viewport=DESKTOP)

    assert opened.page.locator("#bars .row").count() < 60
    assert 100 == opened.page.locator("#nodes tbody tr").count()
    opened.page.click("#more-nodes")
    assert 600 == opened.page.locator("#nodes tbody tr").count()
    opened.page.click("#fold")
    opened.press("#bars", "End")
    assert ["node[1999]"] == opened.texts("#bars .row.active .name")
    assert opened.page.locator("#bars .row").count() < 60


@pytest.mark.parametrize("events", [[], [run_started(1)]], ids=["no events", "no nodes"])
def test_a_page_of_a_run_without_nodes_states_that(open_page: Open, events: list[RunEvent]) -> None:
    opened = open_page(page_of(events))

    assert ["No node has started."] == opened.texts("#no-nodes")
    assert ["No model was called."] == opened.texts("#costs tbody td")
    assert [] == opened.logged


# The colours of each visible text and of what is behind it, as the browser has them.
CONTRASTS = """() => {
    const light = ([r, g, b]) => [r, g, b].map((part) => part / 255).map((part) =>
        part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const [r, g, b, alpha = 1] = parts(getComputedStyle(at).backgroundColor);
            if (alpha === 1) return [r, g, b];
        }
        return parts(getComputedStyle(document.body).backgroundColor);
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
        const [one, other] = [light(parts(getComputedStyle(element).color)), light(behind(element))].sort();
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) poor.push(`${element.className}: ${walker.currentNode.data} ${ratio.toFixed(2)}`);
    }
    return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(open_page: Open, scheme: str) -> None:
    for html in (page_of(ENDED), page_of(SCRIPT, refresh=60, note="a note")):
        opened = open_page(html, color_scheme=scheme)
        opened.press("#list", "ArrowDown")
        assert [] == opened.page.evaluate(CONTRASTS)
        opened.press("#bars", "ArrowDown", "Enter")
        assert [] == opened.page.evaluate(CONTRASTS)


LONG = "a" * 300
PAGES = {
    "every status": SCRIPT,
    "long names": [
        node_started(LONG, 1),
        delta(LONG, LONG, 2),
        node_failed(LONG, 3),
        unknown(4, text=LONG),
        run_failed(5),
    ],
}


@pytest.mark.parametrize("events", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 640}], ids=["phone", "small phone"])
def test_a_phone_never_scrolls_sideways(
    open_page: Open, events: list[RunEvent], size: dict[str, int]
) -> None:
    opened = open_page(page_of(events, note=LONG), viewport=size, has_touch=True, is_mobile=True)

    assert size["width"] == opened.page.evaluate("document.documentElement.scrollWidth")
    opened.page.locator("#bars .row").first.tap()
    assert opened.page.locator("#detail").is_visible()
    assert size["width"] == opened.page.evaluate("document.documentElement.scrollWidth")


# What overflows its box is clipped on purpose, or can be scrolled.
OVERFLOWS = """() => [...document.querySelectorAll("body *")].filter((element) =>
    element.checkVisibility() && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
    && getComputedStyle(element).overflowX === "visible" && getComputedStyle(element).display !== "inline")
    .map((element) => `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`)"""


@pytest.mark.parametrize("width", [320, 390, 800, 1120, 1280])
def test_nothing_overflows_its_box(open_page: Open, width: int) -> None:
    for events in PAGES.values():
        opened = open_page(page_of(events, note=LONG), viewport={"width": width, "height": 900})
        assert [] == opened.page.evaluate(OVERFLOWS)


def test_the_page_reloads_until_the_run_has_ended_unless_paused(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    page = RunPage()
    for event in SCRIPT:
        page.add(event)
    page.write(path, refresh=2)  # enough time to type, also on a busy machine
    opened = open_page(path)
    assert ["Reloads every 2 seconds."] == opened.texts("#reload-text")
    opened.page.click("#pause")
    assert ["Reloading is paused."] == opened.texts("#reload-text")
    opened.page.fill("#search", "fox")
    opened.page.select_option("#node-status", label="failed")

    page.add(ENDED[-1])
    page.write(path, refresh=2)
    opened.page.click("#pause")

    opened.page.wait_for_selector("#status.failed")  # after a reload
    opened.page.wait_for_selector("html[data-ready]")
    assert "fox" == opened.page.input_value("#search")
    assert ["check"] == opened.texts("#bars .name")
    assert not opened.page.locator("#reload").is_visible()
    assert opened.page.evaluate("content.refresh") is None


# The event at the top of the list, and how many pixels of it are above the edge.
TOP = """() => {
    const [list, ...rows] = document.querySelectorAll("#list, #list .row");
    const edge = list.getBoundingClientRect().top + list.clientTop;
    const row = rows.find((row) => row.getBoundingClientRect().bottom > edge);
    return [row.querySelector(".seq").textContent, row.getBoundingClientRect().top - edge]; }"""


@pytest.mark.parametrize("join", [True, False])
def test_the_active_event_stays_active_after_a_reload(open_page: Open, tmp_path: Path, join: bool) -> None:
    path, log = tmp_path / "run.html", many(900)
    log[100:700:7] = [node_failed(f"node[{seq % 3}]", seq) for seq in range(101, 701, 7)]
    path.write_text(page_of(log[200:600], refresh=3600), "utf-8")
    opened = open_page(path, viewport=DESKTOP)
    opened.page.set_checked("#join", join)
    opened.press("#list", *["PageDown"] * 6, "ArrowUp")
    opened.page.evaluate("byId('list').scrollTop -= 70")
    looked_at, top = opened.texts("#list .row.active .seq"), opened.page.evaluate(TOP)
    assert [1, True] == [len(looked_at), int(top[0]) > 230]

    # Events were added, also before the others: this writer has read the run from its first event.
    path.write_text(page_of(log), "utf-8")
    opened.page.evaluate("keep()")  # as before each reload of its own
    opened.page.reload()
    opened.page.wait_for_selector("html[data-ready]")

    assert looked_at == opened.texts("#list .row.active .seq")
    assert top == opened.page.evaluate(TOP)
    assert "list" == opened.page.evaluate("document.activeElement.id")


def test_an_event_selected_in_a_filtered_list_is_shown_among_all(open_page: Open) -> None:
    events = [*many(400)[:-1], node_failed("node[1]", 400), *many(900)[400:]]
    opened = open_page(page_of(events), viewport=DESKTOP)
    opened.page.select_option("#type", label="node_failed")
    opened.press("#list", "ArrowDown")
    opened.page.select_option("#type", label="all types")
    opened.page.uncheck("#join")

    assert ["400"] == opened.texts("#list .row.active .seq")
    assert opened.page.evaluate(
        """() => {
        const [row, list] = [".active", ""].map((one) =>
            document.querySelector(`#list ${one}`.trim()).getBoundingClientRect());
        return row.top > list.top && row.bottom < list.bottom; }"""
    )
    opened.page.select_option("#type", label="node_started")
    assert [] == opened.texts("#list .row.active")
    assert ["1", 0] == opened.page.evaluate(TOP)
