from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import reactivex
from reactivex import Observable, Subject
from reactivex.testing import TestScheduler

from rxruns import operators as ops
from rxruns.cursors import CursorStore, MemoryCursors, SqliteCursors
from rxruns.errors import StoreError
from rxruns.events import RunEvent
from rxruns.testing import subscription_times
from tests.conftest import HANG
from tests.making import OTHER_RUN, RUN, delta, node_started, run_started

EVENTS = [run_started(1), node_started(seq=2), delta(seq=3)]


def test_the_cursor_moves_after_the_event_was_handled() -> None:
    store, seen = MemoryCursors(), []
    reactivex.from_(EVENTS).pipe(ops.checkpoint(store)).subscribe(
        lambda event: seen.append((event.seq, store.get(RUN)))
    )
    assert [(1, 0), (2, 1), (3, 2)] == seen
    assert 3 == store.get(RUN)


def test_each_run_has_its_own_cursor() -> None:
    store = MemoryCursors()
    events = [*EVENTS, node_started(seq=7, run_id=OTHER_RUN)]
    reactivex.from_(events).pipe(ops.checkpoint(store)).subscribe()
    assert (3, 7) == (store.get(RUN), store.get(OTHER_RUN))


def test_an_event_whose_subscriber_raised_comes_again() -> None:
    store, source = MemoryCursors(), Subject[RunEvent]()

    def handle(event: RunEvent) -> None:
        if event.seq == 2:
            raise RuntimeError("no disk")

    source.pipe(ops.checkpoint(store)).subscribe(handle)
    source.on_next(EVENTS[0])
    with pytest.raises(RuntimeError, match="no disk"):
        source.on_next(EVENTS[1])
    assert 1 == store.get(RUN)


def test_an_event_that_was_the_last_one_wanted_was_handled() -> None:
    store, seen = MemoryCursors(), []
    reactivex.from_(EVENTS).pipe(ops.checkpoint(store), ops.take(2)).subscribe(seen.append)
    assert (EVENTS[:2], 2) == (seen, store.get(RUN))


def test_an_event_comes_again_when_another_thread_disposed_meanwhile() -> None:
    store, source = MemoryCursors(), Subject[RunEvent]()

    def dispose_elsewhere(event: RunEvent) -> None:
        if event.seq == 2:
            thread = threading.Thread(target=lambda: subscription.dispose())
            thread.start()
            thread.join(HANG)

    subscription = source.pipe(ops.checkpoint(store)).subscribe(dispose_elsewhere)
    for event in EVENTS:
        source.on_next(event)
    assert 1 == store.get(RUN)


def test_a_source_that_emits_before_subscribe_returned_is_followed_too() -> None:
    store, seen = MemoryCursors(), []

    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        for event in EVENTS:
            observer.on_next(event)

    early: Observable[RunEvent] = Observable(subscribe)
    early.pipe(ops.checkpoint(store)).subscribe(seen.append)
    assert (EVENTS, 3) == (seen, store.get(RUN))


def queued_and_handled(above: CursorStore, below: CursorStore) -> tuple[TestScheduler, list[int]]:
    """A pipe with a thread hop between two checkpoints. The other side of the hop runs in virtual time."""
    scheduler, handled = TestScheduler(), []
    reactivex.from_(EVENTS).pipe(
        ops.checkpoint(above), ops.observe_on(scheduler), ops.checkpoint(below)
    ).subscribe(lambda event: handled.append(event.seq))
    return scheduler, handled


def test_above_a_thread_hop_events_count_as_handled_that_nobody_saw() -> None:
    above, below = MemoryCursors(), MemoryCursors()
    _, handled = queued_and_handled(above, below)
    assert ([], 3, 0) == (handled, above.get(RUN), below.get(RUN))


def test_below_a_thread_hop_events_count_when_they_were_handled() -> None:
    above, below = MemoryCursors(), MemoryCursors()
    scheduler, handled = queued_and_handled(above, below)
    scheduler.start()
    assert ([1, 2, 3], 3) == (handled, below.get(RUN))


def test_an_error_of_the_store_ends_the_stream() -> None:
    class Full(MemoryCursors):
        def set(self, run_id: object, seq: int) -> None:
            raise OSError("no space")

    seen: list[Any] = []
    reactivex.from_(EVENTS).pipe(ops.checkpoint(Full())).subscribe(seen.append, seen.append)
    assert [EVENTS[0], "no space"] == [seen[0], str(seen[1])]
    assert 2 == len(seen)


def test_a_store_that_breaks_ends_the_stream_with_its_error_and_keeps_what_it_stored(tmp_path: Path) -> None:
    path, seen = tmp_path / "cursors.db", list[Any]()

    def lock(event: RunEvent) -> None:
        seen.append(event.seq)
        if event.seq == 2:
            locking.execute("BEGIN EXCLUSIVE")

    with SqliteCursors(path, busy_timeout=0.02) as store:
        locking = sqlite3.connect(path, isolation_level=None)
        reactivex.from_(EVENTS).pipe(ops.checkpoint(store)).subscribe(lock, seen.append)
        locking.close()
        assert [1, 2] == seen[:2]
        assert (StoreError, str(path)) == (type(seen[2]), seen[2].path)
        assert (3, 1) == (len(seen), store.get(RUN))


def test_what_comes_after_an_error_of_the_store_was_not_handled() -> None:
    class OnceFull(MemoryCursors):
        def set(self, run_id: UUID | str, seq: int) -> None:
            if seq == 2:
                raise StoreError("no space", path="cursors.db")
            super().set(run_id, seq)

    def emit_all(observer: Any, scheduler: Any = None) -> Any:
        for event in EVENTS:  # before there is anything to dispose of
            observer.on_next(event)

    store, seen = OnceFull(), list[Any]()
    early: Observable[RunEvent] = Observable(emit_all)
    early.pipe(ops.checkpoint(store)).subscribe(seen.append, seen.append)
    assert [*EVENTS[:2], "no space"] == [*seen[:2], str(seen[2])]
    assert 1 == store.get(RUN)


def test_disposing_leaves_the_source() -> None:
    assert [(0, 2)] == subscription_times(
        reactivex.compose(ops.checkpoint(MemoryCursors()), ops.take(2)), [EVENTS[0], EVENTS[0], EVENTS[0]]
    )
