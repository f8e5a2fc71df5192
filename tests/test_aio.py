"""Observables in asyncio: the loop is never blocked, and whoever leaves disposes (R21)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, Subject
from reactivex.disposable import Disposable
from reactivex.scheduler import NewThreadScheduler
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from rxruns import aio, workflow
from rxruns.devserver import DevServer
from rxruns.errors import APIError, InvalidArgumentError, StreamBackpressureError
from tests.conftest import HANG, eventually
from tests.observing import reader_threads
from tests.test_iteration import Emitting

pytestmark = pytest.mark.usefixtures("no_leaks")
FAULT = RuntimeError("the line is dead")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def guarded() -> Any:
        return await asyncio.wait_for(coroutine, HANG)

    return asyncio.run(guarded())


@given(st.lists(st.integers()), st.integers(1, 5))
def test_values_keep_their_order_with_any_capacity(values: list[int], capacity: int) -> None:
    async def read() -> list[int]:
        return [value async for value in aio.iterate(reactivex.from_iterable(values), capacity=capacity)]

    assert values == run(read())


class TestIterate:
    def test_values_of_another_thread_keep_their_order(self) -> None:
        async def read() -> list[int]:
            source = reactivex.from_iterable(range(2_000), NewThreadScheduler())
            return [value async for value in aio.iterate(source, capacity=3)]

        assert list(range(2_000)) == run(read())

    def test_an_error_is_raised_after_the_values_before_it_and_nothing_follows(self) -> None:
        async def read() -> list[int]:
            values = aio.iterate(reactivex.concat(reactivex.of(1, 2), reactivex.throw(FAULT)))
            received = [await anext(values), await anext(values)]
            with pytest.raises(RuntimeError, match="dead"):
                await anext(values)
            return received + [value async for value in values]

        assert [1, 2] == run(read())

    def test_a_source_that_ends_with_stop_iteration_does_not_end_the_loop_in_silence(self) -> None:
        async def read() -> list[int]:
            return [value async for value in aio.iterate(reactivex.throw(StopIteration()))]

        with pytest.raises(RuntimeError, match="the source raised StopIteration"):
            run(read())

    def test_nothing_is_subscribed_to_before_the_first_value_is_awaited(self) -> None:
        source: Subject[int] = Subject()

        async def read() -> None:
            async with aio.iterate(source):
                assert not source.observers

        run(read())

    def test_the_source_is_held_up_while_the_task_is_slow(self) -> None:
        emitting = Emitting()

        async def read() -> None:
            async with aio.iterate(emitting.source, capacity=3) as values:
                assert 0 == await anext(values)
                assert [0, 1, 2, 3] == [emitting.sent.get(timeout=HANG) for _ in range(4)]
                assert emitting.sent.empty()
                assert 1 == await anext(values)
                assert 4 == emitting.sent.get(timeout=HANG)

        run(read())

    def test_break_disposes_and_frees_a_blocked_source(self) -> None:
        emitting = Emitting()

        async def read() -> bool:
            async for number in aio.iterate(emitting.source, capacity=1):
                if number == 3:
                    break
            return emitting.disposed.wait(HANG)  # at once, not when the loop is closed

        assert run(read())

    def test_a_cancelled_task_disposes_though_it_holds_the_iterator(self) -> None:
        source: Subject[int] = Subject()
        values = aio.iterate(source)

        async def read() -> None:
            reading = asyncio.ensure_future(anext(values))
            while not source.observers:
                await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert eventually(lambda: not source.observers)
            assert [] == [value async for value in values]

        run(read())

    def test_aclose_disposes(self) -> None:
        emitting = Emitting()

        async def read() -> None:
            values = aio.iterate(emitting.source)
            await anext(values)
            await values.aclose()
            await values.aclose()
            assert emitting.disposed.wait(HANG)

        run(read())

    def test_aclose_ends_the_loop_of_a_task_that_waits(self) -> None:
        source: Subject[int] = Subject()
        values = aio.iterate(source)

        async def read() -> list[int]:
            return [value async for value in values]

        async def close() -> list[int]:
            reading = asyncio.ensure_future(read())
            while not source.observers:
                await asyncio.sleep(0)
            await values.aclose()
            return await reading

        assert [] == run(close())

    def test_each_value_wakes_an_idle_loop(self) -> None:
        source: Subject[int] = Subject()

        def emit() -> None:
            assert eventually(lambda: bool(source.observers))
            for number in range(20):
                taken.acquire(timeout=HANG)
                source.on_next(number)
            source.on_completed()

        taken = threading.Semaphore(1)

        async def read() -> list[int]:
            received = []
            async for number in aio.iterate(source):
                received.append(number)
                taken.release()
            return received

        emitting = threading.Thread(target=emit)
        emitting.start()
        assert list(range(20)) == run(read())
        emitting.join(HANG)

    def test_a_source_that_never_pauses_lets_other_tasks_run(self) -> None:
        emitting = Emitting()

        async def read() -> None:
            async for _ in aio.iterate(emitting.source, capacity=10_000):
                if others == 20:
                    break

        async def other() -> None:
            nonlocal others
            while others < 20:
                others += 1
                await asyncio.sleep(0)

        async def both() -> None:
            await asyncio.gather(read(), other())

        others = 0
        run(both())
        assert 20 == others

    def test_a_source_that_blocks_in_subscribe_does_not_block_the_loop(self) -> None:
        released = threading.Event()

        def subscribe(observer: Any, scheduler: Any = None) -> Disposable:
            assert released.wait(HANG)
            observer.on_completed()
            return Disposable()

        async def read() -> list[int]:
            reading = asyncio.ensure_future(aio.last(Observable[int](subscribe)))
            await asyncio.sleep(0)
            released.set()
            return [value async for value in aio.iterate(Observable[int](subscribe))] + [await reading]

        assert [None] == run(read())

    def test_a_full_buffer_is_an_error_on_the_loops_own_thread(self) -> None:
        source: Subject[int] = Subject()

        async def read() -> list[int]:
            values, received = aio.iterate(source, capacity=2), []
            reading = asyncio.ensure_future(anext(values))
            while not source.observers:
                await asyncio.sleep(0)
            for number in range(4):
                source.on_next(number)
            received.append(await reading)
            with pytest.raises(StreamBackpressureError) as full:
                async for value in values:
                    received.append(value)
            assert 1 == full.value.dropped
            return received

        assert [0, 1] == run(read())

    def test_a_scheduler_of_the_loop_works(self) -> None:
        async def read() -> list[int]:
            scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
            source = reactivex.interval(0.001, scheduler=scheduler).pipe(reactivex.operators.take(3))
            return [value async for value in aio.iterate(source)]

        assert [0, 1, 2] == run(read())

    def test_calls_after_the_loop_was_closed_are_dropped(self) -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        aio._call_soon(loop, lambda: 1 // 0)

    @pytest.mark.parametrize("capacity", [0, True, 1.5])
    def test_a_capacity_is_a_whole_number_from_1(self, capacity: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="capacity"):
            aio.iterate(reactivex.never(), capacity=capacity)


class TestEvents:
    def test_a_run_is_followed_to_its_end(self) -> None:
        async def read(run_id: Any, client: Any) -> list[int]:
            return [event.seq async for event in aio.events(run_id, client=client, after_seq=2)]

        with DevServer() as server, server.client() as client:
            spec = workflow.chain(workflow.llm("a", model="gpt-4o", user="Hello"))
            seqs = run(read(client.create(spec).run_id, client))
        assert list(range(3, len(seqs) + 3)) == seqs

    def test_a_refusal_is_raised(self) -> None:
        async def read(client: Any) -> None:
            async for _ in aio.events("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", client=client):
                pass

        with DevServer() as server, server.client() as client, pytest.raises(APIError) as refused:
            run(read(client))
        assert refused.value.is_not_found

    @pytest.mark.parametrize("leave", ["break", "cancel"])
    def test_leaving_closes_the_connection(self, leave: str) -> None:
        async def read(run_id: Any, client: Any) -> None:
            async for _ in aio.events(run_id, client=client):
                if leave == "break":
                    break
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        with DevServer() as server, server.client() as client:
            script = server.script()
            script.append({"type": "run_started", "plan_hash": "0" * 64})
            if leave == "break":
                run(read(script.run_id, client))
            else:
                with pytest.raises(asyncio.CancelledError):
                    asyncio.run(read(script.run_id, client))
            assert server.wait_for(lambda it: it.streams == 0)
        assert eventually(lambda: not reader_threads())


class TestLast:
    def test_the_last_value_or_none(self) -> None:
        assert [3, None] == [run(aio.last(reactivex.of(1, 2, 3))), run(aio.last(reactivex.empty()))]

    def test_an_error_is_raised(self) -> None:
        with pytest.raises(RuntimeError, match="dead"):
            run(aio.last(reactivex.throw(FAULT)))

    def test_a_source_that_is_not_an_observable_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="source must be an Observable, got 5"):
            run(aio.last(5))  # type: ignore[arg-type]

    def test_cancelling_disposes(self) -> None:
        source: Subject[int] = Subject()

        async def wait() -> None:
            waiting = asyncio.ensure_future(aio.last(source))
            while not source.observers:
                await asyncio.sleep(0)
            observer = source.observers[0]
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert eventually(lambda: not source.observers)
            observer.on_completed()
            await asyncio.sleep(0)

        run(wait())

    def test_an_end_during_cancelling_is_ignored(self) -> None:
        source: Subject[int] = Subject()

        async def wait() -> None:
            waiting = asyncio.ensure_future(aio.last(source))
            while not source.observers:
                await asyncio.sleep(0)
            waiting.cancel()
            source.on_completed()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        run(wait())
