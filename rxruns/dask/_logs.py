"""Recorded logs, folded on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeVar

from rxruns._arguments import check_whole_number
from rxruns._logs._fold_part import FoldedPart, Interval, fold_part
from rxruns._logs._parts import LogPart, Path, find_files, split
from rxruns._streams._following import OnInvalid, check_on_invalid
from rxruns.dask._cluster import Cluster
from rxruns.folds import Fold, checked_fold, needs_whole_runs

__all__ = ["fold_logs"]

logger = logging.getLogger("rxruns")

_F = TypeVar("_F", bound=Fold)

_SMALLEST, _LARGEST = 8 * 2**20, 256 * 2**20
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

    The result is that of folding the events of ``recorded_events`` of each file, one file after the other:
    duplicates are dropped, also across parts. A run may be spread over several files, in any order, and
    counts once where they overlap. Within one file the events of a run must be in ``seq`` order: unlike
    ``recorded_events``, this drops those that follow later ones. Other workers repeat the parts of a worker
    that dies.

    A fold that declares ``event_types`` (see :mod:`rxruns.folds`) gets those alone. A line that can't hold
    one of them is skipped at the speed of a search: it is not decoded, so **nothing in it is validated**, and
    its ``seq`` is not compared. All other lines are validated in full. A last line that was cut is left out,
    and a warning is logged.

    Args:
        paths: a path or a URL that fsspec knows (``s3://…``), or several of them; ``*`` and ``**`` match.
            Each worker must be able to read them. Put credentials into the workers' environment.
            Compressed files (gzip, bzip2, xz, zstd, whatever their names) are not split.
        fold: an empty value with ``step`` and ``combine``, such as ``CostTotals(prices)``.
        dask_client: a ``distributed.Client``; None: the current one.
        partition_size: bytes of a file that are one task; None: eight tasks for each thread of the cluster,
            but 8 MiB at least and 256 MiB at most. A fold with ``whole_runs`` has one task for each file.
        every_line: decode and validate all lines, not only those that the fold needs.
        on_invalid: ``"raise"`` ends with the error of a line that is not a valid event; a function gets the
            :class:`~rxruns.errors.StreamProtocolError` of each instead, at the end, in the order of the
            files. The error names the file and the offset of the line in bytes. Of one task, a thousand are
            reported, then the number of the others.
        progress: show Dask's progress bar, in a terminal or a notebook.

    Raises:
        InvalidArgumentError: an argument is wrong, a file can't be read, or no file matches.
        StreamProtocolError: a line is not a valid event.
        Exception: from ``step`` or ``combine``.

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
    checked_fold(fold)
    check_on_invalid(on_invalid)
    if partition_size is not None:
        check_whole_number("partition_size", partition_size, at_least=1)
    files = find_files(paths)
    splits = not needs_whole_runs(fold)
    parts = split(files, partition_size or _size_of_part(files, cluster)) if splits else files
    work = partial(fold_part, fold=fold, every_line=every_line, tolerant=on_invalid != "raise")
    folded: FoldedPart[_F] = fold_each(cluster, parts, work, progress)
    for warning in folded.cut:
        logger.warning("%s", warning)
    if on_invalid != "raise":
        for error in folded.invalid:
            on_invalid(error)
    return folded.value


def fold_each(
    cluster: Cluster, parts: Sequence[LogPart], work: Callable[..., FoldedPart[_F]], progress: bool = False
) -> FoldedPart[_F]:
    """Fold each part by itself; one that repeats events of parts before it is then folded without them."""
    with cluster.tasks(cluster.map(work, parts), progress) as tasks:
        if len(tasks) > 1:
            seqs: list[dict[int, Interval]] = cluster.gather(cluster.map(_seqs, tasks))
            for index, excluded in overlaps(parts, seqs).items():
                tasks[index] = cluster.submit(partial(work, parts[index], excluded=excluded))
        return cluster.combined(_combine, tasks)


def _seqs(part: FoldedPart[Any]) -> dict[int, Interval]:
    return part.seqs


def _combine(parts: list[FoldedPart[_F]]) -> FoldedPart[_F]:
    value = reduce(lambda one, other: one.combine(other), (part.value for part in parts))
    return FoldedPart(
        value,
        {},
        tuple(error for part in parts for error in part.invalid),
        tuple(warning for part in parts for warning in part.cut),
    )


def overlaps(
    parts: Sequence[LogPart], seqs: Sequence[Mapping[int, Interval]]
) -> dict[int, dict[int, list[Interval]]]:
    """Find, by part and run, the events that it folded again after parts before it.

    In one file, an event is a duplicate if a part before it has a later one of its run. Across files, it is
    one if it lies between the first and the last of an earlier file: files may be in any order.

    >>> part = LogPart("a", 0, 8, 16), LogPart("a", 8, 16, 16), LogPart("b", 0, 8, 8)
    >>> overlaps(part, [{7: (5, 9)}, {7: (8, 12)}, {7: (1, 6)}])
    {1: {7: [(0, 9)]}, 2: {7: [(5, 12)]}}
    """
    found: dict[int, dict[int, list[Interval]]] = {}
    earlier: dict[int, list[Interval]] = {}  # of files that are done, by run
    here: dict[int, Interval] = {}  # of this file
    path = parts[0].path
    for index, (part, runs) in enumerate(zip(parts, seqs, strict=True)):
        if part.path != path:
            for run, span in here.items():
                earlier.setdefault(run, []).append(span)
            path, here = part.path, {}
        for run, (first, last) in runs.items():
            twice = [span for span in earlier.get(run, ()) if span[0] <= last and first <= span[1]]
            begun, reached = here.get(run, (first, 0))
            if first <= reached:
                twice.append((0, reached))
            if twice:
                found.setdefault(index, {})[run] = twice
            here[run] = begun, max(reached, last)
    return found


def _size_of_part(files: Sequence[LogPart], cluster: Cluster) -> int:
    total = sum(file.size for file in files)
    return min(_LARGEST, max(_SMALLEST, -(-total // (_PARTS_PER_THREAD * cluster.threads))))
