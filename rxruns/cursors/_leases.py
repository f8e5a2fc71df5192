"""Leases of runs, for every store: who may follow a run, until when, and whose cursor counts.

Threads: any thread may use a store and its leases. One thread per store, ``rxruns-leases``, renews all leases
that the store holds, and releases those that must not keep their thread waiting; it calls the functions that
wait for the loss of a lease. It starts with the first claim and ends when no lease is left. A forked process
holds none of its parent's leases.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple, Self
from uuid import UUID, uuid4
from weakref import WeakSet

from rxruns._arguments import check_run_id, check_seconds, check_whole_number
from rxruns._display._visible import visible
from rxruns._errors import LeaseLostError, StoreError, must_be
from rxruns.cursors._clock import seconds
from rxruns.cursors._lease import Fence, Lease, Row
from rxruns.cursors._renewal import Renewal

__all__ = ["LeaseStore"]

logger: logging.Logger = logging.getLogger("rxruns")

_LONGEST = 86_400.0
"""The longest lease in seconds."""


class LeaseStore(ABC):
    """A store of cursors that leases runs: the methods that the stores of this module share.

    Attributes:
        lease: seconds after which a lease expires if its owner, which renews it each third of this time,
            doesn't.
    """

    def __init__(self, lease: float) -> None:
        check_seconds("lease", lease)
        if not 0 < lease <= _LONGEST:
            raise must_be("lease", "a number of seconds above 0, at most 86,400", lease)
        self.lease: float = lease
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        """Begin as an owner without leases: in a new store, and in a forked process."""
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._leases: dict[UUID, Lease] = {}
        self._mutex = threading.Lock()
        self._is_outage = False
        self._renewal = Renewal(self.lease / 3, _Renewed(self))

    # ---- cursors ----

    def get(self, run_id: UUID | str) -> int:
        """Return the ``seq`` of the run's last handled event, 0 for none."""
        return self._read(check_run_id(run_id)).seq

    def set(self, run_id: UUID | str, seq: int) -> None:
        """Store that the event ``seq`` was handled. A ``seq`` below the stored one changes nothing.

        Raises:
            LeaseLostError: this store claimed the run and lost it, or didn't claim it and another one has.
        """
        key = check_run_id(run_id)
        self._set(key, seq, self._leases.get(key))

    def forget(self, run_id: UUID | str) -> None:
        """Remove the run with its lease and its fencing number, so that it is followed from its start."""
        key = check_run_id(run_id)
        self._forget(key)
        self._leases.pop(key, None)

    # ---- leases ----

    def claim(self, run_id: UUID | str) -> Lease | None:
        """Take the lease of a run, unless it is held. It is renewed until it is released, or lost.

        Returns:
            None if another owner holds it and it hasn't expired, if this store holds it, or if the run's end
            was recorded (see :meth:`ended`).
        """
        return self._try_claim(check_run_id(run_id))[0]

    def finish(self, run_id: UUID | str, seq: int) -> None:
        """Store that the run has ended with the event ``seq``, and release its lease. See :meth:`set`."""
        key = check_run_id(run_id)
        self._end(key, seq, self._leases.get(key))

    def ended(self, run_id: UUID | str) -> bool:
        """Return True if the run's end was recorded. Such a run can't be claimed."""
        return self._read(check_run_id(run_id)).ended

    # ---- the end ----

    def close(self) -> None:
        """Release all leases, and close the store; repeated calls do nothing. It can't be used afterwards."""
        self._renewal.stop()
        self._renewal.join(self.lease)
        self._release_all(self._current())
        self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- what a lease, a merge and a checkpoint call ----

    def _try_claim(self, run_id: UUID) -> tuple[Lease | None, bool]:
        """Return a lease, or None, and True if the run's end was recorded."""
        row = self._read(run_id)
        if row.ended or row.is_leased:
            return None, row.ended
        deadline = seconds() + self.lease  # from before the statement, so that it ends here first
        number = self._claim(run_id, self._owner)
        if number is None:
            return None, False
        lease = Lease(self, run_id, Fence(self._owner, number), deadline)
        with self._mutex:
            former, self._leases[run_id] = self._leases.get(run_id), lease
        if former is not None:
            former._lost = True
        _release_at_exit()
        self._renewal.start()
        return lease, False

    def _set(self, run_id: UUID, seq: int, lease: Lease | None) -> None:
        check_whole_number("seq", seq, at_least=0)
        if not self._write(run_id, seq, None if lease is None else lease._fence):
            self._refuse("stored", run_id, lease)

    def _end(self, run_id: UUID, seq: int, lease: Lease | None) -> None:
        check_whole_number("seq", seq, at_least=0)
        is_current = self._remove(lease)  # so that the renewal doesn't miss it meanwhile
        try:
            if not self._finish(run_id, seq, None if lease is None else lease._fence):
                self._refuse("marked as the last", run_id, lease)
        except StoreError:
            if lease is not None and is_current:
                with self._mutex:
                    self._leases.setdefault(run_id, lease)
            raise
        if lease is not None:
            lease._lost = True

    def _give_back(self, lease: Lease) -> None:
        if self._remove(lease) and not lease._lost:
            lease._lost = True
            self._release([(lease.run_id, lease._fence)])

    def _give_back_soon(self, lease: Lease) -> None:
        """Release it on the thread that renews."""
        self._renewal.release(lease)

    def _remove(self, lease: Lease | None) -> bool:
        """Forget a lease in this process. Return False if it isn't the current one of its run."""
        with self._mutex:
            if lease is None or self._leases.get(lease.run_id) is not lease:
                return False
            del self._leases[lease.run_id]
            return True

    def _current(self) -> list[Lease]:
        with self._mutex:
            return list(self._leases.values())

    def _is_followed(self, run_id: UUID) -> bool:
        """Return True if a follower ends the run when its lease is lost."""
        lease = self._leases.get(run_id)
        return lease is not None and lease._on_lost is not None

    def _refuse(self, done: str, run_id: UUID, lease: Lease | None) -> None:
        """Raise if a cursor was refused because of a lease, rather than because it is too low."""
        row = self._read(run_id)
        if lease is None:
            if not row.is_leased:
                return
            reason = f"{visible(str(row.owner))} holds the run's lease"
        else:
            if (row.owner, row.number) == lease._fence or (row.ended and row.number == lease.number):
                return
            reason = f"the run's lease was lost or released (claim {lease.number}, now {row.number})"
            self._lose(lease)
        raise LeaseLostError(
            f"the cursor of run {run_id} was not {done} in {self._where}: {reason}",
            path=self._where,
            run_id=run_id,
        )

    # ---- the thread that renews ----

    def _renew_all(self) -> bool:
        """Renew all leases. Return False if the store can't be used now."""
        held = [lease for lease in self._current() if not lease._lost]
        if not held:
            return True
        deadline = seconds() + self.lease
        try:
            kept = self._renew([(lease.run_id, lease._fence) for lease in held])
        except StoreError as error:
            level = logging.DEBUG if self._is_outage else logging.WARNING  # one warning per outage
            logger.log(level, "%d lease(s) not renewed: %s", len(held), error)
            self._is_outage = True
            for lease in held:
                if not lease.is_held:
                    self._lose(lease)
            return False
        self._is_outage = False
        for lease in held:
            if lease.run_id in kept:
                lease._deadline = deadline
            elif self._leases.get(lease.run_id) is lease:  # not released meanwhile
                self._lose(lease)
        return True

    def _lose(self, lease: Lease) -> None:
        if not lease._lost:
            lease._lost = True
            logger.info("run %s: its lease was lost", lease.run_id)
            if lease._on_lost is not None:
                lease._on_lost()

    def _release_all(self, leases: Iterable[Lease]) -> None:
        """Release leases as far as the store can be used; others expire."""
        held = [lease for lease in leases if self._remove(lease) and not lease._lost]
        for lease in held:
            lease._lost = True
        if held:
            try:
                self._release([(lease.run_id, lease._fence) for lease in held])
            except StoreError as error:
                logger.debug("%d lease(s) not released: %s", len(held), error)

    def _after_fork(self) -> None:
        for lease in self._leases.values():  # without a lock: another thread of the parent may have held it
            lease._lost = True
        self._begin()

    # ---- what each store does ----

    _where: str
    """The file or the database, in messages."""

    @abstractmethod
    def _read(self, run_id: UUID) -> Row: ...
    @abstractmethod
    def _write(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        """Store a cursor. False: it was refused, since it isn't higher, or because of a lease.

        With a fence, the lease must have this owner and number. Without, no lease may be unexpired.
        """

    @abstractmethod
    def _claim(self, run_id: UUID, owner: str) -> int | None:
        """Begin a lease and return its number; None if another owner was faster."""

    @abstractmethod
    def _renew(self, leases: list[tuple[UUID, Fence]]) -> frozenset[UUID]:
        """Begin the leases' time anew. Return the runs whose leases still have their owner and number."""

    @abstractmethod
    def _release(self, leases: list[tuple[UUID, Fence]]) -> None: ...
    @abstractmethod
    def _finish(self, run_id: UUID, seq: int, fence: Fence | None) -> bool:
        """Store a cursor and the end of the run, without a lease. False: refused because of a lease."""

    @abstractmethod
    def _forget(self, run_id: UUID) -> None: ...
    @abstractmethod
    def _disconnect(self) -> None: ...


class _Renewed(NamedTuple):
    """The leases of a store, for the thread that renews them."""

    store: LeaseStore

    def is_empty(self) -> bool:
        return not self.store._leases

    def renew(self) -> bool:
        return self.store._renew_all()

    def release(self, leases: list[Lease] | None) -> None:
        self.store._release_all(self.store._current() if leases is None else leases)


_stores: WeakSet[LeaseStore] = WeakSet()
_PATIENCE = 0.5
"""Seconds that the end of the process may be delayed by the release of its leases."""


@cache
def _release_at_exit() -> None:
    # Registered after the finalizers of connections, so that it runs before them.
    atexit.register(_release_everything)


def _release_everything() -> None:
    deadline = seconds() + _PATIENCE
    stores = list(_stores)
    for store in stores:
        store._renewal.stop()
    for store in stores:
        store._renewal.join(max(0.0, deadline - seconds()))


def _after_fork() -> None:
    for store in list(_stores):
        store._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
