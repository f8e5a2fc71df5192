"""The page of a long run: the time to write, open and search it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.in_memory import recorded_log
from rxruns import recorded_events
from rxruns.page import RunPage
from tests.browser import chromium, executable

EVENTS = 100_000
"""The number in the mark's name."""

WORD = "流れ"


def has_browser() -> bool:
    """Return True if a browser is installed."""
    return executable() is not None


def measure(rounds: int) -> dict[str, list[float]]:
    """The time to fold a log, and to write, open and search its page; and the size."""
    path = executable()
    assert path is not None
    with tempfile.TemporaryDirectory() as folder, recorded_log("stream", EVENTS) as log:
        file = Path(folder, "run.html")
        folded, written = _write(Path(log), file)
        opened, searched = [], []
        with chromium(path) as browser:
            for _ in range(rounds + 1):
                context = browser.new_context()
                one, other = _open(context.new_page(), file.as_uri())
                opened.append(one)
                searched.append(other)
                context.close()
        size = file.stat().st_size / 1e6
    return {
        "reading and folding, CPU s": [folded],
        "writing, CPU s": [written],
        "opening, wall s": opened[1:],  # the first one starts processes
        "first search, wall s": searched[1:],
        "size, MB": [size],
    }


def _write(log: Path, file: Path) -> tuple[float, float]:
    page = RunPage()
    began = time.process_time()
    recorded_events(log).subscribe(page.add)
    folded = time.process_time()
    page.write(file)
    return folded - began, time.process_time() - folded


def _open(page: Any, url: str) -> tuple[float, float]:
    """From the start of the navigation until the last event is in the list, then until a search is drawn."""
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    opened = time.perf_counter() - began
    assert page.locator("#count").text_content() == f"{EVENTS:,} events"
    began = time.perf_counter()
    page.fill("#search", WORD)
    page.locator("#count", has_text=" of ").wait_for()
    return opened, time.perf_counter() - began
