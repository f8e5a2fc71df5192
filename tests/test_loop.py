"""The asyncio bridge at its marks: wakes the loop, never blocks it, stops, stays bounded (R21)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from rxruns import RunsClient, aio, ops, run_events
from rxruns.devserver import DevServer
from rxruns.events import RunEvent
from tests.conftest import eventually
from tests.observing import reader_threads, run_of
from tests.soak import both_sizes, measured, patience

pytestmark = pytest.mark.usefixtures("no_leaks")

MARK = 0.05


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer(keepalive=60.0) as server:
        yield server


def gone(server: DevServer) -> bool:
    """Return whether streams and readers end."""
    return server.wait_for(lambda server: server.streams == 0) and eventually(lambda: not reader_threads())


async def blocked_for(work: Callable[[], Awaitable[object]]) -> float:
    """The longest time for which another task could not run meanwhile."""
    longest = 0.0
    stopped = asyncio.Event()

    async def beat() -> None:
        nonlocal longest
        while not stopped.is_set():
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - started - 0.001)

    beating = asyncio.create_task(beat())
    await work()
    stopped.set()
    await beating
    return longest


@both_sizes
def test_R21_an_event_wakes_an_idle_loop(server: DevServer, soaking: bool) -> None:
    events = 500 if soaking else 50
    run = server.script()
    run.append(run_of(0)[0])
    sent: list[float] = []

    def send(event: dict[str, Any]) -> None:
        sent.append(time.perf_counter())
        run.append(event)

    async def follow(client: RunsClient) -> None:
        loop = asyncio.get_running_loop()
        script = iter(run_of(events)[1:])
        async for event in aio.events(run.run_id, client=client):
            if event.seq > 1:
                taken = time.perf_counter() - sent[-1]
                assert measured("R21", "from the service to an idle loop", taken, MARK) < MARK * patience(
                    soaking
                )
            following = next(script, None)
            if following is not None:  # from another thread, when the loop is idle again
                await loop.run_in_executor(None, send, following)

    with server.client() as client:
        asyncio.run(follow(client))
    assert events + 3 == len(sent)


@both_sizes
def test_R21_the_loop_is_never_blocked(server: DevServer, soaking: bool) -> None:
    count = 50_000 if soaking else 5_000
    run = server.add_run(events=run_of(count))
    received = 0

    async def follow(client: RunsClient) -> None:
        nonlocal received
        async for _ in aio.events(run.run_id, client=client):
            received += 1

    with server.client() as client:
        longest = asyncio.run(blocked_for(lambda: follow(client)))
    assert count + 4 == received
    assert measured("R21", f"the loop blocked, over {count:,} events", longest, MARK) < MARK * patience(
        soaking
    )


@both_sizes
def test_R21_disposing_does_not_block_the_loop(server: DevServer, soaking: bool) -> None:
    run = server.add_run(events=run_of(5)[:-1], finish=False)

    async def follow_a_little(client: RunsClient) -> None:
        for _ in range(100 if soaking else 10):
            async for event in aio.events(run.run_id, client=client):
                if event.seq == 8:
                    break

    with server.client() as client:
        longest = asyncio.run(blocked_for(lambda: follow_a_little(client)))
        assert gone(server)
    assert measured("R21", "the loop blocked, subscribing and disposing", longest, MARK) < MARK * patience(
        soaking
    )


async def by_break(client: RunsClient, run_id: Any) -> None:
    async for event in aio.events(run_id, client=client):
        if event.seq == 2:
            break


async def by_exception(client: RunsClient, run_id: Any) -> None:
    with pytest.raises(KeyError):
        async for _ in aio.events(run_id, client=client):
            raise KeyError("mine")


async def by_cancel(client: RunsClient, run_id: Any) -> None:
    idle = asyncio.Event()

    async def follow() -> None:
        async for event in aio.events(run_id, client=client):
            if event.seq == 8:
                idle.set()

    task = asyncio.create_task(follow())
    await idle.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_timeout(client: RunsClient, run_id: Any) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:

            def trip_when_idle(event: RunEvent) -> None:
                if event.seq == 8:
                    loop.call_soon_threadsafe(limit.reschedule, loop.time())

            await aio.last(run_events(run_id, client=client).pipe(ops.tap(trip_when_idle)))


async def by_aclose(client: RunsClient, run_id: Any) -> None:
    events = aio.events(run_id, client=client)
    assert (await anext(events)).seq == 1
    await events.aclose()


@pytest.mark.parametrize("leave", [by_break, by_exception, by_cancel, by_timeout, by_aclose])
def test_R21_leaving_the_loop_disposes(
    server: DevServer, leave: Callable[[RunsClient, Any], Awaitable[None]]
) -> None:
    run = server.add_run(events=run_of(5)[:-1], finish=False)

    async def leave_and_look(client: RunsClient) -> bool:
        await leave(client, run.run_id)
        return await asyncio.to_thread(gone, server)  # while the loop runs

    with server.client() as client:
        assert asyncio.run(leave_and_look(client))
    assert 1 == len(server.requests)


def test_R21_at_most_the_capacity_waits_for_the_loop(server: DevServer) -> None:
    run = server.add_run(events=run_of(2_000))
    emitted = 0

    def count(event: RunEvent) -> None:
        nonlocal emitted
        emitted += 1

    async def follow(client: RunsClient) -> int:
        most = taken = 0
        source = run_events(run.run_id, client=client).pipe(ops.tap(count))
        async with aio.iterate(source, capacity=8) as events:
            async for _ in events:
                taken += 1
                if taken in (1, 100, 1_000):
                    await asyncio.sleep(0.05)  # the source could emit all of them meanwhile
                most = max(most, emitted - taken)
        assert 2_004 == taken
        return most

    with server.client() as client:
        most = asyncio.run(follow(client))
    assert measured("R21", "events that waited for the loop, with a capacity of 8", most, 9, "") <= 9
