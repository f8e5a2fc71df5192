"""Folds for tests, and what logs come to without a cluster. Workers import this module too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from rxruns import recorded_events
from rxruns._ndjson._decoding import encode_event
from rxruns.events import NodeLLMCall, RunEvent


@dataclass(frozen=True)
class Seen:
    """Each event, by run and ``seq``, in order, to notice one that is lost, repeated or moved."""

    events: tuple[tuple[UUID, int, str], ...] = ()

    def step(self, event: RunEvent) -> Any:
        return replace(self, events=(*self.events, (event.run_id, event.seq, event.type)))

    def combine(self, other: Any) -> Any:
        return replace(self, events=self.events + other.events)


@dataclass(frozen=True)
class SeenCalls(Seen):
    """The same, of model calls alone."""

    event_types: ClassVar[Any] = (NodeLLMCall,)

    def step(self, event: RunEvent) -> Any:
        return super().step(event) if isinstance(event, NodeLLMCall) else self


@dataclass(frozen=True)
class SeenInOrder(Seen):
    """The same, for whole runs."""

    whole_runs: ClassVar[bool] = True


@dataclass(frozen=True)
class Deadly(Seen):
    """Kills the process that it is folded in, at the first event with this ``seq`` that anybody sees."""

    marker: str = ""
    seq: int = 0

    def step(self, event: RunEvent) -> Any:
        if event.seq == self.seq:
            try:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step(event)


@dataclass(frozen=True)
class DeadlyElsewhere(Seen):
    """Kills each process that it is folded in, except the one that made it."""

    process: int = field(default_factory=os.getpid)

    def step(self, event: RunEvent) -> Any:
        if os.getpid() != self.process:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(event)


@dataclass(frozen=True)
class StuckElsewhere(Seen):
    """Writes the number of each other process into a pipe, and waits there until the process is killed."""

    process: int = field(default_factory=os.getpid)
    pipe: str = ""

    def step(self, event: RunEvent) -> Any:
        if os.getpid() != self.process:
            Path(self.pipe).write_text(f"{os.getpid()}\n", "ascii")
            signal.pause()
        return super().step(event)


@dataclass(frozen=True)
class StuckHere(Seen):
    """Writes the numbers of this process's children into a pipe, and waits until this process is killed."""

    process: int = field(default_factory=os.getpid)
    pipe: str = ""

    def step(self, event: RunEvent) -> Any:
        if os.getpid() == self.process:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
            Path(self.pipe).write_text(children, "ascii")
            signal.pause()
        return super().step(event)


@dataclass(frozen=True)
class Refusing(Seen):
    """Raises at each event."""

    def step(self, event: RunEvent) -> Any:
        raise ArithmeticError(f"no use for {event.type}")


def write_log(path: Path, lines: Iterable[RunEvent | bytes], end: bytes = b"\n") -> Path:
    """Events and raw lines, as a log."""
    encoded = [line if isinstance(line, bytes) else encode_event(line) for line in lines]
    path.write_bytes(b"\n".join(encoded) + end)
    return path


def folded_here(fold: Any, *paths: Path) -> Any:
    """The fold of the events of the logs, one after the other, as `recorded_events` gives them."""
    for path in paths:
        events: list[RunEvent] = []
        recorded_events(path).subscribe(events.append)
        for event in events:
            fold = fold.step(event)
    return fold
