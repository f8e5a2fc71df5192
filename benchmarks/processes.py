"""Figures that need a process of their own: memory, idle streams, imports."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import in_memory, loopback, peers
from rxruns import RunsClient, ops, run_events
from rxruns.events import NodeEvent

_PAGE = os.sysconf("SC_PAGE_SIZE")


def rss() -> int:
    """Bytes of memory of this process (RSS)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def measured_alone(function: Callable[..., object], *arguments: object) -> Any:
    """Call a function of a module in a new process, with its arguments as text; return its result as JSON."""
    name = (function.__module__, function.__name__)
    command = [sys.executable, "-m", "benchmarks.processes", *name, *map(str, arguments)]
    return msgspec.json.decode(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def kept_bytes(loader: str, path: str) -> float:
    """Bytes of memory for each event that is kept."""
    keep = in_memory.keep if loader == in_memory.OURS else _keep_models
    with in_memory.recorded_log("stream", 100) as short:
        keep(short)
    gc.collect()
    before = rss()
    kept = keep(Path(path))
    gc.collect()
    return (rss() - before) / len(kept)


def _keep_models(path: Path) -> list[Any]:
    decode = peers.pydantic_decoder()
    with path.open("rb") as log:
        return [decode(line) for line in log]


def growth(server: str, events: str) -> dict[str, float]:
    """Memory and time for `events` events through four operators, after a hundredth as warm-up."""
    count = int(events)
    _through_four_operators(server, count // 100)
    before = rss()
    started, cpu = time.perf_counter(), time.process_time()
    _through_four_operators(server, count)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    gc.collect()
    return {"growth_mib": (rss() - before) / 2**20, "wall": wall, "cpu": cpu, "events": count}


def _through_four_operators(server: str, events: int) -> None:
    ended = threading.Event()
    errors: list[Exception] = []

    def on_error(error: Exception) -> None:
        errors.append(error)
        ended.set()

    with RunsClient(api_key=loopback.KEY, base_url=f"{server}/stream/{events}/65536") as client:
        source = run_events(loopback.RUN_ID, client=client)
        piped = source.pipe(
            ops.of_type(NodeEvent),
            ops.for_node("draft", "summarize"),
            ops.filter(_is_even),
            ops.cost_totals({}),
        )
        piped.subscribe(in_memory.drop, on_error, ended.set)
        ended.wait()
    if errors:
        raise errors[0]


def _is_even(event: Any) -> bool:
    return bool(event.seq % 2 == 0)


def idle(server: str, streams: str, seconds: str) -> dict[str, float]:
    """Memory of a waiting stream, KiB, and the CPU share of all of them, %."""
    count = int(streams)
    first = threading.Semaphore(0)
    with RunsClient(api_key=loopback.KEY, base_url=f"{server}/idle/0/0") as client:
        source = run_events(loopback.RUN_ID, client=client)
        warm = source.subscribe(lambda event: first.release())
        first.acquire()
        gc.collect()
        before = rss()
        subscriptions = [source.subscribe(lambda event: first.release()) for _ in range(count)]
        for _ in subscriptions:
            first.acquire()
        gc.collect()
        memory = (rss() - before) / count / 1024
        cpu, wall = time.process_time(), time.perf_counter()
        threading.Event().wait(float(seconds))
        share = (time.process_time() - cpu) / (time.perf_counter() - wall) * 100
        for subscription in [warm, *subscriptions]:
            subscription.dispose()
    return {"kib": memory, "cpu_percent": share}


def import_seconds(statement: str) -> float:
    """CPU time of a new interpreter that runs one statement, compiled before."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # With cached bytecode, as in an installed package.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    _, module, function, *given = sys.argv
    print(msgspec.json.encode(getattr(import_module(module), function)(*given)).decode())
