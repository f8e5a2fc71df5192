from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import Any

import pytest
import reactivex
from reactivex import Observable, Subject, abc
from reactivex.scheduler import CurrentThreadScheduler, EventLoopScheduler
from reactivex.testing import ReactiveTest, TestScheduler

from rxruns import block_on
from rxruns import operators as ops
from rxruns.errors import InvalidArgumentError, StreamBackpressureError
from tests.conftest import HANG, eventually
from tests.making import RUN, delta
from tests.observing import Seen, uncaught
from tests.test_operators.marbles import FAULT

pytestmark = pytest.mark.usefixtures("no_leaks")


class Slow(Seen):
    """An observer that holds each value until `go` is called."""

    def __init__(self) -> None:
        super().__init__(self._hold)
        self.held: SimpleQueue[Any] = SimpleQueue()
        self._go = threading.Semaphore(0)

    def _hold(self, value: Any) -> None:
        self.held.put(value)
        assert self._go.acquire(timeout=HANG)

    def go(self, times: int = 1) -> None:
        self._go.release(times)

    def end(self, times: int) -> tuple[list[Any], Exception | None]:
        """Let values go, wait for the end, and return the values and the error."""
        self.go(times)
        self.wait_end()
        return self.events, self.error


def behind(slow: Slow, overflow: Any, *values: Any, capacity: int = 2, **options: Any) -> Subject[Any]:
    """A source whose slow observer holds 0 while the other values wait."""
    source: Subject[Any] = Subject()
    source.pipe(ops.handoff(capacity, overflow, **options)).subscribe(slow)
    source.on_next(0)
    slow.held.get(timeout=HANG)
    for value in values:
        source.on_next(value)
    return source


class TestOrder:
    def test_everything_arrives_in_order_on_another_thread(self) -> None:
        threads: set[int] = set()
        note_thread = ops.tap(lambda _: threads.add(threading.get_ident()))
        assert list(range(2_000)) == block_on(
            reactivex.range(2_000).pipe(ops.handoff(3), note_thread, ops.to_list())
        )
        assert 1 == len(threads - {threading.get_ident()}) == len(threads)

    @pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest", "error"])
    def test_the_end_follows_the_values_before_it_although_the_queue_is_full(self, overflow: Any) -> None:
        slow = Slow()
        behind(slow, overflow, 1, 2).on_completed()
        assert ([0, 1, 2], None) == slow.end(3)
        slow = Slow()
        behind(slow, overflow, 1, 2).on_error(FAULT)
        assert ([0, 1, 2], FAULT) == slow.end(3)

    def test_each_subscription_has_its_own_thread(self) -> None:
        together = threading.Barrier(2, timeout=HANG)
        handed = reactivex.of(1).pipe(ops.handoff(2), ops.map(lambda _: together.wait()))
        assert {0, 1} == block_on(reactivex.merge(handed, handed).pipe(ops.to_set()))

    def test_threads_are_daemons_and_end_with_the_subscription(self) -> None:
        source: Subject[int] = Subject()
        subscription = source.pipe(ops.handoff(2)).subscribe()
        (own,) = (thread for thread in threading.enumerate() if thread.name == "rxruns-handoff")
        assert own.daemon
        subscription.dispose()
        own.join(HANG)
        assert not own.is_alive()


class TestBlock:
    def test_a_full_handoff_blocks_the_source(self) -> None:
        slow, source, sent = Slow(), Subject[int](), SimpleQueue[int]()
        source.pipe(ops.handoff(2)).subscribe(slow)

        def emit() -> None:
            for value in range(5):
                source.on_next(value)
                sent.put(value)
            source.on_completed()

        emitting = threading.Thread(target=emit)
        emitting.start()
        assert [0, 1, 2] == [sent.get(timeout=HANG) for _ in range(3)]
        assert slow.held.get(timeout=HANG) == 0
        assert sent.empty()
        slow.go()
        assert 3 == sent.get(timeout=HANG)
        assert ([0, 1, 2, 3, 4], None) == slow.end(4)
        emitting.join(HANG)

    def test_dispose_unblocks_the_source(self) -> None:
        slow, source = Slow(), Subject[int]()
        subscription = source.pipe(ops.handoff(1)).subscribe(slow)
        emitting = threading.Thread(target=lambda: [source.on_next(value) for value in range(9)])
        emitting.start()
        slow.held.get(timeout=HANG)
        subscription.dispose()
        emitting.join(HANG)
        assert not emitting.is_alive()
        slow.go()
        assert [0] == slow.wait_count(1).events

    def test_dispose_inside_on_next_ends_the_stream_there(self) -> None:
        assert [0, 1] == block_on(reactivex.range(1_000).pipe(ops.handoff(2), ops.take(2), ops.to_list()))

    def test_the_subscribers_own_exception_unblocks_the_source(self) -> None:
        def refuse(_: int) -> None:
            raise FAULT

        handed = reactivex.range(1_000).pipe(ops.handoff(1))
        with uncaught() as died:
            emitting = threading.Thread(target=lambda: handed.subscribe(refuse), daemon=True)
            emitting.start()
            emitting.join(HANG)
            assert eventually(lambda: bool(died))
        assert not emitting.is_alive()
        assert [FAULT] == [one.exc_value for one in died]

    def test_a_failing_subscription_to_the_source_is_an_error(self) -> None:
        def subscribe(observer: object, scheduler: object = None) -> abc.DisposableBase:
            raise FAULT

        with pytest.raises(RuntimeError, match="dead"):
            block_on(Observable(subscribe).pipe(ops.handoff(1)))


