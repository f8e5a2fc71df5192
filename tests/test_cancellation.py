"""Cancelling from another thread ends every phase of a request at once, and nothing is sent after it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.util import connection

from rxruns._policies import RetryPolicy
from rxruns._transport import Cancellation, Cancelled, Credentials, Request, Transport
from tests.conftest import HANG
from tests.wire import (
    KEY,
    Act,
    FakeAuthority,
    FakeRuns,
    hangs,
    raw,
    replies,
    sends,
    silent,
    until,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

HALF = b'{"seq":1}\n{"seq"'


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAuthority:
    authority = FakeAuthority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    return authority


@pytest.fixture
def transport_to() -> Iterator[Callable[..., Transport]]:
    opened: list[Transport] = []

    def connect(url: str, **options: Any) -> Transport:
        transport = Transport(
            base_url=url, credentials=Credentials(KEY, None), headers={}, connect_timeout=20.0, **options
        )
        opened.append(transport)
        return transport

    yield connect
    for transport in opened:
        transport.close()


class Reading(threading.Thread):
    """Opens a stream under a cancellation and reads it to the end; keeps what came and how it ended."""

    def __init__(self, transport: Transport, retry: RetryPolicy | None = None) -> None:
        super().__init__()
        self.cancellation = Cancellation()
        self.came = threading.Event()
        self.pieces: list[bytes] = []
        self.ended_by: BaseException | None = None
        self._transport = transport
        self._request = Request("GET", "/runs", None, retry=retry, cancellation=self.cancellation)
        self.start()

    def run(self) -> None:
        try:
            for piece in self._transport.open_stream(self._request).chunks():
                self.pieces.append(piece)
                self.came.set()
        except Exception as error:
            self.ended_by = error

    def cancel(self) -> BaseException | None:
        """Cancel, and give what ended the thread: the service, which waits for the client, did not."""
        self.cancellation.cancel()
        self.join(HANG)
        assert not self.is_alive()
        self.cancellation.cancel()
        return self.ended_by


BODIES = [
    sends(HALF, then=hangs),
    sends(HALF, framing="length", missing=9, then=hangs),
    sends(HALF, framing="close", then=hangs),
]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("body", BODIES)
def test_a_read_in_the_middle_of_a_line_ends(
    body: Act, tls: bool, authority: FakeAuthority, transport_to: Callable[..., Transport]
) -> None:
    with FakeRuns(body, tls=authority if tls else None) as service:
        reading = Reading(transport_to(service.url))
        assert reading.came.wait(HANG)

        assert isinstance(reading.cancel(), Cancelled)
        assert [HALF] == reading.pieces
        assert service.gone.wait(HANG)


@pytest.mark.parametrize("tls", [False, True])
def test_the_wait_for_headers_ends(
    tls: bool, authority: FakeAuthority, transport_to: Callable[..., Transport]
) -> None:
    with FakeRuns(silent, tls=authority if tls else None) as service:
        reading = Reading(transport_to(service.url))
        service.wait_requests(1)

        assert isinstance(reading.cancel(), Cancelled)
        assert service.gone.wait(HANG)


@pytest.mark.parametrize("tls", [False, True])
def test_the_wait_for_headers_on_a_kept_connection_ends(
    tls: bool, authority: FakeAuthority, transport_to: Callable[..., Transport]
) -> None:
    with FakeRuns(replies(b"{}"), silent, tls=authority if tls else None) as service:
        transport = transport_to(service.url)
        transport.request(Request("GET", "/runs", 20.0))
        reading = Reading(transport)
        assert 0 == service.wait_requests(2)[1].connection

        assert isinstance(reading.cancel(), Cancelled)


def test_a_tls_handshake_ends(transport_to: Callable[..., Transport]) -> None:
    with FakeRuns() as service:  # which speaks no TLS, and waits for the end of a line
        reading = Reading(transport_to(service.url.replace("http:", "https:")))
        service.wait_connections(1)

        assert isinstance(reading.cancel(), Cancelled)
        assert service.gone.wait(HANG)


def test_the_body_of_an_error_ends(transport_to: Callable[..., Transport]) -> None:
    with FakeRuns(raw(b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nhal", then=hangs)) as service:
        reading = Reading(transport_to(service.url))
        service.wait_requests(1)

        assert isinstance(reading.cancel(), Cancelled)


def test_the_wait_before_another_attempt_ends(transport_to: Callable[..., Transport]) -> None:
    about_to_wait = threading.Event()

    class Policy(RetryPolicy):
        def delay(self, n: int, retry_after: float | None = None) -> float:
            about_to_wait.set()
            return 100.0

    with FakeRuns(replies(status=503)) as service:
        reading = Reading(transport_to(service.url), Policy())
        assert about_to_wait.wait(HANG)

        assert isinstance(reading.cancel(), Cancelled)
        assert 1 == len(service.requests)


def test_a_body_that_is_not_being_read_is_cancelled_at_the_next_read(
    transport_to: Callable[..., Transport],
) -> None:
    cancellation = Cancellation()
    with FakeRuns(sends(HALF, HALF)) as service:
        chunks = (
            transport_to(service.url)
            .open_stream(Request("GET", "/runs", None, cancellation=cancellation))
            .chunks()
        )
        next(chunks)
        cancellation.cancel()

        with pytest.raises(Cancelled):
            next(chunks)


def test_nothing_is_asked_under_a_cancelled_one(transport_to: Callable[..., Transport]) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with FakeRuns() as service:
        with pytest.raises(Cancelled):
            transport_to(service.url).request(Request("GET", "/runs", None, cancellation=cancellation))

        assert 0 == service.connections


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_sent_where_it_was_cancelled_while_connecting(
    scheme: str, monkeypatch: pytest.MonkeyPatch, transport_to: Callable[..., Transport]
) -> None:
    cancellation = Cancellation()
    connect = connection.create_connection

    def slow(*arguments: Any, **options: Any) -> socket.socket:
        sock = connect(*arguments, **options)
        cancellation.cancel()
        return sock

    monkeypatch.setattr(connection, "create_connection", slow)
    with FakeRuns() as service:
        url = service.url.replace("http:", f"{scheme}:")
        with pytest.raises(Cancelled):
            transport_to(url).request(Request("GET", "/runs", None, cancellation=cancellation))

        assert service.gone.wait(HANG)
        assert [] == service.requests


def test_no_connection_is_made_where_the_credentials_cancel(transport_to: Callable[..., Transport]) -> None:
    cancellation = Cancellation()

    def key() -> str:
        cancellation.cancel()
        return KEY

    with FakeRuns() as service:
        transport = Transport(
            base_url=service.url, credentials=Credentials(key, None), headers={}, connect_timeout=20.0
        )
        with pytest.raises(Cancelled):
            transport.request(Request("GET", "/runs", None, cancellation=cancellation))
        transport.close()

        assert 0 == service.connections


def test_nothing_is_sent_on_a_kept_connection_where_the_credentials_cancel() -> None:
    cancellation = Cancellation()
    asked: list[int] = []

    def key() -> str:
        asked.append(len(asked))
        if len(asked) == 2:
            cancellation.cancel()
        return KEY

    with FakeRuns(replies(b"{}")) as service:
        transport = Transport(
            base_url=service.url, credentials=Credentials(key, None), headers={}, connect_timeout=20.0
        )
        transport.request(Request("GET", "/runs", None))
        with pytest.raises(Cancelled):
            transport.request(Request("GET", "/runs", None, cancellation=cancellation))
        transport.close()

        assert 1 == len(service.requests)


def test_one_cancellation_serves_many_requests_and_ends_the_last(
    transport_to: Callable[..., Transport],
) -> None:
    cancellation = Cancellation()
    with FakeRuns(replies(b"{}"), sends(HALF), sends(HALF, then=hangs)) as service:
        transport = transport_to(service.url)
        transport.request(Request("GET", "/runs", None, cancellation=cancellation))
        list(transport.open_stream(Request("GET", "/runs", None, cancellation=cancellation)).chunks())
        chunks = transport.open_stream(Request("GET", "/runs", None, cancellation=cancellation)).chunks()
        next(chunks)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            next(chunks)

        assert [0, 0, 0] == [asked.connection for asked in service.requests]


def test_cancelling_what_is_done_does_not_touch_who_uses_its_connection_now(
    transport_to: Callable[..., Transport],
) -> None:
    cancellation, go_on = Cancellation(), threading.Event()
    with FakeRuns(sends(HALF), until(go_on, then=replies(b"{}"))) as service:
        transport = transport_to(service.url)
        stream = transport.open_stream(Request("GET", "/runs", None, cancellation=cancellation))
        chunks = stream.chunks()
        next(chunks)
        with pytest.raises(StopIteration):
            next(chunks)
        answers: list[int] = []
        other = threading.Thread(
            target=lambda: answers.append(transport.request(Request("GET", "/runs", 20.0)).status)
        )
        other.start()
        assert 0 == service.wait_requests(2)[1].connection
        cancellation.cancel()
        go_on.set()
        other.join(HANG)

    assert [200] == answers


def test_a_session_of_the_callers_is_cancelled_as_fast(transport_to: Callable[..., Transport]) -> None:
    with FakeRuns(replies(b"{}"), silent) as service, requests.Session() as session:
        session.get(service.url)  # so that there are pools already
        reading = Reading(transport_to(service.url, session=session))
        service.wait_requests(2)

        assert isinstance(reading.cancel(), Cancelled)


def test_a_request_through_a_proxy_is_cancelled_as_fast(transport_to: Callable[..., Transport]) -> None:
    with FakeRuns(silent) as proxy, requests.Session() as session:
        session.proxies["http"] = f"http://127.0.0.1:{proxy.port}"
        session.trust_env = False
        reading = Reading(transport_to("http://runs.example/v1", session=session))
        proxy.wait_requests(1)

        assert isinstance(reading.cancel(), Cancelled)


def test_a_tunnel_through_a_proxy_is_cancelled_as_fast(transport_to: Callable[..., Transport]) -> None:
    with FakeRuns(silent) as proxy, requests.Session() as session:
        session.proxies["https"] = f"http://127.0.0.1:{proxy.port}"
        session.trust_env = False
        reading = Reading(transport_to("https://runs.example/v1", session=session))
        assert "CONNECT" == proxy.wait_requests(1)[0].method

        assert isinstance(reading.cancel(), Cancelled)


@pytest.mark.parametrize("trial", range(50))
def test_cancelling_at_any_moment_ends_it(trial: int, transport_to: Callable[..., Transport]) -> None:
    acts = (sends(HALF, then=hangs), silent, sends(HALF, framing="close", then=hangs))
    with FakeRuns(acts[trial % 3]) as service:
        reading = Reading(transport_to(service.url), RetryPolicy())
        reading.came.wait(trial * 0.0001)

        assert isinstance(reading.cancel(), Cancelled)


def test_a_wait_of_any_length_ends_with_the_word() -> None:
    cancellation = Cancellation()
    waiting = threading.Timer(0, cancellation.cancel)
    waiting.start()

    assert cancellation.wait(1e300)
    assert cancellation.cancelled
    waiting.join()


def test_a_socket_that_is_noted_too_late_is_shut_down() -> None:
    cancellation = Cancellation()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        cancellation.cancel()
        with pytest.raises(Cancelled):
            cancellation.note(ours, ours.makefile("rb", buffering=0))
        assert b"" == theirs.recv(1)
        cancellation.release()


def test_a_noted_socket_stays_open_until_it_is_released() -> None:
    cancellation = Cancellation()
    ours, theirs = socket.socketpair()
    with theirs:
        cancellation.note(ours, ours.makefile("rb", buffering=0))
        ours.close()
        assert ours.fileno() >= 0
        cancellation.release()
        assert ours.fileno() == -1
        cancellation.cancel()


def test_a_socket_of_a_library_that_patches_sockets_is_shut_down() -> None:
    class Green:
        """As eventlet's: it has the methods of a socket, and is none for the standard library."""

        def __init__(self) -> None:
            self.calls: list[int] = []
            self.shutdown = self.calls.append

        def close(self) -> None: ...

    green: Any = Green()
    cancellation = Cancellation()
    cancellation.note(green, green)
    cancellation.cancel()
    assert [socket.SHUT_RDWR] == green.calls
