"""The transport over real sockets: bodies, faults, retries, redirects, pools."""

from __future__ import annotations

import gzip
import logging
import re
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


def read(transport: Transport, request: Request) -> bytes:
    """Open a stream and read it."""
    return b"".join(transport.open_stream(request).chunks())


def body_of(transport: Transport, **options: Any) -> bytes:
    return read(transport, get(**options))


def failure(*acts: Act, send: Callable[..., object] = Transport.request, **options: Any) -> tuple[Any, int]:
    """Send a request that must fail; return its error and the number of attempts."""
    with FakeRuns(*acts) as service, connected(service) as transport:
        with pytest.raises((APIError, TransportError)) as caught:
            send(transport, get(**options))
    return caught.value, len(service.requests)


# ---- bodies ----


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_stream_has_the_same_bytes_in_every_framing(framing: str) -> None:
    with FakeRuns(sends(TWO, TWO, framing=framing)) as service, connected(service) as transport:
        assert TWO + TWO == body_of(transport)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_bytes_are_returned_as_soon_as_they_are_sent(framing: str) -> None:
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
def test_a_compressed_stream_is_decompressed(framing: str, encoding: str, pack: Any) -> None:
    packed = pack(TWO * 1000)
    script = sends(packed[:40], packed[40:], framing=framing, headers={"Content-Encoding": encoding})
    with FakeRuns(script) as service, connected(service) as transport:
        assert body_of(transport) == TWO * 1000


def test_a_compressed_stream_is_decompressed_in_pieces() -> None:
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
    error, _ = failure(act, send=read)
    assert str(error).startswith("GET /runs: ")
    assert "request" == error.kind
    assert error.__cause__ is not None


@pytest.mark.parametrize("act", [silent, sends(TWO, then=hangs), sends(TWO, framing="close", then=hangs)])
def test_silence_for_longer_than_the_read_timeout_is_a_timeout(act: Act) -> None:
    error, _ = failure(act, send=read, read_timeout=0.05)
    assert "timeout" == error.kind


def test_a_stream_may_have_no_timeout() -> None:
    with FakeRuns(sends(TWO)) as service, connected(service, connect_timeout=None) as transport:
        assert TWO == body_of(transport, read_timeout=None)


def test_a_response_is_read_whole() -> None:
    act = replies(b"x" * 200_000, headers={"X-Request-Id": "req_1"})
    with FakeRuns(act) as service, connected(service) as transport:
        answer = transport.request(get())

    assert (answer.status, answer.request_id, answer.body) == (200, "req_1", b"x" * 200_000)
    assert answer.excerpt == "x" * 4096


def test_a_response_above_64_mib_decompressed_is_refused() -> None:
    act = replies(gzip.compress(bytes(64 * 2**20 + 1)), headers={"Content-Encoding": "gzip"})
    error, _ = failure(act, retry=QUICK)
    assert "response above 67,108,864 bytes" in str(error)
    assert ("other", 0) == (error.kind, error.retries)


# ---- connections ----


def test_a_connection_is_reused_after_its_body_was_read() -> None:
    acts = (sends(TWO), replies({}), sends(TWO, framing="length"), replies({}, status=404), replies({}))
    with FakeRuns(*acts) as service, connected(service) as transport:
        body_of(transport)
        transport.request(get())
        body_of(transport)
        with pytest.raises(APIError):
            transport.request(get())
        transport.request(get())

        assert [0] * 5 == [request.connection for request in service.requests]


def test_a_connection_whose_body_was_not_read_is_closed() -> None:
    with FakeRuns(sends(TWO, then=hangs), replies({})) as service, connected(service) as transport:
        stream = transport.open_stream(get())
        next(iter(stream.chunks()))
        stream.close()
        stream.close()
        assert service.gone.wait(20)
        transport.request(get())

        assert [0, 1] == [request.connection for request in service.requests]


def test_a_kept_connection_that_the_service_closed_is_replaced() -> None:
    with FakeRuns(replies({}, then=cuts), replies({})) as service, connected(service) as transport:
        transport.request(get())
        transport.request(get(retry=QUICK))

        assert service.requests[-1].connection == 1


