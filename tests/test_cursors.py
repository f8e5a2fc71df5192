"""Cursor stores: the promises of both, and SQLite's among threads and processes."""

from __future__ import annotations

import gc
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.cursors import CursorStore, MemoryCursors, SqliteCursors
from rxruns.errors import InvalidArgumentError, StoreError
from tests.conftest import HANG
from tests.faulty_files import no_room, unprivileged
from tests.making import OTHER_RUN, RUN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cursors.db"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryCursors()
    else:
        with SqliteCursors(path) as store:
            yield store


class TestBoth:
    def test_an_unknown_run_has_no_cursor(self, store: CursorStore) -> None:
        assert 0 == store.get(RUN)

    def test_each_run_has_its_own_cursor_which_is_never_set_back(self, store: CursorStore) -> None:
        for seq in (9, 3):
            store.set(RUN, seq)
            store.set(OTHER_RUN, 7)
        assert (9, 7) == (store.get(RUN), store.get(OTHER_RUN))

    def test_a_run_may_be_named_by_its_text(self, store: CursorStore) -> None:
        store.set(str(RUN).upper(), 3)
        assert 3 == store.get(RUN) == store.get(RUN.hex)

    def test_a_forgotten_run_has_no_cursor(self, store: Any) -> None:
        store.set(RUN, 9)
        store.forget(RUN)
        store.forget(OTHER_RUN)
        assert 0 == store.get(RUN)
        store.set(RUN, 3)
        assert 3 == store.get(RUN)

    @pytest.mark.parametrize("seq", [-1, "5", 1.0, True, None, 2**63])
    def test_an_invalid_seq_is_refused(self, store: CursorStore, seq: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="^seq must be"):
            store.set(RUN, seq)

    @pytest.mark.parametrize("run_id", ["", "no-run", None, 5])
    def test_an_invalid_run_id_is_refused(self, store: CursorStore, run_id: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="^run_id must be"):
            store.get(run_id)

    def test_threads_together_leave_the_highest(self, store: CursorStore) -> None:
        runs = [UUID(int=number) for number in range(1, 5)]
        begin = threading.Barrier(4)

        def write(offset: int) -> None:
            begin.wait(HANG)
            for seq in range(1 + offset, 101, 4):
                for run_id in runs:
                    store.set(run_id, seq)

        threads = [threading.Thread(target=write, args=(offset,)) for offset in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG)
        assert [100] * 4 == [store.get(run_id) for run_id in runs]


@given(st.lists(st.tuples(st.sampled_from([RUN, OTHER_RUN]), st.integers(0, 2**63 - 1)), max_size=20))
def test_the_two_stores_agree(writes: list[tuple[UUID, int]]) -> None:
    memory = MemoryCursors()
    with TemporaryDirectory() as directory, SqliteCursors(Path(directory, "cursors.db")) as sqlite:
        for run_id, seq in writes:
            memory.set(run_id, seq)
            sqlite.set(run_id, seq)
        assert [memory.get(RUN), memory.get(OTHER_RUN)] == [sqlite.get(RUN), sqlite.get(OTHER_RUN)]


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start another process with this Python, where warnings are errors too."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


