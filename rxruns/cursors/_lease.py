"""A lease of a run, and the stored state of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, Self
from uuid import UUID

from rxruns.cursors._clock import seconds

__all__ = ["Claimed", "Fence", "Lease", "Row"]


class Fence(NamedTuple):
    """The owner and the number that a lease must still have."""

    owner: str
    number: int


class Row(NamedTuple):
    """The stored state of a run.

    Attributes:
        seq: the cursor, 0 for none.
        ended: the run's end was recorded.
        owner: of the last lease that wasn't released, which may have expired.
        number: of the last claim, 0 for none.
        is_leased: the owner's lease has not expired.
    """

    seq: int = 0
    ended: bool = False
    owner: str | None = None
    number: int = 0
    is_leased: bool = False


class Claimed(Protocol):
    """The store that a lease is of."""

    def _set(self, run_id: UUID, seq: int, lease: Lease | None) -> None: ...
    def _end(self, run_id: UUID, seq: int, lease: Lease | None) -> None: ...
    def _give_back(self, lease: Lease) -> None: ...


class Lease:
    """The right to follow a run, from ``store.claim(run_id)``; renewed until it is released, or lost.

    Attributes:
        run_id: the run.
        owner: the store object that holds it, as ``host-process-random``.
        number: the fencing number, which increases with each claim of the run. Pass it to other systems that
            must refuse the writes of an owner whose lease was taken over.

    As a context manager, it is released at the end of the block.
    """

    def __init__(self, store: Claimed, run_id: UUID, fence: Fence, deadline: float) -> None:
        self.run_id: UUID = run_id
        self.owner: str = fence.owner
        self.number: int = fence.number
        self._fence = fence
        self._store = store
        self._deadline = deadline
        self._lost = False
        self._on_lost: Callable[[], object] | None = None  # set by a follower that then ends the run

    def __repr__(self) -> str:
        state = "held" if self.is_held else "not held"
        return f"Lease(run_id={self.run_id}, owner={self.owner!r}, number={self.number}, {state})"

    @property
    def is_held(self) -> bool:
        """False from the moment when another owner may have it: it was lost, released or not renewed.

        It compares clocks of this process, without a request, so you can look before each piece of work. A
        process that was suspended past its lease sees False.
        """
        return not self._lost and seconds() < self._deadline

    def set(self, seq: int) -> None:
        """Store that the event ``seq`` was handled.

        Raises:
            LeaseLostError: another owner claimed the run since, or the lease was released.
            StoreError: the store can't be used.
        """
        self._store._set(self.run_id, seq, self)

    def finish(self, seq: int) -> None:
        """Store that the run has ended with the event ``seq``, and release the lease. See :meth:`set`."""
        self._store._end(self.run_id, seq, self)

    def release(self) -> None:
        """Give the run back, so that another owner can claim it at once. Repeated calls do nothing."""
        self._store._give_back(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
