"""Delays: from opening a stream to its first event, and from writing a lone event to ``on_next``."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests

from benchmarks.corpus import RUN_ID
from benchmarks.loopback import KEY
from benchmarks.measuring import Sample, side_by_side
from rxruns import RunsClient, run_events
from rxruns.events import NodeOutputDelta

OURS = "run_events"
AT_ONCE = 20
"""Openings, one after the other, in a round."""


def openings(server: str, rounds: int) -> dict[str, list[Sample]]:
    """Samples of opening a stream, receiving its first event and closing it, several times."""
    base_url = f"{server}/idle/0/0"
    url = f"{base_url}/runs/{RUN_ID}/events"
    with RunsClient(api_key=KEY, base_url=base_url) as client, requests.Session() as session:

        def ours() -> None:
            for _ in range(AT_ONCE):
                arrived = threading.Event()
                with run_events(RUN_ID, client=client).subscribe(
                    lambda event, arrived=arrived: arrived.set()
                ):
                    arrived.wait()

        def theirs() -> None:
            for _ in range(AT_ONCE):
                with session.get(url, stream=True) as response:
                    # One byte at a time: any more would wait for the next event.
                    json.loads(next(response.iter_lines(chunk_size=1)))

        return side_by_side({OURS: ours, "requests": theirs}, rounds)


def lone_events(server: str, events: int, pause_ms: int = 5) -> list[float]:
    """Milliseconds from the write on the server to ``on_next``, sorted."""
    delays: list[float] = []
    ended = threading.Event()

    def on_next(event: Any) -> None:
        now = time.monotonic_ns()
        if isinstance(event, NodeOutputDelta) and event.delta.text_delta:
            delays.append((now - int(event.delta.text_delta)) / 1e6)

    with RunsClient(api_key=KEY, base_url=f"{server}/lone/{events}/{pause_ms}") as client:
        run_events(RUN_ID, client=client).subscribe(on_next, lambda error: ended.set(), ended.set)
        ended.wait()
    assert len(delays) == events, f"{len(delays)} of {events} lone events came"
    return sorted(delays)


def lone_bytes(server: str, events: int, pause_ms: int = 5) -> list[float]:
    """The same for a bare socket that decodes nothing: the machine's own delay."""
    delays: list[float] = []
    sent_at = re.compile(rb'"text_delta":"(\d+)"')
    address = urlsplit(server)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        path = f"/lone/{events}/{pause_ms}/runs/{RUN_ID}/events"
        connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received = connection.recv(65536)
            now = time.monotonic_ns()
            delays += [(now - int(sent)) / 1e6 for sent in sent_at.findall(received)]
    assert len(delays) == events, f"{len(delays)} of {events} lone events came"
    return sorted(delays)
