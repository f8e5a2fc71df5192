"""Cursors and leases in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from rxruns._errors import StoreError
from rxruns.cursors._lease import Fence, Row
from rxruns.cursors._leases import LeaseStore

if TYPE_CHECKING:
    from rxruns.cursors._postgres_connection import Address

__all__ = ["PostgresCursors"]

_TIMEOUT, _SHORTEST_TIMEOUT = 10.0, 2.0


class PostgresCursors(LeaseStore):
    """Cursors in a PostgreSQL database, for workers on several machines. Needs the extra ``postgres``.

    A stored cursor survives its process and, if the database does, its machine. A lower ``seq`` never
    replaces a higher one. Leases expire by the database's clock. It pickles as its connection string,
    password included; a forked process opens its own connections, without the leases of its parent.

    It has two connections, one of them for renewals. When the server closes one, it is opened again and the
    statement repeated, for up to a third of ``lease``.

    The first store creates the table ``rxruns_cursors``, in the first schema of the ``search_path``. This
    needs the right ``CREATE`` on the schema; later ones need ``SELECT``, ``INSERT``, ``UPDATE`` and, for
    :meth:`forget`, ``DELETE`` on the table.

    Args:
        dsn: a connection string of libpq: a URL or ``key=value`` pairs. ``PGPASSWORD`` and ``.pgpass`` work.
            A third of ``lease`` (2 to 10 s) limits connecting, unless ``connect_timeout`` is in it, and a
            statement; a server that hangs is an error after twice this time.
        lease: seconds after which a lease expires if it isn't renewed.

    Raises:
        InvalidArgumentError: the connection string can't be read (it isn't quoted), or a lease of 0 or of
            more than a day.
        ModuleNotFoundError: psycopg isn't installed.
        StoreError: the database can't be reached, refuses the user, or has another table of this name. Each
            method raises it too. ``path`` is the address without its password, and the cause has the class
            and the text of psycopg's error.
    """

    def __init__(self, dsn: str, *, lease: float = 30.0) -> None:
        address = _address(dsn)
        del dsn  # frames of the errors below must not show a password
        address.check()
        super().__init__(lease)
        self._address = address
        self._where = address.display
        limits = {"timeout": max(_SHORTEST_TIMEOUT, min(_TIMEOUT, lease / 3)), "patience": lease / 3}
        self._database = address.database(**limits)
        self._for_renewal = address.database(**limits)
        try:
            self._database.create(_EXISTS, _CREATE)
            self._check_table()
        except StoreError:
            self._disconnect()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._address.dsn(), self.lease)

    # ---- the database ----

    def _check_table(self) -> None:
        """Let the database plan the statements, which needs the columns and the rights."""
        values = {"run_id": UUID(int=0), "seq": 0, "owner": "", "number": 0, "lease": self.lease}
        for statement in (_READ, _SET, _SET_LEASED, _CLAIM, _FINISH, _FINISH_LEASED):
            self._database.execute("opened", f"EXPLAIN {statement}", values)

    def _disconnect(self) -> None:
        self._database.close()
        self._for_renewal.close()

    def _after_fork(self) -> None:
        super()._after_fork()
        for database in (getattr(self, "_database", None), getattr(self, "_for_renewal", None)):
            if database is not None:
                database.abandon()

    # ---- its rows ----

    def _read(self, run_id: UUID) -> Row:
        rows, _ = self._database.execute("read", _READ, {"run_id": run_id})
        return Row(*rows[0]) if rows else Row()

    def _write(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        values = {"run_id": run_id, "seq": seq} | (fence._asdict() if fence else {})
        _, changed = self._database.execute("written", _SET_LEASED if fence else _SET, values)
        return changed > 0

    def _claim(self, run_id: UUID, owner: str) -> int | None:
        values = {"run_id": run_id, "owner": owner, "lease": self.lease}
        rows, _ = self._database.execute("written", _CLAIM, values)
        return int(rows[0][0]) if rows else None

    def _renew(self, leases: list[tuple[UUID, Fence]]) -> frozenset[UUID]:
        rows, _ = self._for_renewal.execute("written", _RENEW, self._of(leases) | {"lease": self.lease})
        return frozenset(run_id for (run_id,) in rows)

    def _release(self, leases: list[tuple[UUID, Fence]]) -> None:
        self._for_renewal.execute("written", _RELEASE, self._of(leases))

    def _finish(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        values = {"run_id": run_id, "seq": seq} | (fence._asdict() if fence else {})
        _, changed = self._database.execute("written", _FINISH_LEASED if fence else _FINISH, values)
        return changed > 0

    def _forget(self, run_id: UUID) -> None:
        self._database.execute("written", _FORGET, {"run_id": run_id})

    def _of(self, leases: list[tuple[UUID, Fence]]) -> dict[str, object]:
        runs, fences = zip(*leases, strict=True)
        return {"runs": list(runs), "owner": self._owner, "numbers": [fence.number for fence in fences]}


_EXISTS = "SELECT to_regclass('rxruns_cursors') IS NOT NULL"
_CREATE = """
CREATE TABLE IF NOT EXISTS rxruns_cursors (
    run_id uuid PRIMARY KEY,
    seq bigint NOT NULL CHECK (seq >= 0),
    ended boolean NOT NULL DEFAULT false,
    owner text,
    number bigint NOT NULL DEFAULT 0,
    expires timestamptz
)"""
_READ = """
SELECT seq, ended, owner, number, owner IS NOT NULL AND coalesce(expires > clock_timestamp(), false)
FROM rxruns_cursors WHERE run_id = %(run_id)s"""
_FREE = "(held.owner IS NULL OR held.expires <= clock_timestamp())"
_MINE = "run_id = %(run_id)s AND owner = %(owner)s AND number = %(number)s"
_SET = f"""
INSERT INTO rxruns_cursors AS held (run_id, seq) VALUES (%(run_id)s, %(seq)s)
ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > held.seq AND {_FREE}"""
_SET_LEASED = f"UPDATE rxruns_cursors SET seq = %(seq)s WHERE {_MINE} AND seq < %(seq)s"
_CLAIM = f"""
INSERT INTO rxruns_cursors AS held (run_id, seq, owner, number, expires)
VALUES (%(run_id)s, 0, %(owner)s, 1, clock_timestamp() + %(lease)s * interval '1 second')
ON CONFLICT (run_id) DO UPDATE
SET owner = excluded.owner, number = held.number + 1, expires = excluded.expires
WHERE NOT held.ended AND {_FREE}
RETURNING number"""
_HELD = """
FROM unnest(%(runs)s::uuid[], %(numbers)s::bigint[]) AS lease (run_id, number)
WHERE held.run_id = lease.run_id AND held.number = lease.number AND held.owner = %(owner)s"""
_RENEW = f"""
UPDATE rxruns_cursors AS held SET expires = clock_timestamp() + %(lease)s * interval '1 second' {_HELD}
RETURNING held.run_id"""
_RELEASE = f"UPDATE rxruns_cursors AS held SET owner = NULL, expires = NULL {_HELD}"
_FINISH = f"""
INSERT INTO rxruns_cursors AS held (run_id, seq, ended) VALUES (%(run_id)s, %(seq)s, true)
ON CONFLICT (run_id) DO UPDATE
SET seq = greatest(held.seq, excluded.seq), ended = true, owner = NULL, expires = NULL
WHERE {_FREE}"""
_FINISH_LEASED = f"""
UPDATE rxruns_cursors
SET seq = greatest(seq, %(seq)s), ended = true, owner = NULL, expires = NULL WHERE {_MINE}"""
_FORGET = "DELETE FROM rxruns_cursors WHERE run_id = %(run_id)s"


def _address(dsn: object) -> Address:
    from rxruns.cursors._postgres_connection import Address  # noqa: PLC0415  (needs an extra)

    return Address(dsn)


def _reopened(dsn: str, lease: float) -> PostgresCursors:
    return PostgresCursors(dsn, lease=lease)
