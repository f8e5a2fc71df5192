"""Decide what a fault means: reconnect and when, complete, or fail. No sockets, no clock, no threads.

See "Resuming" in the documentation of :class:`~rxruns.ResumePolicy` and :func:`~rxruns.run_events`.
"""

from __future__ import annotations

from msgspec import Struct

from rxruns._policies import RETRY_AFTER_LIMIT, ResumePolicy, is_retryable
from rxruns._streams._following import Position
from rxruns.errors import (
    APIError,
    RunsError,
    SequenceGapError,
    StreamError,
    StreamTimeoutError,
    TransportError,
)
from rxruns.models import RunStatus

__all__ = ["Fault", "Reconnect", "Recovery", "Stop", "is_passing"]

_ALIVE = (RunStatus.RUNNING, RunStatus.WAITING)
_ENDED = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED)


class Fault(Exception):
    """A connection ended before the run did.

    Attributes:
        cause: the error that ended it.
        silent: the service accepted the connection and had no event to send, as while a run waits.
        retry_after: seconds, from the service.
    """

    def __init__(self, cause: RunsError, *, silent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.silent = silent
        self.retry_after = retry_after


class Reconnect(Struct, frozen=True):
    """Open another connection.

    Attributes:
        cause: the reason.
        attempt: connections since the last event, this one included; 0 for a second look at a gap.
        delay: seconds until then.
        is_outage: it is the first one of an outage, which deserves a warning.
    """

    cause: RunsError
    attempt: int
    delay: float
    is_outage: bool


class Stop(Struct, frozen=True):
    """End the stream: complete it, or fail with an error.

    Attributes:
        gave_up: the policy's reconnects were used up.
    """

    error: RunsError | None = None
    gave_up: bool = False


class Recovery:
    """Count the faults of a followed run since its last event.

    Args:
        policy: decides about faults; None for one connection.
        position: the run, for errors.
        wait: follow the run to its end.
        idle_timeout: seconds without a byte that a connection may last.
    """

    def __init__(
        self, policy: ResumePolicy | None, position: Position, *, wait: bool, idle_timeout: float | None
    ) -> None:
        self._policy = policy
        self._position = position
        self._wait = wait
        self._idle_timeout = idle_timeout
        self._has_ended = False  # according to the service
        self._rounds = 0  # the backoff grows with these
        self._reconnects = 0  # the budget pays for these
        self._gap_at: int | None = None

    def note_event(self) -> None:
        """Forget all faults: an event was received."""
        self._has_ended = False
        self._rounds = self._reconnects = 0
        self._gap_at = None

    def fault_of(self, error: APIError | TransportError, *, silent: bool = False) -> Fault:
        """Return the fault that an error of the transport is."""
        if isinstance(error, APIError):
            return Fault(error, retry_after=error.retry_after)
        if error.kind != "timeout" or self._idle_timeout is None:
            return Fault(error, silent=silent)
        idle = StreamTimeoutError(
            timeout=self._idle_timeout, run_id=self._position.run_id, last_seq=self._position.seq
        )
        idle.__cause__ = error
        return Fault(idle, silent=silent)

    def after_gap(self, gap: SequenceGapError) -> Reconnect | Stop:
        """Allow one more connection at once, without budget. The same gap again is an error."""
        if self._policy is None or self._gap_at == gap.expected:
            return Stop(gap)
        self._gap_at = gap.expected
        return Reconnect(gap, self._rounds, 0.0, is_outage=self._reconnects <= 1)

    def needs_status(self, fault: Fault) -> bool:
        """Return whether the run's status decides about a fault: after a silent round."""
        return self._policy is not None and fault.silent and self._wait and not self._has_ended

    def after_fault(self, fault: Fault, status: str, elapsed: float) -> Reconnect | Stop:
        """Decide about a fault.

        Args:
            fault: how the connection ended.
            status: the run's, if it is needed; ``""`` if it is unknown.
            elapsed: seconds since the connection was opened, which count towards the delay.
        """
        if self._policy is None:
            return self._without_policy(fault)
        is_silent = fault.silent and self._wait
        if is_silent and self._has_ended:
            return Stop()
        if is_silent:
            self._has_ended = status in _ENDED
            if self._has_ended:  # not an outage: one more look from the cursor
                return Reconnect(fault.cause, self._rounds, 0.0, is_outage=False)
        is_alive = is_silent and status in _ALIVE
        self._rounds += 1
        self._reconnects += not is_alive
        if not is_alive and self._reconnects > self._policy.max_reconnects:
            return self._give_up(self._policy, fault.cause)
        delay = self._policy.delay(self._rounds, fault.retry_after)
        if fault.retry_after is None:
            delay = max(0.0, delay - elapsed)
        return Reconnect(fault.cause, self._rounds, delay, is_outage=not is_alive and self._reconnects <= 1)

    def _without_policy(self, fault: Fault) -> Stop:
        if isinstance(fault.cause, StreamError):
            return Stop(fault.cause)
        error = self._position.interrupted(f"the stream broke: {fault.cause}")
        error.__cause__ = fault.cause
        return Stop(error)

    def _give_up(self, policy: ResumePolicy, cause: RunsError) -> Stop:
        message = f"gave up after {policy.max_reconnects} reconnects without an event: {cause}"
        error = self._position.interrupted(message, policy.max_reconnects)
        error.__cause__ = cause
        return Stop(error, gave_up=True)


def is_passing(error: APIError | TransportError) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, TransportError):
        return error.kind != "other"
    return is_retryable(error.status) and (error.retry_after or 0.0) <= RETRY_AFTER_LIMIT
