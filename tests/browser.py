"""A headless Chromium without background traffic, for tests, benchmarks and screenshots of the page."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright import sync_api

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = [
    "--no-sandbox",  # CI is root in a container of its own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000
"""Milliseconds after which something hangs."""


def executable() -> str | None:
    """Return the path of this machine's Chromium."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def chromium(path: str) -> Iterator[sync_api.Browser]:
    """The browser, with an empty profile."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """An open page with its requests, log messages, errors and dialogs."""

    def __init__(self, browser: Any, url: str, options: dict[str, Any]) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.requests: list[str] = []
        self.logged: list[str] = []
        self.dialogs: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.logged.append(message.text))
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready]")

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that match."""
        found: list[str] = self.page.locator(selector).all_text_contents()
        return found

    def press(self, selector: str, *keys: str) -> None:
        """Focus an element as the keyboard does, and press keys."""
        self.page.locator(selector).focus()
        for key in keys:
            self.page.keyboard.press(key)


Open = Callable[..., Opened]


@contextmanager
def opening(browser: Any) -> Iterator[Open]:
    """A function that opens HTML from a file, given its text or path; all of it is closed in the end."""
    opened: list[Opened] = []
    with tempfile.TemporaryDirectory() as folder:

        def open_page(html: str | Path, *, url: str | None = None, **options: Any) -> Opened:
            path = html if isinstance(html, Path) else Path(folder, f"{len(opened)}.html")
            if isinstance(html, str):
                path.write_text(html, "utf-8")
            opened.append(Opened(browser, url or path.as_uri(), options))
            return opened[-1]

        try:
            yield open_page
        finally:
            for page in opened:
                page.context.close()
