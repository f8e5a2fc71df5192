"""The transport over real sockets: bodies, faults, retries, redirects, pools."""

from __future__ import annotations

import gzip
import logging
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from rxruns._policies import RetryPolicy
from rxruns._transport import Cancellation, Credentials, Request, RequestMetrics, Transport
from rxruns.errors import APIError, InvalidArgumentError, TransportError
from tests.wire import (
    KEY,
    Act,
    FakeAuthority,
    FakeRuns,
    cuts,
    drops,
    ends,
    hangs,
    raw,
    replies,
    resets,
    sends,
    silent,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

QUICK = RetryPolicy(max_attempts=3, base_backoff=0.001, max_backoff=0.002)
TWO = b'{"seq":1}\n{"seq":2}\n'


@contextmanager
def connected(service: FakeRuns | str, **options: Any) -> Iterator[Transport]:
    """A transport to the service, closed at the end."""
    wanted: dict[str, Any] = {
        "base_url": service if isinstance(service, str) else service.url,
        "credentials": Credentials(KEY, None),
        "headers": {},
        "connect_timeout": 5.0,
    }
    transport = Transport(**wanted | options)
    try:
        yield transport
    finally:
        transport.close()


def get(path: str = "/runs", *, read_timeout: float | None = 20.0, **options: Any) -> Request:
    return Request("GET", path, read_timeout, **options)


def body_of(transport: Transport, **options: Any) -> bytes:
    return b"".join(transport.open_stream(get(**options)).chunks())


# ---- bodies ----


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_stream_gives_the_bytes_however_they_are_framed(framing: str) -> None:
    with FakeRuns(sends(TWO, TWO, framing=framing)) as service, connected(service) as transport:
        assert TWO + TWO == body_of(transport)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_bytes_come_as_soon_as_they_are_sent(framing: str) -> None:
    with (
        FakeRuns(sends(TWO, framing=framing, missing=1, then=hangs)) as service,
        connected(service) as transport,
    ):
        stream = transport.open_stream(get())
        assert next(iter(stream.chunks())) == TWO
        stream.close()


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", raw_deflate)])
def test_a_packed_stream_is_unpacked(framing: str, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TWO * 1000)
    script = sends(packed[:40], packed[40:], framing=framing, headers={"Content-Encoding": encoding})
    with FakeRuns(script) as service, connected(service) as transport:
        assert body_of(transport) == TWO * 1000


def test_a_packed_stream_is_unpacked_piece_by_piece() -> None:
    bomb = gzip.compress(bytes(32 * 2**20))
    with (
        FakeRuns(sends(bomb, headers={"Content-Encoding": "gzip"})) as service,
        connected(service) as transport,
    ):
        sizes = [len(piece) for piece in transport.open_stream(get()).chunks()]

    assert sum(sizes) == 32 * 2**20
    assert max(sizes) <= 2**20


@pytest.mark.parametrize(
    "act",
    [
        sends(TWO, then=cuts),
        sends(TWO, then=resets),
        sends(TWO, framing="length", missing=5, then=cuts),
        sends(TWO, framing="length", missing=5, then=resets),
        sends(TWO, framing="close", then=resets),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"),
        sends(b"no gzip", headers={"Content-Encoding": "gzip"}),
        sends(gzip.compress(TWO)[:20], headers={"Content-Encoding": "gzip"}, then=cuts),
    ],
)
def test_a_body_that_breaks_is_an_error_of_the_request(act: Act) -> None:
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(TransportError, match="^GET /runs: ") as caught:
            body_of(transport)

    assert caught.value.kind == "request"
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("act", [silent, sends(TWO, then=hangs), sends(TWO, framing="close", then=hangs)])
def test_silence_for_longer_than_the_read_timeout_is_a_timeout(act: Act) -> None:
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(TransportError) as caught:
            body_of(transport, read_timeout=0.05)

    assert caught.value.kind == "timeout"


def test_a_stream_may_wait_for_ever() -> None:
    with FakeRuns(sends(TWO)) as service, connected(service, connect_timeout=None) as transport:
        assert TWO == body_of(transport, read_timeout=None)


def test_an_answer_is_read_whole() -> None:
    act = replies(b"x" * 200_000, headers={"X-Request-Id": "req_1"})
    with FakeRuns(act) as service, connected(service) as transport:
        answer = transport.request(get())

    assert (answer.status, answer.request_id, answer.body) == (200, "req_1", b"x" * 200_000)
    assert answer.excerpt == "x" * 4096


def test_an_answer_that_unpacks_to_more_than_64_mib_is_refused() -> None:
    act = replies(gzip.compress(bytes(64 * 2**20 + 1)), headers={"Content-Encoding": "gzip"})
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(TransportError, match="response above 67,108,864 bytes") as caught:
            transport.request(get(retry=QUICK))

    assert (caught.value.kind, caught.value.retries) == ("other", 0)


# ---- connections ----


def test_a_connection_whose_body_was_read_is_used_again() -> None:
    acts = (sends(TWO), replies({}), sends(TWO, framing="length"), replies({}, status=404), replies({}))
    with FakeRuns(*acts) as service, connected(service) as transport:
        body_of(transport)
        transport.request(get())
        body_of(transport)
        with pytest.raises(APIError):
            transport.request(get())
        transport.request(get())

        assert [0] * 5 == [asked.connection for asked in service.requests]


def test_a_connection_whose_body_was_not_read_is_closed() -> None:
    with FakeRuns(sends(TWO, then=hangs), replies({})) as service, connected(service) as transport:
        stream = transport.open_stream(get())
        next(iter(stream.chunks()))
        stream.close()
        stream.close()
        assert service.gone.wait(20)
        transport.request(get())

        assert [0, 1] == [asked.connection for asked in service.requests]


def test_a_kept_connection_that_the_service_closed_is_replaced() -> None:
    with FakeRuns(replies({}, then=cuts), replies({})) as service, connected(service) as transport:
        transport.request(get())
        transport.request(get(retry=QUICK))

        assert service.requests[-1].connection == 1


def test_two_hundred_answers_at_once_are_no_matter_for_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    with FakeRuns(*[sends(TWO, then=hangs)] * 30) as service, connected(service) as transport:
        streams = [transport.open_stream(get()) for _ in range(30)]
        for stream in streams:
            stream.close()

    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


# ---- faults before an answer ----


def test_a_refused_connection_is_an_error_of_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(TransportError, match=rf": 127\.0\.0\.1:{port}: .*refused") as caught:
            transport.request(get(retry=QUICK))

    assert (caught.value.kind, caught.value.retries) == ("connect", 2)


def test_a_name_that_nobody_knows_is_an_error_of_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with connected("http://runs.invalid") as transport:
        with pytest.raises(TransportError, match="not known") as caught:
            transport.request(get())

    assert caught.value.kind == "connect"


def test_a_connect_that_nobody_answers_is_a_timeout() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # fill the backlog, so that the next SYN is dropped
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with connected(url, connect_timeout=0.05) as transport:
            with pytest.raises(TransportError) as caught:
                transport.request(get())

    assert caught.value.kind == "timeout"


def test_an_unknown_certificate_is_an_error_of_connecting(tmp_path: Path) -> None:
    with FakeRuns(replies({}), tls=FakeAuthority(tmp_path)) as service, connected(service) as transport:
        with pytest.raises(TransportError, match="(?i)certificate") as caught:
            transport.request(get())

    assert caught.value.kind == "connect"
    assert [] == service.requests


def test_a_known_certificate_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = FakeAuthority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    acts = (sends(TWO), replies({}), sends(TWO, framing="length"))
    with FakeRuns(*acts, tls=authority) as service, connected(service) as transport:
        assert TWO == body_of(transport)
        transport.request(get())
        assert TWO == body_of(transport)

        assert [0, 0, 0] == [asked.connection for asked in service.requests]


@pytest.mark.parametrize("act", [drops, resets, raw(b"HTTP/1.1 nonsense\r\n\r\n"), raw(b"SSH-2.0\r\n")])
def test_an_answer_that_is_none_is_an_error_of_the_request(act: Act) -> None:
    with FakeRuns(act, act) as service, connected(service) as transport:
        with pytest.raises(TransportError) as caught:
            transport.request(get(retry=RetryPolicy(2, 0.0)))

    assert (caught.value.kind, caught.value.retries) == ("request", 1)


def test_an_address_that_can_not_be_used_is_no_fault_of_the_network() -> None:
    with connected("http://a..b") as transport:
        with pytest.raises(TransportError) as caught:
            transport.request(get(retry=QUICK))

    assert (caught.value.kind, caught.value.retries) == ("other", 0)


class NoAdapter(BaseAdapter):
    """An adapter that is not requests' own."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        raise self.error

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ReadTimeout("slow"), "timeout"),
        (TimeoutError("slow"), "timeout"),
        (requests.ConnectionError("gone"), "connect"),
        (requests.exceptions.RetryError("enough"), "connect"),
        (UnicodeError("label too long"), "other"),
    ],
)
def test_what_another_adapter_raises_is_translated(error: Exception, kind: str) -> None:
    with requests.Session() as session:
        session.mount("http://", NoAdapter(error))
        with connected("http://localhost", session=session) as transport:
            with pytest.raises(TransportError) as caught:
                transport.request(get())

    assert (caught.value.kind, caught.value.__cause__) == (kind, error)
    assert f"{type(error).__name__}: {error}" in str(caught.value)


# ---- error answers ----


def test_an_error_answer_is_an_api_error() -> None:
    body = {"error": {"code": "NOT_FOUND", "message": "no such run"}, "request_id": "req_body"}
    act = replies(body, status=404, headers={"X-Request-Id": "req_header", "Retry-After": "7"})
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(APIError) as caught:
            transport.request(get(retry=QUICK))

    error = caught.value
    assert (404, "NOT_FOUND", "no such run") == (error.status, error.code, error.message)
    assert ("req_body", 7.0, 0) == (error.request_id, error.retry_after, error.retries)


@pytest.mark.parametrize(
    "act",
    [
        raw(b"HTTP/1.1 404 Nope\r\nContent-Length: 99\r\n\r\nhalf a bo"),
        raw(b"HTTP/1.1 404 Nope\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\nnone"),
    ],
)
def test_a_broken_error_body_is_still_an_api_error(act: Act) -> None:
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(APIError) as caught:
            transport.request(get())

    assert (404, "Not Found", "") == (caught.value.status, caught.value.message, caught.value.raw_body)


def test_a_long_error_body_is_cut() -> None:
    act = replies(b"word " * 400_000, status=500, then=hangs)
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(APIError) as caught:
            transport.open_stream(get())

    assert (500, 4096) == (len(caught.value.message), len(caught.value.raw_body or ""))


@pytest.mark.parametrize("method", ["request", "open_stream"])
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://evil.example:8443/runs?token=abc", "evil.example:8443"),
        ("//user:secret@evil.example/x", "evil.example"),
        ("/login?next=abc", "another path of the same host"),
        ("http://[", "another address"),
        ("http://evil.example\\@good.example/", None),
        ("\xe4\xf6", "another address"),
    ],
)
def test_a_redirect_is_not_followed_and_names_its_host_alone(
    method: str, location: str, host: str | None
) -> None:
    endless = raw(
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nTransfer-Encoding: chunked\r\n\r\n".encode("latin-1"),
        then=hangs,
    )
    with FakeRuns(endless) as service, connected(service) as transport:
        with pytest.raises(APIError) as caught:
            getattr(transport, method)(get(retry=QUICK))

    assert (302, 0) == (caught.value.status, caught.value.retries)
    assert host is None or f"to {host} is not followed" in caught.value.message
    assert not any(secret in str(caught.value) for secret in ("abc", "secret", "user"))


def test_a_redirect_to_another_port_does_not_carry_the_key_there() -> None:
    with FakeRuns() as other, FakeRuns(replies(status=307, headers={"Location": other.url})) as service:
        with connected(service) as transport, pytest.raises(APIError, match=f"127.0.0.1:{other.port}"):
            transport.request(get())

    assert (1, 0, 0) == (len(service.requests), len(other.requests), other.connections)


# ---- retries ----


@pytest.mark.parametrize("act", [*[replies(status=status) for status in (408, 429, 500, 503, 599)], drops])
def test_what_may_pass_is_tried_again(act: Act) -> None:
    with FakeRuns(act, act, replies(b"{}")) as service, connected(service) as transport:
        assert b"{}" == transport.request(get(retry=QUICK)).body

        assert 3 == len(service.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_what_will_not_pass_is_not(status: int) -> None:
    with FakeRuns(replies(status=status)) as service, connected(service) as transport:
        with pytest.raises(APIError) as caught:
            transport.request(get(retry=QUICK))

    assert (status, 0, 1) == (caught.value.status, caught.value.retries, len(service.requests))


def test_attempts_end_with_the_last_error() -> None:
    with (
        FakeRuns(drops, replies(status=500), replies(status=503)) as service,
        connected(service) as transport,
    ):
        with pytest.raises(APIError) as caught:
            transport.request(get(retry=QUICK))

    assert (503, 2, 3) == (caught.value.status, caught.value.retries, len(service.requests))


def test_without_a_policy_there_is_one_attempt() -> None:
    with FakeRuns(replies(status=503)) as service, connected(service) as transport:
        with pytest.raises(APIError):
            transport.open_stream(get())

    assert 1 == len(service.requests)


@pytest.mark.parametrize(("retry_post", "attempts"), [(True, 3), (False, 1)])
def test_a_post_is_repeated_only_while_that_is_allowed(retry_post: bool, attempts: int) -> None:
    policy = RetryPolicy(3, 0.001, 0.002, retry_post)
    with FakeRuns(*[replies(status=503)] * 3) as service, connected(service) as transport:
        with pytest.raises(APIError):
            transport.request(Request("POST", "/runs", 20.0, body=b"{}", retry=policy))

    assert [b"{}"] * attempts == [asked.body for asked in service.requests]


class Unhurried(Cancellation):
    """Waits for nothing, and notes how long it was to."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return super().wait(0)


@pytest.mark.parametrize(
    ("retry_after", "least", "most"), [("7", 7.0, 7.0), ("0.2", 0.2, 0.2), ("soon", 0.0, QUICK.max_backoff)]
)
def test_retry_after_is_waited_for_unless_it_makes_no_sense(
    retry_after: str, least: float, most: float
) -> None:
    act = replies(status=429, headers={"Retry-After": retry_after})
    unhurried = Unhurried()
    with FakeRuns(act, replies(b"{}")) as service, connected(service) as transport:
        transport.request(get(retry=QUICK, cancellation=unhurried))

    (waited,) = unhurried.waits
    assert least <= waited <= most


def test_a_retry_after_of_more_than_120_seconds_is_raised_at_once() -> None:
    act = replies(status=503, headers={"Retry-After": "121"})
    with FakeRuns(act) as service, connected(service) as transport:
        with pytest.raises(APIError) as caught:
            transport.request(get(retry=QUICK))

    assert (121.0, 0, 1) == (caught.value.retry_after, caught.value.retries, len(service.requests))


def test_credentials_are_asked_for_at_each_attempt() -> None:
    keys = iter([KEY + "1", KEY + "2"])
    tokens = iter(["one", "Bearer two"])
    credentials = Credentials(lambda: next(keys), lambda: next(tokens))
    with FakeRuns(drops, replies(b"{}")) as service:
        with connected(service, credentials=credentials) as transport:
            transport.request(get(retry=QUICK))

    assert [(KEY + "1", "Bearer one"), (KEY + "2", "Bearer two")] == [
        (asked.headers["x-modelrelay-api-key"], asked.headers["authorization"]) for asked in service.requests
    ]


def test_what_a_credentials_function_raises_or_gives_wrong_is_told_before_anything_is_sent() -> None:
    def broken() -> str:
        raise LookupError("no vault")

    with FakeRuns() as service:
        with connected(service, credentials=Credentials(broken, None)) as transport:
            with pytest.raises(LookupError, match="no vault"):
                transport.request(get(retry=QUICK))
        with connected(service, credentials=Credentials(lambda: "sk_other", None)) as transport:
            with pytest.raises(InvalidArgumentError):
                transport.request(get(retry=QUICK))

    assert 0 == service.connections


# ---- what is sent ----


def test_a_netrc_does_not_replace_our_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with FakeRuns(replies(b"{}"), replies(b"{}")) as service:
        with connected(service, credentials=Credentials(None, "token")) as transport:
            transport.request(get())
        with connected(service) as transport:
            transport.request(get())

    assert ["Bearer token", None] == [asked.headers.get("authorization") for asked in service.requests]


def test_headers_of_the_request_win_over_those_of_the_caller() -> None:
    mine = {"accept": "text/html", "X-Mine": "1", "x-modelrelay-api-key": "other"}
    with FakeRuns(replies(b"{}")) as service, connected(service, headers=mine) as transport:
        transport.request(get(headers={"Accept": "application/json"}, params={"include": "a,b"}))

    (asked,) = service.requests
    assert ("application/json", "1", KEY) == tuple(
        asked.headers[name] for name in ("accept", "x-mine", "x-modelrelay-api-key")
    )
    assert asked.head.startswith(b"GET /api/v1/runs?include=a,b HTTP/1.1\r\n")


# ---- the caller's own session ----


def test_the_callers_session_is_used_and_not_closed() -> None:
    seen: list[int] = []
    with requests.Session() as session, FakeRuns(replies(b"{}"), replies(b"{}")) as service:
        session.headers["X-Session"] = "mine"
        session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
        with connected(service, session=session) as transport:
            transport.request(get())
        assert session.get(service.url).status_code == 200

    assert ["mine", "mine"] == [asked.headers["x-session"] for asked in service.requests]
    assert [200, 200] == seen
    assert [0, 0] == [asked.connection for asked in service.requests]


def test_a_proxy_is_used() -> None:
    with requests.Session() as session, FakeRuns(replies(b"{}"), sends(TWO)) as proxy:
        session.proxies["http"] = f"127.0.0.1:{proxy.port}"
        session.trust_env = False
        with connected("http://runs.example/v1", session=session) as transport:
            transport.request(get())
            assert TWO == body_of(transport)

    assert b"GET http://runs.example/v1/runs HTTP/1.1" == proxy.requests[0].head.split(b"\r\n")[0]
    assert [0, 0] == [asked.connection for asked in proxy.requests]


def test_pools_of_an_adapters_own_are_left_alone() -> None:
    class OwnAdapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            self.own = dict(self.poolmanager.pool_classes_by_scheme, extra=object)
            self.poolmanager.pool_classes_by_scheme = self.own

    adapter = OwnAdapter()
    with requests.Session() as session, FakeRuns(replies(b"{}")) as service:
        session.mount("http://", adapter)
        with connected(service, session=session) as transport:
            transport.request(get())

    assert adapter.poolmanager.pool_classes_by_scheme is adapter.own


# ---- metrics, logs, secrets ----


def test_metrics_are_given_once_a_request_after_its_retries() -> None:
    metrics: list[RequestMetrics] = []
    acts = (
        replies(status=503),
        replies({}, headers={"X-Request-Id": "req_1"}),
        sends(TWO, headers={"X-ModelRelay-Request-Id": "req_2"}),
        replies(status=404, headers={"X-Request-Id": "req_3"}),
        replies(status=301, headers={"X-Request-Id": "req_4"}),
        drops,
    )
    with FakeRuns(*acts) as service, connected(service, on_request=metrics.append) as transport:
        transport.request(get("/runs", params={"include": "steps"}, retry=QUICK))
        body_of(transport)
        for _ in range(3):
            with pytest.raises((APIError, TransportError)):
                transport.open_stream(get())

    assert [("/runs", 200, 2, "req_1"), ("/runs", 200, 1, "req_2")] + [
        ("/runs", 404, 1, "req_3"),
        ("/runs", 301, 1, "req_4"),
        ("/runs", None, 1, None),
    ] == [(given.path, given.status, given.attempts, given.request_id) for given in metrics]
    assert [None, None, APIError, APIError, TransportError] == [
        given.error and type(given.error) for given in metrics
    ]
    assert all(0 < given.latency < 60 and given.method == "GET" for given in metrics)


def test_what_on_request_raises_is_logged_and_the_request_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(metrics: RequestMetrics) -> None:
        raise LookupError("no statsd")

    with FakeRuns(replies(b"{}")) as service, connected(service, on_request=broken) as transport:
        assert b"{}" == transport.request(get()).body

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ("rxruns", True) == (record.name, "no statsd" in (record.exc_text or str(record.exc_info)))


def test_secrets_are_nowhere_to_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    metrics: list[RequestMetrics] = []
    echo = {"error": {"message": f"bad key {KEY}", "fields": {"token": "to ken-of-mine"}}}
    acts = (replies(echo, status=500), drops, replies({"key": KEY, "token": "token-of-mine"}), resets)
    credentials = Credentials(KEY, "token-of-mine")
    shown: list[str] = [repr(credentials)]
    caplog.set_level(logging.DEBUG)
    with FakeRuns(*acts) as service:
        with connected(service, credentials=credentials, on_request=metrics.append) as transport:
            shown += [repr(transport), repr(vars(transport))]
            for _ in range(4):
                try:
                    shown.append(transport.request(get()).excerpt)
                except (APIError, TransportError) as error:
                    cause = error.__cause__
                    shown += [str(error), repr(error), repr(vars(error)), repr(cause), str(cause)]

    shown += [repr(metrics), caplog.text]
    assert [] == [text for text in shown if KEY in text or "token-of-mine" in text]
    assert any("bad key [hidden]" in text for text in shown)
    assert 4 == len(metrics)


def test_attempts_are_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "rxruns")
    acts = (drops, replies(b"{}", headers={"X-Request-Id": "req_1"}))
    with FakeRuns(*acts) as service, connected(service) as transport:
        transport.request(get(params={"after_seq": "3"}, retry=QUICK))

    messages = [record.getMessage() for record in caplog.records if record.name == "rxruns"]
    assert messages[0].startswith("GET /runs: attempt 1: GET /runs: ")
    assert messages[1] == "GET /runs: attempt 2: status 200, request req_1"


def test_a_hook_of_the_caller_that_raises_leaves_nothing_open() -> None:
    def broken(response: requests.Response, **options: object) -> None:
        raise LookupError("no hook")

    with requests.Session() as session, FakeRuns(sends(TWO, then=ends)) as service:
        session.hooks["response"].append(broken)
        with connected(service, session=session) as transport:
            with pytest.raises(LookupError):
                transport.open_stream(get())


def test_a_session_is_still_the_callers_while_we_use_it() -> None:
    """Its own requests, made in between, are none of ours."""
    with (
        requests.Session() as session,
        FakeRuns(replies(b"{}", headers={"Connection": "close"}, then=cuts), replies(b"{}")) as service,
    ):
        with connected(service, session=session) as transport:
            transport.request(get())
            assert service.url == session.get(service.url).url

    assert [0, 1] == [asked.connection for asked in service.requests]
