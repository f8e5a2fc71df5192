"""Services on loopback are reached although the environment has unreachable proxies (R35)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from rxruns import RetryPolicy, RunsClient, block_on, ops, run_events
from rxruns.devserver import DevServer
from rxruns.errors import TransportError
from rxruns.testing import FakeRuns, events, replies, sends
from tests.observing import run_of
from tests.wire import FakeAuthority

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ONCE = RetryPolicy(max_attempts=1)
LOG = events.run().node("draft").text("Hi").succeeds()


@pytest.fixture(params=["http://127.0.0.1:{}", "socks5h://127.0.0.1:{}"], autouse=True)
def dead_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Set proxies in the environment, on a bound port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxy = request.param.format(taken.getsockname()[1])
        for name in NAMES:
            monkeypatch.setenv(name, proxy)
            monkeypatch.setenv(name.lower(), proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield proxy


def test_R35_the_demo_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rxruns", "demo", "--delay", "0"], capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "run completed" in done.stdout


def test_R35_the_clients_of_the_embedded_services_reach_them() -> None:
    with DevServer() as server, server.client(retry=ONCE) as client:
        run = server.add_run(events=run_of(2))
        assert "succeeded" == client.get(run.run_id).status
        assert 6 == block_on(run_events(run.run_id, client=client).pipe(ops.count()))
    with FakeRuns(sends(LOG)) as service, service.client(retry=ONCE) as client:
        assert list(LOG) == block_on(run_events(LOG.run_id, client=client).pipe(ops.to_list()))


def from_service(service: DevServer | FakeRuns) -> RunsClient:
    return service.client(base_url=service.url, retry=ONCE)


def by_hand(service: DevServer | FakeRuns) -> RunsClient:
    return RunsClient(api_key=service.api_key, base_url=service.url, retry=ONCE)


@pytest.mark.parametrize("start", [DevServer, FakeRuns])
@pytest.mark.parametrize("make", [from_service, by_hand])
def test_R35_a_client_with_its_own_base_url_obeys_the_environment(
    start: Callable[[], AbstractContextManager[DevServer | FakeRuns]],
    make: Callable[[DevServer | FakeRuns], RunsClient],
) -> None:
    with start() as service, make(service) as client:
        with pytest.raises(TransportError) as caught:
            client.get(events.RUN_ID)
        assert ("connect", []) == (caught.value.kind, service.requests)


def test_a_certificate_authority_of_the_environment_is_still_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = FakeAuthority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    about = {"run_id": str(LOG.run_id), "status": "running", "plan_hash": "0" * 64}
    costs = {"cost_summary": {"total_usd_cents": 0, "line_items": []}}
    script = replies(about | costs, to="status")
    with FakeRuns(script, tls=authority.server) as service, service.client(retry=ONCE) as client:
        assert "running" == client.get(LOG.run_id).status


def test_R35_code_that_makes_its_own_client_reaches_the_service_of_the_fixture(
    runs_environment: DevServer,
) -> None:
    run = runs_environment.add_run(events=run_of(0))
    with RunsClient.from_env() as client:
        assert "succeeded" == client.get(run.run_id).status


def test_R35_the_fixture_keeps_no_proxy(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    request.getfixturevalue("runs_environment")
    assert ["intranet.example,127.0.0.1"] * 2 == [os.environ["NO_PROXY"], os.environ["no_proxy"]]
