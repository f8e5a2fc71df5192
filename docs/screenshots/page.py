"""Make the pictures of the page and of the charts again: ``python docs/screenshots/page.py``.

Needs Chromium. The fonts are this machine's, so elsewhere the bytes differ.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent)]

import sample  # noqa: E402

from rxruns import charts  # noqa: E402
from rxruns.page import RunPage  # noqa: E402
from tests.browser import chromium, executable  # noqa: E402

NOW = sample.BEGAN + timedelta(seconds=49)
WIDE, PHONE = {"width": 1120, "height": 1010}, {"width": 390, "height": 1180}
EVENTS, NODE = {"width": 1120, "height": 460}, {"width": 1120, "height": 620}
USAGE = {"width": 1120, "height": 496}


def main() -> None:
    """Write all of them."""
    path = executable()
    if path is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    events = sample.events()
    charts.save(charts.overview(events, sample.PRICES, now=NOW), FOLDER / "picture.svg")
    page = RunPage(sample.PRICES)
    for event in events:
        page.add(event)
    with tempfile.TemporaryDirectory() as folder, chromium(path) as browser:
        file = Path(folder, "run.html")
        page.write(file, now=NOW)
        shoot(browser, file, "page-light.png", color_scheme="light", viewport=WIDE)
        shoot(browser, file, "page-dark.png", color_scheme="dark", viewport=WIDE)
        shoot(
            browser,
            file,
            "page-phone.png",
            color_scheme="light",
            viewport=PHONE,
            is_mobile=True,
            has_touch=True,
        )
        shoot(browser, file, "page-usage.png", read_usage, color_scheme="light", viewport=USAGE)
        shoot(browser, file, "page-events.png", choose_node, color_scheme="light", viewport=EVENTS)
        shoot(browser, file, "page-node.png", open_node, color_scheme="dark", viewport=NODE)


def choose_node(page: Any) -> None:
    """The events of the node that was tried twice, the first of them chosen."""
    page.select_option("#node", label="sources.read[3]")
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def read_usage(page: Any) -> None:
    """Tokens and cost over time, the sums at one moment."""
    page.evaluate("scrollTo(0, byId('usage').offsetTop - 8)")
    page.locator("#curves").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")


def open_node(page: Any) -> None:
    """A node in full."""
    page.click("#nodes tbody tr:nth-child(7) button")


def shoot(browser: Any, file: Path, name: str, prepare: Any = None, **options: Any) -> None:
    """A picture of what is seen first."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    if prepare is not None:
        prepare(page)
    page.screenshot(path=FOLDER / name)
    context.close()


if __name__ == "__main__":
    main()
