"""A file or database that several stores share, and whose leases expire when a test wants it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from rxruns.cursors import LeaseStore, PostgresCursors, SqliteCursors
from tests.postgres import Postgres


class Shared(Protocol):
    """A place that several stores share."""

    def open(self, *, lease: float = 30.0) -> LeaseStore:
        """Return another store, which the place closes."""
        ...

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement of SQL; ``LEASES`` stands for the table of leases."""
        ...

    @property
    def code(self) -> str:
        """An expression of Python for a store with ``lease=lease``."""
        ...


class SharedFile:
    """A SQLite file."""

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self.path = path
        self._opened = opened

    def open(self, *, lease: float = 30.0) -> LeaseStore:
        return self._opened.enter_context(SqliteCursors(self.path, lease=lease))

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement.replace("LEASES", "leases").replace("PAST", "1")).fetchall()

    @property
    def code(self) -> str:
        return f"cursors.SqliteCursors({str(self.path)!r}, lease=lease)"


class SharedDatabase:
    """A PostgreSQL database."""

    def __init__(self, server: Postgres, name: str, opened: ExitStack) -> None:
        self.server = server
        self.name = name
        self._opened = opened

    def open(self, *, lease: float = 30.0) -> LeaseStore:
        return self._opened.enter_context(PostgresCursors(self.server.dsn(self.name), lease=lease))

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        statement = statement.replace("LEASES", "rxruns_cursors").replace("PAST", "'-infinity'")
        return self.server.run(statement, self.name)

    @property
    def code(self) -> str:
        return f"cursors.PostgresCursors({self.server.dsn(self.name)!r}, lease=lease)"


@contextmanager
def shared_file(folder: Path) -> Iterator[SharedFile]:
    with ExitStack() as opened:
        yield SharedFile(folder / "cursors.db", opened)


@contextmanager
def shared_database(server: Postgres) -> Iterator[SharedDatabase]:
    with server.database() as name, ExitStack() as opened:
        yield SharedDatabase(server, name, opened)


def expire(shared: Shared, run_id: UUID) -> None:
    """Let the lease of a run expire, as if its owner had been suspended."""
    shared.run(f"UPDATE LEASES SET expires = PAST WHERE run_id = '{run_id}'")


def take_away(shared: Shared, run_id: UUID) -> None:
    """Give the lease of a run to another owner."""
    shared.run(f"UPDATE LEASES SET owner = 'other', number = number + 1 WHERE run_id = '{run_id}'")


def owner_of(shared: Shared, run_id: UUID) -> str | None:
    """Return the stored owner."""
    owner: str | None = shared.run(f"SELECT owner FROM LEASES WHERE run_id = '{run_id}'")[0][0]
    return owner


def expiry_of(shared: Shared, run_id: UUID) -> Any:
    """Return the time at which the lease expires."""
    return shared.run(f"SELECT expires FROM LEASES WHERE run_id = '{run_id}'")[0][0]
