"""Totals that a program stores with their cursors are exact wherever it is killed: the how-to's own code."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import reactivex
from reactivex.disposable import Disposable

from rxruns import Price, ops
from rxruns.costs import CostTotals
from rxruns.cursors import MemoryCursors
from rxruns.folds import By
from rxruns.state import RunState
from tests.conftest import HANG, ROOT
from tests.making import in_turn, llm_call, node_started, run_completed, run_started, tokens

PAGE = ROOT / "docs/howto/totals.md"
PRICES = {("anthropic", "claude-sonnet-4-5"): Price(3, 15)}
CALLS = [llm_call("anthropic", "claude-sonnet-4-5", usage=tokens(1000, written)) for written in (100, 200)]
LOG = in_turn(run_started(), node_started(), *CALLS, run_completed())


def folded(empty: Any) -> Any:
    """Return the fold of the whole log."""
    for event in LOG:
        empty = empty.step(event)
    return empty


WHOLE = folded(By("node_id", CostTotals(PRICES)))


class Crash(BaseException):
    """The death of the process, simulated by an exception that the recipe doesn't catch."""


def blocks() -> list[dict[str, Any]]:
    """Run the code blocks of the page with a source in this thread; return the names of each."""
    found = []
    for block in PAGE.read_text("utf-8").split("```python\n")[1:]:
        defined: dict[str, Any] = {}
        code = block.partition("```")[0].partition("\n\n\nfor node")[0]
        exec(compile(code, "recipe", "exec", dont_inherit=True), defined)
        found.append(defined)
    database = found[0]
    database["merge_runs"] = lambda run_ids, after_seq, **options: emitting(run_ids[0], after_seq(run_ids[0]))
    database["RunsClient"] = type("Offline", (), {"from_env": staticmethod(nullcontext)})
    return found


def emitting(run_id: Any, after_seq: int) -> Any:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        for event in LOG:
            if event.seq > after_seq:
                observer.on_next(event)
        observer.on_completed()
        return Disposable()

    return reactivex.Observable(subscribe)


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


def raising() -> None:
    raise Crash


def totals_of(path: Path, crash: Callable[[], None] = die, step: int = 0) -> Any:
    """Count the events of the log in one process, which crashes before the `step`-th line, or at a return."""
    before = sys.gettrace()
    run_count = blocks()[0]["count"]
    with closing_databases():
        sys.settrace(crash_at(step, crash))
        try:
            return run_count([LOG[0].run_id], path)
        finally:
            sys.settrace(before)


def survivors(folder: Path) -> None:
    """For each line, kill a child before it, and compare the totals of the next process with the whole."""
    for step in count(1):
        path = folder / f"{step}.db"
        if (child := os.fork()) == 0:
            totals_of(path, die, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert WHOLE == totals_of(path), step
        if status == 0:
            print(step - 1)
            return
        assert signal.SIGKILL == os.WTERMSIG(status)


def whole_files(folder: Path) -> None:
    """For each line of `save`, kill a child before it: the file holds the old value or the new one."""
    path = folder / "totals"
    for step in count(1):
        path.write_bytes(pickle.dumps("old"))
        if (child := os.fork()) == 0:
            save = blocks()[1]["save"]
            sys.settrace(crash_at(step, die))
            save("new", path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = pickle.loads(path.read_bytes())
        assert found in ("old", "new") and (found == "new" or status), step
        if status == 0:
            print(step - 1)
            return


@pytest.mark.parametrize(("check", "lines"), [(survivors, 20), (whole_files, 4)])
def test_a_kill_before_each_line_loses_and_doubles_nothing(tmp_path: Path, check: Any, lines: int) -> None:
    code = f"from tests.test_stored_totals import *; {check.__name__}(Path({str(tmp_path)!r}))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=4 * HANG, check=False
    )
    assert (0, "") == (ran.returncode, ran.stderr)
    assert int(ran.stdout) > lines


def test_totals_are_exact_after_an_exception_before_each_line(tmp_path: Path) -> None:
    for step in count(1):
        path = tmp_path / f"{step}.db"
        try:
            assert WHOLE == totals_of(path, raising, step)
            break
        except Crash:
            assert WHOLE == totals_of(path), step
    assert step > 20


def test_totals_are_exact_after_any_number_of_crashes(tmp_path: Path) -> None:
    for step in count(5):
        try:
            assert WHOLE == totals_of(tmp_path / "totals.db", raising, step)
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
    assert folded(CostTotals(PRICES)).requests + crashes == saved.requests


def test_a_state_skips_a_redelivered_event() -> None:
    state = RunState(costs=CostTotals(PRICES))
    for event in LOG:
        state = state.step(event).step(event)
    assert folded(RunState(costs=CostTotals(PRICES))) == state
    assert folded(CostTotals(PRICES)) == state.costs
