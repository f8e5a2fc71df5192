"""Responses as services and proxies really send them: interim, oddly framed, hostile (R31, R36)."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest

from rxruns import ResumePolicy, RetryPolicy, RunsClient, block_on, ops, run_events
from rxruns._loopback import Wire
from rxruns.errors import APIError, RunsError, TransportError
from rxruns.testing import Request
from rxruns.testing._loopback import Loopback
from tests.disposing import END, LINES, RUN
from tests.observing import PLAN, Seen
from tests.soak import both_sizes, measured
from tests.wire import KEY, NDJSON, Act, FakeRuns, hangs, raw, sends

pytestmark = pytest.mark.usefixtures("no_leaks")

ONCE = RetryPolicy(max_attempts=1)
QUICK = RetryPolicy(max_attempts=3, base_backoff=0.001, max_backoff=0.002)
RESUME = ResumePolicy(max_reconnects=2, base_backoff=0.001, max_backoff=0.01, idle_timeout=20.0)


@contextmanager
def playing(*acts: Act, **options: Any) -> Iterator[RunsClient]:
    """Make a client of a service that plays a script."""
    wanted: dict[str, Any] = {"api_key": KEY, "retry": ONCE}
    with FakeRuns(*acts) as service, RunsClient(base_url=service.url, **wanted | options) as client:
        yield client


def error_of(*acts: Act, call: str = "get", **options: Any) -> Any:
    """Make a call that must fail, and return its error."""
    with playing(*acts, **options) as client, pytest.raises(RunsError) as caught:
        getattr(client, call)(RUN)
    return caught.value


# ---- R31: interim responses ----

INTERIM: dict[str, list[bytes]] = {
    "none": [],
    "100": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "102": [b"HTTP/1.1 102 Processing\r\n\r\n"],
    "103 with headers": [
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nLink: </a>\r\n\r\n"
    ],
    "several": [b"HTTP/1.1 102 \r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", b"HTTP/1.1 100\r\n\r\n"],
    "split over packets": [b"HTTP/1.1 1", b"03 Early Hints\r", b"\nLin", b"k: </a>\r\n", b"\r", b"\n"],
    "a hundred": [b"HTTP/1.1 102 Processing\r\n\r\n" * 100],
}


def run_body(run_id: object) -> dict[str, Any]:
    summary = {"total_usd_cents": 0, "line_items": []}
    return {
        "run_id": str(run_id),
        "status": "running",
        "plan_hash": PLAN,
        "nodes": [],
        "outputs": {},
        "cost_summary": summary,
    }


class Interim(Loopback):
    """Sends interim responses of each kind in turn, then the response with the request's id."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds = cycle(INTERIM.values())

    def _answer(self, request: Request, wire: Wire) -> bool:
        for piece in next(self._kinds):
            wire.send(piece)
        if request.method == "POST":
            body = json.dumps({"run_id": str(RUN), "status": "running", "plan_hash": PLAN}).encode()
        elif request.path.endswith("/events"):
            body = LINES + END
        else:
            body = json.dumps(run_body(request.path.rpartition("/")[2])).encode()
        kind = NDJSON if request.path.endswith("/events") else "application/json"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.send(head.encode() + body)
        return True


@both_sizes
def test_R31_interim_responses_are_skipped(soaking: bool) -> None:
    spec = {
        "kind": "workflow",
        "nodes": [{"id": "a", "type": "llm", "model": "m", "user": "x"}],
        "outputs": [{"name": "a", "from": "a"}],
    }
    wrong = 0
    with Interim() as service, RunsClient(api_key=KEY, base_url=service.url, retry=ONCE) as client:
        for number in range(1000 if soaking else 70):
            run_id = uuid4()
            wrong += run_id != client.get(run_id).run_id
            if number % 5 == 0:
                wrong += client.create(spec).run_id != RUN
                wrong += 3 != len(client.list_events(RUN))
                wrong += 3 != block_on(run_events(RUN, client=client, resume=None).pipe(ops.count()))
        assert 0 == measured("R31", "responses that were lost, or another call's", wrong, 0, "")
        assert service.connections < len(service.requests) / 2  # they were reused


@pytest.mark.parametrize("call", ["get", "stream_events"])
def test_R31_more_than_a_hundred_interim_responses_are_a_transport_error(call: str) -> None:
    error = error_of(raw(b"HTTP/1.1 102 Processing\r\n\r\n" * 101, then=hangs), call=call)
    assert isinstance(error, TransportError)
    assert "more than 100 interim responses" in str(error)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n" + b"X: y\r\n" * 20000,
    ],
    ids=["101", "a long header", "endless headers"],
)
def test_R31_an_invalid_interim_response_is_a_transport_error(head: bytes) -> None:
    assert isinstance(error_of(raw(head, then=hangs)), TransportError)


# ---- R36: framing and headers ----

BODY = json.dumps(run_body(RUN)).encode()
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def check_refused(act: Act, reason: str) -> None:
    """Check that a response is refused at the first attempt, with a printable reason."""
    for call in ("get", "list_events"):
        error = error_of(act, call=call, retry=QUICK)
        assert ("other", 0) == (error.kind, error.retries)
        assert reason in str(error)
        assert "\x1b" not in str(error)


def responds(headers: str, body: bytes, then: Callable[[Wire], bool] = lambda wire: False) -> Act:
    return raw(b"HTTP/1.1 200 OK\r\n" + headers.encode("latin-1") + b"\r\n\r\n" + body, then=then)


