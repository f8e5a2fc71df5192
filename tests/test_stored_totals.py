"""Totals that a program stores with their cursors are exact wherever it is killed: the how-to's own code."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rxruns.costs import CostTotals
from rxruns.folds import By
from tests.conftest import HANG, ROOT
from tests.test_crashing_totals import LOG, PRICES, closing_databases, crash_at, die, emitting

PAGE = ROOT / "docs/howto/totals.md"


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


def totals_of(path: Path, step: int) -> Any:
    """One process: count the events of the log, and be killed before the `step`-th line, or at a return."""
    run_count = blocks()[0]["count"]
    with closing_databases():
        sys.settrace(crash_at(step, die))
        try:
            return run_count([LOG[0].run_id], path)
        finally:
            sys.settrace(None)


def survivors(folder: Path) -> None:
    """For each line, kill a child before it, and compare what the next process comes to with the whole."""
    whole: Any = By("node_id", CostTotals(PRICES))
    for event in LOG:
        whole = whole.step(event)
    for step in count(1):
        path = folder / f"{step}.db"
        if (child := os.fork()) == 0:
            totals_of(path, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert whole == totals_of(path, 0), step
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


def test_the_page_is_short() -> None:
    prose = "".join(PAGE.read_text("utf-8").split("```")[::2])
    assert len(prose.split()) <= 300
