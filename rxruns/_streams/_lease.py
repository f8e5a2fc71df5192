"""The client of an Observable, closed with its last subscription."""

from __future__ import annotations

import threading

from rxruns._arguments import check_kind
from rxruns.client import RunsClient

__all__ = ["ClientLease"]


class ClientLease:
    """The client that was passed, or one from the environment while it is in use."""

    def __init__(self, client: RunsClient | None) -> None:
        if client is not None:
            check_kind("client", client, RunsClient, "a RunsClient, or None for the environment's")
        self._given = client
        self._own: RunsClient | None = None
        self._users = 0
        self._lock = threading.Lock()

    def acquire(self) -> RunsClient:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = RunsClient.from_env()
            self._users += 1
            return self._own

    def release(self) -> None:
        if self._given is not None:
            return
        with self._lock:
            self._users -= 1
            unused = self._own if self._users == 0 else None
            if unused is not None:
                self._own = None
        if unused is not None:
            unused.close()
