"""What a fleet of runs asks of the processes that follow it, and of the service when all come back at once.

A discrete-event simulation, fed with what the benchmarks measured. Runs arrive at random (Poisson), live for
a random time (exponential) and bring their events in pieces at random. One process follows them as
`merge_runs` does: at most so many at once, the others wait for a place. Its processor, which the
interpreter's lock makes one, does one thing after the other: it opens connections and decodes pieces.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import count

from msgspec import Struct

from rxruns import ResumePolicy

STREAMS = 1_000
"""Live streams that one process was measured with."""


class Cost(Struct, frozen=True, kw_only=True):
    """What the benchmarks measured, with 1,000 busy streams: seconds of a processor, and bytes."""

    event: float = 6e-6
    opening: float = 1.6e-3
    stream: float = 55 * 1024.0
    process: float = 42e6


MEASURED = Cost()


class Load(Struct, frozen=True, kw_only=True):
    """What comes: runs, how long each lives on average, and its events, so many to a piece."""

    runs_per_second: float
    seconds_per_run: float = 60.0
    events_per_second: float = 20.0
    events_per_piece: int = 10


class Followed(Struct, frozen=True, kw_only=True):
    """What came of it, from the first second on.

    Attributes:
        arrived, ended, live, waiting: runs; those that were there at the start count as arrived.
        mean_live, peak_live: streams at once.
        mean_waiting: runs that waited for a place, on average over the time.
        mean_wait: seconds that a run waited for its place.
        busy: the share of the time in which the processor worked.
        mean_lag, p99_lag: seconds from a piece's arrival until its last event was handed over.
    """

    arrived: int
    ended: int
    live: int
    waiting: int
    mean_live: float
    peak_live: int
    mean_waiting: float
    mean_wait: float
    busy: float
    mean_lag: float
    p99_lag: float


class _Process:
    """One process that follows runs: places, a queue before them, and a processor."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.live = self.peak = self.arrived = self.ended = 0
        self.waiting: deque[tuple[float, float]] = deque()
        self.waits: list[float] = []
        self.lags: list[float] = []
        self.busy = self.live_seconds = self.waiting_seconds = 0.0
        self._free_at = self._looked_at = 0.0

    def pass_time(self, now: float) -> None:
        """Count what was there since the last look."""
        since, self._looked_at = now - self._looked_at, now
        self.live_seconds += self.live * since
        self.waiting_seconds += len(self.waiting) * since

    def work(self, now: float, seconds: float) -> float:
        """When what comes now is done: one piece of work after the other, in the order in which they come."""
        self._free_at = max(now, self._free_at) + seconds
        self.busy += seconds
        return self._free_at


def follow(
    load: Load, *, cost: Cost = MEASURED, most: float = STREAMS, seconds: float = 200.0, seed: int = 1
) -> Followed:
    """Simulate one process for that long. It begins with as many live runs as there are on average."""
    dice, process = random.Random(seed), _Process(most)
    pieces = load.events_per_second / load.events_per_piece
    # (time, number, what, since when, until when): the number keeps the order of what happens at once.
    agenda: list[tuple[float, int, str, float, float]] = []
    numbers = count()

    def plan(at: float, what: str, since: float = 0.0, until: float = 0.0) -> None:
        heapq.heappush(agenda, (at, next(numbers), what, since, until))

    def take_place(now: float, since: float, until: float, opening: float) -> None:
        process.live += 1
        process.peak = max(process.peak, process.live)
        process.waits.append(now - since)
        done = process.work(now, opening)
        at = since + dice.expovariate(pieces)
        while at < until:
            plan(max(now, at), "piece")  # what a run brought before it was followed comes at once
            at += dice.expovariate(pieces)
        plan(max(done, until), "end")

    def arrive(now: float, since: float, until: float, opening: float) -> None:
        process.arrived += 1
        if process.live < most:
            take_place(now, since, until, opening)
        else:
            process.waiting.append((since, until))

    def life() -> float:
        return dice.expovariate(1 / load.seconds_per_run)

    arrival = dice.expovariate(load.runs_per_second)
    while arrival < seconds:
        plan(arrival, "run", arrival, arrival + life())
        arrival += dice.expovariate(load.runs_per_second)
    for _ in range(round(load.runs_per_second * load.seconds_per_run)):
        arrive(0.0, 0.0, life(), 0.0)  # the rest of an exponential life is like a whole one
    while agenda and agenda[0][0] < seconds:
        now, _, what, since, until = heapq.heappop(agenda)
        process.pass_time(now)
        if what == "piece":
            process.lags.append(process.work(now, load.events_per_piece * cost.event) - now)
        elif what == "run":
            arrive(now, since, until, cost.opening)
        else:
            process.live -= 1
            process.ended += 1
            if process.waiting:
                take_place(now, *process.waiting.popleft(), cost.opening)
    process.pass_time(seconds)
    return _outcome(process, seconds)


