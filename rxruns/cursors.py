"""Stores of cursors: for each ``run_id``, the ``seq`` of the last handled event.

``run_events(run_id, after_seq=store.get(run_id)).pipe(..., ops.checkpoint(store))`` resumes where the last
process stopped.

>>> store = MemoryCursors()
>>> run_id = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
>>> store.set(run_id, 41)
>>> store.get(run_id)
41
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import suppress
from typing import Any, Protocol, Self
from uuid import UUID

from rxruns._arguments import check_path, check_run_id, check_seconds, check_whole_number
from rxruns._display._files import owner_only
from rxruns._errors import StoreError, must_be
from rxruns.events import MAX_INTEGER

__all__ = ["CursorStore", "MemoryCursors", "SqliteCursors"]


class CursorStore(Protocol):
    """A store that ``ops.checkpoint`` writes to. Implement these two methods to keep cursors elsewhere.

    Raise :class:`~rxruns.errors.StoreError` if the store can't be used. An exception of ``set`` ends the
    stream, and a later stream emits its event again.
    """

    def get(self, run_id: UUID | str, /) -> int:
        """Return the ``seq`` of the run's last handled event, 0 for none; pass it as ``after_seq``."""
        ...

    def set(self, run_id: UUID | str, seq: int, /) -> None:
        """Store that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing."""
        ...


class MemoryCursors:
    """Cursors in memory: for tests, and for several subscriptions within one process.

    Any thread may use it. A lower ``seq`` never replaces a higher one, because an event may be emitted twice.
    """

    def __init__(self) -> None:
        self._seqs: dict[str, int] = {}
        self._lock = threading.Lock()

    def get(self, run_id: UUID | str) -> int:
        """Return the ``seq`` of the run's last handled event, 0 for none."""
        return self._seqs.get(_key(run_id), 0)

    def set(self, run_id: UUID | str, seq: int) -> None:
        """Store that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing."""
        key, seq = _key(run_id), _checked(seq)
        with self._lock:
            self._seqs[key] = max(seq, self._seqs.get(key, 0))

    def forget(self, run_id: UUID | str) -> None:
        """Remove the run, so that it is followed from its start."""
        with self._lock:
            self._seqs.pop(_key(run_id), None)


class SqliteCursors:
    """Cursors in a SQLite file, for many threads and processes of one machine.

    A stored cursor survives its process. A crash of the machine may lose the last ones, whose events are then
    emitted again. A lower ``seq`` never replaces a higher one, so a process that is slow to stop can't set
    back its successor. It pickles as its path, and a forked process opens its own connection.

    Args:
        path: the file, created with mode 0600 if it is missing. Its directory must exist, on a local disk
            (SQLite's write-ahead log needs that).
        busy_timeout: seconds to wait while another process writes.

    Raises:
        InvalidArgumentError: a path with a NUL character, or ``":memory:"``; a timeout below 0.
        StoreError: the file can't be opened, is not a SQLite file, or has another table ``cursors``. Each
            method raises it too: the file is locked for longer than ``busy_timeout``, read-only, corrupt,
            edited or on a full disk, or the store is closed. The cause is SQLite's own error. A cursor whose
            :meth:`set` returned before stays stored.

    >>> import tempfile
    >>> with SqliteCursors(os.path.join(tempfile.mkdtemp(), "cursors.db")) as store:
    ...     store.set("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", 41)
    ...     store.set("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", 40)
    ...     store.get("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
    41
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 30.0) -> None:
        if str(check_path("path", path)) == ":memory:":
            raise must_be("path", "a file", path, "use MemoryCursors() to keep cursors in memory")
        check_seconds("busy_timeout", busy_timeout)
        self._path = os.path.abspath(path)
        self._busy_timeout = busy_timeout
        self._open()

    def get(self, run_id: UUID | str) -> int:
        """Return the ``seq`` of the run's last handled event, 0 for none."""
        key = _key(run_id)
        row, _ = self._execute("read", _GET, key)
        seq = 0 if row is None else row[0]
        if not isinstance(seq, int) or not 0 <= seq <= MAX_INTEGER:
            raise self._error("read", f"the cursor of run {key} is {seq!r}, which is not a seq")
        return seq

    def set(self, run_id: UUID | str, seq: int) -> None:
        """Store that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing."""
        key, seq = _key(run_id), _checked(seq)
        _, changed = self._execute("written", _SET, key, seq)
        if not changed:  # the stored one is higher, or was edited into a value that compares as higher
            self.get(run_id)

    def forget(self, run_id: UUID | str) -> None:
        """Remove the run, so that it is followed from its start."""
        self._execute("written", _FORGET, _key(run_id))

    def close(self) -> None:
        """Close the file; repeated calls do nothing. The store can't be used afterwards."""
        with self._lock:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._path, self._busy_timeout)

    def _open(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        try:
            self._connection = _connect(self._path, self._busy_timeout)
        except sqlite3.Error as error:
            raise self._error("opened", error) from error
        self._close = weakref.finalize(self, self._connection.close)

    def _execute(self, action: str, statement: str, *values: object) -> tuple[tuple[object, ...] | None, int]:
        """Return the first row, and the number of changed rows."""
        if self._process != os.getpid():
            # SQLite's locks belong to a process. The parent's connection must not even be closed here.
            self._close.detach()
            _inherited.append(self._connection)
            self._open()
        with self._lock:
            try:
                cursor = self._connection.execute(statement, values)
                return cursor.fetchone(), cursor.rowcount
            except sqlite3.Error as error:
                raise self._error(action, error) from error

    def _error(self, action: str, reason: object) -> StoreError:
        return StoreError(f"the cursors in {self._path} could not be {action}: {reason}", path=self._path)


_GET = "SELECT seq FROM cursors WHERE run_id = ?"
_SET = (
    "INSERT INTO cursors (run_id, seq) VALUES (?, ?) "
    "ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > cursors.seq"
)
_FORGET = "DELETE FROM cursors WHERE run_id = ?"
_CREATE = "CREATE TABLE IF NOT EXISTS cursors (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID"

_RETRY = 0.005  # seconds
_inherited: list[sqlite3.Connection] = []
_creating = threading.Lock()


def _reopened(path: str, busy_timeout: float) -> SqliteCursors:
    return SqliteCursors(path, busy_timeout=busy_timeout)


def _connect(path: str, busy_timeout: float) -> sqlite3.Connection:
    _create(path)
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=8
    )
    try:
        _use_write_ahead_log(connection, busy_timeout)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_CREATE)
        for statement, values in ((_GET, ("",)), (_SET, ("", 0))):  # compiled, not run, to check the table
            connection.execute(f"EXPLAIN {statement}", values)
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


def _key(run_id: UUID | str) -> str:
    return str(run_id if isinstance(run_id, UUID) else check_run_id(run_id))


def _checked(seq: int) -> int:
    check_whole_number("seq", seq, at_least=0)
    return seq
