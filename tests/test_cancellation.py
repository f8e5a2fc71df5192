"""Cancelling from another thread ends every phase of a request at once, and nothing is sent after it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from itertools import count
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

Connect = Callable[..., Transport]
HALF = b'{"seq":1}\n{"seq"'


def get(cancellation: Cancellation | None = None, retry: RetryPolicy | None = None) -> Request:
    return Request("GET", "/runs", None, cancellation=cancellation or Cancellation(), retry=retry)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAuthority:
    authority = FakeAuthority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    return authority


@pytest.fixture
def transport_to() -> Iterator[Connect]:
    opened: list[Transport] = []

    def connect(url: str, **options: Any) -> Transport:
        wanted = {"credentials": Credentials(KEY, None), "headers": {}, "connect_timeout": 20.0}
        opened.append(Transport(base_url=url, **wanted | options))
        return opened[-1]

    yield connect
    for transport in opened:
        transport.close()


class Reading(threading.Thread):
    """Opens a stream under a cancellation and reads it to the end; keeps its pieces and its error."""

    def __init__(self, transport: Transport, retry: RetryPolicy | None = None) -> None:
        super().__init__()
        self.cancellation = Cancellation()
        self.received = threading.Event()
        self.pieces: list[bytes] = []
        self.ended_by: BaseException | None = None
        self._transport = transport
        self._request = get(self.cancellation, retry)
        self.start()

    def run(self) -> None:
        try:
            for piece in self._transport.open_stream(self._request).chunks():
                self.pieces.append(piece)
                self.received.set()
        except Exception as error:
            self.ended_by = error

    def check_cancel(self) -> None:
        """Cancel, and check that this ended the thread, because the service waits for the client."""
        self.cancellation.cancel()
        self.join(HANG)
        assert not self.is_alive()
        self.cancellation.cancel()
        assert isinstance(self.ended_by, Cancelled)


BODIES = [
    sends(HALF, then=hangs),
    sends(HALF, framing="length", missing=9, then=hangs),
    sends(HALF, framing="close", then=hangs),
]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("body", BODIES)
def test_a_read_in_the_middle_of_a_line_ends(
    body: Act, tls: bool, authority: FakeAuthority, transport_to: Connect
) -> None:
    with FakeRuns(body, tls=authority if tls else None) as service:
        reading = Reading(transport_to(service.url))
        assert reading.received.wait(HANG)

        reading.check_cancel()
        assert [HALF] == reading.pieces
        assert service.gone.wait(HANG)


@pytest.mark.parametrize("is_reused", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_the_wait_for_headers_ends_on_new_and_reused_connections(
    tls: bool, is_reused: bool, authority: FakeAuthority, transport_to: Connect
) -> None:
    with FakeRuns(*[replies(b"{}")] * is_reused, silent, tls=authority if tls else None) as service:
        transport = transport_to(service.url)
        for _ in range(is_reused):
            transport.request(get())
        reading = Reading(transport)
        assert 0 == service.wait_requests(1 + is_reused)[-1].connection

        reading.check_cancel()
        assert service.gone.wait(HANG)


def test_a_tls_handshake_ends(transport_to: Connect) -> None:
    with FakeRuns() as service:  # it doesn't speak TLS, and waits for the end of a line
        reading = Reading(transport_to(service.url.replace("http:", "https:")))
        service.wait_connections(1)

        reading.check_cancel()
        assert service.gone.wait(HANG)


def test_the_body_of_an_error_ends(transport_to: Connect) -> None:
    with FakeRuns(raw(b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nhal", then=hangs)) as service:
        reading = Reading(transport_to(service.url))
        service.wait_requests(1)

        reading.check_cancel()


def test_the_wait_before_another_attempt_ends(transport_to: Connect) -> None:
    about_to_wait = threading.Event()

    class Policy(RetryPolicy):
        def delay(self, n: int, retry_after: float | None = None) -> float:
            about_to_wait.set()
            return 100.0

    with FakeRuns(replies(status=503)) as service:
        reading = Reading(transport_to(service.url), Policy())
        assert about_to_wait.wait(HANG)

        reading.check_cancel()
        assert 1 == len(service.requests)


def test_a_body_that_is_not_being_read_is_cancelled_at_the_next_read(
    transport_to: Connect,
) -> None:
    cancellation = Cancellation()
    with FakeRuns(sends(HALF, HALF)) as service:
        chunks = transport_to(service.url).open_stream(get(cancellation)).chunks()
        next(chunks)
        cancellation.cancel()

        with pytest.raises(Cancelled):
            next(chunks)


def test_nothing_is_sent_under_a_cancelled_cancellation(transport_to: Connect) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with FakeRuns() as service:
        with pytest.raises(Cancelled):
            transport_to(service.url).request(get(cancellation))

        assert 0 == service.connections


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_sent_if_it_is_cancelled_while_connecting(
    scheme: str, monkeypatch: pytest.MonkeyPatch, transport_to: Connect
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
            transport_to(url).request(get(cancellation))

        assert service.gone.wait(HANG)
        assert [] == service.requests


@pytest.mark.parametrize("attempt", [1, 2])
def test_nothing_is_sent_if_the_credentials_cancel_before_connecting_or_on_a_reused_connection(
    attempt: int, transport_to: Connect
) -> None:
    cancellation = Cancellation()
    attempts = count(1)

    def key() -> str:
        if next(attempts) == attempt:
            cancellation.cancel()
        return KEY

    with FakeRuns(replies(b"{}")) as service:
        transport = transport_to(service.url, credentials=Credentials(key, None))
        for _ in range(attempt - 1):
            transport.request(get())
        with pytest.raises(Cancelled):
            transport.request(get(cancellation))

        assert (attempt - 1, attempt - 1) == (len(service.requests), service.connections)


def test_one_cancellation_serves_many_requests_and_ends_the_last(
    transport_to: Connect,
) -> None:
    cancellation = Cancellation()
    with FakeRuns(replies(b"{}"), sends(HALF), sends(HALF, then=hangs)) as service:
        transport = transport_to(service.url)
        transport.request(get(cancellation))
        list(transport.open_stream(get(cancellation)).chunks())
        chunks = transport.open_stream(get(cancellation)).chunks()
        next(chunks)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            next(chunks)

        assert [0, 0, 0] == [request.connection for request in service.requests]


def test_cancelling_a_finished_request_does_not_affect_the_next_one_on_its_connection(
    transport_to: Connect,
) -> None:
    cancellation, go_on = Cancellation(), threading.Event()
    with FakeRuns(sends(HALF), until(go_on, then=replies(b"{}"))) as service:
        transport = transport_to(service.url)
        stream = transport.open_stream(get(cancellation))
        chunks = stream.chunks()
        next(chunks)
        with pytest.raises(StopIteration):
            next(chunks)
        answers: list[int] = []
        other = threading.Thread(target=lambda: answers.append(transport.request(get()).status))
        other.start()
        assert 0 == service.wait_requests(2)[1].connection
        cancellation.cancel()
        go_on.set()
        other.join(HANG)

    assert [200] == answers


def test_a_session_of_the_callers_is_cancelled_as_fast(transport_to: Connect) -> None:
    with FakeRuns(replies(b"{}"), silent) as service, requests.Session() as session:
        session.get(service.url)  # so that there are pools already
        reading = Reading(transport_to(service.url, session=session))
        service.wait_requests(2)

        reading.check_cancel()


@pytest.mark.parametrize(("scheme", "method"), [("http", "GET"), ("https", "CONNECT")])
def test_a_request_or_tunnel_through_a_proxy_is_cancelled_as_fast(
    scheme: str, method: str, transport_to: Connect
) -> None:
    with FakeRuns(silent) as proxy, requests.Session() as session:
        session.proxies[scheme] = f"http://127.0.0.1:{proxy.port}"
        session.trust_env = False
        reading = Reading(transport_to(f"{scheme}://runs.example/v1", session=session))
        assert method == proxy.wait_requests(1)[0].method

        reading.check_cancel()


@pytest.mark.parametrize("trial", range(50))
def test_cancelling_at_any_moment_ends_it(trial: int, transport_to: Connect) -> None:
    acts = (sends(HALF, then=hangs), silent, sends(HALF, framing="close", then=hangs))
    with FakeRuns(acts[trial % 3]) as service:
        reading = Reading(transport_to(service.url), RetryPolicy())
        reading.received.wait(trial * 0.0001)

        reading.check_cancel()


def test_a_wait_of_any_length_ends_when_cancelled() -> None:
    cancellation = Cancellation()
    waiting = threading.Timer(0, cancellation.cancel)
    waiting.start()

    assert cancellation.wait(1e300)
    assert cancellation.cancelled
    waiting.join()


def test_a_socket_that_is_registered_after_cancelling_is_shut_down() -> None:
    cancellation = Cancellation()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        cancellation.cancel()
        with pytest.raises(Cancelled):
            cancellation.note(ours, ours.makefile("rb", buffering=0))
        assert b"" == theirs.recv(1)
        cancellation.release()


def test_a_registered_socket_stays_open_until_it_is_released() -> None:
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
        """Like eventlet's: it has the methods of a socket, but isn't a `socket.socket`."""

        def __init__(self) -> None:
            self.calls: list[int] = []
            self.shutdown = self.calls.append

        def close(self) -> None: ...

    green: Any = Green()
    cancellation = Cancellation()
    cancellation.note(green, green)
    cancellation.cancel()
    assert [socket.SHUT_RDWR] == green.calls
