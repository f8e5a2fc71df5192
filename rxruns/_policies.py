"""How often, and how long to wait between: policies as values, no I/O.

The loops that obey them are elsewhere: ``_transport`` for single requests, ``reader`` for streams.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rxruns._arguments import check_flag, check_seconds, check_timeout, check_whole_number

RETRY_AFTER_LIMIT = 120.0
"""Seconds: a longer ``Retry-After`` is not waited for."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one request is tried again.

    Tried again are 408, 429, 5xx and connection faults; a ``POST`` only while `retry_post` is true.

    Args:
        max_attempts: attempts in all, at least 1.
        base_backoff: seconds before the second attempt, doubled with each further one.
        max_backoff: the longest wait in seconds; a ``Retry-After`` up to 120 s is obeyed even above it.
        retry_post: whether a ``POST`` is repeated. ``POST /runs`` carries an idempotency key, so that
            a repeated one starts no second run.

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
        """Seconds to wait after the `n`-th attempt, counted from 1."""
        return backoff(n, self.base_backoff, self.max_backoff, retry_after)


@dataclass(frozen=True, slots=True)
class ResumePolicy:
    """How a stream that broke goes on.

    Args:
        max_reconnects: reconnects in a row that bring no event, before the stream is given up.
        base_backoff: seconds before the first reconnect, doubled with each further one.
        max_backoff: the longest wait in seconds; a ``Retry-After`` up to 120 s is obeyed even above it.
        idle_timeout: seconds without a byte after which the connection counts as broken. None: never,
            which leaves a dead connection open until TCP notices.

    Raises:
        InvalidArgumentError: a value is out of its range.

    >>> ResumePolicy(idle_timeout=0)
    Traceback (most recent call last):
    ...
    rxruns.errors.InvalidArgumentError: idle_timeout is 0: give seconds above 0, or None for no limit
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
        """Seconds to wait before the `n`-th reconnect in a row, counted from 1."""
        return backoff(n, self.base_backoff, self.max_backoff, retry_after)


def backoff(n: int, base: float, longest: float, retry_after: float | None = None) -> float:
    """Seconds to wait: `retry_after` up to 120 s exactly, else doubled from `base` with jitter.

    The jitter, half to one and a half, keeps clients that broke together from coming back together.
    A `retry_after` of 0 names no time, so the backoff holds.
    """
    if retry_after is not None and 0 < retry_after <= RETRY_AFTER_LIMIT:
        return retry_after
    doublings = min(n - 1, 64)  # 2.0 ** 1024 would overflow
    return min(min(base * 2.0**doublings, longest) * random.uniform(0.5, 1.5), longest)


def is_retryable(status: int) -> bool:
    """Whether an HTTP status means "try again": 408, 429 and 5xx."""
    return status in (408, 429) or 500 <= status <= 599


def retry_after_seconds(text: str | None, date: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for; None if it is absent or neither number nor date.

    Args:
        text: the header.
        date: the response's ``Date``, which a date is compared with: this machine's clock may be off.
            Where there is none, the clock counts.

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
    """The time that an HTTP date names; None for any other text."""
    try:
        when = parsedate_to_datetime(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
