"""Socket to ``on_next``: over loopback HTTP, from a server in another process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import requests

from benchmarks.corpus import RUN_ID, lines
from benchmarks.in_memory import drop
from benchmarks.measuring import Contestant, Sample, side_by_side
from benchmarks.peers import pydantic_decoder
from rxruns import RunsClient, run_events

OURS = "run_events"
KEY = "mr_sk_benchmark"

OnNext = Callable[[Any], object]
Read = Callable[[str, OnNext], None]


def measure(server: str, mix: str, size: int, events: int, rounds: int) -> dict[str, dict[str, list[Sample]]]:
    """Samples by contestant, of events dropped and of events kept. `size`: as in the server's path."""
    base_url = f"{server}/{mix}/{events}/{size}"
    log = [line[:-1] for line in lines(mix, events)]
    samples = {}
    with RunsClient(api_key=KEY, base_url=base_url) as client, httpx.Client() as httpx_client:
        readers: dict[str, Read] = {
            OURS: lambda url, on_next: follow(client, on_next),
            "requests + json": _requests_reader(),
            "httpx + pydantic": _httpx_reader(httpx_client),
            "orjson.loads in memory": lambda url, on_next: _load(log, on_next),
        }
        url = f"{base_url}/runs/{RUN_ID}/events"
        samples["dropped"] = side_by_side(
            {name: _dropping(read, url) for name, read in readers.items()}, rounds
        )
        samples["kept"] = side_by_side(
            {name: _keeping(read, url, events) for name, read in readers.items()}, rounds
        )
    return samples


def follow(client: RunsClient, on_next: OnNext, run_id: str = RUN_ID) -> None:
    """Subscribe, and wait for the end."""
    follow_all(client, on_next, [run_id])


def follow_all(client: RunsClient, on_next: OnNext, run_ids: list[str]) -> None:
    """Subscribe to all of them at once, and wait for all their ends."""
    ended = threading.Semaphore(0)
    errors: list[Exception] = []

    def on_error(error: Exception) -> None:
        errors.append(error)
        ended.release()

    for run_id in run_ids:
        run_events(run_id, client=client).subscribe(on_next, on_error, ended.release)
    for _ in run_ids:
        ended.acquire()
    if errors:
        raise errors[0]


def _requests_reader() -> Read:
    session = requests.Session()

    def read(url: str, on_next: OnNext) -> None:
        with session.get(url, stream=True) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                on_next(json.loads(line))

    return read


def _httpx_reader(client: httpx.Client) -> Read:
    validate: Callable[[Any], object] = pydantic_decoder()

    def read(url: str, on_next: OnNext) -> None:
        with client.stream("GET", url) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                on_next(validate(line))

    return read


def _load(log: list[bytes], on_next: OnNext) -> None:
    for line in log:
        on_next(orjson.loads(line))


def _dropping(read: Read, url: str) -> Contestant:
    return lambda: read(url, drop)


def _keeping(read: Read, url: str, events: int) -> Contestant:
    def run() -> list[object]:
        kept: list[object] = []
        read(url, kept.append)
        assert len(kept) == events, f"{len(kept)} of {events} events came"
        return kept

    return run
