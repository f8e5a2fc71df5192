"""A connection to PostgreSQL. The only module that names psycopg, and the password of a database.

Psycopg's own errors and their frames refer to the connection string, so a cause is a copy of such an error:
its class and its text.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Generator, Mapping
from typing import Any

from rxruns._display._visible import visible
from rxruns._errors import InvalidArgumentError, StoreError, must_be
from rxruns._transport import Redactor
from rxruns.cursors._clock import seconds

try:
    import psycopg
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rxruns.cursors.PostgresCursors needs {error.name}: pip install 'rxruns[postgres]'", name=error.name
    ) from error
from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Address", "Database"]

_DISPLAYED = ("host", "hostaddr", "port", "user", "dbname")
_SHORT = 5
"""Characters of a password that isn't looked for in messages."""

_FIRST_DELAY, _LAST_DELAY = 0.05, 1.0
"""Seconds before the connection is opened again; doubled from the first to the last."""

_SESSION = (
    "SELECT set_config('statement_timeout', %s, false), "
    "set_config('default_transaction_isolation', 'read committed', false)"
)
_CREATED_MEANWHILE = (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable)
_inherited: list[psycopg.Connection[Any]] = []


class Address:
    """A connection string, which its ``repr`` hides.

    Attributes:
        display: host, port, user and database, for messages.
        redactor: removes the password from texts.
    """

    __slots__ = ("_dsn", "_params", "redactor", "display")

    def __init__(self, dsn: object) -> None:
        self._dsn = dsn
        self._params = _parsed(dsn)  # doesn't raise, since this frame holds the password
        params = self._params or {}
        displayed = {name: params[name] for name in _DISPLAYED if params.get(name)}
        self.display: str = visible(make_conninfo(**displayed)) or "the default database"
        # Of shorter ones, which are parts of other words, `[hidden]` would show the letters.
        self.redactor: Redactor = Redactor(
            str(value) for name, value in params.items() if "password" in name and len(str(value)) > _SHORT
        )

    def check(self) -> None:
        """Require a connection string that can be read. A refused one isn't quoted."""
        if not isinstance(self._dsn, str):
            raise must_be("dsn", "a connection string", type(self._dsn))
        if self._params is None:
            raise InvalidArgumentError(
                "dsn must be a connection string of PostgreSQL, such as postgresql://user@host/database, "
                "with reserved characters of a password percent-encoded (its value is not shown)",
                field="dsn",
            )

    def dsn(self) -> str:
        """Return the connection string with its password."""
        return str(self._dsn)

    def database(self, *, timeout: float, patience: float) -> Database:
        """Return a connection to it, which is opened when it is used."""
        return Database(self, timeout=timeout, patience=patience)

    def connect(self, timeout: float) -> psycopg.Connection[Any]:
        """Open a connection, each statement of which is a transaction.

        Args:
            timeout: seconds for connecting, for a statement, and for a silent network; a connection string
                may set others.
        """
        milliseconds = math.ceil(timeout * 1000)
        options: dict[str, Any] = {
            "connect_timeout": math.ceil(timeout),
            "tcp_user_timeout": milliseconds,
            "keepalives_idle": math.ceil(timeout),
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "application_name": "rxruns",
        }
        # Without prepared statements: a pooler may give each statement another session.
        options |= self._params or {}
        connection = _Connection.connect(**options, autocommit=True, prepare_threshold=None)
        connection.patience = 2 * timeout
        try:
            connection.execute(_SESSION, (f"{milliseconds}ms",))
        except psycopg.Error:
            connection.close()
            raise
        return connection


class _NoAnswer(psycopg.OperationalError):
    """The server is connected, and silent: it hangs or is suspended."""


class _Connection(psycopg.Connection[Any]):
    """A connection that doesn't wait longer than `patience` seconds for the server."""

    patience: float = math.inf

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        return super().wait(_limited(gen, self.patience), *args, **options)


