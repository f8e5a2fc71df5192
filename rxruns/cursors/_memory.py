"""Cursors and leases in memory."""

from __future__ import annotations

import threading
from uuid import UUID

from msgspec import Struct

from rxruns.cursors._clock import seconds
from rxruns.cursors._lease import Fence, Row
from rxruns.cursors._leases import LeaseStore

__all__ = ["MemoryCursors"]


class MemoryCursors(LeaseStore):
    """Cursors in memory: for tests, and for several subscriptions within one process.

    Any thread may use it. A lower ``seq`` never replaces a higher one, because an event may be emitted twice.

    Args:
        lease: seconds after which a lease expires if it isn't renewed.
    """

    def __init__(self, *, lease: float = 30.0) -> None:
        self._where = "memory"
        self._rows: dict[UUID, _Stored] = {}
        self._lock = threading.Lock()
        super().__init__(lease)

    def _read(self, run_id: UUID) -> Row:
        with self._lock:
            row = self._rows.get(run_id)
            return Row() if row is None else Row(row.seq, row.ended, row.owner, row.number, row.is_leased)

    def _write(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        with self._lock:
            row = self._rows.get(run_id)
            if row is None:
                row = self._rows[run_id] = _Stored()
            is_allowed = row.admits(fence) and seq > row.seq
            if is_allowed:
                row.seq = seq
            return is_allowed

    def _claim(self, run_id: UUID, owner: str) -> int | None:
        with self._lock:
            row = self._rows.setdefault(run_id, _Stored())
            if row.ended or row.is_leased:
                return None
            row.owner, row.number, row.expires = owner, row.number + 1, seconds() + self.lease
            return row.number

    def _renew(self, leases: list[tuple[UUID, Fence]]) -> frozenset[UUID]:
        with self._lock:
            kept = self._held(leases)
            for row in kept.values():
                row.expires = seconds() + self.lease
            return frozenset(kept)

    def _release(self, leases: list[tuple[UUID, Fence]]) -> None:
        with self._lock:
            for row in self._held(leases).values():
                row.owner = None

    def _finish(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        with self._lock:
            row = self._rows.setdefault(run_id, _Stored())
            is_allowed = row.admits(fence)
            if is_allowed:
                row.seq, row.ended, row.owner = max(seq, row.seq), True, None
            return is_allowed

    def _forget(self, run_id: UUID) -> None:
        with self._lock:
            self._rows.pop(run_id, None)

    def _disconnect(self) -> None:
        pass

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        super()._after_fork()

    def _held(self, leases: list[tuple[UUID, Fence]]) -> dict[UUID, _Stored]:
        rows = [(run_id, self._rows.get(run_id), fence) for run_id, fence in leases]
        return {run_id: row for run_id, row, fence in rows if row is not None and row.admits(fence)}


class _Stored(Struct):
    seq: int = 0
    ended: bool = False
    owner: str | None = None
    number: int = 0
    expires: float = 0.0

    @property
    def is_leased(self) -> bool:
        return self.owner is not None and seconds() < self.expires

    def admits(self, fence: Fence | None) -> bool:
        """Return True if a cursor may be set by this owner, or without a lease."""
        return not self.is_leased if fence is None else (self.owner, self.number) == fence
