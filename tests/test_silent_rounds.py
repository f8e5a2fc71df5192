"""A waiting run behind what cuts quiet responses is followed to its end; other cuts are an outage."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from rxruns import ResumePolicy, RunsClient, run_events
from rxruns._streams import _connection
from rxruns.devserver import DevServer
from rxruns.errors import StreamInterruptedError, StreamTimeoutError, TransportError
from rxruns.lifecycle import Closed, Connected, LifecycleEvent, Reconnecting, Resumed
from rxruns.testing import FakeRuns, Step, drops, ends, events, hangs, refuses, replies, resets, sends
from tests.conftest import HANG
from tests.gateways import OPENS
from tests.observing import Seen, run_of
from tests.soak import both_sizes, measured

pytestmark = pytest.mark.usefixtures("no_leaks")

LOG = events.run().node("draft").text("one").succeeds()
KEEPALIVE = b'{"type":"keepalive"}\n'
ROUNDS = 5
FEW = ResumePolicy(max_reconnects=2, base_backoff=0.001, max_backoff=0.002, idle_timeout=20.0)


class Followed(Seen):
    lifecycle: list[LifecycleEvent]
    streams: int
    statuses: int


def follow(*script: Step, **options: Any) -> Followed:
    """Follow a run to the end of its stream."""
    seen = Followed()
    seen.lifecycle = []
    with FakeRuns(*script) as service, service.client() as client:
        options = {"resume": FEW, "on_lifecycle": seen.lifecycle.append} | options
        with run_events(LOG.run_id, client=client, **options).subscribe(seen):
            seen.wait_end()
        seen.streams = len(service.streams)
        seen.statuses = len(service.requests) - seen.streams
    return seen


@pytest.fixture
def no_cut_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a cut at once is one."""
    monkeypatch.setattr(_connection, "_SILENT_AFTER", HANG)


