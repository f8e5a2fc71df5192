"""Memory does not grow with the number of events (R14)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import reactivex

from rxruns import CostTotals, Price, block_on, ops, run_events
from rxruns._ndjson._decoding import decode_event
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Fault
from rxruns.events import NodeLLMCall, NodeOutputDelta, RunEvent
from tests.observing import PLAN, run_of
from tests.records import line_of
from tests.soak import MIB, both_sizes, measured, peak_of_memory

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
PRICES = {("openai", "gpt-5"): Price("1.25", "10")}
MARK = 5 * MIB
WARM_UP = 20_000
"""Events after which every one-time allocation was made."""


def _line(**fields: Any) -> bytes:
    return line_of({"run_id": str(RUN), "seq": 0, "ts": "2026-01-31T12:00:00Z", "node_id": "draft"} | fields)


def lines(count: int, size: int = 20) -> Iterator[bytes]:
    """Generate the lines of a run with `count` events, four in five of them texts of `size` characters."""
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    call = {"step": 0, "request_id": str(RUN), "provider": "openai", "model": "gpt-5", "usage": usage}
    delta = {"kind": "message_delta", "text_delta": "x" * size}
    texts = _line(type="node_output_delta", delta=delta).split(b'"seq":0')
    calls = _line(type="node_llm_call", llm_call=call).split(b'"seq":0')
    last = _line(type="run_canceled", plan_hash=PLAN, error={"message": "enough"}).split(b'"seq":0')
    for seq in range(1, count):
        yield (b'"seq":%d' % seq).join(calls if seq % 5 == 0 else texts)
    yield (b'"seq":%d' % count).join(last)


@dataclass(frozen=True)
class Flood(Fault):
    """A run whose events are generated while they are sent."""

    events: int
    size: int

    def lines(self, lines_: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        return (line + b"\n" for line in lines(self.events, self.size))

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        """Chunks of 64 KiB or more, as sent by a busy service."""
        piece: list[bytes] = []
        held = 0
        for line in pieces:
            piece.append(line)
            held += len(line)
            if held >= 1 << 16:
                yield b"".join(piece)
                piece, held = [], 0
        yield b"".join(piece)


def is_call(event: RunEvent) -> bool:
    return isinstance(event, NodeLLMCall)


@both_sizes
def test_R14_filtering_and_folding_events_does_not_leak_memory(soaking: bool) -> None:
    count = 1_000_000 if soaking else 100_000

    def totals_of(events: int) -> CostTotals | None:
        decoded = reactivex.from_iterable(filter(None, map(decode_event, lines(events))))
        return decoded.pipe(ops.filter(is_call), ops.cost_totals(PRICES), ops.last()).run()

    totals_of(WARM_UP)
    with peak_of_memory() as grown:
        totals = totals_of(count)
        peak = measured("R14", f"RSS, {count:,} events through filter and fold", grown(), MARK, "MiB")
    assert totals is not None
    assert (count - 1) // 5 == totals.requests
    assert peak < MARK


@both_sizes
@pytest.mark.parametrize(("size", "whole"), [(20, 16_000_000), (100_000, 2_500_000_000)])
def test_R14_a_long_stream_through_a_socket_does_not_leak_memory(
    size: int, whole: int, soaking: bool
) -> None:
    """A million small events, and 2.5 GB of text in events of 100 kB."""
    count = whole // size * 5 // 4 // (1 if soaking else 20)
    length = 0

    def measure(event: RunEvent) -> None:
        nonlocal length
        if isinstance(event, NodeOutputDelta):
            length += len(event.delta.text_delta or "")

    with DevServer() as server, server.client() as client:
        run = server.add_run(RUN, run_of(0))
        source = run_events(run.run_id, client=client).pipe(
            ops.tap(measure), ops.filter(is_call), ops.cost_totals(PRICES)
        )
        server.use_faults(Faults([Flood(max(WARM_UP * 20 // size, 200), size), Flood(count, size)]))
        block_on(source)
        length = 0
        with peak_of_memory() as grown:
            started = time.perf_counter()
            totals = block_on(source)
            taken = time.perf_counter() - started
            peak = grown()
    assert totals is not None
    assert (count - 1) // 5 == totals.requests
    assert size * (count - 1 - totals.requests) == length
    print(f"{count / taken:,.0f} events/s, {length / taken / 1e6:,.0f} MB/s of text")
    measured("R14", f"RSS, {count:,} events of {size:,} characters through a socket", peak, MARK, "MiB")
    assert peak < MARK


@both_sizes
def test_R14_a_slow_subscriber_slows_the_service_down_instead_of_filling_memory(soaking: bool) -> None:
    """Events that were not received yet stay at the service, or in the sockets' buffers."""
    size, count = 100_000, 3_000 if soaking else 600
    seen = 0
    with DevServer() as server, server.client() as client:
        run = server.add_run(RUN, run_of(0))
        server.use_faults(Faults([Flood(200, size), Flood(count, size)]))
        block_on(run_events(run.run_id, client=client))
        peaks: list[float] = []

        def slow(event: RunEvent) -> None:
            nonlocal seen
            seen += 1
            if event.seq == 10:
                assert not server.wait_for(lambda server: server.streams == 0, 0.5)  # it has not sent it all
                peaks.append(grown())

        with peak_of_memory() as grown:
            block_on(run_events(run.run_id, client=client).pipe(ops.tap(slow)))
    assert count == seen
    assert measured("R14", "RSS while a subscriber does not take 300 MB", peaks[0], MARK, "MiB") < MARK
