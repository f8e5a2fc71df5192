"""The Observables of runs.

Both are cold. Each subscription of :func:`run_events` and :func:`start_run` has its own connection, thread
and cursor; subscribing returns at once, and nothing is read before it. The threads are daemons: a script
needs something that keeps it alive, such as :func:`block_on`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar, overload
from uuid import UUID

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler import CurrentThreadScheduler, NewThreadScheduler

from rxruns._arguments import check_run_id
from rxruns._logs._writer import LogWriter
from rxruns._policies import ResumePolicy
from rxruns._requests import CreateOptions, Spec, create_body
from rxruns._streams._following import FollowOptions, OnInvalid, OnLifecycle
from rxruns._streams._lease import ClientLease
from rxruns._streams._observable import SourceObservable
from rxruns._streams._reader import EventReader
from rxruns._threading._subscribing import check_source
from rxruns._transport import Cancellation
from rxruns.client import RunsClient
from rxruns.events import RunEvent
from rxruns.models import RunsModelOverrides

__all__ = ["block_on", "follow", "run_events", "start_run"]

T = TypeVar("T")
D = TypeVar("D")


def run_events(
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
    record: str | os.PathLike[str] | None = None,
) -> Observable[RunEvent]:
    """Emit each event of a run once, in ``seq`` order, across reconnects; complete when the run ends.

    A run that fails or is canceled is data: its event is emitted, then the stream completes. See
    ``ops.raise_on_failure``.

    ::

        run     1 2 3 x     (the connection breaks)
        resumed       4 5|
        result  1-2-3-4-5|

    Args:
        run_id: the run, a UUID or its text.
        client: sends the requests; None makes one from the environment, closed with the last subscription.
        after_seq: begin after the event with this ``seq``; 0 begins with the first.
        limit: complete after this number of events; None for no limit.
        wait: follow the run to its end; False completes after the events that exist now.
        include_output: request outputs of up to 1 MB.
        resume: when to reconnect after faults; None for one connection.
        on_invalid: ``"raise"`` ends the stream at a line that is not a valid event; a function gets the
            :class:`~rxruns.errors.StreamProtocolError` instead, and the stream continues.
        on_lifecycle: gets the values of :mod:`rxruns.lifecycle`, on the reader's thread.
        record: a log to append to. The line of each event is in it, exactly as it was received and ending in
            LF, before the event is emitted; keep-alives, duplicates and bad lines are not.
            ``recorded_events(path)`` reads it. Each subscription opens the file, created with mode 0600, and
            closes it at its end; ``.gz`` and the like are refused.

    Raises:
        InvalidArgumentError: at once, for a bad argument.

    ``on_error`` gets a :class:`~rxruns.errors.RunsError`: a :class:`~rxruns.errors.StreamError` or, for a
    request that the service refused, an :class:`~rxruns.errors.APIError`; for a log that can't be opened or
    written, a :class:`~rxruns.errors.StoreError`.

    >>> from rxruns.devserver import DevServer
    >>> from rxruns import ops, workflow
    >>> with DevServer() as server, server.client() as client:
    ...     spec = workflow.chain(workflow.llm("draft", model="claude-sonnet-4-5", user="Hello"))
    ...     run = client.create(spec)
    ...     block_on(run_events(run.run_id, client=client).pipe(ops.map(lambda event: event.type)))
    'run_completed'
    """
    options = FollowOptions(
        after_seq=after_seq,
        limit=limit,
        wait=wait,
        include_output=include_output,
        resume=resume,
        on_invalid=on_invalid,
        on_lifecycle=on_lifecycle,
        record=record,
    )
    run = check_run_id(run_id)
    return follow(lambda client, cancellation: run, options, ClientLease(client))


def start_run(
    spec_or_plan_hash: Spec | str,
    *,
    client: RunsClient | None = None,
    session_id: UUID | str | None = None,
    input: Mapping[str, Any] | None = None,
    model_override: str | None = None,
    model_overrides: RunsModelOverrides | None = None,
    stream: bool | None = None,
    idempotency_key: str | None = None,
    after_seq: int = 0,
    limit: int | None = None,
    wait: bool = True,
    include_output: bool = False,
    resume: ResumePolicy | None = ResumePolicy(),
    on_invalid: OnInvalid = "raise",
    on_lifecycle: OnLifecycle | None = None,
    record: str | os.PathLike[str] | None = None,
) -> Observable[RunEvent]:
    """Start a run at the first subscription, and emit its events as :func:`run_events` does.

    The idempotency key is made when this is called, so all subscriptions, retries too, follow one run.

    Args:
        spec_or_plan_hash: a workflow spec, or the hash of a compiled plan.
        session_id, input, model_override, model_overrides, stream, idempotency_key: as in
            :meth:`rxruns.RunsClient.create`.
        client, after_seq, limit, wait, include_output, resume, on_invalid, on_lifecycle, record: as in
            :func:`run_events`.

    Raises:
        InvalidArgumentError: at once, for a bad argument.
    """
    create = CreateOptions(session_id, input, model_override, model_overrides, stream, idempotency_key)
    body = create_body(spec_or_plan_hash, create)  # with the key that all subscriptions share
    options = FollowOptions(
        after_seq=after_seq,
        limit=limit,
        wait=wait,
        include_output=include_output,
        resume=resume,
        on_invalid=on_invalid,
        on_lifecycle=on_lifecycle,
        record=record,
    )
    started: list[UUID] = []

    def find_run(client: RunsClient, cancellation: Cancellation) -> UUID:
        if not started:
            started.append(client._calls.start(body, cancellation=cancellation).run_id)
        return started[0]

    return follow(find_run, options, ClientLease(client))


@overload
def block_on(source: Observable[T]) -> T | None: ...
@overload
def block_on(source: Observable[T], *, default: D) -> T | D: ...
def block_on(source: Observable[Any], *, default: Any = None) -> Any:
    """Subscribe, wait for the end, and return the last value.

    Ctrl-C disposes the subscription and is raised.

    Args:
        source: any Observable.
        default: the result if the source completes without a value.

    Raises:
        InvalidArgumentError: ``source`` isn't an Observable.
        Exception: the error that ``on_error`` received.

    >>> import reactivex
    >>> block_on(reactivex.of(1, 2, 3))
    3
    >>> block_on(reactivex.empty(), default=0)
    0
    """
    check_source(source)
    ends: SimpleQueue[Exception | None] = SimpleQueue()
    last = default

    def keep(value: Any) -> None:
        nonlocal last
        last = value

    # Inside an action of RxPY's trampoline, actions queued behind it couldn't start while this waits.
    idle = CurrentThreadScheduler.singleton().schedule_required()
    scheduler = None if idle else NewThreadScheduler()
    # A plain `get` inside `with`: with a timeout in a loop, Ctrl-C can arrive outside any `finally`.
    with source.subscribe(keep, ends.put, lambda: ends.put(None), scheduler=scheduler):
        error = ends.get()
    if error is not None:
        raise error
    return last


def follow(
    find_run: Callable[[RunsClient, Cancellation], UUID],
    options: FollowOptions,
    lease: ClientLease,
    record: Callable[[bytes], bool] | None = None,
) -> Observable[RunEvent]:
    """Follow a run on a reader's thread, with a client that is leased until the end.

    Args:
        record: gets the line of each event, instead of the log in `options`.
    """

    def subscribe(
        observer: abc.ObserverBase[RunEvent], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        with ExitStack() as opened:
            client = lease.acquire()
            opened.callback(lease.release)
            log = None if options.record is None else LogWriter(Path(options.record))
            if log is not None:
                opened.callback(log.close)
            close = opened.pop_all().close
        append = record if log is None else log.append
        reader = EventReader(client, find_run, options, observer, close, append)

        def start(_: abc.SchedulerBase, state: object = None) -> None:
            try:
                reader.start()
            except RuntimeError:  # can't start new thread
                close()
                raise

        def dispose() -> None:
            reader.dispose()
            if log is not None:
                log.close()

        # Only when all operators of the chain have their disposables, so that the first event can dispose it.
        (scheduler or CurrentThreadScheduler.singleton()).schedule(start)
        return Disposable(dispose)

    return SourceObservable(subscribe, lease)
