"""The values that ``on_lifecycle`` gets: the connections of a followed run.

Their order is ``Connected (Reconnecting Resumed)* Closed``; a stream that never opened has its
``Reconnecting`` values and ``Closed``. There is exactly one ``Closed``, on dispose too. All are passed on
the reader's thread, between events.

>>> from uuid import UUID
>>> Resumed(run_id=UUID(int=7), after_seq=41, request_id=None).after_seq
41
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

__all__ = ["Closed", "Connected", "LifecycleEvent", "Reconnecting", "Resumed"]


class LifecycleEvent(Struct, frozen=True, kw_only=True):
    """The base of the four values."""

    run_id: UUID | None


class Connected(LifecycleEvent, frozen=True, kw_only=True):
    """The stream opened for the first time, after the event ``after_seq``."""

    after_seq: int
    request_id: str | None


class Reconnecting(LifecycleEvent, frozen=True, kw_only=True):
    """A fault: a new connection follows.

    Attributes:
        attempt: connections since the last event, this one included; 0 for a second look at a gap.
        delay: seconds until it is opened.
        cause: the fault.
    """

    attempt: int
    delay: float
    cause: Exception


class Resumed(LifecycleEvent, frozen=True, kw_only=True):
    """The stream opened again, after the event ``after_seq``."""

    after_seq: int
    request_id: str | None


class Closed(LifecycleEvent, frozen=True, kw_only=True):
    """The thread and the socket are closed.

    Attributes:
        last_seq: ``seq`` of the last event that was emitted, 0 for none.
        error: the reason, None for completion and for dispose.
    """

    last_seq: int
    error: BaseException | None
