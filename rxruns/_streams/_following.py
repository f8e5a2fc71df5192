"""The options of a followed run, and its position: the state that connections share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from msgspec import Struct

from rxruns._arguments import (
    OnInvalid,
    check_after_seq,
    check_callback,
    check_flag,
    check_kind,
    check_limit,
    check_on_invalid,
)
from rxruns._logs._writer import check_log_path
from rxruns._policies import ResumePolicy
from rxruns.errors import StreamInterruptedError
from rxruns.events import NIL
from rxruns.lifecycle import LifecycleEvent

__all__ = ["FollowOptions", "OnInvalid", "OnLifecycle", "Position", "SubscriberError", "check_on_invalid"]

OnLifecycle = Callable[[LifecycleEvent], object]


class FollowOptions(Struct, frozen=True, kw_only=True):
    """The options of :func:`~rxruns.run_events`, where they are described."""

    after_seq: int = 0
    limit: int | None = None
    wait: bool = True
    include_output: bool = False
    resume: ResumePolicy | None = ResumePolicy()
    on_invalid: OnInvalid = "raise"
    on_lifecycle: OnLifecycle | None = None
    record: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_after_seq(self.after_seq)
        check_limit(self.limit)
        check_flag("wait", self.wait)
        check_flag("include_output", self.include_output)
        if self.resume is not None:
            check_kind("resume", self.resume, ResumePolicy, "a ResumePolicy, or None for one connection")
        check_on_invalid(self.on_invalid)
        check_callback("on_lifecycle", self.on_lifecycle)
        if self.record is not None:
            check_log_path("record", self.record)


@dataclass(slots=True)
class Position:
    """A followed run and the place in it that was reached.

    Attributes:
        seq: of the last event that was emitted, or of a bad line after it.
        remaining: events that are still to be emitted; None for no limit.
    """

    seq: int = 0
    remaining: int | None = None
    run_id: UUID = NIL

    def interrupted(self, message: str, reconnects: int = 0) -> StreamInterruptedError:
        """Make the error of a stream that ended early, here."""
        return StreamInterruptedError(message, reconnects=reconnects, run_id=self.run_id, last_seq=self.seq)


class SubscriberError(BaseException):
    """Carries an exception of the subscriber's own code past all handlers of the stream's errors."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error