def _outcome(process: _Process, seconds: float) -> Followed:
    lags, waits = sorted(process.lags) or [0.0], process.waits or [0.0]
    return Followed(
        arrived=process.arrived,
        ended=process.ended,
        live=process.live,
        waiting=len(process.waiting),
        mean_live=process.live_seconds / seconds,
        peak_live=process.peak,
        mean_waiting=process.waiting_seconds / seconds,
        mean_wait=sum(waits) / len(waits),
        busy=process.busy / seconds,
        mean_lag=sum(lags) / len(lags),
        p99_lag=lags[len(lags) * 99 // 100],
    )


class Recovered(Struct, frozen=True, kw_only=True):
    """How streams came back that were cut all at once.

    Attributes:
        back, given_up: how many were followed again, and how many were not.
        requests: in all; ``busiest_second``: the most of them within one.
        seconds: until the last one was back.
    """

    back: int
    given_up: int
    requests: int
    busiest_second: int
    seconds: float


def reconnect(
    streams: int,
    policy: ResumePolicy,
    *,
    outage: float,
    accepts_per_second: float,
    jitter: bool = True,
    seed: int = 1,
) -> Recovered:
    """Cut so many streams at once, and let each come back as the policy says.

    For `outage` seconds the service refuses everybody; then it accepts so many connections a second, and
    refuses the rest. A stream that was open for long comes back at once: delays count from the opening of the
    connection before.
    """
    delay = policy.delay if jitter else without_jitter(policy)
    agenda = [(0.0, stream, 1) for stream in range(streams)]  # of equal times the first stream is first
    asked: list[float] = []
    back: list[float] = []
    room, looked_at = accepts_per_second / 10, outage
    with _seeded(seed):
        while agenda:
            now, stream, attempt = heapq.heappop(agenda)
            asked.append(now)
            if now >= outage:
                room = min(accepts_per_second / 10, room + (now - looked_at) * accepts_per_second)
                looked_at = now
            if now >= outage and room >= 1:
                room -= 1
                back.append(now)
            elif attempt < policy.max_reconnects:
                heapq.heappush(agenda, (now + delay(attempt + 1), stream, attempt + 1))
    return Recovered(
        back=len(back),
        given_up=streams - len(back),
        requests=len(asked),
        busiest_second=_most_within_a_second(asked),
        seconds=max(back, default=math.inf),
    )


def without_jitter(policy: ResumePolicy) -> Callable[[int], float]:
    """The policy's delays as they would be if all clients waited alike."""
    return lambda n: min(policy.base_backoff * 2.0 ** (n - 1), policy.max_backoff)


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """The policies' own jitter, the same each time."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _most_within_a_second(times: Sequence[float]) -> int:
    """The largest number of them that lie within one second. `times` ascend."""
    first = most = 0
    for last, time in enumerate(times):
        while time - times[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most
