"""The costs of runs, folded from recorded logs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.progress import Progress

from rxruns._logs import format_of
from rxruns._logs._blocks import blocks
from rxruns._logs._source import Unpacked
from rxruns._ndjson._decoding import RecordError, decode_event
from rxruns.cli._panel import NO_EVENT, early_end
from rxruns.cli._sources import Service, Source
from rxruns.errors import InvalidArgumentError, StoreError, StreamProtocolError
from rxruns.folds import By
from rxruns.folds._logs import fold_files
from rxruns.folds._run_cost import RunCost, RunCosts

__all__ = ["read_costs"]

_PROGRESS_AFTER = 1.0
"""Seconds."""


def read_costs(
    sources: tuple[Source, ...], empty: RunCost, service: Service, every_line: bool
) -> tuple[RunCosts, dict[Source, str]]:
    """Return the costs of all runs, and the reasons why sources could not be read to their end."""
    found = _from_logs([source for source in sources if _is_log(source)], empty, service, every_line)
    searched = set(found)
    rest = [source for source in dict.fromkeys(sources) if source not in found]
    followed, errors = _from_events(rest, empty, service) if rest else ({}, {})
    found = {source: found.get(source, followed.get(source, {})) for source in sources}
    for source, costs in found.items():
        if isinstance(source, Path) and not costs:
            errors.setdefault(source, NO_EVENT)
    for source, why in _early_ends(found, searched).items():
        errors.setdefault(source, why)
    total: RunCosts = {}
    for costs in found.values():
        for run_id, cost in costs.items():
            # The arguments may name both a run and its log: the one with more calls counts.
            total[run_id] = max(cost, total.get(run_id, cost), key=lambda one: one.calls)
    return total, errors


def _from_events(
    sources: list[Source], empty: RunCost, service: Service
) -> tuple[dict[Source, RunCosts], dict[Source, str]]:
    from rxruns.cli._cost_following import follow_costs  # noqa: PLC0415  (RxPY and HTTP: half the start time)

    return follow_costs(sources, empty, service)


def _is_log(source: Source) -> bool:
    """Return True for a file that other processes can open too."""
    return isinstance(source, Path) and source.is_file() and not str(source).startswith(("/dev/", "/proc/"))


def _from_logs(
    logs: list[Source], empty: RunCost, service: Service, every_line: bool
) -> dict[Source, RunCosts]:
    """Return the costs in each log that a search can read. A run of several logs is in the first one.

    Logs with an error are left out, to be read again event by event: the events before the error count.
    """
    paths = {os.path.abspath(str(log)): log for log in logs}
    fold = By("run_id", empty)
    try:
        with _progress() as on_progress:
            if not paths:
                return {}
            plan, folded = fold_files(list(paths), fold, None, every_line, service.on_invalid, on_progress)
    except (InvalidArgumentError, StoreError, StreamProtocolError):
        return {}
    costs = plan.finish(folded)
    found: dict[Source, RunCosts] = {}
    seen: set[int] = set()
    for path, log in paths.items():
        runs = folded.runs[path]
        here = {run_id: cost for run_id, cost in costs.items() if run_id.int in runs}
        if here:
            found[log] = {run_id: empty if run_id.int in seen else cost for run_id, cost in here.items()}
        seen |= runs
    return found


@contextmanager
def _progress() -> Generator[Callable[[int, int], None] | None]:
    """Show a bar on a terminal while logs are read, once that takes longer than a second."""
    stderr = Console(stderr=True)
    if not stderr.is_terminal:
        yield None
        return
    started = time.monotonic()
    with Progress(console=stderr, transient=True, disable=True) as progress:
        task = progress.add_task("reading")

        def show(read: int, total: int) -> None:
            if progress.disable and time.monotonic() - started > _PROGRESS_AFTER:
                progress.disable = False
                progress.start()
            progress.update(task, completed=read, total=total)

        yield show


def _early_ends(found: dict[Source, RunCosts], searched: set[Source]) -> dict[Source, str]:
    """Return a message for each log with a run whose end is in none of the sources."""
    ended = {run_id for costs in found.values() for run_id, cost in costs.items() if cost.has_ended}
    messages: dict[Source, str] = {}
    for source, costs in found.items():
        early = {
            run_id: cost.last_seq
            for run_id, cost in costs.items()
            if cost.last_seq and run_id not in ended and run_id not in found
        }
        if early and isinstance(source, Path):
            run_id, seq = next(iter(early.items()))
            if source in searched:
                logs = [log for log in searched if isinstance(log, Path) and run_id in found[log]]
                seq = max(seq, *(_last_seq(log, run_id) for log in logs))
            more = f", and {len(early) - 1} more" if len(early) > 1 else ""
            messages[source] = f"run {run_id}: {early_end(seq)}{more}"
    return messages


def _last_seq(log: Path, run_id: UUID) -> int:
    """Return the ``seq`` of the last line with a run's id: a search doesn't see events of other types."""
    last = 0
    name = str(run_id).encode()
    with log.open("rb") as file:
        is_compressed = format_of(file.read(6))
        file.seek(0)
        for block in blocks(Unpacked(file) if is_compressed else file):
            at = block.data.rfind(name, 0, block.end)
            if at >= 0:
                start = block.data.rfind(b"\n", 0, at) + 1
                line = bytes(block.data[start : block.end]).partition(b"\n")[0]
                try:
                    event = decode_event(line)
                except RecordError:  # a line that was cut
                    continue
                if event is not None and event.run_id == run_id:
                    last = max(last, event.seq)
    return last
