"""Cursors and leases in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import suppress
from typing import Any
from uuid import UUID

from rxruns._arguments import check_path, check_seconds
from rxruns._display._files import owner_only
from rxruns._errors import StoreError, must_be
from rxruns.cursors._lease import Fence, Row
from rxruns.cursors._leases import LeaseStore
from rxruns.events import MAX_INTEGER

__all__ = ["SqliteCursors"]


class SqliteCursors(LeaseStore):
    """Cursors in a SQLite file, for many threads and processes of one machine.

    A stored cursor survives its process. A crash of the machine may lose the last ones, whose events are then
    emitted again. A lower ``seq`` never replaces a higher one, so a process that is slow to stop can't set
    back its successor. It pickles as its path, and a forked process opens its own connection, without the
    leases of its parent.

    Leases expire by the machine's clock. If it is set forward, another process may take over a run early, and
    the first one's cursors are refused; if it is set back, it takes over later.

    Args:
        path: the file, created with mode 0600 if it is missing. Its directory must exist, on a local disk
            (SQLite's write-ahead log needs that). A file without leases gets their table.
        busy_timeout: seconds to wait while another process writes. Below ``lease / 3``, a busy file costs no
            lease.
        lease: seconds after which a lease expires if it isn't renewed.

    Raises:
        InvalidArgumentError: a path with a NUL character, or ``":memory:"``; a timeout below 0; a lease of 0
            or of more than a day.
        StoreError: the file can't be opened, is not a SQLite file, or has another table ``cursors`` or
            ``leases``. Each method raises it too: the file is locked for longer than ``busy_timeout``,
            read-only, corrupt, edited or on a full disk, or the store is closed. The cause is SQLite's own
            error. A cursor whose :meth:`set` returned before stays stored.

    >>> import tempfile
    >>> with SqliteCursors(os.path.join(tempfile.mkdtemp(), "cursors.db")) as store:
    ...     store.set("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", 41)
    ...     store.set("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", 40)
    ...     store.get("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
    41
    """

    def __init__(
        self, path: str | os.PathLike[str], *, busy_timeout: float = 30.0, lease: float = 30.0
    ) -> None:
        if str(check_path("path", path)) == ":memory:":
            raise must_be("path", "a file", path, "use MemoryCursors() to keep cursors in memory")
        check_seconds("busy_timeout", busy_timeout)
        super().__init__(lease)
        self._where = os.path.abspath(path)
        self._busy_timeout = busy_timeout
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._where, self._busy_timeout, self.lease)

    # ---- the file ----

    def _open(self) -> None:
        self._lock = threading.Lock()
        try:
            self._connection: sqlite3.Connection | None = _connect(self._where, self._busy_timeout)
        except sqlite3.Error as error:
            raise self._error("opened", error) from error
        self._close = weakref.finalize(self, self._connection.close)

    def _after_fork(self) -> None:
        # SQLite's locks belong to a process. The parent's connection must not even be closed here.
        super()._after_fork()
        self._lock = threading.Lock()
        if (connection := getattr(self, "_connection", None)) is not None and self._close.detach():
            _inherited.append(connection)
            self._connection = None

    def _execute(
        self, action: str, statement: str, run_id: UUID | str, **values: object
    ) -> tuple[tuple[Any, ...] | None, int]:
        """Return the first row, and the number of changed rows."""
        if self._connection is None:
            self._open()
        with self._lock:
            try:
                cursor = self._connection.execute(  # type: ignore[union-attr]
                    statement, {"run_id": str(run_id), "now": time.time(), **values}
                )
                return cursor.fetchone(), cursor.rowcount
            except sqlite3.Error as error:
                raise self._error(action, error) from error

    def _disconnect(self) -> None:
        with self._lock:
            self._close()

    def _error(self, action: str, reason: object) -> StoreError:
        return StoreError(f"the cursors in {self._where} could not be {action}: {reason}", path=self._where)

    # ---- its rows ----

    def _read(self, run_id: UUID) -> Row:
        row, _ = self._execute("read", _READ, run_id)
        seq, ended, owner, number, expires = row or (None, None, None, None, None)
        seq, number = seq or 0, number or 0
        if not isinstance(seq, int) or not 0 <= seq <= MAX_INTEGER:
            raise self._error("read", f"the cursor of run {run_id} is {seq!r}, which is not a seq")
        if not isinstance(number, int) or not isinstance(expires, float | int | None):
            raise self._error("read", f"the lease of run {run_id} is damaged")
        is_leased = owner is not None and expires is not None and expires > time.time()
        return Row(seq, bool(ended), owner, number, is_leased)

    def _write(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        if fence is None:
            _, changed = self._execute("written", _SET, run_id, seq=seq)
        else:
            _, changed = self._execute("written", _SET_LEASED, run_id, seq=seq, **fence._asdict())
        return changed > 0

    def _claim(self, run_id: UUID, owner: str) -> int | None:
        expires = time.time() + self.lease
        _, changed = self._execute("written", _CLAIM, run_id, owner=owner, expires=expires)
        row = self._read(run_id)
        return row.number if changed and row.owner == owner else None

    def _renew(self, leases: list[tuple[UUID, Fence]]) -> frozenset[UUID]:
        kept: set[UUID] = set()
        for run_id, fence in leases:
            expires = time.time() + self.lease
            _, changed = self._execute("written", _RENEW, run_id, expires=expires, **fence._asdict())
            if changed:
                kept.add(run_id)
        return frozenset(kept)

    def _release(self, leases: list[tuple[UUID, Fence]]) -> None:
        for run_id, fence in leases:
            self._execute("written", _RELEASE, run_id, **fence._asdict())

    def _finish(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        # The cursor first: if the process dies between the two, the next owner finds nothing left to handle.
        self._write(run_id, seq, fence)
        if fence is None:
            _, changed = self._execute("written", _FINISH, run_id)
        else:
            _, changed = self._execute("written", _FINISH_LEASED, run_id, **fence._asdict())
        return changed > 0

    def _forget(self, run_id: UUID) -> None:
        self._execute("written", _FORGET_LEASE, run_id)
        self._execute("written", _FORGET, run_id)


_CREATE = (
    "CREATE TABLE IF NOT EXISTS cursors (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    # Files of 0.1 get it when they are opened. `owner` is NULL and `expires` 0 without a lease.
    "CREATE TABLE IF NOT EXISTS leases (run_id TEXT PRIMARY KEY, owner TEXT, number INTEGER NOT NULL, "
    "expires REAL NOT NULL, ended INTEGER NOT NULL) WITHOUT ROWID",
)
_READ = (
    "SELECT cursors.seq, ended, owner, number, expires FROM (SELECT :run_id AS id) "
    "LEFT JOIN cursors ON cursors.run_id = id LEFT JOIN leases ON leases.run_id = id"
)
_ON_CONFLICT = "ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > cursors.seq"
_MINE = "run_id = :run_id AND owner = :owner AND number = :number"
_SET = (
    "INSERT INTO cursors (run_id, seq) SELECT :run_id, :seq WHERE NOT EXISTS "
    "(SELECT 1 FROM leases WHERE run_id = :run_id AND owner IS NOT NULL AND expires > :now) " + _ON_CONFLICT
)
_SET_LEASED = (
    "INSERT INTO cursors (run_id, seq) SELECT :run_id, :seq WHERE EXISTS "
    f"(SELECT 1 FROM leases WHERE {_MINE}) {_ON_CONFLICT}"
)
_CLAIM = (
    "INSERT INTO leases (run_id, owner, number, expires, ended) VALUES (:run_id, :owner, 1, :expires, 0) "
    "ON CONFLICT (run_id) DO UPDATE SET owner = :owner, number = number + 1, expires = :expires "
    "WHERE ended = 0 AND (owner IS NULL OR expires <= :now)"
)
_RENEW = f"UPDATE leases SET expires = :expires WHERE {_MINE}"
_RELEASE = f"UPDATE leases SET owner = NULL, expires = 0 WHERE {_MINE}"
_FINISH = (
    "INSERT INTO leases (run_id, owner, number, expires, ended) VALUES (:run_id, NULL, 0, 0, 1) "
    "ON CONFLICT (run_id) DO UPDATE SET owner = NULL, expires = 0, ended = 1 "
    "WHERE owner IS NULL OR expires <= :now"
)
_FINISH_LEASED = f"UPDATE leases SET owner = NULL, expires = 0, ended = 1 WHERE {_MINE}"
_FORGET = "DELETE FROM cursors WHERE run_id = :run_id"
_FORGET_LEASE = "DELETE FROM leases WHERE run_id = :run_id"
_VALUES = {"run_id": "", "seq": 0, "owner": "", "number": 0, "expires": 0.0, "now": 0.0}

_RETRY = 0.005  # seconds
_inherited: list[sqlite3.Connection] = []
_creating = threading.Lock()


def _reopened(path: str, busy_timeout: float, lease: float = 30.0) -> SqliteCursors:
    return SqliteCursors(path, busy_timeout=busy_timeout, lease=lease)


def _connect(path: str, busy_timeout: float) -> sqlite3.Connection:
    _create(path)
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=16
    )
    try:
        _use_write_ahead_log(connection, busy_timeout)
        connection.execute("PRAGMA synchronous = NORMAL")
        for statement in _CREATE:
            connection.execute(statement)
        for statement in (_READ, _SET, _SET_LEASED, _CLAIM, _RENEW, _FINISH):
            connection.execute(f"EXPLAIN {statement}", _VALUES)  # compiled, not run, to check the tables
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _create(path: str) -> None:
    """Create the file with mode 0600, which SQLite copies to its other files.

    Under a lock: closing any descriptor of a file releases the locks that SQLite has on it in this process.
    """
    with _creating, suppress(OSError):  # it exists, or SQLite reports the error
        os.close(owner_only(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def _use_write_ahead_log(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Wait for others that switch to it at the same time: SQLite's own busy timeout doesn't."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY)
