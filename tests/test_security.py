"""A request acts once, and secrets are sent to one service and shown nowhere (R25, R26, R27)."""

from __future__ import annotations

import io
import logging
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import requests

from rxruns import RequestMetrics, ResumePolicy, RetryPolicy, RunsClient, run_events, start_run
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import (
    CutAt,
    Fault,
    InvalidLine,
    LoseResponse,
    NoAnswer,
    Redirect,
    Refuse,
    Status,
    WrongContentType,
)
from rxruns.errors import APIError, InvalidArgumentError, RunsError, TransportError
from rxruns.models import RunsToolCall, RunsToolResultItem, RunsToolResultsRequest
from tests.bodies import Body
from tests.observing import Seen, run_of
from tests.soak import measured

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
SPEC = {
    "kind": "workflow",
    "nodes": [{"id": "draft", "type": "llm", "model": "gpt-5", "user": "Hello"}],
    "outputs": [{"name": "draft", "from": "draft"}],
}
QUICK = {"retry": RetryPolicy(base_backoff=0.001, max_backoff=0.01)}
RESUME = ResumePolicy(max_reconnects=2, base_backoff=0.001, max_backoff=0.01, idle_timeout=5.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """Keeps each run that was started as a file in the test's folder."""
    with DevServer(keepalive=60.0, directory=tmp_path) as server:
        yield server


# ---- R25: a request that is repeated acts once ----

FAULTS: dict[str, list[Fault]] = {
    "503 twice": [Status(503), Status(503)],
    "its answer is lost": [LoseResponse()],
    "its answer is lost twice": [LoseResponse(), LoseResponse()],
    "503, then its answer is lost": [Status(503, retry_after=0), LoseResponse()],
    "its answer is lost, then 502": [LoseResponse(), Status(502)],
    "its answer is cut": [CutAt(20, "fin")],
}


def posted_keys(server: DevServer) -> list[str]:
    """Return the idempotency key of each ``POST /runs``."""
    posts = [request for request in server.requests if request.method == "POST"]
    return [request.body["options"]["idempotency_key"] for request in posts]


def runs_in(folder: Path) -> int:
    """Count the runs that the service has started."""
    return len(list(folder.glob("*.ndjson")))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("key", [None, "mine"])
def test_R25_a_run_is_started_once_in_spite_of_faults(
    server: DevServer, tmp_path: Path, fault: str, key: str | None
) -> None:
    server.use_faults(Faults(rest=FAULTS[fault]))
    with server.client(**QUICK) as client:
        run = client.create(SPEC, idempotency_key=key)
        assert run.run_id == client.get(run.run_id).run_id
    keys = posted_keys(server)
    assert (len(FAULTS[fault]) + 1, 1) == (len(keys), len(set(keys)))
    assert key in (None, keys[0])
    assert 0 == measured("R25", "runs beyond the first of a POST with faults", runs_in(tmp_path) - 1, 0, "")


def test_R25_a_request_is_attempted_three_times(server: DevServer, tmp_path: Path) -> None:
    server.use_faults(Faults(rest=[Status(503)] * 5))
    with server.client(**QUICK) as client, pytest.raises(APIError) as raised:
        client.create(SPEC)
    assert (2, 503) == (raised.value.retries, raised.value.status)
    assert (3, 0) == (len(posted_keys(server)), runs_in(tmp_path))


def test_R25_two_calls_start_two_runs(server: DevServer, tmp_path: Path) -> None:
    with server.client() as client:
        assert client.create(SPEC).run_id != client.create(SPEC).run_id
    assert (2, 2) == (len(set(posted_keys(server))), runs_in(tmp_path))


def test_R25_an_observable_starts_one_run_in_spite_of_faults(server: DevServer, tmp_path: Path) -> None:
    server.use_faults(Faults([Refuse(), CutAt(300)], rest=[LoseResponse(), Status(503)]))
    seen = [Seen(), Seen()]
    with server.client(**QUICK) as client:
        source = start_run(SPEC, client=client, resume=RESUME)
        for one in seen:
            with source.subscribe(one):
                one.wait_end()
    assert [True, True] == [one.completed for one in seen]
    assert 1 == len({event.run_id for one in seen for event in one.events})
    assert (1, 1) == (len(set(posted_keys(server))), runs_in(tmp_path))


# ---- R26: no other service receives the key ----

RESULTS = RunsToolResultsRequest(
    node_id="draft",
    step=0,
    request_id=RUN,
    results=(RunsToolResultItem(tool_call=RunsToolCall(id="call_1", name="search"), output="{}"),),
)
CALLS: dict[str, Callable[[RunsClient], object]] = {
    "get": lambda client: client.get(RUN),
    "create": lambda client: client.create(SPEC),
    "pending tools": lambda client: client.pending_tools(RUN),
    "tool results": lambda client: client.submit_tool_results(RUN, RESULTS),
    "compile": lambda client: client.compile(SPEC),
    "stream": lambda client: list(client.stream_events(RUN)),
    "list": lambda client: client.list_events(RUN),
}


def followed(client: RunsClient) -> None:
    """Follow a run, and raise the error of the stream."""
    seen = Seen()
    with run_events(RUN, client=client, resume=RESUME).subscribe(seen):
        seen.wait_end()
    if seen.error is not None:
        raise seen.error


PLACES = {
    "another port": "http://127.0.0.1:{port}",
    "another host": "http://localhost:{port}",
    "without a scheme": "//127.0.0.1:{port}",
    "with a name and a password": "http://name:password@127.0.0.1:{port}",
}
"""The forms in which a redirect may name another service."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_R26_a_redirect_is_not_followed_by_any_request(server: DevServer, place: str, status: int) -> None:
    calls = [*CALLS.values(), followed]
    with DevServer() as elsewhere, requests.Session() as users_own:
        host = PLACES[place].format(port=urlsplit(elsewhere.url).port)
        redirect = Redirect(f"{host}/api/v1/runs/{RUN}", status)
        server.use_faults(Faults(rest=[redirect] * 2 * len(calls), otherwise=redirect))
        for session in (None, users_own):
            with server.client(access_token=server.access_token, session=session, **QUICK) as client:
                for call in calls:
                    with pytest.raises(APIError, match="redirect") as raised:
                        call(client)
                    assert status == raised.value.status
                    assert "password" not in str(raised.value)
        assert 2 * len(calls) == len(server.requests)
        followed_requests = len(elsewhere.requests)
        assert 0 == measured("R26", "requests at the target of a redirect", followed_requests, 0, "")


def test_R26_a_redirect_in_the_middle_of_a_run_ends_it(server: DevServer) -> None:
    run = server.add_run(RUN, run_of(5))
    with DevServer() as elsewhere:
        elsewhere.add_run(RUN, run_of(5))
        server.use_faults(Faults([CutAt(600), Redirect(f"{elsewhere.url}/runs/{run.run_id}/events")]))
        seen = Seen()
        with server.client() as client, run_events(run.run_id, client=client, resume=RESUME).subscribe(seen):
            seen.wait_end()
        assert isinstance(seen.error, APIError)
        assert ([], 2) == (elsewhere.requests, len(server.requests))


def test_R26_credentials_of_a_netrc_do_not_replace_ours(
    server: DevServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    run = server.add_run(RUN, run_of(0))
    with RunsClient(access_token=server.access_token, base_url=server.url) as client:
        assert run.run_id == client.get(RUN).run_id


# ---- R27: secrets in no text ----

KEY, TOKEN = "mr_sk_SECRET-of-the-tests", "TOKEN-of-the-tests"


@dataclass
class Texts:
    """Collects every text in which a secret could be read."""

    texts: list[str] = field(default_factory=list)

    def add(self, *values: object) -> None:
        for value in values:
            self.texts += [repr(value), str(value)]
            if isinstance(value, BaseException):
                self.texts += traceback.format_exception(value)
                self.texts.append(repr(vars(value)))
                self._add_pickled(value)
                self._add_chain(value)
            if isinstance(value, RequestMetrics):
                self.texts.append(repr(asdict(value)))

    def _add_pickled(self, error: BaseException) -> None:
        pickled = pickle.dumps(error)
        self.texts.append(pickled.decode("latin-1"))
        if isinstance(error, RunsError):
            self.texts.append(repr(vars(pickle.loads(pickled))))

    def _add_chain(self, error: BaseException) -> None:
        """Add the causes too: Dask, for example, pickles an error with them."""
        for cause in {error.__cause__, error.__context__} - {None}:
            self.texts += [repr(cause), str(cause), repr(cause.args), repr(vars(cause))]
            self._add_pickled(cause)
            self._add_chain(cause)

    def leaks(self) -> list[str]:
        return [text for text in self.texts if "SECRET-of" in text or "TOKEN-of" in text]


ECHO = f"you sent {KEY} and Bearer {TOKEN}".encode()
ECHOED = b'{"error": {"code": "NO", "message": "%b", "fields": {"key": "%b"}}}' % (ECHO, ECHO)
JSON = "application/json"
SCENES: dict[str, Fault] = {
    "all is well": WrongContentType("application/x-ndjson"),
    "401": Status(401),
    "503": Status(503, retry_after=0),
    "an error that quotes the request": Body(lambda: [ECHOED], {}, JSON, 400),
    "an error page that quotes the request": Body(lambda: [ECHO], {}, "text/html", 500),
    "an answer that quotes the request": Body(lambda: [ECHO], {}, JSON),
    "a wrong answer that quotes the request": Body(lambda: [b'{"run_id": "%b"}' % ECHO], {}, JSON),
    "headers that quote the request": Body(lambda: [b"{"], {"X-Request-Id": ECHO.decode()}, ECHO.decode()),
    "refused headers that quote the request": Body(
        lambda: [b"{"], {"X-Request-Id": ECHO.decode()}, JSON, 404
    ),
    "a redirect that quotes the request": Redirect(f"http://{KEY}.example/{TOKEN}?{KEY}"),
    "a reset": Refuse(),
    "a broken body": CutAt(10),
    "no answer": NoAnswer(),
    "a lost answer": LoseResponse(),
    "not gzip": Body(lambda: [b"no gzip"], {"Content-Encoding": "gzip"}, JSON),
    "an invalid line": InvalidLine(1, b'{"type": "node_started"'),
    "a wrong content type": WrongContentType(),
}


@pytest.fixture
def texts(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Texts]:
    """Collect texts; at the end of the test, check that they, the log and the output have no secret."""
    texts = Texts()
    with caplog.at_level(logging.DEBUG):
        yield texts
    formatter = logging.Formatter("%(name)s %(message)s")
    texts.texts += [formatter.format(record) for record in caplog.records]
    texts.texts += [repr(record.args) for record in caplog.records]
    texts.texts += capfd.readouterr()
    assert [] == texts.leaks()
    measured("R27", "places that show a key or a token", len(texts.leaks()), 0, "")


@pytest.mark.parametrize("scene", SCENES)
def test_R27_no_secret_is_shown_when(scene: str, texts: Texts) -> None:
    fault = SCENES[scene]
    with DevServer(api_key=KEY) as server:
        server._service.access_token = TOKEN
        server.add_run(RUN, run_of(1))
        server.use_faults(Faults(rest=[fault] * 40, otherwise=fault))
        options = {"access_token": TOKEN, "timeout": 0.05 if scene == "no answer" else 10.0, **QUICK}
        with server.client(**options, on_request=texts.add) as client:
            texts.add(client, client._transport, client._transport._credentials, server, server.requests)
            for call in CALLS.values():
                try:
                    texts.add(call(client))
                except RunsError as error:
                    texts.add(error)
            for resume in (ResumePolicy(max_reconnects=1, base_backoff=0.001, idle_timeout=0.1), None):
                seen = Seen()
                source = run_events(RUN, client=client, resume=resume, on_lifecycle=texts.add)
                texts.add(source)
                with source.subscribe(seen):
                    seen.wait_end()
                texts.add(seen.error, *seen.events)


def no_such_host() -> str:
    return "http://no-such-host.invalid"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("address", [no_such_host, closed_port])
def test_R27_no_secret_is_shown_without_a_response(address: Callable[[], str], texts: Texts) -> None:
    once = RetryPolicy(max_attempts=1)
    with RunsClient(api_key=KEY, access_token=TOKEN, base_url=address(), retry=once) as client:
        texts.add(client)
        for call in CALLS.values():
            with pytest.raises(TransportError) as raised:
                call(client)
            texts.add(raised.value)


BAD_CREDENTIALS: dict[str, dict[str, Any]] = {
    "a newline": {"api_key": f"{KEY}\n"},
    "a blank": {"api_key": f"{KEY} {TOKEN}"},
    "another alphabet": {"api_key": f"{KEY}é"},
    "without its prefix": {"api_key": KEY.removeprefix("mr_sk_")},
    "bytes": {"api_key": KEY.encode()},
    "a token with a newline": {"access_token": f"{TOKEN}\r\nX-Other: yes"},
    "a token in bytes": {"access_token": TOKEN.encode()},
    "a function that gives a bad key": {"api_key": lambda: f"{KEY}\n"},
    "a function that gives a bad token": {"access_token": lambda: f"{TOKEN}\n"},
    "a function that gives bytes": {"api_key": lambda: KEY.encode()},
    "in the address": {"api_key": "mr_sk_other", "base_url": f"http://user:{KEY}@127.0.0.1:1"},
    "in the address's query": {"api_key": "mr_sk_other", "base_url": f"http://127.0.0.1:1/?key={KEY}"},
    "in a bad header": {"api_key": "mr_sk_other", "headers": {"X-Proxy-Key": f"{KEY}\n"}},
    "in a header of ours": {"api_key": "mr_sk_other", "headers": {"Authorization": f"Bearer {TOKEN}"}},
}


@pytest.mark.parametrize("name", BAD_CREDENTIALS)
def test_R27_an_invalid_secret_is_refused_without_being_shown(name: str, texts: Texts) -> None:
    options = {"base_url": "http://127.0.0.1:1", **BAD_CREDENTIALS[name]}
    with pytest.raises((InvalidArgumentError, TransportError)) as raised:
        RunsClient(**options, retry=RetryPolicy(max_attempts=1)).get(RUN)
    texts.add(raised.value)


def test_R27_a_secret_from_the_environment_is_not_shown(
    texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRELAY_API_KEY", f"{KEY}é")
    with pytest.raises(InvalidArgumentError) as raised:
        RunsClient.from_env()
    texts.add(raised.value)
    monkeypatch.setenv("MODELRELAY_API_KEY", KEY)
    monkeypatch.setenv("MODELRELAY_ACCESS_TOKEN", TOKEN)
    with RunsClient.from_env() as client:
        texts.add(client)


def test_R27_a_client_is_not_pickled(texts: Texts) -> None:
    with (
        RunsClient(api_key=KEY) as client,
        pytest.raises(TypeError, match="make one in the other process") as no,
    ):
        pickle.dumps(client)
    texts.add(no.value)


def test_R27_the_command_line_shows_no_secret(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    cli = pytest.importorskip("rxruns.cli", reason="needs click and rich")
    monkeypatch.setenv("MODELRELAY_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("MODELRELAY_API_KEY", KEY)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr(DevServer, "wait_closed", lambda self, timeout=None: True)
    for command in cli.cli.commands:
        assert 0 == cli.run([command, "--help"])
    assert 0 == cli.run(["serve", "--port", "0"])
