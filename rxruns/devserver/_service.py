"""What the requests share: runs, keys, faults, and the newest requests."""

from __future__ import annotations

import random
import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rxruns.devserver._request import Request
from rxruns.devserver._runs import Runs
from rxruns.devserver._wire import Watch, Wire
from rxruns.devserver.faults import Fault, Faults

__all__ = ["KEPT_BYTES", "KEPT_REQUESTS", "Service"]

KEPT_REQUESTS = 10_000
KEPT_BYTES = 16 * 2**20
"""Bytes of the requests that are kept, as they were sent."""


class Service:
    """The state of one service. `changed` is notified of each request and of streams that open or end."""

    def __init__(self, runs: Runs, faults: Faults | None, keepalive: float, api_key: str | None) -> None:
        self.runs, self.keepalive = runs, keepalive
        self.api_key = api_key or f"mr_sk_{secrets.token_hex(16)}"
        self.access_token = secrets.token_hex(16)
        self.watch = Watch()
        self.changed = threading.Condition()
        self.requests: deque[Request] = deque()
        self._sizes: deque[int] = deque()
        self._held = 0
        self.streams = 0
        self._faults = Faults()
        self.use(faults)

    def use(self, faults: Faults | None) -> None:
        """From now on these faults, counted from the start."""
        with self.changed:
            self._faults = faults or Faults()
            self._streams_asked = self._others_asked = 0

    def keep(self, request: Request, size: int) -> None:
        """Keep a request of `size` bytes. The oldest are forgotten where they are too many or too large."""
        with self.changed:
            self.requests.append(request)
            self._sizes.append(size)
            self._held += size
            while len(self.requests) > 1 and (self._held > KEPT_BYTES or len(self.requests) > KEPT_REQUESTS):
                self.requests.popleft()
                self._held -= self._sizes.popleft()
            self.changed.notify_all()

    def note(self, request: Request, size: int) -> tuple[tuple[Fault, ...], random.Random]:
        """Keep an admitted request, and draw what goes wrong with it."""
        with self.changed:
            self.keep(request, size)
            if request.is_stream:
                number, self._streams_asked = self._streams_asked, self._streams_asked + 1
                return self._faults.for_stream(number), self._faults.dice(number)
            number, self._others_asked = self._others_asked, self._others_asked + 1
            return self._faults.for_request(number), self._faults.dice(-1 - number)

    @contextmanager
    def streaming(self) -> Generator[None]:
        """Count an open stream."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def watched(self, wire: Wire) -> Generator[None]:
        """Notice when the client hangs up while a fault makes it wait."""
        self.watch.add(wire.connection, wire.leave)
        try:
            yield
        finally:
            self.watch.remove(wire.connection)

    def wait_for(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Wait for a change that makes it true; False after that many seconds."""
        with self.changed:
            return self.changed.wait_for(ready, timeout)

    def _count(self, step: int) -> None:
        with self.changed:
            self.streams += step
            self.changed.notify_all()
