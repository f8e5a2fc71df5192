"""Fixtures for all tests: the contract's folder, Hypothesis profiles, a browser, a guard against leaks."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import soak
from tests.browser import Open, chromium, executable, opening

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT.parent / "shared" / "contract"
HANG = 30.0
"""Seconds after which a test hangs, also on a busy machine."""

from tests.commands import rxruns, service  # noqa: E402, F401  (their helpers import HANG)
from tests.postgres import Postgres, programs, running  # noqa: E402

# A shell ignores Ctrl-C for what it runs in the background, and so would the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, since times on a shared machine vary; in CI the same examples each time.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def contract() -> Path:
    """The folder with the service's own descriptions; the test is skipped where it is missing."""
    if not CONTRACT.is_dir():
        pytest.skip("the contract's folder is not beside this checkout")
    return CONTRACT


@pytest.fixture(scope="session")
def event_json_schema(contract: Path) -> dict[str, Any]:
    """The service's JSON Schema of an event."""
    schema: dict[str, Any] = json.loads((contract / "run_event.schema.json").read_text("utf-8"))
    return schema


@pytest.fixture(scope="session")
def openapi(contract: Path) -> dict[str, Any]:
    """The service's OpenAPI description."""
    description: dict[str, Any] = json.loads((contract / "runs.openapi.json").read_text("utf-8"))
    return description


@pytest.fixture(scope="module")  # not longer: its event loop disturbs the tests of asyncio
def browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped where there is none."""
    path = executable()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with chromium(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of our own; the test is skipped where it isn't installed."""
    if programs() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    with running() as server:
        yield server


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens HTML, and closes its pages after the test."""
    with opening(browser) as open_page:
        yield open_page


def open_descriptors() -> set[str]:
    """The open descriptors of this process, as ``number -> target``; empty without a ``/proc``.

    Files in ``/proc`` are left out: a cluster of another fixture reads them now and then.
    """
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            target = entry.readlink()
        except OSError:  # the descriptor of the listing itself
            continue
        if not target.is_relative_to("/proc"):
            found.add(f"{entry.name} -> {target}")
    return found


def eventually(holds: Callable[[], bool], *, within: float = HANG) -> bool:
    """Return True once it holds, False after `within` seconds; for conditions without an event."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while not holds():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.002)
    return True


def running_threads() -> set[threading.Thread]:
    """All threads, without the one that Dask keeps for the rest of the process after its first cluster."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Dask-Offload")}


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Require the threads and descriptors from before the test soon after it."""
    resource_tracker.ensure_running()  # otherwise the first cluster starts it, and it stays
    threads, descriptors = running_threads(), open_descriptors()
    yield
    left: set[object] = set()

    def is_as_before() -> bool:
        nonlocal left
        left = (running_threads() - threads) | (open_descriptors() - descriptors)
        return not left

    assert eventually(is_as_before), f"left behind: {left}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measured values beside their marks."""
    if soak.measurements and "not soak" not in terminalreporter.config.option.markexpr:
        terminalreporter.section("measured")
        for line in soak.table():
            terminalreporter.write_line(line)
