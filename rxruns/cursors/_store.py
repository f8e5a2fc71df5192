"""The protocol of a store of cursors."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

__all__ = ["CursorStore"]


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
