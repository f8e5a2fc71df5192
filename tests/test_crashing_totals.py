"""Totals stored with their cursor are exact wherever the process dies: the code of the recipe."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import reactivex
from reactivex.disposable import Disposable

from rxruns import Price, ops
from rxruns.costs import CostTotals, fold
from rxruns.cursors import MemoryCursors
from rxruns.state import RunState
from tests.conftest import HANG, ROOT
from tests.making import in_turn, llm_call, node_started, run_completed, run_started, tokens

PRICES = {("anthropic", "claude-sonnet-4-5"): Price(3, 15)}
CALLS = [llm_call("anthropic", "claude-sonnet-4-5", usage=tokens(1000, written)) for written in (100, 200)]
LOG = in_turn(run_started(), node_started(), *CALLS, run_completed())
WHOLE = fold(LOG, PRICES)


class Crash(BaseException):
    """The death of the process, simulated by an exception that the recipe doesn't catch."""


def recipe() -> dict[str, Any]:
    """Return the definitions of the recipe, with a source without threads, which would outlive a crash."""
    page = (ROOT / "docs/howto/costs.md").read_text("utf-8").partition("## Totals that survive a crash")[2]
    block = page.partition("```python\n")[2].partition("```")[0].partition("\n\n\nprint(")[0]
    defined: dict[str, Any] = {}
    exec(compile(block, "recipe", "exec", dont_inherit=True), defined)
    defined["run_events"] = emitting
    defined["block_on"] = lambda events: events.subscribe(on_error=raise_it)
    return defined


def emitting(run_id: Any, after_seq: int) -> Any:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        for event in LOG:
            if event.seq > after_seq:
                observer.on_next(event)
        observer.on_completed()
        return Disposable()

    return reactivex.Observable(subscribe)


def raise_it(error: Exception) -> None:
    raise error


def crash_at(step: int, crash: Callable[[], None]) -> Callable[..., Any]:
    """A trace function that crashes before a line of the recipe, the `step`-th that runs, or at a return."""
    steps = count(1)

    def trace(frame: FrameType, what: str, argument: Any) -> Any:
        if frame.f_code.co_filename != "recipe":
            return None
        if what in ("line", "return") and next(steps) == step:
            crash()
        return trace

    return trace


def die() -> None:
    """End the process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def closing_databases() -> Iterator[None]:
    """Close the databases that were opened inside, as the end of a process does."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", noting)
        try:
            yield
        finally:
            for connection in opened:
                connection.close()


def totals_of_a_process(path: Path, crash: Callable[[], None], step: int) -> CostTotals:
    """Run the recipe in one process, which may crash before the totals are returned."""
    before = sys.gettrace()
    count = recipe()["count"]
    with closing_databases():
        sys.settrace(crash_at(step, crash))
        try:
            return count(LOG[0].run_id, path)  # type: ignore[no-any-return]
        finally:
            sys.settrace(before)


def survivors(folder: Path) -> None:
    """Let a child process die between every two steps, and another one resume its work."""
    for step in count(1):
        path = folder / f"{step}.db"
        if (child := os.fork()) == 0:
            totals_of_a_process(path, die, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = totals_of_a_process(path, die, 0)
        assert found == WHOLE, (step, found)
        if status == 0:
            print(step - 1)
            return
        assert signal.SIGKILL == os.WTERMSIG(status)


def raising() -> None:
    raise Crash


def test_totals_are_exact_after_an_exception_between_every_two_steps(tmp_path: Path) -> None:
    for step in count(1):
        try:
            assert WHOLE == totals_of_a_process(tmp_path / f"{step}.db", raising, step)
            break
        except Crash:
            assert WHOLE == totals_of_a_process(tmp_path / f"{step}.db", raising, 0), step
    assert step > 15


def test_totals_are_exact_after_a_kill_between_every_two_steps(tmp_path: Path) -> None:
    code = f"from tests.test_crashing_totals import *; survivors(Path({str(tmp_path)!r}))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=4 * HANG, check=False
    )
    assert (0, "") == (ran.returncode, ran.stderr)
    assert int(ran.stdout) > 15


def test_totals_are_exact_after_any_number_of_crashes(tmp_path: Path) -> None:
    for step in count(5):
        try:
            assert WHOLE == totals_of_a_process(tmp_path / "totals.db", raising, step)
            break
        except Crash:
            continue


@pytest.mark.parametrize("crashes", [True, False])
def test_totals_beside_a_checkpoint_count_a_redelivered_event_twice(crashes: bool) -> None:
    store, saved = MemoryCursors(), CostTotals(PRICES)
    run_id = LOG[0].run_id

    def follow(crash: bool) -> None:
        nonlocal saved

        def save(totals: CostTotals) -> None:
            nonlocal saved
            saved = totals
            if crash:
                raise Crash

        events = emitting(run_id, store.get(run_id))
        events.pipe(ops.checkpoint(store), ops.cost_totals(initial=saved)).subscribe(save)

    if crashes:
        with pytest.raises(Crash):
            follow(True)
    follow(False)
    assert WHOLE.requests + crashes == saved.requests


def test_a_state_skips_a_redelivered_event() -> None:
    whole = state = RunState(costs=CostTotals(PRICES))
    for event in LOG:
        whole = whole.step(event)
        state = state.step(event).step(event)
    assert (whole, WHOLE) == (state, state.costs)
