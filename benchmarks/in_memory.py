"""Bytes to events on one core, without a network: the recorded log against loaders that get whole lines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from benchmarks.corpus import lines
from benchmarks.measuring import Contestant, Sample, side_by_side
from benchmarks.peers import msgspec_decoder, pydantic_decoder
from rxruns import recorded_events
from rxruns.schemas import RunEventSchema

OURS = "recorded_events"
SLOW = 10
"""``Schema.load`` gets every tenth line, since it would take most of the time."""


def measure(mix: str, events: int, rounds: int) -> dict[str, dict[str, list[Sample]]]:
    """Samples by contestant, of events dropped at once and of events kept."""
    with recorded_log(mix, events) as path:
        log = path.read_bytes().splitlines()
        decoders: dict[str, Callable[[bytes], object]] = {
            "Schema.load": _schema_loader(),
            "pydantic": pydantic_decoder(),
            "msgspec": msgspec_decoder(),
            "orjson.loads": orjson.loads,
        }
        dropped: dict[str, Contestant] = {OURS: lambda: follow(path)}
        kept: dict[str, Contestant] = {OURS: lambda: keep(path)}
        for name, decode in decoders.items():
            given = log[::SLOW] if name == "Schema.load" else log
            dropped[name] = _dropping(decode, given)
            kept[name] = _keeping(decode, given)
        samples = {
            "dropped": side_by_side(dropped, rounds, warm=True),
            "kept": side_by_side(kept, rounds, warm=True),
        }
    for by_name in samples.values():
        slow = by_name["Schema.load"]
        by_name["Schema.load"] = [Sample(sample.cpu * SLOW, sample.wall * SLOW) for sample in slow]
    return samples


@contextmanager
def recorded_log(mix: str, events: int) -> Iterator[Path]:
    """A log file as ``ops.record`` writes it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "run.ndjson")
        with path.open("wb") as file:
            file.writelines(lines(mix, events))
        yield path


def follow(path: Path) -> None:
    """Read the log and drop its events."""
    recorded_events(path).subscribe(drop)


def keep(path: Path) -> list[Any]:
    """Read the log and keep its events."""
    kept: list[Any] = []
    recorded_events(path).subscribe(kept.append)
    return kept


def drop(event: object) -> None:
    """The cheapest subscriber."""


def _schema_loader() -> Callable[[bytes], object]:
    load = RunEventSchema().load
    return lambda line: load(orjson.loads(line))


def _dropping(decode: Callable[[bytes], object], log: list[bytes]) -> Contestant:
    def run() -> None:
        for line in log:
            decode(line)

    return run


def _keeping(decode: Callable[[bytes], object], log: list[bytes]) -> Contestant:
    def run() -> list[object]:
        kept = []
        keep = kept.append
        for line in log:
            keep(decode(line))
        return kept

    return run
