"""Policies for retries and reconnects, as values. No I/O.

The loops that follow them are in ``_transport``, for single requests, and in ``_streams``, for streams.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rxruns._arguments import check_flag, check_seconds, check_timeout, check_whole_number

RETRY_AFTER_LIMIT = 120.0
"""The longest ``Retry-After`` that is obeyed, in seconds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry policy of one request.

    Status 408, 429 and 5xx and connection faults are retried; a ``POST`` only if `retry_post` is true.

    Args:
        max_attempts: attempts in all, at least 1.
        base_backoff: seconds before the second attempt, doubled with each further one.
        max_backoff: the longest delay in seconds; a ``Retry-After`` up to 120 s is obeyed even above it.
        retry_post: retry a ``POST`` too. ``POST /runs`` has an idempotency key, so a retry doesn't start a
            second run.

    Raises:
        InvalidArgumentError: a value is out of its range.

    >>> policy = RetryPolicy(max_attempts=5, max_backoff=1.0)
    >>> 0.15 <= policy.delay(1) <= 0.45 and policy.delay(30) <= 1.0
    True
    >>> policy.delay(1, retry_after=7.0)
    7.0
    """

    max_attempts: int = 3
    base_backoff: float = 0.3
    max_backoff: float = 5.0
    retry_post: bool = True

    def __post_init__(self) -> None:
        check_whole_number("max_attempts", self.max_attempts, at_least=1)
        check_seconds("base_backoff", self.base_backoff)
        check_seconds("max_backoff", self.max_backoff)
        check_flag("retry_post", self.retry_post)

    def delay(self, n: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait after the `n`-th attempt, counted from 1."""
        return backoff(n, self.base_backoff, self.max_backoff, retry_after)


@dataclass(frozen=True, slots=True)
class ResumePolicy:
    """The policy for resuming a stream that broke.

    Args:
        max_reconnects: reconnects in a row without an event, after which the stream fails.
        base_backoff: seconds before the first reconnect, doubled with each further one.
        max_backoff: the longest delay in seconds; a ``Retry-After`` up to 120 s is obeyed even above it.
        idle_timeout: seconds without a byte after which the connection counts as broken. None for no limit:
            a dead connection then stays open until TCP notices.

    Raises:
        InvalidArgumentError: a value is out of its range.

    >>> ResumePolicy(max_backoff=-1)
    Traceback (most recent call last):
    ...
    rxruns.errors.InvalidArgumentError: max_backoff must be a number of seconds, 0 or more, got -1
    """

    max_reconnects: int = 5
    base_backoff: float = 0.3
    max_backoff: float = 30.0
    idle_timeout: float | None = 60.0

    def __post_init__(self) -> None:
        check_whole_number("max_reconnects", self.max_reconnects, at_least=0)
        check_seconds("base_backoff", self.base_backoff)
        check_seconds("max_backoff", self.max_backoff)
        check_timeout("idle_timeout", self.idle_timeout)

    def delay(self, n: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait before the `n`-th reconnect in a row, counted from 1."""
        return backoff(n, self.base_backoff, self.max_backoff, retry_after)


def backoff(n: int, base: float, longest: float, retry_after: float | None = None) -> float:
    """Return the seconds to wait: `retry_after` up to 120 s exactly, else doubled from `base` with jitter.

    The jitter, a factor from 0.5 to 1.5, keeps clients that failed together from returning together.
    A `retry_after` of 0 doesn't name a delay, so the backoff applies.
    """
    if retry_after is not None and 0 < retry_after <= RETRY_AFTER_LIMIT:
        return retry_after
    doublings = min(n - 1, 64)  # 2.0 ** 1024 would overflow
    return min(min(base * 2.0**doublings, longest) * random.uniform(0.5, 1.5), longest)


def is_retryable(status: int) -> bool:
    """Return True for a status that a retry may change: 408, 429 and 5xx."""
    return status in (408, 429) or 500 <= status <= 599


def retry_after_seconds(text: str | None, date: str | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header; None if it is absent or neither a number nor a date.

    Args:
        text: the header.
        date: the response's ``Date``, from which a date in `text` is counted, because this machine's clock
            may be off. None counts from the clock.

    >>> retry_after_seconds("2"), retry_after_seconds("soon")
    (2.0, None)
    >>> retry_after_seconds("Sat, 28 Nov 2026 10:00:30 GMT", "Sat, 28 Nov 2026 10:00:00 GMT")
    30.0
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        wait = float(text)
        return wait if math.isfinite(wait) else None
    when = _time_of(text)
    if when is None:
        return None
    now = _time_of(date or "") or datetime.now(UTC)
    return max(0.0, (when - now).total_seconds())


def _time_of(text: str) -> datetime | None:
    """Parse an HTTP date; return None for any other text."""
    try:
        when = parsedate_to_datetime(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
