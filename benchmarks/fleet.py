"""Many streams in one process: their resources, and the cost of merging them.

``live`` and ``waiting_id_bytes`` are measured in a process of their own.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

from reactivex import abc
from reactivex.subject import Subject

from benchmarks.corpus import RUN_ID
from benchmarks.in_memory import drop
from benchmarks.loopback import KEY, follow_all
from benchmarks.measuring import Contestant, Sample, side_by_side
from benchmarks.processes import rss
from rxruns import RunsClient, merge_runs

ALONE = "subscriptions of their own"
MERGED = "merge_runs"


def merging(server: str, count: int, total: int, rounds: int) -> dict[str, list[Sample]]:
    """Samples of `total` events over `count` streams, which are subscribed to one by one, or merged."""
    with RunsClient(api_key=KEY, base_url=f"{server}/stream/{total // count}/16384") as client:
        # One id for all streams, so that the server caches one log.
        ids = [RUN_ID] * count
        contestants: dict[str, Contestant] = {
            ALONE: lambda: follow_all(client, drop, ids),
            MERGED: lambda: _follow_merged(client, ids),
        }
        return side_by_side(contestants, rounds)


def _follow_merged(client: RunsClient, ids: list[str]) -> None:
    ended = SimpleQueue[Exception | None]()
    merge_runs(ids, client=client).subscribe(drop, ended.put, lambda: ended.put(None))
    if (error := ended.get()) is not None:
        raise error


def live(server: str, streams: str, seconds: str) -> dict[str, float]:
    """The resources of `streams` live streams, each of which waits after its first event."""
    count, warned = int(streams), _PoolWarnings()
    with RunsClient(api_key=KEY, base_url=f"{server}/idle/0/0") as client:
        _follow(client, 1).dispose()
        _wait_for_threads(1)
        gc.collect()
        memory, threads, descriptors = rss(), threading.active_count(), _descriptors()
        cpu, wall = time.process_time(), time.perf_counter()
        subscription = _follow(client, count)
        opened, opening = time.perf_counter() - wall, time.process_time() - cpu
        gc.collect()
        figures = {
            "streams": count,
            "threads": threading.active_count() - threads,
            "descriptors": _descriptors() - descriptors,
            "kib": (rss() - memory) / count / 1024,
            "open_cpu_ms": opening / count * 1e3,
            "open_s": opened,
            "idle_percent": _share_of_cpu(float(seconds)),
        }
        disposing = time.perf_counter()
        subscription.dispose()
        figures["dispose_s"] = time.perf_counter() - disposing
        _wait_for_threads(threads)
        figures["freed_s"] = time.perf_counter() - disposing
        figures["descriptors_left"] = _descriptors() - descriptors
        figures["pool_warnings"] = warned.count
    return figures


def waiting_id_bytes(server: str, waiting: str) -> float:
    """Bytes of memory for each id of an Observable that waits for its turn."""
    count = int(waiting)
    with RunsClient(api_key=KEY, base_url=f"{server}/idle/0/0") as client:
        ids, first = Subject[UUID](), threading.Event()
        subscription = merge_runs(ids, max_concurrent=1, client=client).subscribe(lambda event: first.set())
        ids.on_next(UUID(RUN_ID))
        first.wait()
        gc.collect()
        before = rss()
        for number in range(1, count + 1):
            ids.on_next(UUID(int=number << 64))
        taken = (rss() - before) / count
        subscription.dispose()
    return taken


def _follow(client: RunsClient, count: int) -> abc.DisposableBase:
    arrivals = threading.Semaphore(0)
    subscription = merge_runs([RUN_ID] * count, client=client).subscribe(lambda event: arrivals.release())
    for _ in range(count):
        arrivals.acquire()
    return subscription


def _wait_for_threads(most: int) -> None:
    while threading.active_count() > most:
        time.sleep(0.001)


def _share_of_cpu(seconds: float) -> float:
    cpu, wall = time.process_time(), time.perf_counter()
    time.sleep(seconds)
    return (time.process_time() - cpu) / (time.perf_counter() - wall) * 100


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class _PoolWarnings(logging.Handler):
    """Counts urllib3's warnings about a full connection pool."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        logging.getLogger("urllib3.connectionpool").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "pool is full" in record.getMessage()
