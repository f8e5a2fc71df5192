"""An observer that keeps its notifications and lets a test wait for them, and helpers for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rxruns.events import RunEvent
from tests.conftest import HANG


class Seen:
    """The notifications of an observer. ``on_event`` runs inside ``on_next``, before the event is kept."""

    def __init__(self, on_event: Callable[[RunEvent], object] = lambda event: None) -> None:
        self.events: list[RunEvent] = []
        self.error: Exception | None = None
        self.completed = False
        self.thread: threading.Thread | None = None
        self._on_event = on_event
        self._changed = threading.Condition()

    def on_next(self, event: RunEvent) -> None:
        self.thread = threading.current_thread()
        try:
            self._on_event(event)
        finally:
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    def on_error(self, error: Exception) -> None:
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def on_completed(self) -> None:
        with self._changed:
            self.completed = True
            self._changed.notify_all()

    @property
    def seqs(self) -> list[int]:
        return [event.seq for event in self.events]

    @property
    def ended(self) -> bool:
        return self.completed or self.error is not None

    def wait_until(self, holds: Callable[[Seen], bool], timeout: float = HANG) -> Seen:
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self), timeout), (
                f"after {self.seqs[-3:]}, {self.error!r}"
            )
        return self

    def wait_count(self, count: int) -> Seen:
        return self.wait_until(lambda seen: len(seen.events) >= count)

    def wait_end(self, timeout: float = HANG) -> Seen:
        return self.wait_until(lambda seen: seen.ended, timeout)


def reader_threads() -> list[threading.Thread]:
    """The readers' threads that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == "rxruns-reader"]


@contextmanager
def uncaught() -> Iterator[list[threading.ExceptHookArgs]]:
    """Collect the exceptions that end threads inside the block."""
    caught: list[threading.ExceptHookArgs] = []
    before = threading.excepthook
    threading.excepthook = caught.append
    try:
        yield caught
    finally:
        threading.excepthook = before


PLAN = "0" * 64


def run_of(deltas: int, *, ends: str = "run_completed") -> list[dict[str, Any]]:
    """The events of a run of ``deltas + 4`` events, for ``DevServer.add_run``: envelopes are the server's."""
    artifact = {"artifact_key": "out", "info": {"bytes": 2, "sha256": PLAN, "included": False}}
    last: dict[str, Any] = {"type": ends, "plan_hash": PLAN}
    last |= {"outputs": artifact} if ends == "run_completed" else {"error": {"message": "no luck"}}
    return [
        {"type": "run_started", "plan_hash": PLAN},
        {"type": "node_started", "node_id": "draft"},
        *(
            {
                "type": "node_output_delta",
                "node_id": "draft",
                "delta": {"kind": "message_delta", "text_delta": f"piece {number} "},
            }
            for number in range(deltas)
        ),
        {"type": "node_succeeded", "node_id": "draft"},
        last,
    ]
