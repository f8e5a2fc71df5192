"""Observables in asyncio: ``async for event in aio.events(run_id)``.

Sources emit on threads of their own, never on the loop's; at most ``capacity`` values wait for the loop, and
the source's thread is blocked while there is no room. The loop never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Generic, TypeVar
from uuid import UUID
from weakref import finalize

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rxruns._policies import ResumePolicy
from rxruns._streams._following import OnInvalid, OnLifecycle
from rxruns._streams._run_events import run_events
from rxruns._threading._pulling import Pulling
from rxruns._threading._subscribing import check_source, subscribe_on_thread
from rxruns.client import RunsClient
from rxruns.events import RunEvent

__all__ = ["AsyncIteration", "events", "iterate", "last"]

_T = TypeVar("_T")
_TURN = 0.01
"""Seconds that a loop over values that are ready may keep other tasks waiting."""


def events(
    run_id: UUID | str,
    *,
    client: RunsClient | None = None,
    after_seq: int = 0,
    limit: int | None = None,
    wait: bool = True,
    include_output: bool = False,
    resume: ResumePolicy | None = ResumePolicy(),
    on_invalid: OnInvalid = "raise",
    on_lifecycle: OnLifecycle | None = None,
    capacity: int = 256,
) -> AsyncIteration[RunEvent]:
    """Iterate the events of a run, each once, in ``seq`` order, across reconnects.

    Args:
        run_id, client, after_seq, limit, wait, include_output, resume, on_invalid, on_lifecycle: as in
            :func:`rxruns.run_events`; the functions are called on the reader's thread.
        capacity: the number of events that may wait for the loop.

    >>> from rxruns import workflow
    >>> from rxruns.devserver import DevServer
    >>> async def follow(run_id, client):
    ...     async for event in events(run_id, client=client):
    ...         last = event.type
    ...     return last
    >>> with DevServer() as server, server.client() as client:
    ...     spec = workflow.chain(workflow.llm("draft", model="claude-sonnet-4-5", user="Hello"))
    ...     asyncio.run(follow(client.create(spec).run_id, client))
    'run_completed'
    """
    source = run_events(
        run_id,
        client=client,
        after_seq=after_seq,
        limit=limit,
        wait=wait,
        include_output=include_output,
        resume=resume,
        on_invalid=on_invalid,
        on_lifecycle=on_lifecycle,
    )
    return iterate(source, capacity=capacity)


def iterate(source: Observable[_T], *, capacity: int = 256) -> AsyncIteration[_T]:
    """Iterate the values of an Observable.

    It subscribes when the first value is awaited, on a thread, and disposes when the loop is left: by
    ``break``, an exception, a cancelled task, or at the end.

    Args:
        source: any Observable. If it needs a scheduler for asyncio, use ``AsyncIOThreadSafeScheduler``. If it
            emits on the loop's own thread, it can't wait for room: a full buffer ends the loop with
            :class:`~rxruns.errors.StreamBackpressureError`.
        capacity: the number of values that may wait for the loop.

    Raises:
        InvalidArgumentError: `source` is not an Observable, or the capacity is below 1.
        Exception: from the loop, the error of the source, after the values before it.

    If you keep the iterator in a variable, put ``async with`` around the loop, or call ``aclose()`` after it,
    to dispose when ``break`` leaves the loop.

    >>> import reactivex
    >>> async def numbers():
    ...     return [number async for number in iterate(reactivex.of(1, 2, 3))]
    >>> asyncio.run(numbers())
    [1, 2, 3]
    """
    return AsyncIteration(source, capacity)


async def last(source: Observable[_T]) -> _T | None:
    """Return the last value of an Observable, once it has completed, or None if there was none.

    Cancelling disposes.

    Raises:
        InvalidArgumentError: `source` is not an Observable.
        Exception: the error of the source.

    >>> import reactivex
    >>> asyncio.run(last(reactivex.of(1, 2, 3)))
    3
    """
    check_source(source)
    loop = asyncio.get_running_loop()
    ending: _Ending[_T] = _Ending(loop)
    subscription = SingleAssignmentDisposable()
    subscribe_on_thread(source, ending, subscription)
    try:
        return await ending.future
    finally:
        subscription.dispose()


class AsyncIteration(AsyncIterator[_T], Generic[_T]):
    """The iterator that :func:`iterate` returns. For one task."""

    def __init__(self, source: Observable[_T], capacity: int) -> None:
        self._turn = 0.0
        self._alarm = _Alarm()
        self._values = Pulling(source, capacity, self._alarm.ring)
        finalize(self, self._values.close)

    async def __anext__(self) -> _T:
        try:
            loop = self._alarm.loop = asyncio.get_running_loop()
            if loop.time() - self._turn > _TURN:  # a source that never pauses must not keep others waiting
                await asyncio.sleep(0)
                self._turn = loop.time()
            while (taken := self._values.take()) is None:
                await self._alarm.wait()
                self._turn = loop.time()
        except StopIteration:
            self._values.close()
            raise StopAsyncIteration from None
        except BaseException:  # an error, a cancelled task: as with a generator, nothing follows
            self._values.close()
            raise
        return taken[0]

    async def aclose(self) -> None:
        """Dispose. Nothing follows; a task that waits for a value ends its loop."""
        self._values.close()

    async def __aenter__(self) -> AsyncIteration[_T]:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._values.close()


class _Alarm:
    """Wakes up the loop's task from any thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def ring(self) -> None:
        if self.loop is not None:
            _call_soon(self.loop, self._rung.set)

    async def wait(self) -> None:
        await self._rung.wait()
        self._rung.clear()


class _Ending(Generic[_T]):
    """The observer that waits for the last value."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[_T | None] = loop.create_future()
        self._loop = loop
        self._last: _T | None = None

    def on_next(self, value: _T) -> None:
        self._last = value

    def on_error(self, error: Exception) -> None:
        _call_soon(self._loop, lambda: self._settle(error))

    def on_completed(self) -> None:
        _call_soon(self._loop, lambda: self._settle(None))

    def _settle(self, error: Exception | None) -> None:
        if self.future.done():  # the task was cancelled meanwhile
            return
        if error is None:
            self.future.set_result(self._last)
        else:
            self.future.set_exception(error)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop was closed
        loop.call_soon_threadsafe(call)
