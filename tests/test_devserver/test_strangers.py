"""Requests without the key, from web pages, half-sent or broken (R38), as raw bytes over sockets."""

from __future__ import annotations

import http.client
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator

from rxruns._loopback import _handler
from rxruns._loopback._connections import Limits
from rxruns.devserver import DevServer, _server, _service
from rxruns.devserver._service import Bound
from rxruns.errors import InvalidArgumentError
from tests.conftest import HANG
from tests.records import samples
from tests.soak import MIB, both_sizes, measured, peak_of_memory
from tests.test_devserver.conftest import STARTED, Answer, Api, all_of, seqs
from tests.wire import has_ipv6

Serve = Callable[..., Api]
RUNS = "/api/v1/runs"


def answer_to(connection: socket.socket, bodiless: bool = False) -> Answer:
    response = http.client.HTTPResponse(connection, method="HEAD" if bodiless else None)
    response.begin()
    with response:
        return Answer(response.status, dict(response.headers), response.read())


def exchange(api: Api, *pieces: bytes) -> Answer:
    """Send these bytes and return the answer."""
    with api.connected() as connection:
        for piece in pieces:
            connection.sendall(piece)
        return answer_to(connection)


@pytest.fixture
def limited(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start servers with other limits of connections."""

    def start(**limits: Any) -> Api:
        monkeypatch.setattr(_server, "LIMITS", Limits(**limits))
        return serve()

    return start


# ---- broken requests ----

POST, GET = f"POST {RUNS} HTTP/1.1", f"GET {RUNS}/{uuid4()} HTTP/1.1"
BROKEN: dict[str, tuple[int, list[str]]] = {
    "a URL that is cut": (400, ["GET http://[::1 HTTP/1.1"]),
    "a URL of another scheme": (400, ["GET ftp://localhost/ HTTP/1.1"]),
    "no target": (400, ["GET HTTP/1.1"]),
    "an asterisk": (400, ["OPTIONS * HTTP/1.1"]),
    "a tunnel": (403, ["CONNECT runs.example:443 HTTP/1.1"]),
    "blanks in the target": (400, ["GET /a b HTTP/1.1"]),
    "a control character in the target": (400, ["GET /a\x01 HTTP/1.1"]),
    "a method that is not a word": (400, ["G{T / HTTP/1.1"]),
    "an unknown method": (501, ["BREW / HTTP/1.1"]),
    "another protocol": (400, ["GET / GOPHER/1.1"]),
    "a version without a number": (400, ["GET / HTTP/one"]),
    "HTTP/0.9": (400, ["GET /"]),
    "HTTP/2": (505, ["GET / HTTP/2.0"]),
    "a length of 5,000 digits": (400, [POST, "Content-Length: " + "9" * 5000]),
    "a negative length": (400, [POST, "Content-Length: -1"]),
    "a length with a sign": (400, [POST, "Content-Length: +1"]),
    "a length of other digits": (400, [POST, "Content-Length: \xb2"]),
    "two lengths": (400, [POST, "Content-Length: 1", "Content-Length: 2"]),
    "a list of lengths": (400, [POST, "Content-Length: 1, 1"]),
    "a length and chunks": (400, [POST, "Content-Length: 1", "Transfer-Encoding: chunked"]),
    "a body that is too large": (413, [POST, f"Content-Length: {2**24 + 1}"]),
    "chunks": (411, [POST, "Transfer-Encoding: chunked"]),
    "an unknown coding": (501, [POST, "Transfer-Encoding: gzip, chunked"]),
    "two codings": (400, [POST, *["Transfer-Encoding: chunked"] * 2]),
    "a header without a colon": (400, [GET, "X-Header"]),
    "a header with a blank in its name": (400, [GET, "X Header: 1"]),
    "a header of two lines": (400, [GET, "X-Header: 1", " 2"]),
    "a NUL in a header": (400, [GET, "X-Header: \0"]),
    "two hosts": (400, [GET, "Host: localhost"]),
    "101 headers": (431, [GET, *(f"X-{number}: 1" for number in range(99))]),
    "a header of 64 KiB": (431, [GET, "X-Header: " + "x" * 2**16]),
    "an unknown expectation": (417, [GET, "Expect: tea"]),
}


def check_refused(api: Api, status: int, request: bytes) -> None:
    answer = exchange(api, request)
    assert (status, "close") == (answer.status, answer.headers["Connection"])
    assert {"error", "code", "message", "request_id"} == set(answer.body)
    assert answer.body["request_id"] == answer.headers["X-ModelRelay-Request-Id"]
    assert 404 == exchange(api, api.head(GET)).status  # the next client is served


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_is_answered_with_an_error_of_the_service(api: Api, name: str) -> None:
    status, lines = BROKEN[name]
    check_refused(api, status, api.head(*lines))


@pytest.mark.parametrize("host", ["[::1", "me@localhost", "localhost:port"])
def test_a_malformed_host_is_refused(api: Api, host: str) -> None:
    check_refused(api, 400, api.head(GET, host=host))


def test_a_request_without_a_host_and_headers_without_end_are_refused(api: Api) -> None:
    check_refused(api, 400, b"GET / HTTP/1.1\r\n\r\n")
    check_refused(api, 431, b"GET / HTTP/1.1\r\n" + (b"X-Header: " + b"x" * 1000 + b"\r\n") * 100)


@pytest.mark.parametrize("body", [b"[" * 5000, b"[" * 5000 + b"]" * 5000, b'{"a":' * 200 + b"1" + b"}" * 200])
@pytest.mark.parametrize("path", ["/runs", "/workflows/compile", f"/runs/{uuid4()}/tool-results"])
def test_a_body_that_is_nested_too_deep_is_refused(api: Api, body: bytes, path: str) -> None:
    if path.endswith("results"):
        path = f"/runs/{api.server.add_run().run_id}/tool-results"
    answer = api.post(path, body)
    assert (400, "INVALID_INPUT") == (answer.status, answer.body["code"])


def test_random_bytes_are_answered_or_ended(api: Api) -> None:
    dice = random.Random(38)
    statuses = {exchange(api, dice.randbytes(200).strip() + b"\r\n\r\n").status for _ in range(50)}
    assert {400} == statuses


def test_a_failure_of_the_service_itself_is_an_answer(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(api.server._service.runs, "get", fail)
    with caplog.at_level(logging.CRITICAL, "rxruns.devserver"):
        answers = [api.get(f"/runs/{uuid4()}{path}") for path in ("", "/events")]
    assert [(500, "INTERNAL")] * 2 == [(answer.status, answer.body["code"]) for answer in answers]


# ---- strangers ----


def test_a_body_is_not_read_before_the_key_is_right(api: Api) -> None:
    with api.connected() as connection:
        connection.sendall(
            f"POST {RUNS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode()
        )
        answer = answer_to(connection)  # while the body is still to come
    assert (401, "UNAUTHORIZED") == (answer.status, answer.body["code"])
    assert [None] == [request.body for request in api.server.requests]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_web_page_from_elsewhere_is_refused_even_with_the_key(api: Api, method: str, origin: str) -> None:
    answer = exchange(api, api.head(f"{method} {RUNS} HTTP/1.1", f"Origin: {origin}"))
    assert (403, "FORBIDDEN") == (answer.status, answer.body["code"])
    assert [] == [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_web_page_of_the_service_itself_is_admitted(api: Api) -> None:
    assert 404 == exchange(api, api.head(GET, "Origin: http://localhost:80", host="localhost:80")).status


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0x7f000001", "xn--lcalhost"]
)
@pytest.mark.parametrize("where", ["header", "target"])
def test_a_name_that_was_pointed_here_is_refused_even_with_the_key(api: Api, host: str, where: str) -> None:
    port = api.address.port
    if where == "target":
        answer = exchange(api, api.head(f"GET http://{host}:{port}{RUNS} HTTP/1.1"))
    else:
        answer = exchange(api, api.head(GET, host=f"{host}:{port}"))
    assert (403, "FORBIDDEN") == (answer.status, answer.body["code"])
    assert f"--allow-host {host}" in answer.body["message"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:8080", "[::1]:80", "192.168.1.7", "[fe80::1]"],
)
def test_loopback_and_addresses_are_hosts_of_the_service(api: Api, host: str) -> None:
    assert 404 == exchange(api, api.head(GET, host=host)).status


def test_names_that_were_allowed_are_hosts_of_the_service(serve: Serve) -> None:
    api = serve(host="localhost", allow_hosts=["Gateway", "runs.example."])
    hosts = ["gateway", "GATEWAY:8080", "runs.example", "runs.example.:80", "other"]
    assert [404] * 4 + [403] == [exchange(api, api.head(GET, host=host)).status for host in hosts]


@pytest.mark.parametrize("names", ["gateway", ["a:80"], [""], [7], ["a/b"], ["me@a"], 7, ["http://a"]])
def test_an_invalid_allowed_host_is_refused(names: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        DevServer(allow_hosts=names)
    assert "allow_hosts" == caught.value.field


def test_a_refused_client_gets_its_answer_though_it_sends_a_large_body(api: Api) -> None:
    lines = ["Host: localhost", f"Content-Length: {8 * MIB}", "", ""]
    answer = exchange(api, "\r\n".join([POST, *lines]).encode(), *[b"x" * MIB] * 8)
    assert 401 == answer.status


def test_the_requests_that_are_kept_are_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service, "ADMITTED", Bound(4, 10_000))
    monkeypatch.setattr(_service, "STRANGERS", Bound(3, 10_000))
    api = serve()
    first = str(uuid4())
    api.get(f"/runs/{first}")
    for number in range(5):
        api.ask("GET", f"/runs/{number}", headers={})
    assert [first, "2", "3", "4"] == [request.path.rpartition("/")[2] for request in api.server.requests]
    api.ask("GET", "/runs/large", headers={"X-Header": "x" * 9_900})
    assert [first, "large"] == [request.path.rpartition("/")[2] for request in api.server.requests]

    for size in (4000, 4000, 9000):
        api.post("/runs", {"text": "x" * size})
    assert [9000] == [len(request.body["text"]) for request in api.server.requests if request.body]
    api.post("/runs", {"text": "x" * 20_000})
    assert [20_000] == [len(request.body["text"]) for request in api.server.requests if request.body]


def test_no_key_is_shown(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "rxruns.devserver"):
        for headers in (api.headers(), {"Authorization": f"Bearer {api.server.access_token}"}):
            for path in (f"/runs/{uuid4()}", "/\x7f"):
                api.ask("GET", path.replace("\x7f", "%7f"), headers=headers | {"Cookie": "secret=1"})
    output = f"{api.server!r} {api.server.requests!r} {caplog.text}"
    assert f"GET {RUNS}" in caplog.text
    assert [] == [
        secret for secret in (api.server.api_key, api.server.access_token, "secret=1") if secret in output
    ]


# ---- half-sent requests ----


def test_a_head_that_is_not_finished_in_time_is_given_up(limited: Serve) -> None:
    api = limited(head=0.01)
    with api.connected() as silent, api.connected() as begun:
        begun.sendall(b"GET / HTTP/1.1\r\nHost:")
        answer = answer_to(begun)
        assert b"" == silent.recv(1)
    assert (408, "REQUEST_TIMEOUT") == (answer.status, answer.body["code"])


def test_an_idle_connection_is_closed_in_the_end(limited: Serve) -> None:
    api = limited(idle=0.01)
    with api.connected() as connection:
        connection.sendall(api.head(GET))
        assert 404 == answer_to(connection).status
        assert b"" == connection.recv(1)


def test_a_refused_client_that_never_closes_is_closed(limited: Serve) -> None:
    with limited(drain=0.01).connected() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert 400 == answer_to(connection).status
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"more")


def test_a_body_that_is_not_finished_in_time_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_handler, "BODY_SECONDS", 0.01)
    answer = exchange(api, api.head(POST, "Content-Length: 9") + b"{}")
    assert (408, "REQUEST_TIMEOUT") == (answer.status, answer.body["code"])


def test_a_client_that_leaves_inside_a_body_frees_its_thread(api: Api) -> None:
    with api.connected() as connection:
        connection.sendall(api.head(POST, "Content-Length: 9") + b"{}")
    assert 404 == exchange(api, api.head(GET)).status
    assert [] == [request for request in api.server.requests if request.method == "POST"]


@contextmanager
def half_sent(api: Api, count: int) -> Iterator[list[socket.socket]]:
    """Open `count` connections with the beginning of a request."""
    begun = [
        b"",
        b"P",
        b"GET / HTTP/1.1\r\nHost: loc",
        api.head(GET)[:-2],
        api.head(POST, "Content-Length: 10", host="evil.example"),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
    ]
    with ExitStack() as opened:
        connections = [opened.enter_context(api.connected()) for _ in range(count)]
        for number, connection in enumerate(connections):
            connection.sendall(begun[number % len(begun)])
        yield connections


def test_R38_half_sent_requests_cost_no_threads_and_hold_up_no_client(api: Api) -> None:
    before = threading.active_count()
    with half_sent(api, 400):
        run = api.server.add_run(events=[STARTED])
        assert [1] == seqs(api.events(run.run_id))
        assert (
            measured("R38", "threads for 400 half-sent requests", threading.active_count() - before, 2, "")
            <= 2
        )


def test_of_too_many_connections_the_longest_waiting_are_closed(limited: Serve) -> None:
    api = limited(connections=10)
    with half_sent(api, 20) as connections:
        assert _is_closed(connections[0])
        assert 404 == exchange(api, api.head(GET)).status


def test_unfinished_heads_take_bounded_memory_together(limited: Serve) -> None:
    api = limited(buffered=100_000)
    with ExitStack() as opened:
        connections = [opened.enter_context(api.connected()) for _ in range(4)]
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
        assert _is_closed(connections[0])
        assert 404 == exchange(api, api.head(GET)).status


def _is_closed(connection: socket.socket) -> bool:
    """Read to the end of the connection; return True when it came."""
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def test_closing_closes_half_sent_requests() -> None:
    before = set(threading.enumerate())
    with DevServer() as server, half_sent(Api(server), 12) as connections:
        server.close()
        assert [True] * 12 == [_is_closed(connection) for connection in connections]
    assert before == set(threading.enumerate())


@contextmanager
def served(*wrapper: str) -> Iterator[tuple[int, Api]]:
    """Run a service in a process of its own; yields the process id and the service."""
    environment = os.environ | {"MODELRELAY_API_KEY": "mr_sk_served"}
    arguments = [*wrapper, sys.executable, "-m", "rxruns", "serve", "--port", "0"]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]
        yield process.pid, Api(SimpleNamespace(url=url, api_key="mr_sk_served"))  # type: ignore[arg-type]
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(HANG)


@both_sizes
def test_R38_bodies_of_strangers_take_no_memory(soaking: bool) -> None:
    size, count = (16, 100) if soaking else (4, 24)
    foreign = [{}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}]

    def send(api: Api, number: int) -> int:
        lines = {"Host": "localhost", "Content-Length": str(size * MIB)} | foreign[number % 3]
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return exchange(api, f"{POST}\r\n{text}\r\n".encode(), *[b"x" * MIB] * size).status

    with served() as (process, api):
        assert 404 == api.get(f"/runs/{uuid4()}").status
        with peak_of_memory(process) as grown, half_sent(api, 400):
            with ThreadPoolExecutor(4) as pool:
                statuses = list(pool.map(partial(send, api), range(count)))
            assert 404 == api.get(f"/runs/{uuid4()}").status
            what = "RSS for bodies of strangers and 400 half-sent requests"
            peak = measured("R38", what, grown(), 10 * MIB, "MiB")
    assert {401, 403} == set(statuses)
    assert peak < 10 * MIB


def test_R38_half_sent_requests_that_take_all_descriptors_hold_up_no_client() -> None:
    limited = ("sh", "-c", 'ulimit -n 100 && exec "$@"', "sh")
    with served(*limited) as (_, api), half_sent(api, 200):
        assert 404 == api.get(f"/runs/{uuid4()}").status


# ---- HTTP/1.0, 100 Continue, HEAD, the schema ----


def test_a_client_of_HTTP_1_0_gets_no_chunks(api: Api) -> None:
    run = api.server.add_run(events=[STARTED])
    with api.connected() as connection:
        first = f"GET {RUNS}/{run.run_id}/events HTTP/1.0"
        connection.sendall(f"{first}\r\nX-ModelRelay-Api-Key: {api.server.api_key}\r\n\r\n".encode())
        received = all_of(connection)
    answered, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in answered.lower()
    assert b"connection: close" in answered.lower()
    assert [1] == seqs(body)


def test_a_client_that_waits_for_100_continue_gets_it_with_the_right_key(api: Api) -> None:
    wants = ["Content-Length: 2", "Expect: 100-continue"]
    with api.connected() as connection:
        connection.sendall(api.head(POST, *wants))
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == connection.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n"))
        connection.sendall(b"{}")
        answer = answer_to(connection)
    assert (400, {"spec"}) == (answer.status, set(answer.fields))
    assert 401 == exchange(api, "\r\n".join([POST, "Host: localhost", *wants, "", ""]).encode()).status


def test_requests_that_are_sent_at_once_are_answered_in_order(api: Api) -> None:
    run_ids = [str(api.server.add_run().run_id) for _ in range(2)]
    first, second = (f"GET {RUNS}/{run_id} HTTP/1.1" for run_id in run_ids)
    with api.connected() as connection:
        connection.sendall(api.head(first) + b"\r\n" + api.head(second, "Connection: close"))
        received = all_of(connection)
    assert run_ids == re.findall(r'"run_id":"([^"]+)"', received.decode())


@pytest.mark.parametrize("key", [True, False])
def test_an_answer_to_HEAD_has_no_body(api: Api, key: bool) -> None:
    request = api.head(f"HEAD {RUNS} HTTP/1.1")
    if not key:
        request = request.replace(b"mr_sk_", b"mr_sk_x")
    with api.connected() as connection:
        connection.sendall(request)
        answer = answer_to(connection, bodiless=True)
        connection.shutdown(socket.SHUT_WR)
        assert b"" == connection.recv(1)
    assert ({True: 405, False: 401}[key], b"") == (answer.status, answer.content)


def test_a_wrong_method_names_the_right_one(api: Api) -> None:
    for path in ("/runs", "/workflows/compile", "/workflows/lint"):
        assert "POST" == api.get(path).headers["Allow"]
    for rest in ("", "/events", "/pending-tools", "/steps", "/tasks", "/steps/1/tool-calls/call_1"):
        assert "GET" == api.post(f"/runs/{UUID(int=1)}{rest}", {}).headers["Allow"]


@pytest.mark.parametrize("base", ["", "/api/v1"])
def test_the_schema_of_events_is_served_to_all(api: Api, base: str) -> None:
    path = f"{base}/schemas/run_event.schema.json"
    answer = exchange(api, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (200, "application/json") == (answer.status, answer.headers["Content-Type"])
    validator = Draft202012Validator(answer.body)
    valid = list(samples().values())
    assert [] == [record["type"] for record in valid if not validator.is_valid(record)]
    assert [] == [record["type"] for record in valid if validator.is_valid(record | {"seq": 0})]
    statuses = [
        exchange(api, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status
        for method, host in (("GET", "evil.example"), ("POST", "localhost"))
    ]
    assert [403, 405] == statuses


# ---- where it listens ----


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::1", "[::1]"),
        ("::", "[::1]"),
    ],
)
def test_the_url_leads_to_the_service_wherever_it_listens(serve: Serve, host: str, named: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("no IPv6 here")
    server = serve(host=host).server
    assert f"http://{named}:{urlsplit(server.url).port}/api/v1" == server.url
    run = server.add_run(events=[STARTED])
    with server.client() as client:
        assert [1] == [event.seq for event in client.list_events(run.run_id)]


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match=r"can't listen on nowhere\.invalid:80: "):
        DevServer("nowhere.invalid", 80).start()
