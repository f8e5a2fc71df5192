"""Where the cursors of runs are kept: by ``run_id``, the ``seq`` of the last event that was handled.

``run_events(run_id, after_seq=store.get(run_id)).pipe(..., ops.checkpoint(store))`` goes on where the last
process ended.

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
from typing import Any, Protocol, Self
from uuid import UUID

from rxruns._arguments import check_path, check_run_id, check_seconds
from rxruns.errors import InvalidArgumentError

__all__ = ["CursorStore", "MemoryCursors", "SqliteCursors"]


class CursorStore(Protocol):
    """What ``ops.checkpoint`` writes to. Implement these two to keep cursors elsewhere."""

    def get(self, run_id: UUID | str, /) -> int:
        """``seq`` of the last event of the run that was handled, 0 for none: ``after_seq`` to go on from."""
        ...

    def set(self, run_id: UUID | str, seq: int, /) -> None:
        """Note that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing."""
        ...


class MemoryCursors:
    """Cursors in memory: for tests, and for subscriptions that begin anew within one process.

    Any thread may use it. A lower ``seq`` never takes the place of a higher one, as an event may come twice.
    """

    def __init__(self) -> None:
        self._seqs: dict[str, int] = {}
        self._lock = threading.Lock()

    def get(self, run_id: UUID | str) -> int:
        """``seq`` of the last event of the run that was handled, 0 for none."""
        return self._seqs.get(_key(run_id), 0)

    def set(self, run_id: UUID | str, seq: int) -> None:
        """Note that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing."""
        key, seq = _key(run_id), _checked(seq)
        with self._lock:
            self._seqs[key] = max(seq, self._seqs.get(key, 0))

    def forget(self, run_id: UUID | str) -> None:
        """Remove the run, so that it is followed from its beginning."""
        with self._lock:
            self._seqs.pop(_key(run_id), None)


class SqliteCursors:
    """Cursors in a SQLite file, for many threads and processes of one machine.

    A stored cursor survives the end of its process; the end of the machine may cost the last ones, whose
    events then come again. A lower ``seq`` never takes the place of a higher one: a process that was slow to
    stop can not set back the one that took over. Pickles as its path, and is opened anew in a forked process.

    Args:
        path: of the file, made if it is missing; its directory has to exist, on a local disk (SQLite's
            write-ahead log needs that).
        busy_timeout: seconds to wait for another process that is writing.

    Raises:
        InvalidArgumentError: the file can not be opened, or is no SQLite file; a timeout below 0.

    >>> import tempfile
    >>> with SqliteCursors(os.path.join(tempfile.mkdtemp(), "cursors.db")) as store:
    ...     store.set("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", 41)
    ...     store.set("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", 40)
    ...     store.get("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
    41
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 30.0) -> None:
        check_path("path", path)
        check_seconds("busy_timeout", busy_timeout)
        if str(path) == ":memory:":
            raise InvalidArgumentError("path: to keep cursors in memory, use MemoryCursors()", field="path")
        self._path = os.path.abspath(path)
        self._busy_timeout = busy_timeout
        self._open()

    def get(self, run_id: UUID | str) -> int:
        """``seq`` of the last event of the run that was handled, 0 for none."""
        row = self._execute("SELECT seq FROM cursors WHERE run_id = ?", _key(run_id))
        return 0 if row is None else int(row[0])

    def set(self, run_id: UUID | str, seq: int) -> None:
        """Note that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing."""
        self._execute(
            "INSERT INTO cursors (run_id, seq) VALUES (?, ?) "
            "ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > cursors.seq",
            _key(run_id),
            _checked(seq),
        )

    def forget(self, run_id: UUID | str) -> None:
        """Remove the run, so that it is followed from its beginning."""
        self._execute("DELETE FROM cursors WHERE run_id = ?", _key(run_id))

    def close(self) -> None:
        """Close the file; once is enough. The store can not be used afterwards."""
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
        self._connection = _connect(self._path, self._busy_timeout)
        self._close = weakref.finalize(self, self._connection.close)

    def _execute(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        if self._process != os.getpid():
            # SQLite's locks belong to a process. The parent's connection must not even be closed here.
            self._close.detach()
            _inherited.append(self._connection)
            self._open()
        with self._lock:
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row


_RETRY = 0.005  # seconds
_inherited: list[sqlite3.Connection] = []


def _reopened(path: str, busy_timeout: float) -> SqliteCursors:
    return SqliteCursors(path, busy_timeout=busy_timeout)


def _connect(path: str, busy_timeout: float) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=8
        )
    except sqlite3.Error as error:
        raise InvalidArgumentError(f"path: {path} can not be opened: {error}", field="path") from error
    try:
        _use_write_ahead_log(connection, busy_timeout)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS cursors (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID"
        )
    except sqlite3.Error as error:
        connection.close()
        raise InvalidArgumentError(f"path: {path} can not be used: {error}", field="path") from error
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Wait for others that change to it at the same moment: SQLite's own busy timeout does not."""
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
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq < 2**63:
        raise InvalidArgumentError(f"seq has to be a whole number from 0 on, not {seq!r}", field="seq")
    return seq