class TestSqlite:
    def test_a_cursor_outlives_its_store_and_other_stores_and_copies_see_it(self, path: Path) -> None:
        with SqliteCursors(path) as store, SqliteCursors(path) as other:
            store.set(RUN, 41)
            assert 41 == other.get(RUN)
            with pickle.loads(pickle.dumps(store)) as copy:
                assert 41 == copy.get(RUN)
        with SqliteCursors(str(path)) as store:
            assert 41 == store.get(RUN)

    def test_a_store_can_be_closed_twice_and_not_used_afterwards(self, path: Path) -> None:
        store = SqliteCursors(path)
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed database") as refused:
            store.get(RUN)
        assert isinstance(refused.value.__cause__, sqlite3.ProgrammingError)

    def test_a_store_that_was_never_closed_leaves_no_warning(self, path: Path) -> None:
        SqliteCursors(path).set(RUN, 41)
        gc.collect()

    def test_a_file_in_memory_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="MemoryCursors"):
            SqliteCursors(":memory:")

    def test_only_their_owner_reads_the_files(self, path: Path) -> None:
        with SqliteCursors(path) as store:
            store.set(RUN, 41)
            assert 3 == len(list(path.parent.iterdir()))
            assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    def test_the_target_of_a_link_is_readable_by_its_owner_only_too(self, path: Path) -> None:
        link = path.with_name("link.db")
        link.symlink_to(path)
        SqliteCursors(link).close()
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)

    def test_a_file_keeps_the_mode_that_its_owner_gave_it(self, path: Path) -> None:
        SqliteCursors(path).close()
        path.chmod(0o640)
        SqliteCursors(path).close()
        assert 0o640 == stat.S_IMODE(path.stat().st_mode)


