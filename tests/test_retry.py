"""Policies are checked values, and their delays stay within what the contract says."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns._policies import ResumePolicy, RetryPolicy, backoff, is_retryable, retry_after_seconds
from rxruns.errors import InvalidArgumentError


@given(st.integers(1, 10_000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_delay_doubles_with_jitter_and_never_passes_the_maximum(
    n: int, base: float, longest: float
) -> None:
    plain = min(base * 2.0 ** min(n - 1, 64), longest)

    assert plain * 0.499 <= backoff(n, base, longest) <= min(plain * 1.501, longest)
    assert len({RetryPolicy().delay(1) for _ in range(20)}) > 1


@pytest.mark.parametrize("policy", [RetryPolicy(max_backoff=1.0), ResumePolicy(max_backoff=1.0)])
def test_retry_after_is_obeyed_up_to_120_seconds_even_above_the_maximum(policy: RetryPolicy) -> None:
    assert [0.25, 7.0, 120.0] == [policy.delay(1, wait) for wait in (0.25, 7.0, 120.0)]
    assert policy.delay(1, 120.5) <= 1.0
    assert 0.15 <= policy.delay(1, 0.0) <= 0.45


@pytest.mark.parametrize("policy", [RetryPolicy(5, 0.1, 2.0, False), ResumePolicy(1, 0.1, 2.0, None)])
def test_policies_are_values(policy: RetryPolicy | ResumePolicy) -> None:
    assert policy == pickle.loads(pickle.dumps(policy))
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))
    with pytest.raises(FrozenInstanceError):
        policy.base_backoff = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("policy", "field", "value"),
    [
        (RetryPolicy, "max_attempts", 0),
        (RetryPolicy, "max_attempts", True),
        (RetryPolicy, "max_attempts", 1.5),
        (RetryPolicy, "base_backoff", -0.1),
        (RetryPolicy, "base_backoff", "1"),
        (RetryPolicy, "max_backoff", float("nan")),
        (RetryPolicy, "max_backoff", float("inf")),
        (RetryPolicy, "max_backoff", 10**400),
        (RetryPolicy, "retry_post", 1),
        (ResumePolicy, "max_reconnects", -1),
        (ResumePolicy, "base_backoff", None),
        (ResumePolicy, "max_backoff", True),
        (ResumePolicy, "idle_timeout", 0),
        (ResumePolicy, "idle_timeout", float("inf")),
        (ResumePolicy, "idle_timeout", "60"),
    ],
)
def test_a_wrong_value_is_named(policy: Any, field: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} must be ") as caught:
        policy(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("٣", None),
        ("9" * 400, None),
        ("1.2.3", None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("0.5", 0.5),
        ("Fri, 02 Jan 2026 00:01:00 GMT", 60.0),
        ("Fri, 02 Jan 2026 00:01:00 -0000", 60.0),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
        ("Fri, 99 Jan 2026 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    assert expected == retry_after_seconds(text, "Fri, 02 Jan 2026 00:00:00 GMT")


def test_a_date_is_measured_from_the_clock_where_the_response_has_no_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(days=3), usegmt=True)
    for date in (None, "", "not a date", "Thu, 01 Jan 99999999999999999999 00:00:00 GMT"):
        assert 0.0 == retry_after_seconds("Thu, 01 Jan 1970 00:00:00 GMT", date)
        wait = retry_after_seconds(later, date)
        assert wait is not None and 0 < wait - 2.9 * 86400 < 86400


@pytest.mark.parametrize(
    "text",
    [
        "Fri, 02 Jan 20260000000000000000 00:01:00 GMT",
        "Fri, 02 Jan 99999 00:01:00 GMT",
        "Fri, 02 Jan 9999 23:59:59 -9999",
        "Fri, 02 Jan 0001 00:00:00 +2359",
        "Fri, 02 Jan 2026 00:01:00 +99999999999999999999",
        "Fri, 02 Jan 2026 00:01:00 +2400",
        *("-1", "nan", "inf", "1e308", "1e5", "0x10", "+5", "5 5", "\u0665", "9" * 5000, ""),
    ],
)
def test_R36_a_hostile_retry_after_is_ignored(text: str) -> None:
    wait = retry_after_seconds(text, "Fri, 02 Jan 2026 00:00:00 GMT")
    assert wait is None or 0.0 <= wait < float("inf")


@given(st.text(max_size=40))
def test_any_text_is_a_wait_or_ignored(text: str) -> None:
    wait = retry_after_seconds(text)

    assert wait is None or wait >= 0


def test_retryable_are_408_429_and_5xx() -> None:
    assert [408, 429, *range(500, 600)] == [status for status in range(100, 700) if is_retryable(status)]