@pytest.fixture
def each_cut_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each connection had lasted long enough."""
    monkeypatch.setattr(_connection, "_SILENT_AFTER", 0.0)


# ---- which rounds spare the budget ----


@pytest.mark.usefixtures("no_cut_is_late")
@pytest.mark.parametrize(
    "quiet",
    [
        [ends()],
        [sends(b"\n"), ends()],
        [sends(b"\n"), drops()],
        [sends(b" \r\n"), drops()],
        [sends(KEEPALIVE), drops()],
        [sends(KEEPALIVE * 3), drops()],
        [sends(KEEPALIVE, KEEPALIVE[:9]), drops()],
    ],
    ids=str,
)
def test_a_round_that_brought_keepalives_or_ended_cleanly_spares_the_budget(quiet: list[Step]) -> None:
    seen = follow(sends(LOG[:2]), drops(), *quiet * ROUNDS, sends(LOG[2:]))

    assert list(LOG) == seen.events
    assert (2 + ROUNDS, ROUNDS) == (seen.streams, seen.statuses)


@pytest.mark.usefixtures("each_cut_is_late")
@pytest.mark.parametrize(
    "quiet", [[sends(), drops()], [sends(), resets()], [sends(b'{"ty'), drops()]], ids=str
)
def test_a_cut_of_a_connection_that_lasted_spares_the_budget(quiet: list[Step]) -> None:
    seen = follow(sends(LOG[:2]), drops(), *quiet * ROUNDS, sends(LOG[2:]))

    assert list(LOG) == seen.events
    assert (2 + ROUNDS, ROUNDS) == (seen.streams, seen.statuses)


def test_a_connection_lasts_when_it_was_open_for_half_a_second() -> None:
    assert 0.5 == _connection._SILENT_AFTER


@pytest.mark.usefixtures("no_cut_is_late")
@pytest.mark.parametrize(
    "cut",
    [
        [sends(), drops()],
        [sends(), resets()],
        [sends(KEEPALIVE[:9]), drops()],
        [sends(LOG[:2]), drops()],  # events that came before
        [drops()],
        [resets()],
        [refuses(503)],
    ],
    ids=str,
)
def test_a_cut_at_once_counts_although_the_run_is_alive(cut: list[Step]) -> None:
    seen = follow(sends(LOG[:2]), drops(), *cut * ROUNDS, sends(LOG[2:]))

    assert isinstance(seen.error, StreamInterruptedError)
    assert (2, 3, 0) == (seen.error.reconnects, seen.streams, seen.statuses)


@pytest.mark.usefixtures("each_cut_is_late")
@pytest.mark.parametrize("cut", [[drops()], [resets()], [refuses(503)]], ids=str)
def test_a_connection_that_was_not_accepted_counts_however_long_it_lasted(cut: list[Step]) -> None:
    seen = follow(sends(LOG[:2]), drops(), *cut * ROUNDS, sends(LOG[2:]))

    assert isinstance(seen.error, StreamInterruptedError)
    assert (2, 3, 0) == (seen.error.reconnects, seen.streams, seen.statuses)


def test_an_idle_timeout_before_the_answer_counts() -> None:
    quick = ResumePolicy(max_reconnects=1, base_backoff=0.001, max_backoff=0.002, idle_timeout=0.1)
    seen = follow(hangs(), hangs(), sends(LOG), resume=quick)

    assert isinstance(seen.error, StreamInterruptedError)
    assert isinstance(seen.error.__cause__, StreamTimeoutError)
    assert (2, 0) == (seen.streams, seen.statuses)


@pytest.mark.usefixtures("each_cut_is_late")
def test_a_silent_round_counts_where_the_service_does_not_say_that_the_run_is_alive() -> None:
    unknown = [refuses(503, to="status"), replies({}, to="status")]
    seen = follow(sends(LOG[:2]), drops(), *unknown, *[sends(), drops()] * ROUNDS)

    assert isinstance(seen.error, StreamInterruptedError)
    assert (2, 3, 2) == (seen.error.reconnects, seen.streams, seen.statuses)


@pytest.mark.usefixtures("each_cut_is_late")
def test_a_silent_round_of_a_run_that_ended_is_followed_by_one_more_look() -> None:
    ended = {"run_id": str(LOG.run_id), "status": "succeeded", "plan_hash": "0" * 64}
    costs = {"cost_summary": {"total_usd_cents": 0, "line_items": []}}
    quiet = [sends(KEEPALIVE), drops()]
    seen = follow(sends(LOG[:2]), drops(), replies(ended | costs, to="status"), *quiet * 2)

    assert (list(LOG[:2]), True) == (seen.events, seen.completed)
    assert (3, 1) == (seen.streams, seen.statuses)


def test_with_wait_false_a_cut_after_keepalives_counts() -> None:
    quiet = [sends(KEEPALIVE), drops()]
    seen = follow(sends(LOG[:2]), drops(), *quiet * ROUNDS, wait=False)

    assert isinstance(seen.error, StreamInterruptedError)
    assert (3, 0) == (seen.streams, seen.statuses)


# ---- lifecycle and log ----


def test_silent_rounds_are_reconnects_and_are_logged_below_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "rxruns"):
        seen = follow(*[sends(KEEPALIVE), drops()] * 2, sends(LOG))

    assert [Connected, Reconnecting, Resumed, Reconnecting, Resumed, Closed] == [
        type(one) for one in seen.lifecycle
    ]
    assert [1, 2] == [value.attempt for value in seen.lifecycle if isinstance(value, Reconnecting)]
    assert [] == caplog.messages


@pytest.mark.usefixtures("no_cut_is_late")
def test_an_outage_after_silent_rounds_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rxruns"):
        seen = follow(ends(), ends(), drops(), refuses(503), sends(LOG))

    assert seen.completed
    assert [True] == ["reconnecting in " in message for message in caplog.messages]


# ---- real proxies ----


@both_sizes
@pytest.mark.parametrize("name", OPENS)
def test_R33_a_waiting_run_behind_a_proxy_that_cuts_is_followed_to_its_end(
    name: str, tmp_path: Path, soaking: bool
) -> None:
    cuts, seconds = (50, 1.0) if soaking else (3, 0.7)
    policy = ResumePolicy(max_backoff=1.0) if soaking else ResumePolicy(max_reconnects=2, max_backoff=0.1)
    seen = Seen()
    with DevServer(keepalive=0.05 if name == "gateway" else 60.0) as server:
        run = server.add_run(events=run_of(1)[:2], finish=False)
        with OPENS[name](tmp_path, urlsplit(server.url).port or 0, seconds) as port:
            client = RunsClient(api_key=server.api_key, base_url=f"http://127.0.0.1:{port}/api/v1")
            with client, run_events(run.run_id, client=client, resume=policy).subscribe(seen):
                served = server.wait_for(
                    lambda server: _streams(server) > cuts or seen.ended, 4 * cuts + HANG
                )
                assert (True, None) == (served, seen.error)
                for event in run_of(1)[2:]:
                    run.append(event)
                seen.wait_end()
        assert ([1, 2, 3, 4, 5], True) == (seen.seqs, seen.completed)
        measured("R33", f"cuts by {name}; given up: no", _streams(server) - 1, cuts, "cuts")


def _streams(server: DevServer) -> int:
    return sum(request.is_stream for request in server.requests)


# ---- what no attempt can mend ----


def session_with(**settings: Any) -> requests.Session:
    session = requests.Session()
    for name, value in settings.items():
        setattr(session, name, value)
    return session


def no_socks(*arguments: object, **options: object) -> None:
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


def garbage(folder: Path) -> str:
    (folder / "authority.pem").write_text("not a certificate")
    return str(folder / "authority.pem")


@pytest.mark.parametrize("resume", [ResumePolicy(), None], ids=["resumed", "one connection"])
@pytest.mark.parametrize(
    ("session", "environment", "words"),
    [
        (lambda folder: {"verify": str(folder / "missing.pem")}, {}, "missing.pem"),
        (lambda folder: {"verify": garbage(folder)}, {}, "no certificate"),
        (lambda folder: {"cert": str(folder / "missing.pem")}, {}, "missing.pem"),
        (lambda folder: {}, {"REQUESTS_CA_BUNDLE": "/nowhere/authority.pem"}, "/nowhere/authority.pem"),
        (lambda folder: {}, {"ALL_PROXY": "socks5h://127.0.0.1:9"}, "SOCKS"),
        (lambda folder: {}, {"ALL_PROXY": "sock5h://127.0.0.1:9"}, "sock5h"),
    ],
    ids=["authority", "bad authority", "certificate", "environment", "socks", "unknown proxy"],
)
def test_a_fault_that_no_attempt_can_mend_ends_the_stream_at_the_first_attempt(
    session: Any,
    environment: dict[str, str],
    words: str,
    resume: ResumePolicy | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy", "all_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", no_socks)
    lifecycle: list[LifecycleEvent] = []
    seen = Seen()
    with FakeRuns() as service:  # whose connections are counted, though it doesn't speak TLS
        mine = session_with(**session(tmp_path))
        url = service.url.replace("http://", "https://")
        client = RunsClient(api_key=service.api_key, base_url=url, session=mine)
        options: dict[str, Any] = {"resume": resume, "on_lifecycle": lifecycle.append}
        with mine, client, run_events(LOG.run_id, client=client, **options).subscribe(seen):
            seen.wait_end()
        assert service.connections <= 1
    assert isinstance(seen.error, TransportError)
    assert ("other", 0) == (seen.error.kind, seen.error.retries)
    assert words in str(seen.error)
    assert [Closed(run_id=LOG.run_id, last_seq=0, error=seen.error)] == lifecycle


@pytest.mark.parametrize("resume", [None, ResumePolicy(max_reconnects=0)], ids=["none", "no reconnects"])
@pytest.mark.parametrize("script", [(ends(),), (sends(b'{"a'), ends()), (drops(),), (resets(),)], ids=str)
def test_no_error_leads_back_to_itself(resume: ResumePolicy | None, script: tuple[Step, ...]) -> None:
    seen = follow(*script, resume=resume)
    chain: list[BaseException] = []
    left: list[BaseException | None] = [seen.error]
    while left:
        if (error := left.pop()) is not None:
            assert not any(error is other for other in chain)
            chain.append(error)
            left += [error.__cause__, error.__context__ if error.__context__ is not error.__cause__ else None]
