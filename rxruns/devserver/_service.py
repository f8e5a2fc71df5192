"""The state that all requests share: runs, keys, faults, and the newest requests."""

from __future__ import annotations

import heapq
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from operator import itemgetter

from rxruns.devserver._request import Request
from rxruns.devserver._runs import Runs
from rxruns.devserver.faults import Fault, Faults

__all__ = ["ADMITTED", "STRANGERS", "Bound", "Service"]


@dataclass(frozen=True)
class Bound:
    """A limit of kept requests: their number, and their bytes as they were sent."""

    count: int
    size: int


ADMITTED = Bound(25_000, 16 * 2**20)
STRANGERS = Bound(1_000, 2**20)
"""For requests that were refused before their bodies were read: strangers must not fill the memory."""


class _Newest:
    """The newest requests within a bound, at least the last one, with their numbers."""

    def __init__(self, bound: Bound) -> None:
        self.requests: deque[tuple[int, Request]] = deque()
        self._bound = bound
        self._sizes: deque[int] = deque()
        self._size = 0

    def add(self, number: int, request: Request, size: int) -> None:
        self.requests.append((number, request))
        self._sizes.append(size)
        self._size += size
        while len(self._sizes) > 1 and (
            self._size > self._bound.size or len(self._sizes) > self._bound.count
        ):
            self.requests.popleft()
            self._size -= self._sizes.popleft()


class Service:
    """The state of one service. `changed` is notified of each request and of streams that open or end."""

    def __init__(self, runs: Runs, faults: Faults | None, keepalive: float, api_key: str | None) -> None:
        self.runs, self.keepalive = runs, keepalive
        self.api_key = api_key or f"mr_sk_{secrets.token_hex(16)}"
        self.access_token = secrets.token_hex(16)
        self.changed = threading.Condition()
        self._admitted, self._strangers = _Newest(ADMITTED), _Newest(STRANGERS)
        self._numbers = count()
        self.streams = 0
        self._faults = Faults()
        self.use(faults)

    def use(self, faults: Faults | None) -> None:
        """Use these faults, with connections counted from 0."""
        with self.changed:
            self._faults = faults or Faults()
            self._stream_count = self._other_count = 0

    @property
    def requests(self) -> list[Request]:
        """The newest requests, in order."""
        with self.changed:
            both = heapq.merge(self._admitted.requests, self._strangers.requests, key=itemgetter(0))
            return [request for _, request in both]

    def keep_refused(self, request: Request, size: int) -> None:
        """Keep a request of `size` bytes that was refused before it was read."""
        with self.changed:
            self._strangers.add(next(self._numbers), request, size)
            self.changed.notify_all()

    def note(self, request: Request, size: int) -> tuple[tuple[Fault, ...], random.Random]:
        """Keep an admitted request, and return its faults with their random numbers."""
        with self.changed:
            self._admitted.add(next(self._numbers), request, size)
            self.changed.notify_all()
            if request.is_stream:
                number, self._stream_count = self._stream_count, self._stream_count + 1
                return self._faults.for_stream(number), self._faults.dice(number)
            number, self._other_count = self._other_count, self._other_count + 1
            return self._faults.for_request(number), self._faults.dice(-1 - number)

    @contextmanager
    def streaming(self) -> Generator[None]:
        """Count an open stream."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def wait_for(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Wait until `ready()` is true after a change; False after `timeout` seconds."""
        with self.changed:
            return self.changed.wait_for(ready, timeout)

    def _count(self, step: int) -> None:
        with self.changed:
            self.streams += step
            self.changed.notify_all()
