"""Leases of runs in SQLite and PostgreSQL: one owner at a time, and a stale one's cursor is refused (R42)."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from rxruns.cursors import Lease, LeaseStore, MemoryCursors, SqliteCursors
from rxruns.errors import InvalidArgumentError, LeaseLostError, StoreError
from tests.conftest import HANG, eventually
from tests.faulty_files import no_room
from tests.leasing import (
    Shared,
    SharedFile,
    expire,
    expiry_of,
    owner_of,
    shared_database,
    shared_file,
    take_away,
)
from tests.making import OTHER_RUN, RUN
from tests.postgres import Postgres

SHORT = 0.4
"""Seconds of a lease that a test waits for."""


def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractContextManager[Shared]:
    """Make a place of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        return shared_file(tmp_path)
    return shared_database(request.getfixturevalue("postgres"))


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    with sharing(request, tmp_path) as shared:
        yield shared


@pytest.fixture
def ours(shared: Shared) -> LeaseStore:
    return shared.open()


@pytest.fixture
def theirs(shared: Shared) -> LeaseStore:
    return shared.open()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LeaseStore]:
    if request.param == "memory":
        with MemoryCursors() as store:
            yield store
    else:
        with sharing(request, tmp_path) as shared:
            yield shared.open()


def claimed(store: LeaseStore, run_id: UUID = RUN) -> Lease:
    """Claim a run that is free."""
    lease = store.claim(run_id)
    assert lease is not None
    return lease


class TestOneStore:
    def test_a_claimed_run_is_claimed_again_after_its_release_with_a_higher_number(
        self, store: LeaseStore
    ) -> None:
        lease = claimed(store)
        assert (RUN, 1, True) == (lease.run_id, lease.number, lease.is_held)
        assert store.claim(str(RUN)) is None
        lease.release()
        assert not lease.is_held
        assert 2 == claimed(store).number
        assert 1 == claimed(store, OTHER_RUN).number

    def test_a_cursor_is_set_by_the_store_and_by_the_lease(self, store: LeaseStore) -> None:
        lease = claimed(store)
        lease.set(3)
        store.set(RUN, 5)
        lease.set(4)
        assert 5 == store.get(RUN)

    def test_a_run_whose_end_is_recorded_is_not_claimed_again(self, store: LeaseStore) -> None:
        lease = claimed(store)
        store.finish(RUN, 9)
        assert store.ended(RUN)
        assert (9, None, False) == (store.get(RUN), store.claim(RUN), lease.is_held)
        lease.finish(9)  # again, as after a lost connection
        lease.release()
        assert not store.ended(OTHER_RUN)

    def test_the_end_of_a_run_needs_no_lease(self, store: LeaseStore) -> None:
        store.set(RUN, 3)
        store.finish(RUN, 2)
        assert (3, True) == (store.get(RUN), store.ended(RUN))
        store.finish(RUN, 4)
        assert 4 == store.get(RUN)

    def test_a_lease_that_was_released_sets_no_cursor(self, store: LeaseStore) -> None:
        with claimed(store) as lease:
            lease.set(3)
        with pytest.raises(LeaseLostError, match="lost or released") as refused:
            lease.set(4)
        assert RUN == refused.value.run_id
        store.set(RUN, 5)
        lease.release()
        assert 5 == store.get(RUN)

    def test_a_forgotten_run_can_be_claimed(self, store: LeaseStore) -> None:
        lease = claimed(store)
        lease.set(3)
        lease.finish(4)
        store.forget(RUN)
        assert (0, False, 1) == (store.get(RUN), store.ended(RUN), claimed(store).number)

    def test_threads_that_claim_the_same_runs_get_each_once(self, store: LeaseStore) -> None:
        runs = [UUID(int=number) for number in range(1, 51)]
        begin = threading.Barrier(4)
        numbers: list[int] = []

        def claim() -> None:
            begin.wait(HANG)
            numbers.extend(lease.number for run_id in runs if (lease := store.claim(run_id)) is not None)

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG)
        assert [1] * 50 == numbers

    def test_the_thread_that_renews_ends_with_the_store(self, no_leaks: None) -> None:
        with MemoryCursors() as store:
            store.claim(RUN)
            assert "rxruns-leases" in {thread.name for thread in threading.enumerate()}

    @pytest.mark.parametrize("lease", [0, -1, float("nan"), float("inf"), "30", None, 86_401])
    def test_an_invalid_lease_is_refused(self, lease: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="^lease must be a number of seconds"):
            MemoryCursors(lease=lease)


