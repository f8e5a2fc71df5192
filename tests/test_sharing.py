"""Three processes share runs, while one is killed and one is suspended past its lease (R42)."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CutRandomly, Delay
from tests.conftest import HANG, eventually
from tests.leasing import Shared, SharedFile, shared_database, shared_file
from tests.observing import run_of
from tests.soak import both_sizes, measured

WORKER = """
import logging, os, sys
from pathlib import Path
from rxruns import ResumePolicy, RunsClient, block_on, cursors, merge_runs, ops

logging.disable()  # of the cuts
url, key, log, runs, lease = sys.argv[1:]
lease = float(lease)
output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
with RunsClient(api_key=key, base_url=url) as client, {store} as store:
    events = merge_runs(
        Path(runs).read_text().split(), claim=store, max_concurrent=10, client=client,
        resume=ResumePolicy(base_backoff=0.01),
    )
    print("ready", flush=True)
    input()  # until all are
    block_on(events.pipe(
        ops.tap(lambda event: os.write(output, b"%s %d\\n" % (str(event.run_id).encode(), event.seq))),
        ops.checkpoint(store),
    ))
"""
"""Follows the runs that it can claim, and writes a line for each event that it handles."""


class Worker:
    """A worker's process, and the events that it handled."""

    def __init__(self, shared: Shared, log: Path, *arguments: object) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "error", "-c", WORKER.replace("{store}", shared.code)),
                *(str(argument) for argument in arguments),
            ],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._shared = shared

    def handled(self) -> list[tuple[str, int]]:
        lines = self.log.read_text("ascii").splitlines() if self.log.exists() else []
        return [(run_id, int(seq)) for run_id, _, seq in (line.partition(" ") for line in lines)]

    def held(self) -> set[str]:
        """Return the runs of which it is the stored owner."""
        rows = self._shared.run(f"SELECT run_id FROM LEASES WHERE owner LIKE '%-{self.process.pid}-%'")
        return {str(run_id) for (run_id,) in rows}

    def suspend(self) -> None:
        """Stop the process, but not while it writes to a file that others wait for."""
        self.process.send_signal(signal.SIGSTOP)
        while isinstance(self._shared, SharedFile) and is_locked(self._shared.path):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGSTOP)

    def wait(self) -> None:
        _, errors = self.process.communicate(timeout=4 * HANG)
        assert (0, "") == (self.process.returncode, errors)


def is_locked(path: Path) -> bool:
    """Return True if a process, maybe a stopped one, has been writing to the file for some time."""
    with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


@contextmanager
def workers(
    server: DevServer, shared: Shared, runs: list[UUID], folder: Path, lease: float
) -> Iterator[list[Worker]]:
    ids = folder / "ids"
    ids.write_text("\n".join(map(str, runs)), "ascii")
    with ExitStack() as stack:
        found = []
        for number in range(3):
            log = folder / f"worker_{number}"
            worker = Worker(shared, log, server.url, server.api_key, log, ids, lease)
            stack.enter_context(worker.process)
            stack.callback(worker.process.kill)
            found.append(worker)
        assert ["ready\n"] * 3 == [worker.process.stdout.readline() for worker in found]  # type: ignore[union-attr]
        for worker in found:
            worker.process.stdin.write("\n")  # type: ignore[union-attr]
            worker.process.stdin.flush()  # type: ignore[union-attr]
        yield found


@both_sizes
@pytest.mark.parametrize("where", ["sqlite", "postgres"])
@pytest.mark.timeout(600)
def test_R42_workers_handle_each_event_while_one_is_killed_and_one_suspended(
    where: str, soaking: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count, deltas, lease = (300, 46, 3.0) if soaking else (40, 16, 1.0)
    with ExitStack() as stack:
        shared: Shared = stack.enter_context(
            shared_file(tmp_path)
            if where == "sqlite"
            else shared_database(request.getfixturevalue("postgres"))
        )
        shared.open().close()  # creates the tables
        server = stack.enter_context(DevServer())
        runs = [server.add_run(events=run_of(deltas)).run_id for _ in range(count)]
        server.use_faults(Faults(otherwise=[Delay(per_event=0.02), CutRandomly(2_000, 20_000)], seed=42))
        killed, suspended, other = stack.enter_context(workers(server, shared, runs, tmp_path, lease))

        assert eventually(lambda: len(killed.handled()) >= count)
        killed.process.kill()
        assert eventually(lambda: len(suspended.handled()) >= count)
        suspended.suspend()
        held = suspended.held()
        assert held
        assert eventually(lambda: bool(held - suspended.held()), within=4 * HANG)
        suspended.process.send_signal(signal.SIGCONT)
        suspended.wait()
        other.wait()

        store = shared.open()
        assert all(store.ended(run_id) for run_id in runs)
        assert {deltas + 4} == {store.get(run_id) for run_id in runs}
        handled = Counter(event for worker in (killed, suspended, other) for event in worker.handled())
    expected = {(str(run_id), seq) for run_id in runs for seq in range(1, deltas + 5)}
    assert expected >= set(handled)
    of = f"{where}, of {len(expected):,}"
    assert 0 == measured("R42", f"events lost, {of}", len(expected - set(handled)), 0, "")
    repeated = handled.total() - len(handled)
    assert 2 >= measured("R42", f"events handled twice, {of}", repeated, 2, "")
