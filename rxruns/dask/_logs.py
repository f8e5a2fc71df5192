"""Recorded logs, folded on a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from rxruns._arguments import OnInvalid
from rxruns._fold import Fold
from rxruns._logs._engine import fold_parts, planned
from rxruns._logs._parts import Path
from rxruns.dask._cluster import Cluster

__all__ = ["fold_logs"]

_F = TypeVar("_F", bound=Fold)

_PARTS_PER_THREAD = 8


def fold_logs(
    paths: Path | Iterable[Path],
    fold: _F,
    *,
    dask_client: Any = None,
    partition_size: int | None = None,
    every_line: bool = False,
    on_invalid: OnInvalid = "raise",
    progress: bool = False,
) -> _F:
    """Fold the events of recorded logs on a Dask cluster; large files are split at line ends.

    The result, the duplicates that are dropped and the lines that are skipped are those of
    :func:`rxruns.folds.fold_logs`, which does the same on one machine. The parts of a worker that dies are
    done again by others.

    Args:
        paths: a path or a URL that fsspec knows (``s3://…``), or several of them; ``*`` and ``**`` match.
            Each worker must be able to read them. Credentials belong into the workers' environment.
            Compressed files (gzip, bzip2, xz, zstd, whatever their names) are not split.
        fold: an empty value with ``step`` and ``combine``, such as ``CostTotals(prices)``.
        dask_client: a ``distributed.Client``; None: the current one.
        partition_size: bytes of a file that are one task; None: eight tasks for each thread of the cluster,
            but 8 MiB at least and 256 MiB at most. A fold with ``whole_runs`` has one task for each file.
        every_line: as for :func:`rxruns.folds.fold_logs`.
        on_invalid: as for :func:`rxruns.folds.fold_logs`.
        progress: show Dask's progress bar, in a terminal or a notebook.

    Raises:
        InvalidArgumentError: an argument can't be used, or no file matches.
        StoreError: a file can't be read, or isn't a log.
        StreamProtocolError: a line is not a valid event.
        Exception: raised by ``step`` or ``combine``.

    >>> import pathlib, tempfile
    >>> from distributed import Client
    >>> from rxruns import CostTotals
    >>> log = pathlib.Path(tempfile.mkdtemp(), "run.ndjson")
    >>> _ = log.write_text('{"type":"node_llm_call","node_id":"draft","seq":3,"ts":"2026-01-31T12:00:00Z",'
    ...                    '"run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11","llm_call":{"step":0,'
    ...                    '"request_id":"3d2f1c5a-93a4-4c38-8f2b-1f9f6f1a5b33"}}\\n')
    >>> with Client(n_workers=1, processes=False, dashboard_address="127.0.0.1:0"):
    ...     fold_logs(log, CostTotals()).requests
    1
    """
    cluster = Cluster(dask_client)
    logs = planned(paths, fold, every_line=every_line, on_invalid=on_invalid, partition_size=partition_size)
    parts = logs.parts(_PARTS_PER_THREAD * cluster.threads, partition_size)
    return logs.finish(fold_parts(cluster, parts, logs.work, progress))