def test_many_open_streams_log_no_warning_of_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    with FakeRuns(*[sends(TWO, then=hangs)] * 30) as service, connected(service) as transport:
        streams = [transport.open_stream(get()) for _ in range(30)]
        for stream in streams:
            stream.close()

    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


# ---- faults before a response ----


def fault(url: str, **options: Any) -> TransportError:
    """Send a request that doesn't reach a service; return its error."""
    with connected(url, **options) as transport:
        with pytest.raises(TransportError) as caught:
            transport.request(get(retry=QUICK))
    return caught.value


def test_a_refused_connection_is_an_error_of_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = fault(f"http://127.0.0.1:{port}")
    assert re.search(rf": 127\.0\.0\.1:{port}: .*refused", str(error))
    assert ("connect", 2) == (error.kind, error.retries)


def test_an_unknown_host_name_is_an_error_of_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = fault("http://runs.invalid")
    assert "not known" in str(error)
    assert "connect" == error.kind


def test_a_connect_without_an_answer_is_a_timeout() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # fill the backlog, so that the next SYN is dropped
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert "timeout" == fault(url, connect_timeout=0.05).kind


def test_an_unknown_certificate_is_an_error_of_connecting(tmp_path: Path) -> None:
    with FakeRuns(replies({}), tls=FakeAuthority(tmp_path)) as service:
        error = fault(service.url)

    assert "certificate" in str(error).lower()
    assert ("connect", []) == (error.kind, service.requests)


def test_a_known_certificate_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = FakeAuthority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    acts = (sends(TWO), replies({}), sends(TWO, framing="length"))
    with FakeRuns(*acts, tls=authority) as service, connected(service) as transport:
        assert TWO == body_of(transport)
        transport.request(get())
        assert TWO == body_of(transport)

        assert [0, 0, 0] == [request.connection for request in service.requests]


@pytest.mark.parametrize("act", [drops, resets, raw(b"HTTP/1.1 nonsense\r\n\r\n"), raw(b"SSH-2.0\r\n")])
def test_an_invalid_response_is_an_error_of_the_request(act: Act) -> None:
    error, _ = failure(act, act, retry=RetryPolicy(2, 0.0))
    assert ("request", 1) == (error.kind, error.retries)


def test_an_invalid_address_is_not_retried() -> None:
    error = fault("http://a..b")
    assert ("other", 0) == (error.kind, error.retries)


class NoAdapter(BaseAdapter):
    """An adapter of another library."""

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
def test_exceptions_of_another_adapter_are_translated(error: Exception, kind: str) -> None:
    with requests.Session() as session:
        session.mount("http://", NoAdapter(error))
        translated = fault("http://localhost", session=session)

    assert (kind, error) == (translated.kind, translated.__cause__)
    assert f"{type(error).__name__}: {error}" in str(translated)


# ---- error responses ----


def test_an_error_response_is_an_api_error() -> None:
    body = {"error": {"code": "NOT_FOUND", "message": "no such run"}, "request_id": "req_body"}
    act = replies(body, status=404, headers={"X-Request-Id": "req_header", "Retry-After": "7"})
    error, _ = failure(act, retry=QUICK)
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
    error, _ = failure(act)
    assert (404, "Not Found", "") == (error.status, error.message, error.raw_body)


def test_a_long_error_body_is_cut() -> None:
    act = replies(b"word " * 400_000, status=500, then=hangs)
    error, _ = failure(act, send=Transport.open_stream)
    assert (500, 4096) == (len(error.message), len(error.raw_body))


@pytest.mark.parametrize("send", [Transport.request, Transport.open_stream])
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
    send: Callable[..., object], location: str, host: str | None
) -> None:
    endless = raw(
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nTransfer-Encoding: chunked\r\n\r\n".encode("latin-1"),
        then=hangs,
    )
    error, _ = failure(endless, send=send, retry=QUICK)
    assert (302, 0) == (error.status, error.retries)
    assert host is None or f"to {host} is not followed" in error.message
    assert not any(secret in str(error) for secret in ("abc", "secret", "user"))


def test_a_redirect_to_another_port_does_not_carry_the_key_there() -> None:
    with FakeRuns() as other, FakeRuns(replies(status=307, headers={"Location": other.url})) as service:
        with connected(service) as transport, pytest.raises(APIError, match=f"127.0.0.1:{other.port}"):
            transport.request(get())

    assert (1, 0, 0) == (len(service.requests), len(other.requests), other.connections)