class TestDrops:
    @pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [0, 3, 4]), ("drop_newest", [0, 1, 2])])
    def test_the_oldest_or_the_newest_values_are_dropped_and_counted(
        self, overflow: str, kept: list[int], caplog: pytest.LogCaptureFixture
    ) -> None:
        slow, dropped = Slow(), list[int]()
        source = behind(slow, overflow, 1, 2, 3, 4, on_dropped=dropped.append)
        with caplog.at_level(logging.WARNING, "rxruns"):
            source.on_error(FAULT)
        assert (kept, FAULT) == slow.end(3)
        assert [1, 2] == dropped
        assert ["handoff dropped 2 values: the subscriber was too slow"] == caplog.messages

    def test_dropped_and_emitted_values_are_all_values(self) -> None:
        dropped, seen = [0], Seen()
        handed = reactivex.range(20_000).pipe(ops.handoff(5, "drop_oldest", on_dropped=dropped.append))
        handed.subscribe(seen)
        values: list[Any] = seen.wait_end().events
        assert 20_000 == dropped[-1] + len(values)
        assert sorted(set(values)) == values
        assert 19_999 == values[-1]

    def test_an_exception_of_on_dropped_is_an_error(self) -> None:
        def refuse(total: int) -> None:
            raise FAULT

        slow = Slow()
        behind(slow, "drop_newest", 1, 2, 3, 4, on_dropped=refuse)
        assert ([0, 1, 2], FAULT) == slow.end(3)


class TestError:
    def test_it_follows_the_queued_values_and_names_the_cursor(self) -> None:
        slow, source = Slow(), Subject[Any]()
        source.pipe(ops.handoff(1, "error")).subscribe(slow)
        source.on_next(delta(seq=1))
        slow.held.get(timeout=HANG)
        for seq in (2, 3, 4):
            source.on_next(delta(seq=seq))
        assert not source.observers
        _, error = slow.end(2)
        assert [1, 2] == slow.seqs
        assert isinstance(error, StreamBackpressureError)
        assert (1, RUN, 2) == (error.dropped, error.run_id, error.last_seq)

    def test_for_values_that_are_not_events_there_is_no_cursor(self) -> None:
        slow, dropped = Slow(), list[int]()
        behind(slow, "error", 1, 2, capacity=1, on_dropped=dropped.append)
        _, error = slow.end(2)
        assert isinstance(error, StreamBackpressureError)
        assert ([1], None, 0) == (dropped, error.run_id, error.last_seq)


class TestScheduled:
    @pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [4, 5]), ("drop_newest", [1, 2])])
    def test_values_wait_for_the_schedulers_turn(self, overflow: Any, kept: list[int]) -> None:
        scheduler = TestScheduler()
        emitted = [ReactiveTest.on_next(210, number) for number in range(1, 6)]
        emitted += [ReactiveTest.on_next(220, 6), ReactiveTest.on_completed(300)]
        source = scheduler.create_hot_observable(*emitted)
        seen = scheduler.start(lambda: source.pipe(ops.handoff(2, overflow, scheduler)))
        expected = [ReactiveTest.on_next(210, value) for value in kept]
        assert [*expected, ReactiveTest.on_next(220, 6), ReactiveTest.on_completed(300)] == seen.messages
        assert [(200, 300)] == [(one.subscribe, one.unsubscribe) for one in source.subscriptions]

    def test_long_queues_take_turns(self) -> None:
        scheduler, order = TestScheduler(), list[Any]()
        source: Subject[int] = Subject()
        source.pipe(ops.handoff(200, scheduler=scheduler)).subscribe(order.append)
        for number in range(100):
            source.on_next(number)
        scheduler.schedule(lambda *_: order.append("others"))  # type: ignore[arg-type]
        scheduler.start()
        source.on_completed()
        scheduler.start()
        assert [*range(64), "others", *range(64, 100)] == order

    def test_a_late_turn_after_dispose_emits_nothing(self) -> None:
        scheduler, got = TestScheduler(), list[int]()
        source: Subject[int] = Subject()
        subscription = source.pipe(ops.handoff(2, scheduler=scheduler)).subscribe(got.append)
        source.on_next(1)
        subscription.dispose()
        scheduler.start()
        assert [] == got

    def test_it_emits_on_the_schedulers_thread(self) -> None:
        scheduler = EventLoopScheduler()
        names: set[str] = set()
        note_thread = ops.tap(lambda _: names.add(threading.current_thread().name))
        handed = reactivex.range(500).pipe(ops.handoff(4, scheduler=scheduler), note_thread)
        try:
            assert 499 == block_on(handed)
        finally:
            scheduler.dispose()
        assert 1 == len(names - {threading.current_thread().name})

    def test_a_scheduler_on_the_same_thread_needs_no_room(self) -> None:
        handed = reactivex.range(9).pipe(ops.handoff(100, scheduler=CurrentThreadScheduler()), ops.to_list())
        assert list(range(9)) == handed.run()


@pytest.mark.parametrize(
    ("capacity", "overflow", "field"),
    [
        (0, "block", "capacity"),
        (True, "block", "capacity"),
        (1.5, "block", "capacity"),
        (1, "wait", "overflow"),
    ],
)
def test_invalid_arguments_are_refused_by_name(capacity: Any, overflow: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} ") as refused:
        ops.handoff(capacity, overflow)
    assert field == refused.value.field
