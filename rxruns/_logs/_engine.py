"""Fold recorded logs in parts. Shared by :func:`rxruns.folds.fold_logs` and :func:`rxruns.dask.fold_logs`.

Each part is folded alone, and its result has each ``seq`` of each run. Where these overlap, parts are folded
once more: a file that has a run's events out of order, or twice, whole and by ``seq``; a file that may repeat
events of an earlier one without them. Logs of one machine need none of this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial, reduce
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from rxruns._arguments import OnInvalid, check_flag, check_on_invalid, check_whole_number
from rxruns._fold import Fold, checked_fold, needs_whole_runs
from rxruns._logs._fold_part import FoldedPart, Seqs, fold_part
from rxruns._logs._parts import LogPart, Path, find_files, split
from rxruns.errors import StreamProtocolError

__all__ = ["FoldedLogs", "LogFold", "Runner", "fold_parts", "overlaps", "planned"]

logger = logging.getLogger("rxruns")

_F = TypeVar("_F", bound=Fold)
_R = TypeVar("_R")

SMALLEST, LARGEST = 8 * 2**20, 256 * 2**20
"""Bytes of a part."""


class Runner(Protocol):
    """Where parts are folded. A task is whatever stands for a result there."""

    def map(self, work: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Start a task for each group of arguments."""
        ...

    def results(self, function: Callable[[Any], _R], tasks: Sequence[Any], /) -> list[_R]:
        """Return what the function makes of each task's result."""
        ...

    def combined(self, combine: Callable[[list[_R]], _R], tasks: Sequence[Any], /) -> _R:
        """Return all results combined in their order."""
        ...

    def tasks(self, tasks: list[Any], progress: bool, /) -> AbstractContextManager[list[Any]]:
        """Return the tasks, which are canceled if the block raises."""
        ...


class FoldedLogs(Struct, Generic[_F], frozen=True):
    """The result of a fold over logs.

    Attributes:
        value: the fold's.
        runs: the runs of which each file has events that the fold needs, as numbers, by path.
        invalid: the errors of lines that are not valid events.
        cut: a message for each file that ends with a cut line.
    """

    value: _F
    runs: Mapping[str, set[int]]
    invalid: tuple[StreamProtocolError, ...]
    cut: tuple[str, ...]


