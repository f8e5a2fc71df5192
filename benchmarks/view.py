"""The cost of watching a run in a terminal, beyond following it."""

from __future__ import annotations

import os
from uuid import UUID

import msgspec
from rich.console import Console

from benchmarks import loopback
from benchmarks.corpus import RUN_ID
from benchmarks.in_memory import drop
from benchmarks.measuring import Sample, side_by_side
from benchmarks.processes import measured_alone
from rxruns import RunsClient, run_events
from rxruns.cli._following import follow
from rxruns.cli._view import RunView

OURS = "watch"
PLAIN = "run_events"
EVENTS = 100_000
"""The number in the mark's name."""
ROUNDS = 9
"""In each process. Processes differ by some hundredths, which more rounds in one wouldn't average out."""


def measure(server: str, mix: str, processes: int) -> dict[str, list[Sample]]:
    """Samples of a run that is followed by a subscriber that does nothing, and of one that is watched."""
    samples: dict[str, list[Sample]] = {PLAIN: [], OURS: []}
    for _ in range(processes):
        answer = measured_alone(in_one_process, server, mix)
        for name, more in msgspec.convert(answer, dict[str, list[Sample]]).items():
            samples[name] += more
    return samples


def in_one_process(server: str, mix: str) -> dict[str, list[Sample]]:
    """The samples of one process."""
    with RunsClient(api_key=loopback.KEY, base_url=f"{server}/{mix}/{EVENTS}/{32 * 1024}") as client:
        return side_by_side(
            {PLAIN: lambda: loopback.follow(client, drop), OURS: lambda: _watch(client)}, ROUNDS
        )


def _watch(client: RunsClient) -> None:
    """As ``rxruns watch`` does, in a terminal of 120 columns that never blocks."""
    run_id = UUID(RUN_ID)
    with open(os.devnull, "w") as terminal:
        console = Console(file=terminal, force_terminal=True, width=120, height=40, color_system="256")
        with RunView(console=console) as view:
            panel = view.panel(run_id)
            follow(view, {panel: run_events(run_id, client=client, on_lifecycle=panel.note)})
    assert panel.last_seq == EVENTS, f"{panel.last_seq} of {EVENTS} events came"