class TestTwoOwners:
    def test_a_run_has_one_owner(self, ours: LeaseStore, theirs: LeaseStore) -> None:
        lease = claimed(ours)
        assert theirs.claim(RUN) is None
        lease.release()
        assert 2 == claimed(theirs).number
        assert ours.claim(RUN) is None

    def test_a_store_without_a_lease_sets_a_cursor_while_none_is_held(
        self, ours: LeaseStore, theirs: LeaseStore, shared: Shared
    ) -> None:
        theirs.set(RUN, 2)
        claimed(ours)
        for refused in (theirs.set, theirs.finish):
            with pytest.raises(LeaseLostError, match="holds the run's lease"):
                refused(RUN, 7)
        assert (2, False) == (ours.get(RUN), ours.ended(RUN))
        expire(shared, RUN)
        theirs.set(RUN, 7)
        assert 7 == ours.get(RUN)

    def test_R42_the_cursor_of_a_stale_owner_is_refused(
        self, ours: LeaseStore, theirs: LeaseStore, shared: Shared
    ) -> None:
        stale = claimed(ours)
        stale.set(3)
        expire(shared, RUN)
        lease = claimed(theirs)
        assert 2 == lease.number
        for refused in (ours.set, ours.finish):
            with pytest.raises(LeaseLostError, match=r"claim 1, now 2"):
                refused(RUN, 9)
        for refuse in (stale.set, stale.finish):
            with pytest.raises(LeaseLostError):
                refuse(9)
        assert not stale.is_held
        stale.release()
        lease.set(4)
        assert (4, False, True) == (ours.get(RUN), ours.ended(RUN), lease.is_held)

    def test_a_former_lease_of_the_same_owner_is_stale_too(self, ours: LeaseStore, shared: Shared) -> None:
        stale = claimed(ours)
        expire(shared, RUN)
        lease = claimed(ours)
        with pytest.raises(LeaseLostError):
            stale.set(9)
        stale.release()
        ours.set(RUN, 3)
        assert (2, True, 3) == (lease.number, lease.is_held, ours.get(RUN))

    def test_an_expired_lease_that_no_other_took_over_still_sets_cursors(
        self, ours: LeaseStore, shared: Shared
    ) -> None:
        lease = claimed(ours)
        expire(shared, RUN)
        lease.set(3)
        assert 3 == ours.get(RUN)

    def test_a_closed_store_has_released_its_leases(self, shared: Shared, theirs: LeaseStore) -> None:
        with shared.open() as ours:
            lease = claimed(ours)
        assert not lease.is_held
        assert 2 == claimed(theirs).number

    def test_a_copy_is_another_owner(self, ours: LeaseStore) -> None:
        claimed(ours)
        with pickle.loads(pickle.dumps(ours)) as copy:
            assert 30.0 == copy.lease
            assert copy.claim(RUN) is None
            with pytest.raises(LeaseLostError):
                copy.set(RUN, 1)


class TestRenewal:
    def test_a_lease_is_renewed_until_it_is_released(self, shared: Shared) -> None:
        store = shared.open(lease=SHORT)
        lease = claimed(store)
        first = expiry_of(shared, RUN)
        assert eventually(lambda: expiry_of(shared, RUN) > first)
        assert lease.is_held

    def test_the_loss_of_a_lease_is_noticed_and_reported_once(self, shared: Shared) -> None:
        store = shared.open(lease=SHORT)
        lease, kept = claimed(store), claimed(store, OTHER_RUN)
        lost = threading.Semaphore(0)
        lease._on_lost = lost.release
        take_away(shared, RUN)
        assert lost.acquire(timeout=HANG)
        first = expiry_of(shared, OTHER_RUN)
        assert eventually(lambda: expiry_of(shared, OTHER_RUN) > first)
        assert (False, True) == (lease.is_held, kept.is_held)
        assert not lost.acquire(blocking=False)
        lease.release()
        assert "other" == owner_of(shared, RUN)

    def test_the_thread_ends_without_leases_and_starts_with_the_next(
        self, shared: Shared, no_leaks: None
    ) -> None:
        def renewing() -> bool:
            return any(thread.name == "rxruns-leases" for thread in threading.enumerate())

        store = shared.open(lease=SHORT)
        for _ in range(3):
            lease = claimed(store)
            assert renewing()
            lease.release()
            assert eventually(lambda: not renewing())
        store.close()