class LogFold(Struct, Generic[_F], frozen=True):
    """A fold over logs, with its arguments checked and its files found.

    Attributes:
        files: each whole, in order.
    """

    files: list[LogPart]
    fold: _F
    every_line: bool
    on_invalid: OnInvalid

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def work(self) -> Callable[..., FoldedPart[_F]]:
        """The function that folds a part."""
        tolerant = self.on_invalid != "raise"
        return partial(fold_part, fold=self.fold, every_line=self.every_line, tolerant=tolerant)

    def parts(self, count: int, size: int | None = None) -> list[LogPart]:
        """Return about `count` parts of large files, or parts of `size` bytes."""
        if needs_whole_runs(self.fold):
            return self.files
        return split(self.files, size or min(LARGEST, max(SMALLEST, -(-self.size // count))))

    def finish(self, folded: FoldedLogs[_F]) -> _F:
        """Report what was left out, and return the value."""
        for cut in folded.cut:
            logger.warning("%s", cut, extra={"is_incomplete": True})
        if self.on_invalid != "raise":
            for error in folded.invalid:
                self.on_invalid(error)
        return folded.value


def planned(
    paths: Path | Iterable[Path],
    fold: _F,
    *,
    every_line: bool,
    on_invalid: OnInvalid,
    partition_size: int | None = None,
) -> LogFold[_F]:
    """Check the arguments and find the files.

    Raises:
        InvalidArgumentError: an argument can't be used, or no file matches.
    """
    checked_fold(fold)
    check_flag("every_line", every_line)
    check_on_invalid(on_invalid)
    if partition_size is not None:
        check_whole_number("partition_size", partition_size, at_least=1)
    return LogFold(find_files(paths), fold, every_line, on_invalid)


def fold_parts(
    runner: Runner, parts: Sequence[LogPart], work: Callable[..., FoldedPart[_F]], progress: bool = False
) -> FoldedLogs[_F]:
    """Fold each part alone, then once more those that have events out of order or again."""
    with runner.tasks(runner.map(work, parts), progress) as tasks:
        first = tasks
        seqs = runner.results(_seqs, tasks)
        unordered = _unordered(parts, runner.results(_has_late, tasks), seqs)
        calls: dict[int, tuple[LogPart, dict[str, Any]]]
        if unordered:
            kept = [at for at, part in enumerate(parts) if part.path not in unordered or part.begin == 0]
            parts = [_whole(parts[at]) if parts[at].path in unordered else parts[at] for at in kept]
            calls = {at: (part, {"by_seq": True}) for at, part in enumerate(parts) if part.path in unordered}
            tasks = _again(runner, work, [tasks[at] for at in kept], calls)
            seqs = runner.results(_seqs, tasks)
        repeated = overlaps(parts, seqs)
        if repeated:
            calls = {
                at: (parts[at], {"by_seq": parts[at].path in unordered, "excluded": twice})
                for at, twice in repeated.items()
            }
            tasks = _again(runner, work, tasks, calls)
        reports = runner.results(_report, first)
        folded: FoldedPart[_F] = runner.combined(_combined, tasks)
    invalid, cut = zip(*reports, strict=True)
    runs: dict[str, set[int]] = {}
    for part, found in zip(parts, seqs, strict=True):
        runs.setdefault(part.path, set()).update(found)
    return FoldedLogs(
        folded.value, runs, tuple(chain.from_iterable(invalid)), tuple(chain.from_iterable(cut))
    )


def overlaps(
    parts: Sequence[LogPart], seqs: Sequence[Mapping[int, Seqs]]
) -> dict[int, dict[int, list[Seqs]]]:
    """By part and run, what earlier files have, of those whose ``seq`` overlap.

    Files need not be in the order of their events.

    >>> parts = LogPart("a", 0, 8, 16), LogPart("a", 8, 16, 16), LogPart("b", 0, 8, 8)
    >>> found = overlaps(parts, [{7: [5, 7]}, {7: [9, 9]}, {7: [1, 8]}])
    >>> found
    {2: {7: [[5, 7, 9, 9]]}}
    """
    found: dict[int, dict[int, list[Seqs]]] = {}
    earlier: dict[int, list[Seqs]] = {}  # of files before this one, by run
    here: dict[int, Seqs] = {}  # of this file
    path = parts[0].path
    for index, (part, runs) in enumerate(zip(parts, seqs, strict=True)):
        if part.path != path or part.begin == 0:  # the same file may be named twice
            for run, its in here.items():
                earlier.setdefault(run, []).append(its)
            path, here = part.path, {}
        for run, its in runs.items():
            twice = [there for there in earlier.get(run, ()) if there[0] <= its[-1] and its[0] <= there[-1]]
            if twice:
                found.setdefault(index, {})[run] = twice
            here[run] = here[run] + its if run in here else its
    return found


def _unordered(
    parts: Sequence[LogPart], has_late: Sequence[bool], seqs: Sequence[Mapping[int, Seqs]]
) -> set[str]:
    """The files that have an event of a run after a later one, or twice."""
    found: set[str] = set()
    reached: dict[int, int] = {}
    for part, is_late, runs in zip(parts, has_late, seqs, strict=True):
        if part.begin == 0:
            reached = {}
        if is_late or any(its[0] <= reached.get(run, 0) for run, its in runs.items()):
            found.add(part.path)
        reached.update({run: its[-1] for run, its in runs.items()})
    return found


def _whole(part: LogPart) -> LogPart:
    return LogPart(part.path, 0, part.size, part.size, part.compression)


def _again(
    runner: Runner,
    work: Callable[..., FoldedPart[_F]],
    tasks: list[Any],
    calls: Mapping[int, tuple[LogPart, Mapping[str, Any]]],
) -> list[Any]:
    """The tasks, those in `calls` replaced by new ones of these parts with these options."""
    parts, options = zip(*calls.values(), strict=True)
    again = dict(zip(calls, runner.map(partial(_with_options, work), parts, options), strict=True))
    return [again.get(at, task) for at, task in enumerate(tasks)]


def _with_options(
    work: Callable[..., FoldedPart[_F]], part: LogPart, options: Mapping[str, Any], **more: Any
) -> FoldedPart[_F]:
    return work(part, **options, **more)


def _seqs(part: FoldedPart[Any]) -> dict[int, Seqs]:
    return part.seqs


def _has_late(part: FoldedPart[Any]) -> bool:
    return part.has_late


def _report(part: FoldedPart[Any]) -> tuple[tuple[StreamProtocolError, ...], tuple[str, ...]]:
    return part.invalid, part.cut


def _combined(parts: list[FoldedPart[_F]]) -> FoldedPart[_F]:
    return FoldedPart(reduce(lambda one, other: one.combine(other), (part.value for part in parts)), {})
