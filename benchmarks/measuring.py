"""Time contestants side by side: in turn, CPU time beside wall time, medians with their spread."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random

from msgspec import Struct

Contestant = Callable[[], object]


class Sample(Struct, frozen=True):
    """One round of one contestant: CPU seconds of this process (all threads), and wall seconds."""

    cpu: float
    wall: float


class Spread(Struct, frozen=True):
    """Median and quartiles of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}..{self.high:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles.

    >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
    Spread(median=3.0, low=2.0, high=4.0)
    """
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def side_by_side(
    contestants: Mapping[str, Contestant], rounds: int, *, warm: bool = False
) -> dict[str, list[Sample]]:
    """Run all contestants in each round, in random order, after one round that doesn't count.

    A contestant's result is freed after the clock was read: the time for keeping counts, for freeing not.

    Args:
        contestants: by name.
        rounds: the number of rounds that count.
        warm: run each contestant once before it is timed. Otherwise a contestant that reads the same bytes as
            the one before finds them in the processor's cache, and others don't.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    random = Random(7)
    for number in range(rounds + 1):
        for name in random.sample(list(contestants), len(contestants)):
            if warm:
                contestants[name]()
            sample = timed(contestants[name])
            if number:
                samples[name].append(sample)
    return samples


def timed(contestant: Contestant) -> Sample:
    """One round, from a clean heap."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    kept = contestant()
    sample = Sample(time.process_time() - cpu, time.perf_counter() - wall)
    del kept
    return sample


def ratio(samples: Mapping[str, Sequence[Sample]], peer: str, ours: str, clock: str = "cpu") -> Spread:
    """The peer's time divided by ours, round by round: above 1, ours is faster."""
    pairs = zip(samples[peer], samples[ours], strict=True)
    return spread([getattr(theirs, clock) / getattr(mine, clock) for theirs, mine in pairs])


def per_event(samples: Sequence[Sample], events: int, clock: str = "cpu") -> Spread:
    """Microseconds per event."""
    return spread([getattr(sample, clock) / events * 1e6 for sample in samples])
