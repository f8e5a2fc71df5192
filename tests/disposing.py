"""Follow a run of one service over any connection, and measure the time until it is disposed."""

from __future__ import annotations

import threading
import time
from uuid import UUID

import requests

from rxruns import RunsClient, run_events
from rxruns.lifecycle import Closed, LifecycleEvent
from tests.observing import PLAN, Seen, reader_threads
from tests.records import line_of
from tests.wire import KEY, Act, FakeAuthority, FakeRuns, hangs, raw, sends, silent

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
MARK = 0.1


def line(seq: int, wire_type: str, **fields: object) -> bytes:
    envelope = {"type": wire_type, "run_id": str(RUN), "seq": seq, "ts": "2026-01-31T12:00:00Z"}
    return line_of(envelope | fields) + b"\n"


LINES = line(1, "run_started", plan_hash=PLAN) + line(2, "node_started", node_id="draft")
END = line(3, "run_canceled", plan_hash=PLAN, error={"message": "enough"})


def session_that_trusts(authority: FakeAuthority) -> requests.Session:
    """A user's session with the user's certificate authority."""
    session = requests.Session()
    session.verify = authority.bundle
    return session


class Followed:
    """One subscription to the service, and the time until it is disposed."""

    def __init__(self, service: FakeRuns, session: requests.Session | None) -> None:
        self.seen = Seen()
        self.client = RunsClient(api_key=KEY, base_url=service.url, session=session)
        self._service = service
        self._closed = threading.Event()
        before = reader_threads()
        source = run_events(RUN, client=self.client, on_lifecycle=self._note)
        self._subscription = source.subscribe(self.seen)
        (self._thread,) = (thread for thread in reader_threads() if thread not in before)

    def _note(self, value: LifecycleEvent) -> None:
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


class SpeaksNoTLS(FakeRuns):
    """Waits for the end of a header that never arrives."""

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")
