"""Recorded logs, folded on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from rxruns._arguments import OnInvalid, check_callback, check_whole_number
from rxruns._fold import Fold
from rxruns._logs._engine import FoldedLogs, LogFold, fold_parts, planned
from rxruns._logs._parts import Path
from rxruns._logs._pool import Pool, check_importable

__all__ = ["fold_files", "fold_logs"]

_F = TypeVar("_F", bound=Fold)

_PARTS_PER_PROCESS = 32
"""Many, so that all processes end at about the same time."""

_WORTH_A_PROCESS = 128 * 2**20
"""Bytes that take longer to fold than another process takes to start."""


def fold_logs(
    paths: Path | Iterable[Path],
    fold: _F,
    *,
    processes: int | None = None,
    every_line: bool = False,
    on_invalid: OnInvalid = "raise",
    on_progress: Callable[[int, int], object] | None = None,
) -> _F:
    """Fold the events of recorded logs, at the speed of a search where the fold needs few types of events.

    The result is that of folding the events of ``recorded_events`` of each file, one file after the other.
    Each event of a run counts once, also where files repeat it: logs may overlap, be rotated, or end in the
    middle of a line, and a run may be spread over several files in any order, also if one file has events
    that another one lacks in its middle.

    **Skipped lines.** A fold that declares ``event_types`` (see :mod:`rxruns.folds`) is given those alone. A
    line that can't hold one of them is not decoded. If such a line is damaged or isn't an event, that goes
    unnoticed, and a run that has only such lines isn't seen. All other lines are validated in full. Pass
    ``every_line=True`` to validate all lines; that takes about as long as ``recorded_events``. A last line
    that was cut is left out, and a warning is logged.

    Args:
        paths: a path, or several; ``*``, ``?``, ``[…]`` and ``**`` match. A URL (``s3://…``) needs fsspec.
            Files may be compressed (gzip, bzip2, xz, zstd, whatever their names); these are not split.
        fold: an empty value with ``step`` and ``combine``, such as ``CostTotals(prices)``.
        processes: how many processes work, this one included. None: for large logs one for each core, and
            this process alone for small ones. Other processes must be able to import what the fold consists
            of: a lambda, or a class of the main program, works with ``processes=1``.
        every_line: decode and validate all lines, whatever the fold needs.
        on_invalid: ``"raise"`` ends with the error of the first line that is not a valid event; a function
            gets the :class:`~rxruns.errors.StreamProtocolError` of each instead, at the end, in the order of
            the files. The error names the file and the offset of the line in bytes. Of each part of a file,
            a thousand errors are passed on, and then the number of the others.
        on_progress: is called on this thread with the bytes that were read and the bytes of all files.

    Raises:
        InvalidArgumentError: an argument can't be used, or no file matches.
        StoreError: a file can't be read, or isn't a log.
        StreamProtocolError: a line is not a valid event.
        RunsError: a process was killed; the message names it and its part of the log.
        Exception: raised by ``step`` or ``combine``.

    >>> import pathlib, tempfile
    >>> from rxruns import CostTotals
    >>> log = pathlib.Path(tempfile.mkdtemp(), "run.ndjson")
    >>> _ = log.write_text('{"type":"node_llm_call","node_id":"draft","seq":3,"ts":"2026-01-31T12:00:00Z",'
    ...                    '"run_id":"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11","llm_call":{"step":0,'
    ...                    '"request_id":"3d2f1c5a-93a4-4c38-8f2b-1f9f6f1a5b33"}}\\n')
    >>> fold_logs(log.parent / "*.ndjson", CostTotals()).requests
    1
    """
    logs, folded = fold_files(paths, fold, processes, every_line, on_invalid, on_progress)
    return logs.finish(folded)


def fold_files(
    paths: Path | Iterable[Path],
    fold: _F,
    processes: int | None,
    every_line: bool,
    on_invalid: OnInvalid,
    on_progress: Callable[[int, int], object] | None,
) -> tuple[LogFold[_F], FoldedLogs[_F]]:
    """Do what :func:`fold_logs` does, but report nothing, and return which file has which runs."""
    if processes is not None:
        check_whole_number("processes", processes, at_least=1)
    check_callback("on_progress", on_progress)
    logs = planned(paths, fold, every_line=every_line, on_invalid=on_invalid)
    count = _suitable(logs) if processes is None else processes
    if count > 1:
        check_importable(fold)
    with Pool(count - 1, _Progress(logs.size, on_progress)) as pool:
        parts = logs.parts(_PARTS_PER_PROCESS * count) if count > 1 else logs.files
        return logs, fold_parts(pool, parts, logs.work)


class _Progress:
    """Bytes that were read so far. Parts that are read twice count once."""

    def __init__(self, total: int, on_progress: Callable[[int, int], object] | None) -> None:
        self._read, self._total, self._on_progress = 0, total, on_progress

    def __call__(self, count: int) -> None:
        self._read = min(self._read + count, self._total)
        if self._on_progress is not None:
            self._on_progress(self._read, self._total)


def _suitable(logs: LogFold[_F]) -> int:
    """Return the number of processes for these logs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, logs.size // _WORTH_A_PROCESS))