@pytest.mark.parametrize(
    "coding",
    ["chunked", "chunked ", " chunked\t", "Chunked", "identity, chunked", "identity,CHUNKED", ", chunked,"],
)
def test_R36_chunks_are_read_in_every_spelling_of_their_header(coding: str) -> None:
    lines = LINES + END
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(lines), lines)
    keeps: Callable[[Wire], bool] = lambda wire: True  # noqa: E731
    acts = (
        responds(f"Transfer-Encoding: {coding}", CHUNKS, keeps),
        responds(f"Content-Type: {NDJSON}\r\nTransfer-Encoding: {coding}", chunks, keeps),
        responds(f"Transfer-Encoding: {coding}", CHUNKS, keeps),
    )
    with FakeRuns(*acts) as service, RunsClient(api_key=KEY, base_url=service.url, retry=ONCE) as client:
        assert RUN == client.get(RUN).run_id
        assert 3 == len(client.list_events(RUN))
        assert RUN == client.get(RUN).run_id
        assert 1 == service.connections


@pytest.mark.parametrize(
    "coding", ["chunked, chunked", "gzip, chunked", "gzip", "chunked;q=1", "ch\x1bunked"]
)
def test_R36_another_transfer_coding_is_an_error_that_names_the_header(coding: str) -> None:
    act = responds(f"Content-Type: {NDJSON}\r\nTransfer-Encoding: {coding}", CHUNKS)
    check_refused(act, "Transfer-Encoding must be chunked, got")


def test_R36_two_headers_of_transfer_codings_are_one_list() -> None:
    act = responds("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", CHUNKS)
    with playing(act) as client:
        assert RUN == client.get(RUN).run_id


@pytest.mark.parametrize("encoding", ["br-2", "compress", "gzip, br-2", "aes128gcm", "\x1b[31m"])
def test_R36_an_unknown_content_encoding_is_an_error_that_names_the_header(encoding: str) -> None:
    act = responds(
        f"Content-Type: {NDJSON}\r\nContent-Encoding: {encoding}\r\nContent-Length: 4", b"\0\1\2\3"
    )
    check_refused(act, "Content-Encoding must be one of")


def test_R36_an_error_status_counts_even_if_its_body_cannot_be_decompressed() -> None:
    act = raw(b"HTTP/1.1 404 Gone\r\nContent-Encoding: br-2\r\nContent-Length: 4\r\n\r\n\0\1\2\3")
    assert "404: Not Found" == str(error_of(act))


RETRY_AFTER = [
    "Fri, 02 Jan 20260000000000000000 00:01:00 GMT",
    "Fri, 02 Jan 2026 00:01:00 +99999999999999999999",
    "Fri, 02 Jan 9999 23:59:59 -9999",
    *("-1", "nan", "inf", "1e308", "9" * 5000, "\x1b[31m", "soon"),
]


@pytest.mark.parametrize("text", RETRY_AFTER)
def test_R36_a_hostile_retry_after_does_not_change_the_error(text: str) -> None:
    head = f"HTTP/1.1 400 No\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    assert 400 == error_of(raw(head)).status
    with playing(raw(head)) as client:
        seen = Seen()
        run_events(RUN, client=client, resume=RESUME).subscribe(seen)
        seen.wait_end()
        assert isinstance(seen.error, APIError)


def test_R36_a_date_is_counted_from_the_services_own_clock() -> None:
    fields = "Date: Fri, 02 Jan 2026 00:10:00 GMT\r\nRetry-After: Fri, 02 Jan 2026 00:10:07 GMT\r\n"
    act = raw(f"HTTP/1.1 400 No\r\n{fields}Content-Length: 0\r\n\r\n".encode())
    assert 7.0 == error_of(act).retry_after


CONTROLS = "".join(map(chr, (*range(1, 9), 0x1B, 0x7F, 0x9B)))


def test_R36_control_characters_of_a_service_reach_no_message_and_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = f"first\nERROR second{CONTROLS}\u202e"
    body = json.dumps(
        {"code": text, "message": text, "request_id": text, "fields": [{"field": text, "message": text}]}
    ).encode()
    head = f"HTTP/1.1 409 No\r\nX-Request-Id: a\x1bb\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1")
    wrong = f"Content-Type: text/{CONTROLS}\r\nContent-Length: 2\r\n".replace("\n\r", "")
    acts = (
        raw(head + body),
        raw(head + body),
        raw(b"HTTP/1.1 200 OK\r\n" + wrong.encode("latin-1") + b"\r\n{}"),
        raw(b"HTTP/1.1 2\x1b0 \x1b\r\n\r\n"),
        sends(b'{"type": "a\x1b"}\n'),
    )
    calls = ("get", "get", "list_events", "get", "list_events")
    with caplog.at_level("DEBUG"):
        messages = [str(error_of(act, call=call)) for act, call in zip(acts, calls, strict=True)]
    messages += [record.getMessage() for record in caplog.records]
    assert [] == [message for message in messages if not message.isprintable()]


def test_tcp_detects_a_dead_peer_of_a_stream_without_an_idle_timeout() -> None:
    with playing(sends(LINES, then=hangs), timeout=None) as client, client.stream_events(RUN) as stream:
        next(stream)
        sock = stream._cancellation._socket
        assert sock is not None
        assert 0 != sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert 60 == sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


def test_a_304_is_not_called_a_redirect() -> None:
    assert "304: unexpected status: Not Modified" == str(error_of(raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")))
