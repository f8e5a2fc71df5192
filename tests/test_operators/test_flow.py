from __future__ import annotations

import logging
import threading
from collections.abc import Callable
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
from tests.observing import uncaught

pytestmark = pytest.mark.usefixtures("no_leaks")
FAULT = RuntimeError("the line is dead")


class Slow:
    """An observer that looks at each value until it is told to go on."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        self.looking: SimpleQueue[Any] = SimpleQueue()
        self._go = threading.Semaphore(0)

    def on_next(self, value: Any) -> None:
        self.got.append(value)
        self.looking.put(value)
        assert self._go.acquire(timeout=HANG)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.ended.set()

    def on_completed(self) -> None:
        self.ended.set()

    def go(self, times: int = 1) -> None:
        self._go.release(times)


def behind(slow: Slow, overflow: Any, *values: Any, capacity: int = 2, **options: Any) -> Subject[Any]:
    """A source of which the slow observer looks at 0 while the others have to wait."""
    source: Subject[Any] = Subject()
    source.pipe(ops.handoff(capacity, overflow, **options)).subscribe(slow)
    source.on_next(0)
    slow.looking.get(timeout=HANG)
    for value in values:
        source.on_next(value)
    return source


class TestOrder:
    def test_everything_arrives_in_order_on_another_thread(self) -> None:
        threads: set[int] = set()
        source = reactivex.range(2_000).pipe(
            ops.handoff(3), ops.tap(lambda _: threads.add(threading.get_ident())), ops.to_list()
        )
        assert list(range(2_000)) == block_on(source)
        assert 1 == len(threads - {threading.get_ident()}) == len(threads)

    def test_an_error_comes_after_the_values_before_it(self) -> None:
        slow = Slow()
        source = behind(slow, "block", 1, 2)
        source.on_error(FAULT)
        slow.go(3)
        assert slow.ended.wait(HANG)
        assert ([0, 1, 2], FAULT) == (slow.got, slow.error)

    @pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest", "error"])
    def test_the_end_is_not_lost_where_there_is_no_room(self, overflow: Any) -> None:
        slow = Slow()
        source = behind(slow, overflow, 1, 2)
        source.on_completed()
        slow.go(3)
        assert slow.ended.wait(HANG)
        assert ([0, 1, 2], None) == (slow.got, slow.error)

    def test_each_subscription_has_its_own_thread(self) -> None:
        handed = reactivex.range(50).pipe(
            ops.handoff(2), ops.map(lambda _: threading.get_ident()), ops.last()
        )
        assert block_on(handed) is not None
        merged = reactivex.merge(handed, handed).pipe(ops.to_set())
        assert block_on(merged)

    def test_threads_are_daemons_and_end_with_the_subscription(self) -> None:
        source: Subject[int] = Subject()
        subscription = source.pipe(ops.handoff(2)).subscribe()
        own = [thread for thread in threading.enumerate() if thread.name == "rxruns-handoff"]
        assert [True] == [thread.daemon for thread in own]
        subscription.dispose()
        own[0].join(HANG)
        assert not own[0].is_alive()


class TestBlock:
    def test_a_full_handoff_holds_the_source_up(self) -> None:
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
        assert slow.looking.get(timeout=HANG) == 0
        assert sent.empty()
        slow.go()
        assert 3 == sent.get(timeout=HANG)
        slow.go(4)
        assert slow.ended.wait(HANG)
        emitting.join(HANG)
        assert [0, 1, 2, 3, 4] == slow.got

    def test_dispose_frees_a_blocked_source(self) -> None:
        slow, source = Slow(), Subject[int]()
        subscription = source.pipe(ops.handoff(1)).subscribe(slow)
        emitting = threading.Thread(target=lambda: [source.on_next(value) for value in range(9)])
        emitting.start()
        slow.looking.get(timeout=HANG)
        subscription.dispose()
        emitting.join(HANG)
        assert not emitting.is_alive()
        slow.go()
        assert [0] == slow.got

    def test_dispose_inside_on_next_ends_it_there(self) -> None:
        assert [0, 1] == block_on(reactivex.range(1_000).pipe(ops.handoff(2), ops.take(2), ops.to_list()))

    def test_the_subscribers_own_exception_frees_the_source(self) -> None:
        def refuse(_: int) -> None:
            raise FAULT

        with uncaught() as died:
            done = threading.Thread(
                target=lambda: reactivex.range(1_000).pipe(ops.handoff(1)).subscribe(refuse), daemon=True
            )
            done.start()
            done.join(HANG)
            assert eventually(lambda: bool(died))
        assert not done.is_alive()
        assert [FAULT] == [one.exc_value for one in died]

    def test_a_source_that_can_not_be_subscribed_to_is_an_error(self) -> None:
        def subscribe(observer: object, scheduler: object = None) -> abc.DisposableBase:
            raise FAULT

        with pytest.raises(RuntimeError, match="dead"):
            block_on(Observable(subscribe).pipe(ops.handoff(1)))


class TestDrops:
    def test_the_oldest_makes_room(self, caplog: pytest.LogCaptureFixture) -> None:
        slow, dropped = Slow(), list[int]()
        source = behind(slow, "drop_oldest", 1, 2, 3, 4, on_dropped=dropped.append)
        with caplog.at_level(logging.WARNING, "rxruns"):
            source.on_completed()
        slow.go(3)
        assert slow.ended.wait(HANG)
        assert ([0, 3, 4], [1, 2]) == (slow.got, dropped)
        assert ["handoff dropped 2 values: the subscriber was too slow"] == caplog.messages

    def test_the_newest_finds_no_room(self) -> None:
        slow, dropped = Slow(), list[int]()
        source = behind(slow, "drop_newest", 1, 2, 3, 4, on_dropped=dropped.append)
        source.on_error(FAULT)
        slow.go(3)
        assert slow.ended.wait(HANG)
        assert ([0, 1, 2], [1, 2], FAULT) == (slow.got, dropped, slow.error)

    def test_what_was_dropped_and_what_arrived_is_what_was_sent(self) -> None:
        dropped = [0]
        arrived: list[int] = []
        ended = threading.Event()

        def count(total: int) -> None:
            dropped[0] = total

        handed = reactivex.range(20_000).pipe(ops.handoff(5, "drop_oldest", on_dropped=count))
        handed.subscribe(arrived.append, on_completed=ended.set)
        assert ended.wait(HANG)
        assert 20_000 == dropped[0] + len(arrived)
        assert sorted(set(arrived)) == arrived
        assert 19_999 == arrived[-1]

    def test_what_on_dropped_raises_is_an_error(self) -> None:
        def refuse(total: int) -> None:
            raise FAULT

        slow = Slow()
        behind(slow, "drop_newest", 1, 2, 3, 4, on_dropped=refuse)
        slow.go(3)
        assert slow.ended.wait(HANG)
        assert ([0, 1, 2], FAULT) == (slow.got, slow.error)


class TestError:
    def test_it_comes_after_what_had_found_room_and_names_the_cursor(self) -> None:
        slow, source = Slow(), Subject[Any]()
        source.pipe(ops.handoff(1, "error")).subscribe(slow)
        source.on_next(delta(seq=1))
        slow.looking.get(timeout=HANG)
        for seq in (2, 3, 4):
            source.on_next(delta(seq=seq))
        assert not source.observers
        slow.go(2)
        assert slow.ended.wait(HANG)
        assert [1, 2] == [event.seq for event in slow.got]
        assert isinstance(slow.error, StreamBackpressureError)
        assert (1, RUN, 2) == (slow.error.dropped, slow.error.run_id, slow.error.last_seq)

    def test_other_values_name_none(self) -> None:
        slow, told = Slow(), list[int]()
        behind(slow, "error", 1, 2, capacity=1, on_dropped=told.append)
        slow.go(2)
        assert slow.ended.wait(HANG)
        assert isinstance(slow.error, StreamBackpressureError)
        assert ([1], None, 0) == (told, slow.error.run_id, slow.error.last_seq)


def virtual(overflow: Any, *times: int) -> list[tuple[float, Any]]:
    """What comes out, and when, of numbers that come at the given times, with room for two."""
    scheduler = TestScheduler()
    messages = [ReactiveTest.on_next(200 + at, number) for number, at in enumerate(times, 1)]
    source = scheduler.create_hot_observable(*messages, ReactiveTest.on_completed(300))
    seen = scheduler.start(lambda: source.pipe(ops.handoff(2, overflow, scheduler)))
    assert [(200, 300)] == [(one.subscribe, one.unsubscribe) for one in source.subscriptions]
    return [(m.time - 200, m.value.value if m.value.kind == "N" else m.value.kind) for m in seen.messages]


class TestScheduled:
    @pytest.mark.parametrize(
        ("overflow", "kept"),
        [("drop_oldest", [4, 5]), ("drop_newest", [1, 2])],
    )
    def test_values_wait_for_the_schedulers_turn(self, overflow: Any, kept: list[int]) -> None:
        assert [*((10, value) for value in kept), (20, 6), (100, "C")] == virtual(
            overflow, 10, 10, 10, 10, 10, 20
        )

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
        handed = reactivex.range(500).pipe(
            ops.handoff(4, scheduler=scheduler), ops.tap(lambda _: names.add(threading.current_thread().name))
        )
        try:
            assert 499 == block_on(handed)
        finally:
            scheduler.dispose()
        assert 1 == len(names - {threading.current_thread().name})

    def test_a_scheduler_on_the_same_thread_needs_no_room(self) -> None:
        handed = reactivex.range(9).pipe(ops.handoff(100, scheduler=CurrentThreadScheduler()), ops.to_list())
        assert list(range(9)) == handed.run()


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ops.handoff(0), "capacity"),
        (lambda: ops.handoff(True), "capacity"),
        (lambda: ops.handoff(1.5), "capacity"),  # type: ignore[arg-type]
        (lambda: ops.handoff(1, "wait"), "overflow"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_are_refused_by_name(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=field) as refused:
        make()
    assert field == refused.value.field
