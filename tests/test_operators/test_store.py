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
from rxruns.cursors import MemoryCursors, SqliteCursors
from rxruns.errors import InvalidArgumentError, StoreError
from rxruns.events import RunEvent
from rxruns.testing import subscription_times
from tests.conftest import HANG
from tests.making import OTHER_RUN, RUN, delta, node_started, run_started

EVENTS = [run_started(1), node_started(seq=2), delta(seq=3)]


def emit_all(observer: Any, scheduler: Any = None) -> Any:
    """Emit before `subscribe` returns, when there is nothing to dispose yet."""
    for event in EVENTS:
        observer.on_next(event)


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


def test_an_event_whose_subscriber_raised_is_delivered_again() -> None:
    store, source = MemoryCursors(), Subject[RunEvent]()

    def handle(event: RunEvent) -> None:
        if event.seq == 2:
            raise RuntimeError("no disk")

    source.pipe(ops.checkpoint(store)).subscribe(handle)
    source.on_next(EVENTS[0])
    with pytest.raises(RuntimeError, match="no disk"):
        source.on_next(EVENTS[1])
    assert 1 == store.get(RUN)


def test_the_last_event_of_take_counts_as_handled() -> None:
    store, seen = MemoryCursors(), []
    reactivex.from_(EVENTS).pipe(ops.checkpoint(store), ops.take(2)).subscribe(seen.append)
    assert (EVENTS[:2], 2) == (seen, store.get(RUN))


def test_an_event_is_delivered_again_if_another_thread_disposed_meanwhile() -> None:
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


def test_a_source_that_emits_before_subscribe_returns_is_checkpointed_too() -> None:
    store, seen = MemoryCursors(), []
    early: Observable[RunEvent] = Observable(emit_all)
    early.pipe(ops.checkpoint(store)).subscribe(seen.append)
    assert (EVENTS, 3) == (seen, store.get(RUN))


def test_only_below_a_change_of_threads_an_event_counts_after_it_was_handled() -> None:
    above, below, scheduler, handled = MemoryCursors(), MemoryCursors(), TestScheduler(), []
    reactivex.from_(EVENTS).pipe(
        ops.checkpoint(above), ops.observe_on(scheduler), ops.checkpoint(below)
    ).subscribe(lambda event: handled.append(event.seq))
    assert ([], 3, 0) == (handled, above.get(RUN), below.get(RUN))
    scheduler.start()
    assert ([1, 2, 3], 3) == (handled, below.get(RUN))


def test_an_error_of_the_store_ends_the_stream_and_stored_cursors_stay(tmp_path: Path) -> None:
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


def test_events_after_an_error_of_the_store_are_not_handled() -> None:
    class OnceFull(MemoryCursors):
        def set(self, run_id: UUID | str, seq: int) -> None:
            if seq == 2:
                raise StoreError("no space", path="cursors.db")
            super().set(run_id, seq)

    store, seen = OnceFull(), list[Any]()
    early: Observable[RunEvent] = Observable(emit_all)
    early.pipe(ops.checkpoint(store)).subscribe(seen.append, seen.append)
    assert [*EVENTS[:2], "no space"] == [*seen[:2], str(seen[2])]
    assert 1 == store.get(RUN)


def test_dispose_unsubscribes_from_the_source() -> None:
    operator = reactivex.compose(ops.checkpoint(MemoryCursors()), ops.take(2))
    assert [(0, 2)] == subscription_times(operator, [EVENTS[0]] * 3)


def test_a_refused_store_is_not_quoted() -> None:
    with pytest.raises(InvalidArgumentError, match="^store must be a CursorStore.*, got <class 'str'>$"):
        ops.checkpoint("postgresql://user:secret@host/db")  # type: ignore[arg-type]
