"""The fixtures of rxruns for pytest, a plugin that needs no configuration.

This module is outside the package and imports it only inside the fixtures: a test run without them pays
nothing, and a coverage measurement sees the import of the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rxruns import RunsClient
    from rxruns.devserver import DevServer
    from rxruns.testing import FakeRuns, Step

__all__ = ["fake_runs", "runs_client", "runs_environment", "runs_service"]


@pytest.fixture
def runs_service() -> Iterator[DevServer]:
    """A runs service for this test: real HTTP on loopback, a simulated model, the same texts each time."""
    from rxruns.devserver import DevServer

    with DevServer(seed=7) as service:
        yield service


@pytest.fixture
def runs_client(runs_service: DevServer) -> Iterator[RunsClient]:
    """A client of ``runs_service``, closed after the test."""
    with runs_service.client() as client:
        yield client


@pytest.fixture
def runs_environment(runs_service: DevServer, monkeypatch: pytest.MonkeyPatch) -> DevServer:
    """``runs_service``, set in the environment: for code that makes its own client.

    ``NO_PROXY`` keeps its requests away from proxies.
    """
    monkeypatch.setenv("MODELRELAY_API_KEY", runs_service.api_key)
    monkeypatch.setenv("MODELRELAY_API_BASE_URL", runs_service.url)
    monkeypatch.delenv("MODELRELAY_ACCESS_TOKEN", raising=False)
    direct = [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1"]
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, ",".join(filter(None, direct)))
    return runs_service


@pytest.fixture
def fake_runs() -> Iterator[Callable[..., FakeRuns]]:
    """Start scripted services for the rest of the test: ``fake_runs(sends(e1, e2), drops())``."""
    from rxruns.testing import FakeRuns

    with ExitStack() as started:

        def start(*script: Step) -> FakeRuns:
            return started.enter_context(FakeRuns(*script))

        yield start