def test_R41_leases_that_cannot_be_renewed_are_lost_and_the_thread_continues(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cursors.db"
    with SqliteCursors(path, busy_timeout=0.01, lease=SHORT) as store:
        lease = claimed(store)
        lost = threading.Semaphore(0)
        lease._on_lost = lost.release
        with closing(sqlite3.connect(path, isolation_level=None)) as locking:
            locking.execute("BEGIN EXCLUSIVE")
            assert lost.acquire(timeout=HANG)
        assert not lease.is_held
        assert eventually(lambda: store.claim(RUN) is not None)
        first = expiry_of(SharedFile(path, ExitStack()), RUN)
        assert eventually(lambda: expiry_of(SharedFile(path, ExitStack()), RUN) > first)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert 1 == len(warnings)
    assert warnings[0].startswith(f"1 lease(s) not renewed: the cursors in {path} could not be written: ")


BREAKS = {
    "locked": "",
    "its table is gone": "DROP TABLE leases",
    "another table": "ALTER TABLE leases RENAME COLUMN owner TO name",
}


@pytest.mark.parametrize("what", BREAKS)
def test_R41_leases_in_a_file_that_breaks_are_store_errors(what: str, tmp_path: Path) -> None:
    path = tmp_path / "cursors.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as breaking:
        with SqliteCursors(path, busy_timeout=0.01) as store:
            lease = claimed(store)
            breaking.execute(BREAKS[what] or "BEGIN EXCLUSIVE")
            for call in (
                lambda: store.claim(OTHER_RUN),
                lambda: lease.finish(3),
                lambda: store.finish(OTHER_RUN, 3),
                lease.release,
            ):
                with pytest.raises(StoreError) as refused:
                    call()
                assert str(path) == refused.value.path
                assert str(path) in str(refused.value)
                assert isinstance(refused.value.__cause__, sqlite3.Error)


def test_R41_a_full_disk_refuses_a_claim_and_keeps_the_other_leases(tmp_path: Path) -> None:
    with SqliteCursors(tmp_path / "cursors.db") as store:
        lease = claimed(store)
        with no_room(), pytest.raises(StoreError):
            for number in range(1, 10_000):
                store.claim(UUID(int=number))
        lease.set(3)
        assert (True, 3) == (lease.is_held, store.get(RUN))


def test_R41_leases_are_lost_when_the_server_stays_away(postgres: Postgres) -> None:
    with shared_database(postgres) as shared:
        store = shared.open(lease=SHORT)
        lease = claimed(store)
        lost = threading.Semaphore(0)
        lease._on_lost = lost.release
        postgres.stop()
        try:
            assert lost.acquire(timeout=HANG)
        finally:
            postgres.start()
        assert eventually(lambda: store.claim(RUN) is not None)


# ---- other processes ----

CLAIMS = """
import os, sys
from rxruns import cursors
from rxruns.errors import LeaseLostError
run_id, lease = sys.argv[1], float(sys.argv[2])
store = {store}
lease = store.claim(run_id)
print(lease.number, flush=True)
"""

AWAITS_AN_ORDER = """
input()
print(lease.is_held, flush=True)
try:
    store.set(run_id, 9)
except LeaseLostError as error:
    print("refused", flush=True)
"""

FORKS = """
child = os.fork()
if child == 0:
    assert not lease.is_held
    assert store.claim(run_id) is None
    try:
        store.set(run_id, 9)
    except LeaseLostError:
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
lease.set(3)
print(lease.is_held, store.get(run_id), flush=True)
"""


def process(code: str, shared: Shared, *arguments: object) -> subprocess.Popen[str]:
    """Start another process, whose `store` is on the shared place."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code.replace("{store}", shared.code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def test_a_process_that_ends_releases_its_leases(shared: Shared, theirs: LeaseStore) -> None:
    with process(CLAIMS, shared, RUN, 30) as child:
        assert ("1\n", "") == child.communicate(timeout=HANG)
    assert 2 == claimed(theirs).number


def test_R42_the_runs_of_a_killed_process_are_free_when_its_lease_expires(
    shared: Shared, theirs: LeaseStore
) -> None:
    with process(CLAIMS + AWAITS_AN_ORDER, shared, RUN, SHORT) as child:
        assert "1\n" == first_line(child)
        assert theirs.claim(RUN) is None
        child.kill()
    assert eventually(lambda: theirs.claim(RUN) is not None)


def test_R42_a_process_that_was_suspended_past_its_lease_notices(shared: Shared, theirs: LeaseStore) -> None:
    with process(CLAIMS + AWAITS_AN_ORDER, shared, RUN, SHORT) as child:
        assert "1\n" == first_line(child)
        child.send_signal(signal.SIGSTOP)
        assert eventually(lambda: theirs.claim(RUN) is not None)
        child.send_signal(signal.SIGCONT)
        assert ("False\nrefused\n", "") == child.communicate("\n", timeout=HANG)
    assert 0 == theirs.get(RUN)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_does_not_hold_the_leases_of_its_parent(shared: Shared) -> None:
    with process(CLAIMS + FORKS, shared, RUN, 30) as child:
        assert ("1\nTrue 3\n", "") == child.communicate(timeout=HANG)


OPENS = """
import sys
from rxruns import cursors
lease = 30
input()
with {store} as store:
    store.set(sys.argv[1], 3)
"""


def test_processes_that_open_a_new_place_at_the_same_time_all_succeed(shared: Shared) -> None:
    children = [process(OPENS, shared, RUN) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert [("", "")] * 4 == [child.communicate(timeout=HANG) for child in children]
    assert 3 == shared.open().get(RUN)


# ---- any order of calls ----


class Owners(RuleBasedStateMachine):
    """Two stores on one place, beside a model of three lines."""

    shared: Shared

    def __init__(self) -> None:
        super().__init__()
        self.stores = [self.shared.open(), self.shared.open()]
        self.run_id = UUID(int=next(NUMBERS))
        self.seq, self.ended, self.number = 0, False, 0
        self.holder: Lease | None = None
        self.expired = False
        self.leases: list[Lease] = []

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    @rule(which=st.integers(0, 1))
    def claim(self, which: int) -> None:
        lease = self.stores[which].claim(self.run_id)
        assert (lease is None) == (self.ended or (self.holder is not None and not self.expired))
        if lease is not None:
            self.number += 1
            assert self.number == lease.number
            self.holder, self.expired = lease, False
            self.leases.append(lease)

    @rule(place=st.integers(0, 3), seq=st.integers(1, 20), ends=st.sampled_from([False, False, True]))
    def set_by_lease(self, place: int, seq: int, ends: bool) -> None:
        if place < len(self.leases):
            lease = self.leases[-1 - place]
            is_refused = False
            try:
                lease.finish(seq) if ends else lease.set(seq)
            except LeaseLostError:
                is_refused = True
            was_last = self.ended and lease.number == self.number
            assert is_refused == (lease is not self.holder and not was_last)
            if lease is self.holder:
                self._stored(seq, ends)

    @rule(which=st.integers(0, 1), seq=st.integers(1, 20))
    def set_without_one(self, which: int, seq: int) -> None:
        store = self.stores[which]
        if self.run_id not in store._leases:
            with suppress(LeaseLostError):
                store.set(self.run_id, seq)
                assert self.holder is None or self.expired
                self._stored(seq, ends=False)

    @rule(place=st.integers(0, 3))
    def release(self, place: int) -> None:
        if place < len(self.leases):
            lease = self.leases[-1 - place]
            lease.release()
            if lease is self.holder:
                self.holder = None

    @rule()
    def expire(self) -> None:
        if self.holder is not None:
            expire(self.shared, self.run_id)
            self.expired = True

    @invariant()
    def the_place_is_as_the_model(self) -> None:
        for store in self.stores:
            assert (self.seq, self.ended) == (store.get(self.run_id), store.ended(self.run_id))

    def _stored(self, seq: int, ends: bool) -> None:
        self.seq = max(seq, self.seq)
        if ends:
            self.ended, self.holder = True, None


NUMBERS = iter(range(1, 10**9))


def test_any_order_of_calls_leaves_one_owner_and_the_highest_cursor(shared: Shared) -> None:
    machine = type("OwnersOfAPlace", (Owners,), {"shared": shared})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30))


# ---- older files ----


def test_a_file_of_an_older_version_keeps_its_cursors_and_leases_runs(tmp_path: Path) -> None:
    with shared_file(tmp_path) as shared:
        shared.run("CREATE TABLE cursors (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID")
        shared.run(f"INSERT INTO cursors VALUES ('{RUN}', 41)")
        with SqliteCursors(shared.path) as store:
            assert 41 == store.get(RUN)
            claimed(store).finish(42)
            assert (42, True) == (store.get(RUN), store.ended(RUN))


def test_psycopg_is_named_where_it_is_missing() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from rxruns import cursors
try:
    cursors.PostgresCursors("dbname=a")
except ModuleNotFoundError as error:
    print(error, error.name)
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "rxruns.cursors.PostgresCursors needs psycopg: pip install 'rxruns[postgres]' psycopg\n" == found
