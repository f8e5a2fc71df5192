"""Many runs as one Observable."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, overload
from uuid import UUID

import msgspec
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxruns._arguments import check_id, check_run_ids, check_whole_number
from rxruns._errors import must_be
from rxruns._logs._writer import LogWriter
from rxruns._policies import ResumePolicy
from rxruns._streams._claims import Claiming, check_claim
from rxruns._streams._following import FollowOptions, OnInvalid, OnLifecycle
from rxruns._streams._lease import ClientLease
from rxruns._streams._merging import Merging, RunNotFollowed
from rxruns._streams._observable import SourceObservable
from rxruns._streams._run_events import follow
from rxruns.client import RunsClient
from rxruns.cursors import LeaseStore
from rxruns.events import RunEvent

__all__ = ["AfterSeq", "OnRunError", "RunIds", "RunNotFollowed", "merge_runs"]

RunIds = Iterable[UUID | str] | Observable[UUID] | Observable[str]
AfterSeq = int | Callable[[UUID], int]
OnRunError = Literal["raise", "emit"]

_T = TypeVar("_T")


@overload
def merge_runs(
    run_ids: RunIds,
    *,
    max_concurrent: int | None = None,
    on_run_error: Literal["raise"] = "raise",
    claim: LeaseStore | None = None,
    client: RunsClient | None = None,
    after_seq: AfterSeq = 0,
    limit: int | None = None,
    wait: bool = True,
    include_output: bool = False,
    resume: ResumePolicy | None = ResumePolicy(),
    on_invalid: OnInvalid = "raise",
    on_lifecycle: OnLifecycle | None = None,
    record: str | os.PathLike[str] | None = None,
) -> Observable[RunEvent]: ...
@overload
def merge_runs(
    run_ids: RunIds,
    *,
    max_concurrent: int | None = None,
    on_run_error: OnRunError,
    claim: LeaseStore | None = None,
    client: RunsClient | None = None,
    after_seq: AfterSeq = 0,
    limit: int | None = None,
    wait: bool = True,
    include_output: bool = False,
    resume: ResumePolicy | None = ResumePolicy(),
    on_invalid: OnInvalid = "raise",
    on_lifecycle: OnLifecycle | None = None,
    record: str | os.PathLike[str] | None = None,
) -> Observable[RunEvent | RunNotFollowed]: ...
def merge_runs(
    run_ids: RunIds,
    *,
    max_concurrent: int | None = None,
    on_run_error: OnRunError = "raise",
    claim: LeaseStore | None = None,
    client: RunsClient | None = None,
    after_seq: AfterSeq = 0,
    limit: int | None = None,
    wait: bool = True,
    include_output: bool = False,
    resume: ResumePolicy | None = ResumePolicy(),
    on_invalid: OnInvalid = "raise",
    on_lifecycle: OnLifecycle | None = None,
    record: str | os.PathLike[str] | None = None,
) -> Observable[Any]:
    """Emit the events of many runs as they arrive, one at a time; each run's own are in ``seq`` order.

    Completes when the ids have ended and each of their runs has. While ``on_next`` is busy, no run is read.

    ::

        ids               a-b-c-|
        run a             1-2---3|
        run b               1-x              (can't be followed)
        run c                 1---2|
        max_concurrent=2  a1-a2-b1-B-a3-c1-c2|
        "raise"           a1-a2-b1-#

    Args:
        run_ids: they may never end. An iterable runs on a thread of its own; its next id is taken when there
            is a place for the run. An Observable emits at its own pace; ids wait in memory for a place. A
            collection is checked at once. A repeated id is followed again: ``dict.fromkeys(run_ids)`` drops
            duplicates.
        max_concurrent: the number of runs that are followed, and of connections, at once. None: no limit;
            pass one if the ids don't end.
        on_run_error: the reaction to a run that can't be followed, and to a bad id. ``"raise"`` ends with the
            error; ``"emit"`` emits it as :class:`RunNotFollowed`, and the other runs continue.
        claim: a store, such as :class:`~rxruns.cursors.SqliteCursors`, in which workers lease the runs that
            they share. A run is followed only while its lease is held, from ``claim.get(run_id)``. A run that
            another worker holds waits without a place; if that worker dies, it is taken over. A run whose
            lease was lost ends quietly, and is claimed again. When ``on_next`` has returned for a run's
            terminal event, its end is recorded, so that no worker follows it again. Completes when the end
            of every run is recorded, or was emitted as :class:`RunNotFollowed`. An error of the store ends
            all runs, in both modes. Operators behind it mustn't change threads (``ops.handoff``): an end
            would be recorded while events wait.
        after_seq: begin after the event with this ``seq`` in each run. A function is called with each run's
            id before it is opened: ``after_seq=store.get`` resumes from ``ops.checkpoint(store)``.
        record: a log for the lines of all runs, in the order in which their events are emitted; see
            :func:`~rxruns.run_events`. Its error ends all runs, in both modes.
        client, limit, wait, include_output, resume, on_invalid, on_lifecycle: as in
            :func:`~rxruns.run_events`, for each run.

    Raises:
        InvalidArgumentError: at once, for a bad argument.

    ``on_error`` also gets an error of the ids themselves, in both modes. One client serves all runs.

    >>> from rxruns import block_on, ops, workflow
    >>> from rxruns.devserver import DevServer
    >>> with DevServer() as server, server.client() as client:
    ...     spec = workflow.chain(workflow.llm("draft", model="claude-sonnet-4-5", user="Hello"))
    ...     ids = (client.create(spec).run_id for _ in range(3))
    ...     events = merge_runs(ids, max_concurrent=2, client=client)
    ...     totals = block_on(events.pipe(ops.cost_totals()))
    >>> totals.requests
    3
    """
    if max_concurrent is not None:
        check_whole_number("max_concurrent", max_concurrent, at_least=1)
    if on_run_error not in get_args(OnRunError):
        raise must_be("on_run_error", " or ".join(map(repr, get_args(OnRunError))), on_run_error)
    options = FollowOptions(
        after_seq=0 if callable(after_seq) else after_seq,
        limit=limit,
        wait=wait,
        include_output=include_output,
        resume=resume,
        on_invalid=on_invalid,
        on_lifecycle=on_lifecycle,
        record=record,
    )
    ids = _checked(run_ids)
    check_claim(claim, options, after_seq)
    start: AfterSeq = after_seq if claim is None else claim.get
    lease = ClientLease(client)

    def subscribe(
        observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        def events_of(run_id: UUID, keep_line: Callable[[bytes], bool]) -> tuple[Observable[RunEvent], int]:
            own = _for_one_run(options, run_id, start, merging)
            record_line = None if log is None else keep_line
            return follow(lambda client, cancellation: run_id, own, lease, record_line), own.after_seq

        with ExitStack() as opened:
            lease.acquire()  # kept from run to run
            opened.callback(lease.release)
            log = None if record is None else LogWriter(Path(record))
            if log is not None:
                opened.callback(log.close)
            close = opened.pop_all().close
        shared: dict[str, Any] = {
            "most": math.inf if max_concurrent is None else max_concurrent,
            "emits": on_run_error == "emit",
            "on_stopped": close,
            "record": None if log is None else log.append,
        }
        if claim is None:
            merging = Merging(observer, events_of, **shared)
        else:
            merging = Claiming(observer, events_of, store=claim, **shared)
            merging.start()
        if isinstance(ids, Observable):
            merging.subscribe_to(ids, scheduler)
        else:
            merging.iterate(ids)
        return Disposable(merging.dispose)

    return SourceObservable(subscribe, lease)


def _checked(run_ids: RunIds) -> RunIds:
    """Check the ids of a collection now, and copy it."""
    if isinstance(run_ids, Observable):
        return run_ids
    check_run_ids(run_ids)
    if isinstance(run_ids, Collection):
        return [check_id(run_id, f"run_ids[{number}]") for number, run_id in enumerate(run_ids)]
    return run_ids


def _for_one_run(
    options: FollowOptions, run_id: UUID, after_seq: AfterSeq, merging: Merging
) -> FollowOptions:
    """Return the options of one run. An exception of the caller's own functions ends all runs."""
    on_invalid, on_lifecycle = options.on_invalid, options.on_lifecycle
    return msgspec.structs.replace(
        options,
        after_seq=after_seq(run_id) if callable(after_seq) else after_seq,
        on_invalid=on_invalid if on_invalid == "raise" else partial(_ending, merging, on_invalid),
        on_lifecycle=on_lifecycle and partial(_ending, merging, on_lifecycle),
        record=None,  # all runs share one log
    )


def _ending(merging: Merging, callback: Callable[[_T], object], value: _T) -> None:
    try:
        callback(value)
    except BaseException:
        merging.dispose()
        raise
