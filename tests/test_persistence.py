"""Cursors and folds that outlive a process: following is resumed, folds are continued (R23, R24)."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
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
from rxruns.testing import RunLog, events
from tests.killing import killed
from tests.observing import run_of
from tests.soak import both_sizes, measured

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
"""Follows a run. The subscriber writes the ``seq`` of each event."""


def worked(arguments: list[str], kill_at: int) -> tuple[list[int], bool]:
    """Let a worker follow the run, and kill it after `kill_at` events.

    Returns:
        The ``seq`` that it saw, and True at the end of the run.
    """
    seen = killed(WORKER, arguments, kill_at)
    ended = seen[-1:] == [b"end\n"]
    return [int(seq) for seq in seen[: -1 if ended else None]], ended


@both_sizes
def test_R23_a_killed_process_loses_no_event_and_sees_one_twice_at_most(
    tmp_path: Path, soaking: bool
) -> None:
    dice = random.Random(23)
    count, most = (3_000, 250) if soaking else (200, 90)
    trouble = [Delay(per_event=0.0005), CutRandomly(2_000, 20_000)]
    processes: list[list[int]] = []
    with DevServer() as server:
        run = server.add_run(events=run_of(count - 4))
        server.use_faults(Faults(otherwise=trouble, seed=23))
        arguments = [server.url, server.api_key, str(run.run_id), str(tmp_path / "cursors.db")]
        ended = False
        while not ended:
            seen, ended = worked(arguments, kill_at=dice.randint(1, most))
            processes.append(seen)
            assert len(processes) < 500
    processes = [seen for seen in processes if seen]
    for seen in processes:
        assert list(range(seen[0], seen[0] + len(seen))) == seen
    for before, after in pairwise(processes):
        assert after[0] in (before[-1], before[-1] + 1)  # the one in flight comes again, if it was not stored
    lost = count - len({seq for seen in processes for seq in seen})
    assert len(processes) > 2
    assert 0 == measured("R23", f"events lost of {count:,} in {len(processes)} processes", lost, 0, "")
    assert sum(map(len, processes)) - count <= len(processes) - 1


# ---- R24: folds ----

PRICES = {("openai", "gpt-5"): Price("1.25", "10"), ("anthropic", "claude"): Price("3", "15")}


def _metered(log: RunLog, dice: random.Random) -> RunLog:
    provider, model = dice.choice([*PRICES, ("openai", "unpriced")])
    return log.llm_call(
        model, provider, input_tokens=dice.randint(0, 5_000), output_tokens=dice.randint(0, 900)
    )


STEPS: list[Callable[[RunLog, random.Random], RunLog]] = [
    *[lambda log, dice: log.text(f"piece {len(log)} ")] * 3,
    lambda log, dice: log.llm_call(None, None),
    _metered,
    lambda log, dice: log.tool_call("search"),
    lambda log, dice: log.tool_call("search").waits().tool_result("found"),
]


@cache
def long_run() -> RunLog:
    """A run of about 500 events with several nodes, calls, texts and tools, which fails."""
    dice, log = random.Random(24), events.run()
    while len(log) < 500:
        log = dice.choice(STEPS)(log.node(f"node_{dice.randrange(5)}"), dice)
    return log.fails()


FOLDS: dict[str, tuple[Callable[..., Any], Any]] = {
    "cost totals": (lambda initial: ops.cost_totals(PRICES, initial=initial), CostTotals(PRICES)),
    "run state": (lambda initial: ops.run_state(initial=initial), RunState()),
}


def folded(fold: Callable[..., Any], initial: Any, events: Iterable[RunEvent]) -> Any:
    """The last value that the operator emits, or `initial` if no event changes it."""
    return reactivex.from_iterable(events).pipe(fold(initial), ops.last_or_default(initial)).run()


@pytest.mark.parametrize("name", FOLDS)
def test_R24_a_fold_that_is_continued_is_the_fold_from_the_start(name: str) -> None:
    fold, empty = FOLDS[name]
    log = long_run()
    whole, value, wrong = folded(fold, empty, log), empty, 0
    assert whole != empty
    for stored_at in range(len(log) + 1):
        stored = pickle.loads(pickle.dumps(value))
        wrong += folded(fold, stored, log[stored_at:]) != whole
        value = folded(fold, value, log[stored_at : stored_at + 1])
    assert 0 == measured("R24", f"{name}: wrong continuations, of {len(log) + 1}", wrong, 0, "")


@pytest.mark.parametrize("name", FOLDS)
def test_R24_a_fold_is_continued_from_its_cursor_through_a_socket(name: str, tmp_path: Path) -> None:
    fold, value = FOLDS[name]
    log = long_run()
    whole = folded(fold, value, log)
    with DevServer() as server, server.client() as client, SqliteCursors(tmp_path / "cursors.db") as store:
        server.serve_log(log)
        while store.get(log.run_id) < len(log):  # 53 events at a time, as processes one after the other
            source = run_events(log.run_id, client=client, after_seq=store.get(log.run_id))
            part = block_on(source.pipe(ops.take(53), ops.checkpoint(store), ops.to_list()))
            value = pickle.loads(pickle.dumps(folded(fold, value, part or [])))
    assert whole == value