def _with(statement: str) -> Callable[[Path], object]:
    """Create or change a database."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    return change


def _locked(path: Path) -> sqlite3.Connection:
    locking = sqlite3.connect(path, isolation_level=None)
    locking.execute("BEGIN EXCLUSIVE")
    return locking


def _overwritten(path: Path) -> None:
    """Overwrite a database, except its first page."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def check_error(error: StoreError, path: Path) -> None:
    """Check that an error names its file, also after pickling."""
    assert str(path) == error.path
    assert str(path) in str(error)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "its folder is missing": lambda path: path.parent.rmdir(),
    "a folder": Path.mkdir,
    "a text": lambda path: path.write_text("dear diary, " * 1000),
    "a FIFO": os.mkfifo,
    "locked": _locked,
    "a table of another form": _with("CREATE TABLE cursors (name TEXT)"),
    "a table without a key": _with("CREATE TABLE cursors (run_id, seq)"),
    "leases of another form": _with("CREATE TABLE leases (name TEXT)"),
    "a view": _with("CREATE VIEW cursors AS SELECT 'a' AS run_id, 1 AS seq"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_R41_an_unusable_file_is_a_store_error_with_its_path(what: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cursors.db"
    path.parent.mkdir()
    kept = UNUSABLE[what](path)  # a lock lasts until its connection is closed
    with pytest.raises(StoreError) as refused:
        SqliteCursors(path, busy_timeout=0.02)
    check_error(refused.value, path)
    assert isinstance(refused.value.__cause__, sqlite3.Error)
    if isinstance(kept, sqlite3.Connection):
        kept.close()


BREAKS: dict[str, Callable[[Path], object]] = {
    "locked": _locked,
    "its table is gone": _with("DROP TABLE cursors"),
    "its table of leases is gone": _with("DROP TABLE leases"),
    "another table": _with("ALTER TABLE cursors RENAME COLUMN seq TO number"),
    "text as seq": _with("UPDATE cursors SET seq = 'forty'"),
    "bytes as seq": _with("UPDATE cursors SET seq = x'ff'"),
    "text that is not UTF-8 as seq": _with("UPDATE cursors SET seq = CAST(x'ff' AS TEXT)"),
    "a fraction as seq": _with("UPDATE cursors SET seq = 99.5"),
    "a seq below 0": _with("UPDATE cursors SET seq = -1"),
    "text as the number of a lease": _with("INSERT INTO leases SELECT run_id, NULL, 'x', 0, 0 FROM cursors"),
    "text as the time of a lease": _with("INSERT INTO leases SELECT run_id, 'a', 1, 'x', 0 FROM cursors"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_R41_a_store_that_breaks_in_use_is_a_store_error_with_its_path(what: str, path: Path) -> None:
    with SqliteCursors(path, busy_timeout=0.02) as store:
        store.set(RUN, 41)
        kept = BREAKS[what](path)
        with pytest.raises(StoreError) as refused:
            # A locked file can be read, and a seq below 0 gives way to a higher one.
            store.get(RUN) if what == "a seq below 0" or "of a lease" in what else store.set(RUN, 42)
        if isinstance(kept, sqlite3.Connection):
            kept.close()
            assert 41 == store.get(RUN)
    check_error(refused.value, path)
    assert isinstance(refused.value.__cause__, sqlite3.Error | None)


def test_a_corrupt_file_is_a_store_error(path: Path) -> None:
    with SqliteCursors(path) as store:
        store.set(RUN, 41)
    _overwritten(path)
    with SqliteCursors(path) as store, pytest.raises(StoreError, match="malformed") as refused:
        store.get(RUN)
    check_error(refused.value, path)


def test_R41_a_full_disk_is_a_store_error_and_keeps_the_stored_cursors(path: Path) -> None:
    with SqliteCursors(path) as store:
        store.set(RUN, 41)
        with no_room(), pytest.raises(StoreError) as refused:
            for seq in range(42, 10_000):
                store.set(RUN, seq)
        assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
        stored = store.get(RUN)
        assert 41 <= stored
        store.set(RUN, stored + 1)
        assert stored + 1 == store.get(RUN)
    with SqliteCursors(path) as store:
        assert stored + 1 == store.get(RUN)


def test_a_file_that_may_not_be_written_is_a_store_error() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "cursors.db")
        SqliteCursors(path).close()
        path.chmod(0o444)
        Path(directory).chmod(0o555)
        with unprivileged(), pytest.raises(StoreError) as refused:
            SqliteCursors(path).set(RUN, 1)
        Path(directory).chmod(0o755)
    check_error(refused.value, path)


WRITES = """
import sys
from rxruns.cursors import SqliteCursors
path, offset, runs = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
input()
with SqliteCursors(path) as store:
    for seq in range(1 + offset, 201, 4):
        for run_id in runs:
            store.set(run_id, seq)
"""

WRITES_UNTIL_KILLED = """
import itertools, sys
from rxruns.cursors import SqliteCursors
store = SqliteCursors(sys.argv[1])
for seq in itertools.count(1):
    store.set(sys.argv[2], seq)
    print(seq, flush=True)
"""

FORKS = """
import os, sys
from rxruns.cursors import SqliteCursors
path, run_id, other_run_id = sys.argv[1:]
with SqliteCursors(path) as store:
    store.set(run_id, 1)
    child = os.fork()
    if child == 0:
        assert store.get(run_id) >= 1
        store.set(other_run_id, 5)
        os._exit(0)
    for seq in range(2, 100):
        store.set(run_id, seq)
    assert os.waitpid(child, 0)[1] == 0
    print(store.get(run_id), store.get(other_run_id))
"""


def test_processes_together_leave_the_highest(path: Path) -> None:
    runs = [UUID(int=number) for number in range(1, 4)]
    children = [run_python(WRITES, path, offset, *runs) for offset in range(4)]
    for child in children:  # all at once, on a file that none of them has made yet
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert [("", "")] * 4 == [child.communicate(timeout=HANG) for child in children]
    with SqliteCursors(path) as store:
        assert [200] * 3 == [store.get(run_id) for run_id in runs]


def test_a_killed_process_leaves_each_cursor_that_it_stored(path: Path) -> None:
    with run_python(WRITES_UNTIL_KILLED, path, RUN) as child:
        assert child.stdout is not None
        for _ in range(50):
            child.stdout.readline()
        child.kill()
        stored = 50 + child.stdout.read().count("\n")
    with SqliteCursors(path) as store:
        assert stored <= store.get(RUN) <= stored + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_uses_its_own_connection(path: Path) -> None:
    with run_python(FORKS, path, RUN, OTHER_RUN) as child:
        assert ("99 5\n", "") == child.communicate(timeout=HANG)