def _limited(waiting: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    """Run a generator of psycopg, which gets 0 now and then while nothing arrives."""
    deadline = seconds() + patience
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if not ready and seconds() > deadline:
                raise _NoAnswer(f"the server didn't answer for {patience:.3g} s")
            wanted = waiting.send(ready)
    except StopIteration as end:
        return end.value


class Database:
    """A connection that is opened again when it was lost. Any thread may use it, one at a time.

    Args:
        address: the database.
        timeout: seconds for connecting and for a statement.
        patience: seconds during which a lost connection is opened again, and its statement repeated.
    """

    def __init__(self, address: Address, *, timeout: float, patience: float) -> None:
        self._address = address
        self._timeout = timeout
        self._patience = patience
        self._closed = threading.Event()
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def execute(
        self, action: str, statement: str, values: Mapping[str, object] | None = None, *, once: bool = False
    ) -> tuple[list[tuple[Any, ...]], int]:
        """Return the rows, and the number of changed rows.

        Args:
            action: for the message of an error: the cursors could not be `action`.
            once: don't repeat the statement if the connection is lost.
        """
        with self._lock:
            deadline, delay = seconds() + (0.0 if once else self._patience), _FIRST_DELAY
            while True:
                result = self._attempt(statement, values)
                if not isinstance(result, psycopg.Error):
                    return result
                is_lost = self._connection is None
                if not is_lost or seconds() + delay > deadline or self._closed.wait(delay):
                    break
                delay = min(2 * delay, _LAST_DELAY)
        raise self._error(action, result) from result

    def create(self, exists: str, statement: str) -> None:
        """Create a table, unless the query `exists` returns true. Other processes may do the same now."""
        rows, _ = self.execute("opened", exists, once=True)
        if not rows[0][0]:
            try:
                self.execute("created", statement)
            except StoreError as error:
                if not isinstance(error.__cause__, _CREATED_MEANWHILE):
                    raise

    def close(self) -> None:
        """Close the connection; repeated calls do nothing. Waits for the statement that is running."""
        self._closed.set()
        with self._lock:
            self._drop()

    def abandon(self) -> None:
        """Leave the connection to the parent process, in a forked one."""
        if self._connection is not None and self._finalizer is not None:
            self._finalizer.detach()
            _inherited.append(self._connection)
        self._begin()

    def _attempt(
        self, statement: str, values: Mapping[str, object] | None
    ) -> tuple[list[tuple[Any, ...]], int] | psycopg.Error:
        if self._closed.is_set():
            return psycopg.OperationalError("the store is closed")
        try:
            connection = self._connection or self._open()
            cursor = connection.execute(statement.encode(), values)
            return (cursor.fetchall() if cursor.description else []), cursor.rowcount
        except psycopg.Error as error:
            if isinstance(error, _NoAnswer) or (self._connection is not None and self._connection.closed):
                self._drop()
            return self._bare(error)

    def _open(self) -> psycopg.Connection[Any]:
        connection = self._connection = self._address.connect(self._timeout)
        self._finalizer = weakref.finalize(self, _close_unless_used, connection, self._lock)
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._finalizer is not None and self._finalizer.detach():
            connection.close()

    def _bare(self, error: psycopg.Error) -> psycopg.Error:
        """Copy an error without its frames and its connection, which hold the password."""
        text = error.diag.message_primary or str(error)
        return type(error)(visible(" ".join(self._address.redactor.text(text).split())))

    def _error(self, action: str, reason: object) -> StoreError:
        where = self._address.display
        return StoreError(f"the cursors in PostgreSQL ({where}) could not be {action}: {reason}", path=where)


def _parsed(dsn: object) -> dict[str, Any] | None:
    """Return the parts of a connection string; None if they may be misread, and show parts of a password."""
    if not isinstance(dsn, str):
        return None
    try:
        params: dict[str, Any] = dict(conninfo_to_dict(dsn))
        make_conninfo(**params).encode()
    except (psycopg.Error, UnicodeEncodeError):
        return None
    ports = str(params.get("port", "")).replace(",", "")
    parts = (str(params.get(name, ""))[1:] for name in ("host", "dbname", "user"))
    is_url = dsn.startswith(("postgresql://", "postgres://"))
    if not (ports.isdecimal() or not ports) or (is_url and any("@" in part for part in parts)):
        return None
    return params


def _close_unless_used(connection: psycopg.Connection[Any], lock: threading.Lock) -> None:
    """Close a connection that its store left open. At the end of the process, a thread may still use it."""
    if lock.acquire(timeout=_LAST_DELAY):
        connection.close()
