"""Dispose of a stream behind TLS: thread and socket are gone at once, in every phase (R1, R2)."""

from __future__ import annotations

import threading
import time
from uuid import UUID

import pytest
import requests

from rxruns import ResumePolicy, RunsClient, run_events
from rxruns.errors import StreamInterruptedError, TransportError
from rxruns.lifecycle import Closed, LifecycleEvent
from tests.observing import PLAN, Seen, reader_threads
from tests.records import line_of
from tests.soak import both_sizes, measured, patience
from tests.wire import KEY, Act, FakeAuthority, FakeRuns, hangs, raw, sends, silent

pytestmark = pytest.mark.usefixtures("no_leaks")

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
MARK = 0.1


def line(seq: int, wire_type: str, **fields: object) -> bytes:
    envelope = {"type": wire_type, "run_id": str(RUN), "seq": seq, "ts": "2026-01-31T12:00:00Z"}
    return line_of(envelope | fields) + b"\n"


LINES = line(1, "run_started", plan_hash=PLAN) + line(2, "node_started", node_id="draft")
END = line(3, "run_canceled", plan_hash=PLAN, error={"message": "enough"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> FakeAuthority:
    return FakeAuthority(tmp_path_factory.mktemp("tls"))


def session_that_trusts(authority: FakeAuthority) -> requests.Session:
    """A session of the user's, with a certificate authority of the user's."""
    session = requests.Session()
    session.verify = authority.bundle
    return session


class Followed:
    """One subscription to the service, and how long it takes to be rid of it."""

    def __init__(self, service: FakeRuns, session: requests.Session | None) -> None:
        self.seen = Seen()
        self.client = RunsClient(api_key=KEY, base_url=service.url, session=session)
        self._service = service
        self._closed = threading.Event()
        before = reader_threads()
        source = run_events(RUN, client=self.client, on_lifecycle=self._tell)
        self._subscription = source.subscribe(self.seen)
        (self._thread,) = (thread for thread in reader_threads() if thread not in before)

    def _tell(self, value: LifecycleEvent) -> None:
        if isinstance(value, Closed):
            self._closed.set()

    def dispose(self) -> float:
        """Seconds until the thread has ended and the service has seen the end of the connection."""
        started = time.monotonic()
        self._subscription.dispose()
        assert self._closed.wait(30)
        self._thread.join(30)
        assert self._service.gone.wait(30)
        taken = time.monotonic() - started
        assert (False, False) == (self._thread.is_alive(), self.seen.ended)
        self.client.close()
        return taken


BODIES: dict[str, Act] = {
    "chunked": sends(LINES, then=hangs),
    "close-delimited": sends(LINES, framing="close", then=hangs),
    "of a known length": sends(LINES, framing="length", missing=100, then=hangs),
}


@both_sizes
@pytest.mark.parametrize("body", BODIES)
def test_R01_dispose_of_an_idle_stream_behind_tls_frees_thread_and_socket(
    authority: FakeAuthority, body: str, soaking: bool
) -> None:
    with session_that_trusts(authority) as session:
        for _ in range(170 if soaking else 10):
            with FakeRuns(BODIES[body], tls=authority) as service:
                followed = Followed(service, session)
                followed.seen.wait_count(2)
                taken = measured("R1", f"dispose of an idle stream, TLS, {body}", followed.dispose(), MARK)
                assert taken < MARK * patience(soaking)


PHASES: dict[str, Act] = {
    "waiting for headers": silent,
    "inside the headers": raw(b"HTTP/1.1 200 OK\r\nContent-", then=hangs),
    "mid-line": sends(LINES[:-20], then=hangs),
    "inside a chunk": raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n100\r\n{",
        then=hangs,
    ),
}


@both_sizes
@pytest.mark.parametrize("phase", PHASES)
def test_R02_dispose_in_a_phase_behind_tls_frees_thread_and_socket(
    authority: FakeAuthority, phase: str, soaking: bool
) -> None:
    with session_that_trusts(authority) as session:
        for _ in range(100 if soaking else 3):
            with FakeRuns(PHASES[phase], tls=authority) as service:
                followed = Followed(service, session)
                service.wait_requests(1)
                taken = measured("R2", f"dispose {phase}, TLS", followed.dispose(), MARK)
                assert taken < MARK * patience(soaking)


class SpeaksNoTLS(FakeRuns):
    """It waits for the end of a header that never comes."""

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")


@both_sizes
def test_R02_dispose_during_the_tls_handshake_frees_thread_and_socket(
    authority: FakeAuthority, soaking: bool
) -> None:
    with session_that_trusts(authority) as session:
        for _ in range(100 if soaking else 3):
            with SpeaksNoTLS() as service:
                followed = Followed(service, session)
                service.wait_connections(1)
                taken = measured("R2", "dispose during the TLS handshake", followed.dispose(), MARK)
                assert taken < MARK * patience(soaking)


def test_the_bundle_of_the_environment_is_trusted(
    authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    with FakeRuns(sends(LINES + END), tls=authority) as service:
        seen = Seen()
        with RunsClient(api_key=KEY, base_url=service.url) as client:
            run_events(RUN, client=client).subscribe(seen)
            seen.wait_end()
    assert ([1, 2, 3], True) == (seen.seqs, seen.completed)


def test_a_certificate_that_nobody_vouches_for_is_an_error_and_the_key_is_not_sent(
    authority: FakeAuthority,
) -> None:
    with FakeRuns(sends(LINES), tls=authority) as service:
        seen = Seen()
        once = ResumePolicy(max_reconnects=1, base_backoff=0.001)
        with RunsClient(api_key=KEY, base_url=service.url) as client:
            run_events(RUN, client=client, resume=once).subscribe(seen)
            seen.wait_end()
        assert isinstance(seen.error, StreamInterruptedError)
        assert isinstance(seen.error.__cause__, TransportError)
        assert "CERTIFICATE_VERIFY_FAILED" in str(seen.error)
        assert [] == service.requests
