"""What outlives a process: cursors that are followed on from, folds that are gone on with (R23, R24)."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import reactivex

from rxruns import CostTotals, Price, block_on, ops, run_events
from rxruns.cursors import SqliteCursors
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CutRandomly, Delay
from rxruns.events import RunEvent
from rxruns.state import RunState
from tests.observing import run_of
from tests.soak import both_sizes, measured

ROOT = Path(__file__).resolve().parent.parent

# ---- R23: kill -9 ----

WORKER = """
import os, sys
from rxruns import RunsClient, block_on, ops, run_events
from rxruns.cursors import SqliteCursors

url, key, run_id, cursors = sys.argv[1:]
with RunsClient(api_key=key, base_url=url) as client, SqliteCursors(cursors) as store:
    source = run_events(run_id, client=client, after_seq=store.get(run_id))
    block_on(source.pipe(ops.tap(lambda event: os.write(1, b"%d\\n" % event.seq)), ops.checkpoint(store)))
os.write(1, b"end\\n")
"""
"""Follows a run. Writing a ``seq`` is what its subscriber does with an event."""


def life(arguments: list[str], kill_at: int) -> tuple[list[int], bool]:
    """Let a worker follow the run, and kill it when it has seen so many events.

    Returns:
        The ``seq`` that it saw, and whether it came to the end of the run.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WORKER, *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = list(islice(process.stdout, kill_at))
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()  # what it did before the signal came
    ended = seen[-1:] == [b"end\n"]
    return [int(seq) for seq in seen[: -1 if ended else None]], ended


@both_sizes
def test_R23_a_killed_process_loses_no_event_and_sees_one_twice_at_most(
    tmp_path: Path, soaking: bool
) -> None:
    dice = random.Random(23)
    events, most = (3_000, 250) if soaking else (200, 90)
    trouble = [Delay(per_event=0.0005), CutRandomly(2_000, 20_000)]
    lives: list[list[int]] = []
    with DevServer() as server:
        run = server.add_run(events=run_of(events - 4))
        server.use_faults(Faults(otherwise=trouble, seed=23))
        arguments = [server.url, server.api_key, str(run.run_id), str(tmp_path / "cursors.db")]
        ended = False
        while not ended:
            seen, ended = life(arguments, kill_at=dice.randint(1, most))
            lives.append(seen)
            assert len(lives) < 500
    lives = [seen for seen in lives if seen]
    for seen in lives:
        assert list(range(seen[0], seen[0] + len(seen))) == seen
    for before, after in pairwise(lives):
        assert after[0] in (before[-1], before[-1] + 1)  # the one in flight comes again, if it was not stored
    lost = events - len({seq for seen in lives for seq in seen})
    assert len(lives) > 2
    assert 0 == measured("R23", f"events lost of {events:,} in {len(lives)} lives", lost, 0, "")
    assert sum(map(len, lives)) - events <= len(lives) - 1


# ---- R24: folds ----

PRICES = {("openai", "gpt-5"): Price("1.25", "10"), ("anthropic", "claude"): Price("3", "15")}


@cache
def long_run() -> list[RunEvent]:
    """A run of 500 events with several nodes, calls, texts, tools and questions, as a service sends them."""
    with DevServer(seed=24) as server, server.client() as client:
        run = server.add_run(events=_records(500))
        return client.list_events(run.run_id, include_output=True)


def _records(count: int) -> Iterator[dict[str, Any]]:
    dice = random.Random(24)
    nodes = [f"node_{number}" for number in range(5)]
    yield {"type": "run_started", "plan_hash": "0" * 64}
    for node in nodes:
        yield {"type": "node_started", "node_id": node}
    for number in range(count - 12):
        node = dice.choice(nodes)
        yield {"node_id": node} | dice.choice([_text, _text, _text, _call, _tool_call, _tool_result])(
            number, dice
        )
    yield {"type": "node_failed", "node_id": nodes[0], "error": {"message": "no luck"}}
    for node in nodes[1:]:
        yield {"type": "node_succeeded", "node_id": node}
    yield {"type": "run_failed", "plan_hash": "0" * 64, "error": {"message": "no luck"}}


