"""What ``on_lifecycle`` gets: the connections of a followed run, as values.

A followed run gives ``Connected (Reconnecting Resumed)* Closed``; a stream that never opened gives its
``Reconnecting`` values and ``Closed``. ``Closed`` comes exactly once, on dispose too. All of them come on the
reader's thread, between events.

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
        attempt: connections since the last event that came, this one included; 0 for a second look at a gap.
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
    """Thread and socket are done.

    Attributes:
        last_seq: ``seq`` of the last event that was handed over, 0 for none.
        error: why, None for completion and for dispose.
    """

    last_seq: int
    error: BaseException | None
