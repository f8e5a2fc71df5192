"""The reader's errors, log lines and counts: their fields, messages and levels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from rxruns import ResumePolicy, run_events, start_run
from rxruns.errors import (
    APIError,
    InvalidArgumentError,
    RunsError,
    SequenceGapError,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    TransportError,
)
from rxruns.lifecycle import Closed, LifecycleEvent, Reconnecting
from rxruns.testing import QUICK, FakeRuns, RunLog, Step, drops, ends, events, hangs, refuses, sends
from tests.observing import Seen, uncaught

pytestmark = pytest.mark.usefixtures("no_leaks")

LOG = events.run().node("draft").text("one", "two").succeeds()
OTHER = events.run("0b6b2c1e-52a7-4f0e-8f5a-7f6e7a4a0c22")
BAD = b"no json\n"


class Followed(Seen):
    """The events, lifecycle values, bad lines and requests of a run."""

    lifecycle: list[LifecycleEvent]
    refused: list[StreamProtocolError]
    requests: list[tuple[int, str | None]]

    @property
    def reconnects(self) -> list[Reconnecting]:
        return [value for value in self.lifecycle if isinstance(value, Reconnecting)]


def follow(
    *script: Step, log: RunLog = LOG, collect: bool = False, max_line_bytes: int = 2**20, **options: Any
) -> Followed:
    """Follow a run to the end of its stream; bad lines are collected if wanted."""
    seen = Followed()
    seen.lifecycle, seen.refused = [], []
    if collect:
        options["on_invalid"] = seen.refused.append
    with FakeRuns(*script) as service, service.client(max_line_bytes=max_line_bytes) as client:
        source = run_events(
            log.run_id, client=client, on_lifecycle=seen.lifecycle.append, **{"resume": QUICK} | options
        )
        with source.subscribe(seen):
            seen.wait_end()
        seen.requests = [(one.after_seq, one.query.get("limit")) for one in service.streams]
    return seen


def failed(kind: type[RunsError], seen: Followed) -> Any:
    assert type(seen.error) is kind, seen.error
    return seen.error


# ---- what was refused, and why ----


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (BAD, "not JSON: "),
        (OTHER[0], f"an event of another run, {OTHER.run_id}"),
        (b'{"type":"run_started"}\n', "not a valid event: "),
        (b"x" * 401, "a line is longer than 400 bytes (max_line_bytes)"),
    ],
)
def test_the_error_of_a_line_has_its_reason_its_place_and_the_run(part: Any, reason: str) -> None:
    error = failed(StreamProtocolError, follow(sends(LOG[0], part), ends(), max_line_bytes=400))

    assert reason in str(error)
    assert (2, 1, LOG.run_id) == (error.line_number, error.last_seq, error.run_id)
    assert error.raw_data


def test_an_event_of_another_run_is_left_out_where_bad_lines_are_collected() -> None:
    seen = follow(sends(LOG[0], OTHER[0], LOG[1:]), collect=True)

    assert list(LOG) == seen.events
    assert [f"an event of another run, {OTHER.run_id}" in str(error) for error in seen.refused] == [True]


def test_a_whole_record_without_a_newline_is_judged_like_any_other() -> None:
    record = b'{"type":"run_started","seq":2}'
    seen = follow(sends(LOG[0], record), ends(), sends(LOG[2:]), collect=True)

    assert ["not a valid event: " in str(error) for error in seen.refused] == [True]
    assert [1, *range(3, len(LOG) + 1)] == seen.seqs


@pytest.mark.parametrize(("include_output", "count"), [(True, len(LOG)), (False, len(LOG) - 1)])
def test_outputs_are_accepted_if_they_were_requested(include_output: bool, count: int) -> None:
    log = events.run().node("draft").text("one", "two").succeeds({"text": "hi"}, included=True)
    seen = follow(sends(log), include_output=include_output)

    assert count == len(seen.events)
    assert include_output is (seen.error is None)


def test_an_output_that_was_not_requested_is_left_out_where_bad_lines_are_collected() -> None:
    whole = events.run().node("draft").text("one").output("hi", included=True).succeeds()
    (place,) = [place for place, event in enumerate(whole) if event.type == "node_output"]
    log = [*whole[:2], BAD, *whole[3:]]  # as long as the run allows, with the refused line inside
    seen = follow(sends(log), log=whole, collect=True)

    assert [event for event in whole if event.seq not in (3, whole[place].seq)] == seen.events
    assert [(3, True), (place + 1, False)] == [
        (error.line_number, "not JSON" in str(error)) for error in seen.refused
    ]
    assert '"type":"node_output"' in (seen.refused[1].raw_data or "")
    assert [(0, None)] == seen.requests, "no event was missed"


# ---- what counts ----


@pytest.mark.parametrize(
    ("parts", "faults", "requests"),
    [
        ([*LOG[:3]], 0, [(0, "3")]),
        ([LOG[0], BAD, LOG[2]], 0, [(0, "3"), (3, "1")]),
        ([LOG[0], BAD, BAD], 0, [(0, "3"), (1, "2")]),
        ([LOG[0], BAD], 1, [(0, "3"), (1, "2")]),
        ([*LOG[:2]], 1, [(0, "3"), (2, "1")]),
    ],
)
def test_a_page_is_whole_when_its_number_of_lines_was_received_good_or_bad(
    parts: list[Any], faults: int, requests: list[Any]
) -> None:
    seen = follow(sends(*parts), ends(), sends(LOG), collect=True, limit=3)

    assert 3 == len(seen.events)
    assert (faults, requests) == (len(seen.reconnects), seen.requests)


@pytest.mark.parametrize(
    ("parts", "looks"),
    [
        ([LOG[0], BAD, LOG[2:]], 1),
        ([LOG[0], BAD, BAD, LOG[3:]], 1),
        ([LOG[0], BAD, LOG[3:]], 2),
        ([LOG[0], BAD, BAD, LOG[4:]], 2),
    ],
)
def test_after_bad_lines_the_next_event_may_jump_by_their_number(parts: list[Any], looks: int) -> None:
    again = [hangs(), sends(LOG)] if looks > 1 else []
    seen = follow(sends(*parts), *again, collect=True)

    assert looks == len(seen.requests)
    assert seen.completed


def test_silence_of_a_run_that_is_alive_spares_the_budget() -> None:
    patience = ResumePolicy(max_reconnects=1, base_backoff=0.001, max_backoff=0.002, idle_timeout=0.1)
    silence = sends(), hangs()
    seen = follow(sends(LOG[:2]), hangs(), *silence * 3, sends(LOG[2:]), resume=patience)

    assert list(LOG) == seen.events
    causes = [value.cause for value in seen.reconnects]
    assert [StreamTimeoutError] * 4 == [type(cause) for cause in causes]
    for cause in causes:
        assert isinstance(cause, StreamTimeoutError)
        assert (0.1, LOG.run_id, 2) == (cause.timeout, cause.run_id, cause.last_seq)
        assert isinstance(cause.__cause__, TransportError)


# ---- how it ends, and what that is called ----


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([sends(LOG[:2]), ends()], "the stream ended before the run did"),
        ([sends(LOG[:2], b'{"type":'), ends()], "the stream ended in the middle of a line"),
        ([sends(LOG[:2]), drops()], "the stream broke: "),
    ],
)
def test_an_early_end_is_an_error_where_nothing_resumes(script: list[Step], message: str) -> None:
    seen = follow(*script, resume=None)
    error = failed(StreamInterruptedError, seen)

    assert message in str(error)
    assert 1 == len(seen.requests)
    assert (0, 2, LOG.run_id) == (error.reconnects, error.last_seq, error.run_id)
    assert ("broke" in message) == isinstance(error.__cause__, TransportError)


def test_giving_up_reports_the_reconnects_and_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    policy = ResumePolicy(max_reconnects=2, base_backoff=0.001, max_backoff=0.002)
    with caplog.at_level(logging.WARNING, "rxruns"):
        seen = follow(sends(LOG[:2]), ends(), *[refuses(503, message="out of ideas")] * 3, resume=policy)

    error = failed(StreamInterruptedError, seen)
    message = "gave up after 2 reconnects without an event: "
    assert str(error).startswith(message)
    assert "out of ideas" in str(error)
    assert (2, 2, LOG.run_id) == (error.reconnects, error.last_seq, error.run_id)
    assert "out of ideas" in str(error.__cause__)
    assert Closed(run_id=LOG.run_id, last_seq=2, error=error) == seen.lifecycle[-1]
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"run {LOG.run_id}: reconnecting in ")
    assert first.endswith("after seq 2: the stream ended before the run did")
    assert last.startswith(f"run {LOG.run_id}: {message}")


def test_a_gap_is_looked_at_once_more_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rxruns"):
        script = sends(LOG[0], LOG[3:]), hangs(), sends(LOG[3:])
        seen = follow(*script, resume=ResumePolicy(base_backoff=30.0))

    error = failed(SequenceGapError, seen)
    assert (2, 4, 1, LOG.run_id) == (error.expected, error.received, error.last_seq, error.run_id)
    (again,) = seen.reconnects
    assert isinstance(again.cause, SequenceGapError)
    assert (0.0, LOG.run_id, 2) == (again.delay, again.cause.run_id, again.cause.expected)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


def test_a_run_that_is_alive_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "rxruns"):
        seen = follow(ends(), ends(), sends(LOG))

    assert list(LOG) == seen.events
    assert set() == {record.levelno for record in caplog.records} - {logging.DEBUG}


def test_an_unknown_status_is_logged_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "rxruns"):
        seen = follow(ends(), refuses(404, message="who knows", to="status"), sends(LOG))

    assert list(LOG) == seen.events
    (message,) = (message for message in caplog.messages if "unknown" in message)
    assert message.startswith(f"run {LOG.run_id}: its status is unknown: ")
    assert "who knows" in message


def test_a_delay_is_counted_from_the_opening_of_the_last_connection() -> None:
    seen = follow(drops(), sends(LOG), resume=ResumePolicy(base_backoff=0.2, max_backoff=0.2))

    (again,) = seen.reconnects
    assert 0.0 < again.delay <= 0.2


@pytest.mark.parametrize(("retry_after", "passes"), [(120, True), (121, False)])
def test_a_service_may_ask_for_two_minutes(retry_after: int, passes: bool) -> None:
    delays: list[float] = []
    reconnecting = threading.Event()

    def note(value: LifecycleEvent) -> None:
        if isinstance(value, Reconnecting):
            delays.append(value.delay)
            reconnecting.set()

    seen = Followed()
    with FakeRuns(refuses(503, retry_after=retry_after)) as service, service.client() as client:
        with run_events(LOG.run_id, client=client, on_lifecycle=note).subscribe(seen):
            assert reconnecting.wait(30) if passes else seen.wait_end()
        assert 1 == len(service.streams)
    assert ([120.0] if passes else []) == delays
    assert passes or isinstance(seen.error, APIError) and seen.error.retry_after == 121.0


# ---- the subscriber's own code ----


@pytest.mark.parametrize("where", ["on_next", "on_lifecycle", "on_invalid"])
def test_what_the_subscribers_code_raises_leaves_the_thread_as_it_is(where: str) -> None:
    fault = LookupError("mine")
    raised = threading.Event()

    def raises(value: object) -> None:
        raised.set()
        raise fault

    callbacks: dict[str, Callable[[Any], None]] = {where: raises} if where != "on_next" else {}
    with uncaught() as died, FakeRuns(sends(BAD, LOG)) as service, service.client() as client:
        options: dict[str, Any] = {"resume": QUICK, "on_invalid": lambda error: None} | callbacks
        seen = Seen(raises) if where == "on_next" else Seen()
        with suppress(LookupError):
            subscription = run_events(LOG.run_id, client=client, **options).subscribe(seen)
            assert raised.wait(30)
            for thread in threading.enumerate():
                if thread.name == "rxruns-reader":
                    thread.join(30)
            subscription.dispose()
        assert 1 == len(service.streams)
    assert [fault] == [one.exc_value for one in died]


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"on_invalid": "skip"}, "on_invalid", "on_invalid must be 'raise' or a function, got 'skip'"),
        ({"limit": 0}, "limit", "limit must be"),
        ({"after_seq": -1}, "after_seq", "after_seq must be"),
    ],
)
def test_a_bad_option_is_refused_at_once(options: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        run_events(LOG.run_id, **options)
    assert field == caught.value.field


def test_events_are_emitted_on_a_daemon_thread_of_the_readers_name() -> None:
    thread = follow(sends(LOG)).thread

    assert thread is not None
    assert ("rxruns-reader", True) == (thread.name, thread.daemon)


def test_after_dispose_only_the_lifecycle_reports_the_end() -> None:
    lifecycle: list[LifecycleEvent] = []
    closed = threading.Event()

    def note(value: LifecycleEvent) -> None:
        lifecycle.append(value)
        if isinstance(value, Closed):
            closed.set()

    seen = Seen()
    with FakeRuns(sends(LOG[:2]), hangs()) as service, service.client() as client:
        with run_events(LOG.run_id, client=client, on_lifecycle=note).subscribe(seen):
            seen.wait_count(2)
        assert closed.wait(30)
    assert not seen.ended
    assert Closed(run_id=LOG.run_id, last_seq=2, error=None) == lifecycle[-1]


def test_the_end_of_a_stream_whose_run_was_never_created_names_no_run() -> None:
    lifecycle: list[LifecycleEvent] = []
    with FakeRuns(refuses(401, to="create")) as service, service.client() as client:
        seen = Seen()
        start_run("0" * 64, client=client, on_lifecycle=lifecycle.append).subscribe(seen)
        seen.wait_end()

    assert [Closed(run_id=None, last_seq=0, error=seen.error)] == lifecycle


def test_a_run_may_be_named_by_its_text() -> None:
    log = events.run(UUID(int=7)).is_canceled()
    with FakeRuns(sends(log)) as service, service.client() as client:
        seen = Seen()
        with run_events(str(log.run_id), client=client).subscribe(seen):
            seen.wait_end()
    assert list(log) == seen.events
