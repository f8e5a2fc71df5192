"""Decisions about faults, without sockets or time: what is paid from the budget, what ends the stream."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from rxruns import ResumePolicy
from rxruns._streams._following import Position
from rxruns._streams._recovery import Fault, Reconnect, Recovery, Stop, is_passing
from rxruns.errors import (
    APIError,
    RunsError,
    SequenceGapError,
    StreamInterruptedError,
    StreamTimeoutError,
    TransportError,
)

RUN = UUID(int=7)
BROKEN = TransportError("reset", kind="request")
POLICY = ResumePolicy(max_reconnects=2, base_backoff=1.0, max_backoff=8.0, idle_timeout=9.0)
LOUD, SILENT = Fault(BROKEN), Fault(BROKEN, silent=True)


@pytest.fixture(autouse=True)
def delays_without_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    def middle(low: float, high: float) -> float:
        return (low + high) / 2

    monkeypatch.setattr("random.uniform", middle)


def recovery(policy: ResumePolicy | None = POLICY, *, wait: bool = True) -> Recovery:
    timeout = 9.0 if policy is None else policy.idle_timeout
    return Recovery(policy, Position(seq=4, run_id=RUN), wait=wait, idle_timeout=timeout)


def gap(expected: int = 5) -> SequenceGapError:
    return SequenceGapError(expected=expected, received=9, run_id=RUN, last_seq=expected - 1)


def again(attempt: int, delay: float, *, is_outage: bool) -> Reconnect:
    return Reconnect(BROKEN, attempt, delay, is_outage=is_outage)


def gave_up(decision: Reconnect | Stop) -> StreamInterruptedError:
    assert isinstance(decision, Stop)
    assert decision.gave_up
    assert isinstance(decision.error, StreamInterruptedError)
    return decision.error


# ---- faults and the budget ----


def test_faults_are_retried_with_growing_delays_until_the_budget_is_used_up() -> None:
    decide = recovery().after_fault

    assert again(1, 1.0, is_outage=True) == decide(LOUD, "", 0.0)
    assert again(2, 2.0, is_outage=False) == decide(LOUD, "", 0.0)
    error = gave_up(decide(LOUD, "", 0.0))
    assert "gave up after 2 reconnects without an event: reset" in str(error)
    assert (2, RUN, 4, BROKEN) == (error.reconnects, error.run_id, error.last_seq, error.__cause__)


def test_an_event_gives_back_the_budget_and_the_short_delay() -> None:
    one = recovery()
    one.after_fault(LOUD, "", 0.0)
    one.after_fault(LOUD, "", 0.0)
    one.note_event()

    assert again(1, 1.0, is_outage=True) == one.after_fault(LOUD, "", 0.0)


def test_a_policy_without_reconnects_gives_up_at_the_first_fault() -> None:
    none = ResumePolicy(max_reconnects=0)
    assert 0 == gave_up(recovery(none).after_fault(LOUD, "", 0.0)).reconnects


@pytest.mark.parametrize(
    ("retry_after", "elapsed", "delay"),
    [(None, 0.25, 0.75), (None, 60.0, 0.0), (100.0, 60.0, 100.0), (0.5, 0.0, 0.5), (0.0, 0.25, 1.0)],
)
def test_the_delay_counts_from_the_opening_unless_the_service_names_it(
    retry_after: float | None, elapsed: float, delay: float
) -> None:
    fault = Fault(BROKEN, retry_after=retry_after)
    assert again(1, delay, is_outage=True) == recovery().after_fault(fault, "", elapsed)


# ---- silent rounds ----


@pytest.mark.parametrize("status", ["running", "waiting"])
def test_a_silent_round_of_a_run_that_is_alive_costs_nothing_but_the_delay(status: str) -> None:
    one = recovery()
    for attempt, delay in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0)):
        assert one.needs_status(SILENT)
        assert again(attempt, delay, is_outage=False) == one.after_fault(SILENT, status, 0.0)
    assert again(6, 8.0, is_outage=True) == one.after_fault(LOUD, "", 0.0)


@pytest.mark.parametrize("status", ["", "pending", "unheard of"])
def test_a_silent_round_of_a_run_whose_status_is_unknown_is_paid(status: str) -> None:
    one = recovery()
    assert again(1, 1.0, is_outage=True) == one.after_fault(SILENT, status, 0.0)
    one.after_fault(SILENT, status, 0.0)
    gave_up(one.after_fault(SILENT, status, 0.0))


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_after_a_run_ended_one_silent_look_completes_the_stream(status: str) -> None:
    one = recovery()
    assert again(0, 0.0, is_outage=False) == one.after_fault(SILENT, status, 0.0)
    assert not one.needs_status(SILENT)
    assert Stop() == one.after_fault(SILENT, "", 0.0)


def test_a_fault_between_the_end_of_a_run_and_the_look_is_an_ordinary_one() -> None:
    one = recovery()
    one.after_fault(SILENT, "succeeded", 0.0)
    assert not one.needs_status(LOUD)
    assert again(1, 1.0, is_outage=True) == one.after_fault(LOUD, "", 0.0)
    assert Stop() == one.after_fault(SILENT, "", 0.0)


def test_an_event_after_the_end_of_a_run_asks_for_its_status_anew() -> None:
    one = recovery()
    one.after_fault(SILENT, "succeeded", 0.0)
    one.note_event()
    assert one.needs_status(SILENT)


def test_a_run_that_is_not_waited_for_has_no_silent_rounds() -> None:
    one = recovery(wait=False)
    assert not one.needs_status(SILENT)
    assert again(1, 1.0, is_outage=True) == one.after_fault(SILENT, "", 0.0)


# ---- gaps ----


def test_a_gap_is_looked_at_once_more_at_once_and_is_then_an_error() -> None:
    one, same = recovery(), gap()
    assert Reconnect(same, 0, 0.0, is_outage=True) == one.after_gap(same)
    again_same = gap()
    assert Stop(again_same) == one.after_gap(again_same)


def test_another_gap_and_the_same_after_an_event_are_looked_at_anew() -> None:
    one = recovery()
    assert isinstance(one.after_gap(gap(5)), Reconnect)
    assert isinstance(one.after_gap(gap(6)), Reconnect)
    one.note_event()
    assert isinstance(one.after_gap(gap(6)), Reconnect)


def test_a_gap_costs_no_budget_and_is_warned_about_once() -> None:
    one = recovery()
    one.after_fault(LOUD, "", 0.0)
    first, second = gap(5), gap(6)
    assert Reconnect(first, 1, 0.0, is_outage=True) == one.after_gap(first)
    one.after_fault(LOUD, "", 0.0)
    assert Reconnect(second, 2, 0.0, is_outage=False) == one.after_gap(second)
    gave_up(one.after_fault(LOUD, "", 0.0))


# ---- without a policy ----


def test_without_a_policy_a_broken_connection_is_an_interrupted_stream() -> None:
    one = recovery(None)
    assert not one.needs_status(SILENT)
    decision = one.after_fault(SILENT, "", 0.0)
    assert isinstance(decision, Stop)
    assert isinstance(decision.error, StreamInterruptedError)
    assert ("the stream broke: reset", 0) == (str(decision.error), decision.error.reconnects)
    assert (BROKEN, False) == (decision.error.__cause__, decision.gave_up)


def test_without_a_policy_an_error_of_the_stream_and_a_gap_are_errors_as_they_are() -> None:
    early, found = Position().interrupted("early"), gap()
    assert Stop(early) == recovery(None).after_fault(Fault(early), "", 0.0)
    assert Stop(found) == recovery(None).after_gap(found)


# ---- from errors to faults ----


def test_an_idle_timeout_becomes_a_stream_error_with_its_seconds() -> None:
    timeout = TransportError("timed out", kind="timeout")
    fault = recovery().fault_of(timeout, silent=True)
    assert isinstance(fault.cause, StreamTimeoutError)
    assert (9.0, RUN, 4) == (fault.cause.timeout, fault.cause.run_id, fault.cause.last_seq)
    assert (timeout, True, None) == (fault.cause.__cause__, fault.silent, fault.retry_after)


@pytest.mark.parametrize("kind", ["connect", "request"])
def test_other_faults_of_the_transport_stay_what_they_are(kind: Any) -> None:
    error = TransportError("no", kind=kind)
    fault = recovery().fault_of(error, silent=True)
    assert (error, True, "no") == (fault.cause, fault.silent, str(fault))
    assert not recovery().fault_of(error).silent


def test_a_timeout_without_an_idle_timeout_stays_what_it_is() -> None:
    timeout = TransportError("timed out", kind="timeout")
    assert timeout is recovery(ResumePolicy(idle_timeout=None)).fault_of(timeout).cause


def test_a_refusal_keeps_the_time_that_the_service_names() -> None:
    error = APIError("busy", status=503, retry_after=3.0)
    fault = recovery().fault_of(error)
    assert (error, 3.0, False) == (fault.cause, fault.retry_after, fault.silent)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *[(APIError("no", status=status), True) for status in (408, 429, 500, 503, 599)],
        *[(APIError("no", status=status), False) for status in (400, 401, 403, 404, 409, 600)],
        (APIError("busy", status=503, retry_after=120.0), True),
        (APIError("busy", status=503, retry_after=120.5), False),
        (TransportError("no", kind="timeout"), True),
        (TransportError("no", kind="connect"), True),
        (TransportError("no", kind="other"), False),
    ],
)
def test_another_attempt_may_mend_these(error: RunsError, expected: bool) -> None:
    assert isinstance(error, APIError | TransportError)
    assert expected is is_passing(error)