# ---- retries ----


@pytest.mark.parametrize("act", [*[replies(status=status) for status in (408, 429, 500, 503, 599)], drops])
def test_temporary_faults_are_retried(act: Act) -> None:
    with FakeRuns(act, act, replies(b"{}")) as service, connected(service) as transport:
        assert b"{}" == transport.request(get(retry=QUICK)).body

        assert 3 == len(service.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_other_statuses_are_not_retried(status: int) -> None:
    error, attempts = failure(replies(status=status), retry=QUICK)
    assert (status, 0, 1) == (error.status, error.retries, attempts)


def test_attempts_end_with_the_last_error() -> None:
    error, attempts = failure(drops, replies(status=500), replies(status=503), retry=QUICK)
    assert (503, 2, 3) == (error.status, error.retries, attempts)


def test_without_a_policy_there_is_one_attempt() -> None:
    _, attempts = failure(replies(status=503), send=Transport.open_stream)
    assert 1 == attempts


@pytest.mark.parametrize(("retry_post", "attempts"), [(True, 3), (False, 1)])
def test_a_post_is_retried_only_if_the_policy_allows_it(retry_post: bool, attempts: int) -> None:
    policy = RetryPolicy(3, 0.001, 0.002, retry_post)
    with FakeRuns(*[replies(status=503)] * 3) as service, connected(service) as transport:
        with pytest.raises(APIError):
            transport.request(Request("POST", "/runs", 20.0, body=b"{}", retry=policy))

    assert [b"{}"] * attempts == [request.body for request in service.requests]


class Unhurried(Cancellation):
    """Doesn't wait, and records the seconds that it should."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return super().wait(0)


@pytest.mark.parametrize(
    ("retry_after", "least", "most"), [("7", 7.0, 7.0), ("0.2", 0.2, 0.2), ("soon", 0.0, QUICK.max_backoff)]
)
def test_retry_after_is_obeyed_unless_it_is_invalid(retry_after: str, least: float, most: float) -> None:
    act = replies(status=429, headers={"Retry-After": retry_after})
    unhurried = Unhurried()
    with FakeRuns(act, replies(b"{}")) as service, connected(service) as transport:
        transport.request(get(retry=QUICK, cancellation=unhurried))

    (waited,) = unhurried.waits
    assert least <= waited <= most


def test_a_retry_after_of_more_than_120_seconds_is_raised_at_once() -> None:
    act = replies(status=503, headers={"Retry-After": "121"})
    error, attempts = failure(act, retry=QUICK)
    assert (121.0, 0, 1) == (error.retry_after, error.retries, attempts)


def test_credentials_are_read_at_each_attempt() -> None:
    keys = iter([KEY + "1", KEY + "2"])
    tokens = iter(["one", "Bearer two"])
    credentials = Credentials(lambda: next(keys), lambda: next(tokens))
    with FakeRuns(drops, replies(b"{}")) as service:
        with connected(service, credentials=credentials) as transport:
            transport.request(get(retry=QUICK))

    assert [(KEY + "1", "Bearer one"), (KEY + "2", "Bearer two")] == [
        (request.headers["x-modelrelay-api-key"], request.headers["authorization"])
        for request in service.requests
    ]


def test_errors_of_a_credentials_function_are_raised_before_anything_is_sent() -> None:
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


# ---- requests ----


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

    assert ["Bearer token", None] == [request.headers.get("authorization") for request in service.requests]


def test_headers_of_the_request_win_over_those_of_the_caller() -> None:
    mine = {"accept": "text/html", "X-Mine": "1", "x-modelrelay-api-key": "other"}
    with FakeRuns(replies(b"{}")) as service, connected(service, headers=mine) as transport:
        transport.request(get(headers={"Accept": "application/json"}, params={"include": "a,b"}))

    (request,) = service.requests
    assert ("application/json", "1", KEY) == tuple(
        request.headers[name] for name in ("accept", "x-mine", "x-modelrelay-api-key")
    )
    assert request.head.startswith(b"GET /api/v1/runs?include=a,b HTTP/1.1\r\n")


# ---- the caller's own session ----


def test_the_callers_session_is_used_and_not_closed() -> None:
    seen: list[int] = []
    with requests.Session() as session, FakeRuns(replies(b"{}"), replies(b"{}")) as service:
        session.headers["X-Session"] = "mine"
        session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
        with connected(service, session=session) as transport:
            transport.request(get())
        assert session.get(service.url).status_code == 200

    assert ["mine", "mine"] == [request.headers["x-session"] for request in service.requests]
    assert [200, 200] == seen
    assert [0, 0] == [request.connection for request in service.requests]


def test_a_proxy_is_used() -> None:
    with requests.Session() as session, FakeRuns(replies(b"{}"), sends(TWO)) as proxy:
        session.proxies["http"] = f"127.0.0.1:{proxy.port}"
        session.trust_env = False
        with connected("http://runs.example/v1", session=session) as transport:
            transport.request(get())
            assert TWO == body_of(transport)

    assert b"GET http://runs.example/v1/runs HTTP/1.1" == proxy.requests[0].head.split(b"\r\n")[0]
    assert [0, 0] == [request.connection for request in proxy.requests]


def test_an_adapters_own_pools_are_kept() -> None:
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


def test_metrics_are_emitted_once_a_request_after_its_retries() -> None:
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


def test_an_exception_of_on_request_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    def broken(metrics: RequestMetrics) -> None:
        raise LookupError("no statsd")

    with FakeRuns(replies(b"{}")) as service, connected(service, on_request=broken) as transport:
        assert b"{}" == transport.request(get()).body

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ("rxruns", True) == (record.name, "no statsd" in (record.exc_text or str(record.exc_info)))


def test_secrets_are_in_no_error_log_or_metric(caplog: pytest.LogCaptureFixture) -> None:
    metrics: list[RequestMetrics] = []
    echo = {"error": {"message": f"bad key {KEY}", "fields": {"token": "to ken-of-mine"}}}
    acts = (replies(echo, status=500), drops, replies({"key": KEY, "token": "token-of-mine"}), resets)
    credentials = Credentials(KEY, "token-of-mine")
    output: list[str] = [repr(credentials)]
    caplog.set_level(logging.DEBUG)
    with FakeRuns(*acts) as service:
        with connected(service, credentials=credentials, on_request=metrics.append) as transport:
            output += [repr(transport), repr(vars(transport))]
            for _ in range(4):
                try:
                    output.append(transport.request(get()).excerpt)
                except (APIError, TransportError) as error:
                    cause = error.__cause__
                    output += [str(error), repr(error), repr(vars(error)), repr(cause), str(cause)]

    output += [repr(metrics), caplog.text]
    assert [] == [text for text in output if KEY in text or "token-of-mine" in text]
    assert any("bad key [hidden]" in text for text in output)
    assert 4 == len(metrics)


def test_attempts_are_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "rxruns")
    acts = (drops, replies(b"{}", headers={"X-Request-Id": "req_1"}))
    with FakeRuns(*acts) as service, connected(service) as transport:
        transport.request(get(params={"after_seq": "3"}, retry=QUICK))

    messages = [record.getMessage() for record in caplog.records if record.name == "rxruns"]
    assert messages[0].startswith("GET /runs: attempt 1: GET /runs: ")
    assert messages[1] == "GET /runs: attempt 2: status 200, request req_1"


def test_a_hook_of_the_caller_that_raises_leaves_no_socket_open() -> None:
    def broken(response: requests.Response, **options: object) -> None:
        raise LookupError("no hook")

    with requests.Session() as session, FakeRuns(sends(TWO, then=ends)) as service:
        session.hooks["response"].append(broken)
        with connected(service, session=session) as transport:
            with pytest.raises(LookupError):
                transport.open_stream(get())


def test_the_callers_own_requests_are_not_affected() -> None:
    with (
        requests.Session() as session,
        FakeRuns(replies(b"{}", headers={"Connection": "close"}, then=cuts), replies(b"{}")) as service,
    ):
        with connected(service, session=session) as transport:
            transport.request(get())
            assert service.url == session.get(service.url).url

    assert [0, 1] == [request.connection for request in service.requests]