STEP = {"step": 0, "request_id": "0b7e8f5c-6d1a-4c3b-9a2e-5f4d3c2b1a09"}


def _text(number: int, dice: random.Random) -> dict[str, Any]:
    return {"type": "node_output_delta", "delta": {"kind": "message_delta", "text_delta": f"piece {number} "}}


def _call(number: int, dice: random.Random) -> dict[str, Any]:
    provider, model = dice.choice([*PRICES, ("openai", "unpriced")])
    read, written = dice.randint(0, 5_000), dice.randint(0, 900)
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    said = {"provider": provider, "model": model} | ({"usage": usage} if dice.random() < 0.9 else {})
    return {"type": "node_llm_call", "llm_call": STEP | said}


def _tool_call(number: int, dice: random.Random) -> dict[str, Any]:
    call = {"id": f"call_{dice.randint(0, 9)}", "name": "search", "arguments": "{}"}
    return {"type": "node_tool_call", "tool_call": STEP | {"tool_call": call}}


def _tool_result(number: int, dice: random.Random) -> dict[str, Any]:
    call = {"id": f"call_{dice.randint(0, 9)}", "name": "search"}
    return {"type": "node_tool_result", "tool_result": STEP | {"tool_call": call, "output": "found"}}


KINDS = [_text, _text, _text, _call, _tool_call, _tool_result]
FOLDS: dict[str, tuple[Callable[..., Any], Any]] = {
    "cost totals": (lambda initial: ops.cost_totals(PRICES, initial=initial), CostTotals(PRICES)),
    "run state": (lambda initial: ops.run_state(initial=initial), RunState()),
}


def folded(fold: Callable[..., Any], initial: Any, events: list[RunEvent]) -> Any:
    """What the operator emits last, or what it began with if nothing changed that."""
    return reactivex.from_iterable(events).pipe(fold(initial), ops.last_or_default(initial)).run()


@pytest.mark.parametrize("name", FOLDS)
def test_R24_a_fold_that_is_gone_on_with_is_the_fold_from_the_start(name: str) -> None:
    fold, empty = FOLDS[name]
    events = long_run()
    whole, value, wrong = folded(fold, empty, events), empty, 0
    assert (500, True) == (len(events), whole != empty)
    for stored_at in range(len(events) + 1):
        stored = pickle.loads(pickle.dumps(value))
        wrong += folded(fold, stored, events[stored_at:]) != whole
        value = folded(fold, value, events[stored_at : stored_at + 1])
    assert 0 == measured("R24", f"{name}: of 501 places to go on from, wrong", wrong, 0, "")


@pytest.mark.parametrize("name", FOLDS)
def test_R24_a_fold_goes_on_from_its_cursor_through_a_socket(name: str, tmp_path: Path) -> None:
    fold, empty = FOLDS[name]
    events = long_run()
    whole = folded(fold, empty, events)
    with DevServer() as server, server.client() as client, SqliteCursors(tmp_path / "cursors.db") as store:
        run = server.add_run(events[0].run_id, _records(500))
        value: Any = empty
        for _ in range(10):  # of 53 events each: as many processes, one after the other
            source = run_events(run.run_id, client=client, after_seq=store.get(run.run_id))
            part = block_on(source.pipe(ops.take(53), ops.checkpoint(store), ops.to_list()))
            value = pickle.loads(pickle.dumps(folded(fold, value, part or [])))
    assert 500 == store_cursor(tmp_path, run.run_id)
    assert _without_times(whole) == _without_times(value)


def store_cursor(folder: Path, run_id: Any) -> int:
    with SqliteCursors(folder / "cursors.db") as store:
        return store.get(run_id)


def _without_times(value: Any) -> Any:
    """What is the same whenever the events were recorded."""
    if isinstance(value, CostTotals):
        return value
    nodes = {name: (node.status, str(node.text), node.step, node.error) for name, node in value.nodes.items()}
    return value.status, nodes, value.last_seq, value.costs
