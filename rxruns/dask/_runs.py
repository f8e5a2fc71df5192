"""Runs of the service, folded on a cluster."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Generic, TypeVar
from uuid import UUID

import reactivex
from msgspec import Struct
from reactivex import Observable

from rxruns import operators as ops
from rxruns._arguments import check_id, check_run_ids, check_whole_number
from rxruns._fold import Fold, checked_fold
from rxruns._policies import ResumePolicy
from rxruns._streams._run_events import block_on, run_events
from rxruns.client import RunsClient
from rxruns.dask._cluster import Cluster, pickled
from rxruns.errors import APIError, InvalidArgumentError, RunsError, StreamError, TransportError
from rxruns.operators._fold import changes

__all__ = ["FoldedRuns", "fold_runs"]

logger = logging.getLogger("rxruns")

_F = TypeVar("_F", bound=Fold)
_AT_ONCE = 8
"""Runs of a partition that are read at once: reading is mostly waiting for the service."""

_LARGEST = 100
_PARTITIONS_PER_THREAD = 4
_KEY = re.compile(rb"mr_sk_\w")
_SECRETS = ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN")


class FoldedRuns(Struct, Generic[_F], frozen=True):
    """The result of many runs.

    Attributes:
        value: the fold over all runs that could be read, each of them whole.
        errors: the errors of the others, by run id. The value holds none of their events.
    """

    value: _F
    errors: Mapping[UUID, RunsError]


def fold_runs(
    run_ids: Iterable[UUID | str],
    fold: _F,
    *,
    connect: Callable[[], RunsClient] = RunsClient.from_env,
    dask_client: Any = None,
    partition_size: int | None = None,
    wait: bool = True,
    resume: ResumePolicy | None = ResumePolicy(),
    progress: bool = False,
) -> FoldedRuns[_F]:
    """Read runs on the workers of a Dask cluster, fold the events of each, and combine the results.

    A worker that dies has its partitions read again by others, with the same result. A run that
    can't be read doesn't affect the others: its error is returned beside the value, and a warning is logged.

    Args:
        run_ids: UUIDs or their text; duplicates are read once.
        fold: an empty value with ``step`` and ``combine``, such as ``CostTotals(prices)``; see
            :mod:`rxruns.folds`.
        connect: makes the client, on the worker, once for each partition, which closes it. It is sent to the
            workers, so it must not hold a secret: the default takes the key from the worker's environment.
        dask_client: a ``distributed.Client``; None: the current one.
        partition_size: the number of runs in one task; None: four tasks for each thread of the cluster, but
            100 runs at most.
        wait: follow each run to its end; False takes the events that exist now.
        resume: when to reconnect after faults; as in :func:`rxruns.run_events`.
        progress: show Dask's progress bar, in a terminal or a notebook.

    Raises:
        InvalidArgumentError: an argument is wrong, or ``connect`` finds no credentials on a worker.
        Exception: from ``connect``, ``step`` or ``combine``.

    >>> from unittest.mock import patch
    >>> from distributed import Client
    >>> from rxruns import CostTotals, workflow
    >>> from rxruns.devserver import DevServer
    >>> spec = workflow.chain(workflow.llm("draft", model="claude-sonnet-4-5", user="Hello"))
    >>> with DevServer() as server, server.client() as client:
    ...     runs = [client.create(spec).run_id for _ in range(3)]
    ...     service = {"MODELRELAY_API_KEY": server.api_key, "MODELRELAY_API_BASE_URL": server.url}
    ...     with patch.dict("os.environ", service):  # in production: the environment of the workers
    ...         with Client(n_workers=1, processes=False, dashboard_address="127.0.0.1:0"):
    ...             folded = fold_runs(runs, CostTotals())
    >>> folded.value.requests, folded.errors
    (3, {})
    """
    cluster = Cluster(dask_client)
    checked_fold(fold)
    check_run_ids(run_ids)
    runs = list(dict.fromkeys(check_id(run_id, f"run_ids[{at}]") for at, run_id in enumerate(run_ids)))
    if partition_size is not None:
        check_whole_number("partition_size", partition_size, at_least=1)
    _refuse_secrets(connect)
    if not runs:
        return FoldedRuns(fold, {})
    size = partition_size or min(_LARGEST, -(-len(runs) // (_PARTITIONS_PER_THREAD * cluster.threads)))
    partitions = [runs[at : at + size] for at in range(0, len(runs), size)]
    work = partial(read_runs, fold=fold, connect=connect, wait=wait, resume=resume)
    with cluster.tasks(cluster.map(work, partitions), progress) as tasks:
        folded: FoldedRuns[_F] = cluster.combined(_combine, tasks)
    if folded.errors:
        run_id, error = next(iter(folded.errors.items()))
        logger.warning(
            "%d of %d runs could not be read; %s: %s", len(folded.errors), len(runs), run_id, error
        )
    return folded


def read_runs(
    run_ids: Sequence[UUID],
    fold: _F,
    connect: Callable[[], RunsClient],
    wait: bool,
    resume: ResumePolicy | None,
) -> FoldedRuns[_F]:
    """Fold some runs, on a worker: each by itself, so that one that breaks half-way leaves nothing behind."""
    try:
        client = connect()
    except InvalidArgumentError as error:
        error.add_note("This was raised on a worker: its environment needs the credentials, or `connect`.")
        raise
    outcomes: dict[UUID, _F | RunsError] = {}

    def read(run_id: UUID) -> Observable[tuple[UUID, _F | RunsError]]:
        def give_up(error: Exception, _: object) -> Observable[_F | RunsError]:
            if isinstance(error, APIError | TransportError | StreamError):
                return reactivex.just(error)
            return reactivex.throw(error)

        events = run_events(run_id, client=client, wait=wait, resume=resume)
        value: Observable[_F | RunsError] = events.pipe(changes(fold), ops.last_or_default(fold))
        return value.pipe(ops.catch(give_up), ops.map(lambda outcome: (run_id, outcome)))

    with client:
        read_all = reactivex.from_iterable(run_ids).pipe(ops.map(read), ops.merge(max_concurrent=_AT_ONCE))
        block_on(read_all.pipe(ops.tap(lambda outcome: outcomes.update([outcome]))))
    found = [(run_id, outcomes[run_id]) for run_id in run_ids]
    values = [outcome for _, outcome in found if not isinstance(outcome, RunsError)]
    errors = {run_id: outcome for run_id, outcome in found if isinstance(outcome, RunsError)}
    return FoldedRuns(_combined(fold, values), errors)


def _combine(parts: list[FoldedRuns[_F]]) -> FoldedRuns[_F]:
    first, *others = parts
    errors = {run_id: error for part in parts for run_id, error in part.errors.items()}
    return FoldedRuns(_combined(first.value, [part.value for part in others]), errors)


def _combined(first: _F, others: Iterable[_F]) -> _F:
    return reduce(lambda one, other: one.combine(other), others, first)


def _refuse_secrets(connect: object) -> None:
    """Refuse to send a key or a token to the scheduler, which keeps tasks and may show them."""
    if not callable(connect):
        raise InvalidArgumentError(  # the value may be a key
            f"connect must be a function that makes a RunsClient on the worker, got {type(connect).__name__}",
            field="connect",
        )
    try:
        sent = pickled(connect)
    except Exception as error:
        raise InvalidArgumentError(
            f"connect can't be sent to the workers: {error}; pass a function that makes the client there",
            field="connect",
        ) from error
    known = [secret.encode() for name in _SECRETS if (secret := os.environ.get(name, "").strip())]
    if _KEY.search(sent) or any(secret in sent for secret in known):
        raise InvalidArgumentError(
            "connect must not hold an API key or a token, which Dask's scheduler would keep; take it from "
            "the worker's environment, as RunsClient.from_env does",
            field="connect",
        )
