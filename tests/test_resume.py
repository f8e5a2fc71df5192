"""A followed run over real sockets: each event once and in order (R4, R5, R7, R9 to R13, R28)."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from rxruns import ResumePolicy, run_events
from rxruns._streams import _connection
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import (
    CloseAfter,
    CutAt,
    CutRandomly,
    Duplicates,
    Fault,
    Gap,
    InvalidLine,
    NoAnswer,
    Redirect,
    Refuse,
    Replay,
    Silence,
    SplitBytes,
    Status,
    Unchunked,
    WrongContentType,
)
from rxruns.errors import (
    APIError,
    SequenceGapError,
    StreamContentTypeError,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
)
from rxruns.lifecycle import Closed, Connected, LifecycleEvent, Reconnecting, Resumed
from tests.conftest import HANG
from tests.observing import Seen, run_of
from tests.soak import both_sizes, measured

QUICK = ResumePolicy(base_backoff=0.001, max_backoff=0.01, idle_timeout=20.0)
IDLE = ResumePolicy(base_backoff=0.001, max_backoff=0.01, idle_timeout=0.2)


@pytest.fixture(autouse=True)
def no_cut_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a cut at once is one."""
    monkeypatch.setattr(_connection, "_SILENT_AFTER", HANG)


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer(keepalive=60.0) as server:
        yield server


def follow(server: DevServer, run_id: Any, timeout: float = HANG, **options: Any) -> Seen:
    """Follow a run until the stream ends, and give what was seen."""
    seen = Seen()
    with server.client() as client:
        source = run_events(run_id, client=client, **{"resume": QUICK} | options)
        with source.subscribe(seen):
            seen.wait_end(timeout)
    return seen


def streams(server: DevServer) -> list[dict[str, str]]:
    """The query of each request for events."""
    return [dict(request.query) for request in server.requests if request.is_stream]


def statuses(server: DevServer) -> int:
    """Count the requests for the run's status."""
    return sum(request.method == "GET" and not request.is_stream for request in server.requests)


# ---- R4: cuts ----


@both_sizes
def test_R04_cuts_at_random_bytes_lose_and_repeat_nothing(server: DevServer, soaking: bool) -> None:
    events, most = (20_000, 900) if soaking else (2_000, 1_500)
    run = server.add_run(events=run_of(events - 4))
    dice = random.Random(4)

    def fault() -> Any:
        match dice.randrange(20):
            case 0 | 1:
                return Refuse()
            case 2 | 3 | 4 | 5:
                return (Replay(dice.randint(1, 20)), CutRandomly(0, most))
            case 6 | 7:
                return (Unchunked(), CutRandomly(0, most, how=("rst", "fin")))
            case 8:
                return (Duplicates(0.5), CutRandomly(0, most, how=("end",)))
            case _:
                return CutRandomly(0, most)

    server.use_faults(Faults([fault() for _ in range(40_000)], seed=4))
    policy = ResumePolicy(max_reconnects=100, base_backoff=0.0, max_backoff=0.0)
    seen = follow(server, run.run_id, timeout=600, resume=policy)
    cuts = len(streams(server)) - 1
    measured("R4", "cuts; lost or repeated: none", cuts, cuts, "cuts")
    assert (seen.error, seen.seqs == list(range(1, events + 1))) == (None, True)
    assert cuts >= (10_000 if soaking else 300)


# ---- R5: a clean end without a terminal event ----


def test_R05_a_clean_end_of_a_running_run_is_followed_by_a_reconnect(server: DevServer) -> None:
    run = server.add_run(events=run_of(4))
    server.use_faults(Faults([CloseAfter(2), CloseAfter(3)]))
    seen = follow(server, run.run_id)
    assert (seen.seqs, seen.completed) == (list(range(1, 9)), True)
    assert streams(server) == [{}, {"after_seq": "2"}, {"after_seq": "5"}]
    assert statuses(server) == 0  # each connection brought something


def test_R05_a_run_without_a_terminal_event_completes_on_the_word_of_the_service_after_one_more_look(
    server: DevServer,
) -> None:
    run = server.add_run(events=run_of(2)[:-1], status="succeeded")
    seen = follow(server, run.run_id)
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5], True)
    assert streams(server) == [{}, {"after_seq": "5"}, {"after_seq": "5"}]
    assert statuses(server) == 1


def test_R05_following_from_the_end_of_an_ended_run_causes_no_warning(
    server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    run = server.add_run(events=run_of(2))
    with caplog.at_level(logging.WARNING, "rxruns"):
        seen = follow(server, run.run_id, after_seq=6)
    assert ([], True) == (seen.seqs, seen.completed)
    assert [] == caplog.messages


def test_R05_events_at_the_last_look_are_delivered(server: DevServer) -> None:
    run = server.add_run(events=run_of(2), status="succeeded")
    server.use_faults(Faults([CloseAfter(5), CloseAfter(0), None]))
    seen = follow(server, run.run_id)
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5, 6], True)
    assert statuses(server) == 1


def test_R05_without_a_status_the_stream_is_given_up(server: DevServer) -> None:
    run = server.add_run(events=run_of(0)[:1], status="strange")
    seen = follow(server, run.run_id, resume=ResumePolicy(max_reconnects=2, base_backoff=0.001))
    assert isinstance(seen.error, StreamInterruptedError)
    assert (seen.error.reconnects, seen.error.last_seq, seen.error.run_id) == (2, 1, run.run_id)
    assert isinstance(seen.error.__cause__, StreamInterruptedError)


def test_wait_false_completes_at_the_end_of_what_is_there_and_asks_nothing(server: DevServer) -> None:
    run = server.script()
    run.append({"type": "node_started", "node_id": "draft"})
    seen = follow(server, run.run_id, wait=False)
    assert (seen.seqs, seen.completed) == ([1], True)
    assert (streams(server), statuses(server)) == ([{"wait": "0"}], 0)


def test_wait_false_is_resumed_after_a_cut(server: DevServer) -> None:
    run = server.add_run(events=run_of(3)[:-1])
    server.use_faults(Faults([CutAt(500)]))
    seen = follow(server, run.run_id, wait=False)
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5, 6], True)


# ---- R7: a last line without a newline ----


@pytest.mark.parametrize("how", ["end", "fin"])
def test_R07_a_whole_last_line_without_newline_is_delivered(server: DevServer, how: Any) -> None:
    run = server.add_run(events=run_of(1))
    size = sum(len(line) + 1 for line in _lines(server, run.run_id))
    server.use_faults(Faults([(Unchunked(), CutAt(size - 1, how))]))
    seen = follow(server, run.run_id)
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5], True)
    assert len(streams(server)) == 2  # one of them ours, for the size


def test_R07_a_last_line_that_was_cut_is_fetched_again(server: DevServer) -> None:
    run = server.add_run(events=run_of(1))
    size = sum(len(line) + 1 for line in _lines(server, run.run_id))
    server.use_faults(Faults([None, (Unchunked(), CutAt(size - 20, "end"))]))
    server.use_faults(Faults([(Unchunked(), CutAt(size - 20, "end"))]))
    seen = follow(server, run.run_id)
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5], True)
    assert streams(server)[1:] == [{}, {"after_seq": "4"}]


def _lines(server: DevServer, run_id: Any) -> list[bytes]:
    from rxruns._ndjson._decoding import encode_event

    with server.client() as client:
        return [encode_event(event) for event in client.list_events(run_id)]


# ---- R9: silence ----


def test_R09_silence_trips_the_idle_timeout_and_the_stream_resumes(server: DevServer) -> None:
    run = server.add_run(events=run_of(3))
    server.use_faults(Faults([Silence(after_events=2), NoAnswer(), Silence(after_events=1)]))
    lifecycle: list[LifecycleEvent] = []
    seen = follow(server, run.run_id, resume=IDLE, on_lifecycle=lifecycle.append)
    assert (seen.seqs, seen.completed) == (list(range(1, 8)), True)
    causes = [value.cause for value in lifecycle if isinstance(value, Reconnecting)]
    assert [type(cause) for cause in causes] == [StreamTimeoutError] * 3
    assert [cause.timeout for cause in causes if isinstance(cause, StreamTimeoutError)] == [0.2] * 3


def test_R09_the_time_inside_on_next_is_not_silence(server: DevServer) -> None:
    run = server.script()
    for event in run_of(0)[:2]:
        run.append(event)
    longer_than_idle = __import__("threading").Event()

    def slow(event: Any) -> None:
        if event.seq == 1:
            longer_than_idle.wait(3 * 0.2)
            for event in run_of(0)[2:]:
                run.append(event)

    seen = Seen(slow)
    with server.client() as client, run_events(run.run_id, client=client, resume=IDLE).subscribe(seen):
        seen.wait_end()
    assert (seen.seqs, len(streams(server))) == ([1, 2, 3, 4], 1)


def test_R09_any_byte_resets_the_idle_timeout(server: DevServer) -> None:
    with DevServer(keepalive=0.05) as server:
        run = server.script()
        run.append(run_of(0)[0])
        seen = Seen()
        with server.client() as client, run_events(run.run_id, client=client, resume=IDLE).subscribe(seen):
            seen.wait_count(1)
            __import__("threading").Event().wait(0.6)  # three idle timeouts, twelve keep-alives
            for event in run_of(0)[1:]:
                run.append(event)
            seen.wait_end()
        assert (seen.seqs, len(streams(server))) == ([1, 2, 3, 4], 1)


# ---- R10, R11: budget ----


@both_sizes
@pytest.mark.parametrize("fault", [Refuse(), CloseAfter(0)], ids=["accept-then-close", "empty 200"])
def test_R10_a_server_that_only_closes_is_not_hammered(
    server: DevServer, fault: Fault, soaking: bool
) -> None:
    run = server.add_run(events=run_of(1), status="failed" if isinstance(fault, Refuse) else "strange")
    server.use_faults(Faults(otherwise=fault))
    policy = ResumePolicy() if soaking else ResumePolicy(base_backoff=0.003, max_backoff=0.3)
    seen = follow(server, run.run_id, resume=policy)
    assert isinstance(seen.error, StreamInterruptedError)
    assert measured("R10", "requests for events until it gives up", len(streams(server)), 10, "") == 6
    assert measured("R10", "requests in all", len(server.requests), 20, "") <= 12


def test_R11_progress_spares_the_budget(server: DevServer) -> None:
    run = server.add_run(events=run_of(97))
    one_event_each = [(CloseAfter(1),)] * 100
    server.use_faults(Faults(one_event_each))
    seen = follow(server, run.run_id, resume=ResumePolicy(max_reconnects=3, base_backoff=0.001))
    assert (seen.seqs, seen.completed) == (list(range(1, 102)), True)
    assert len(streams(server)) == 101


def test_R11_four_faults_in_a_row_are_too_many_for_three_reconnects(server: DevServer) -> None:
    run = server.add_run(events=run_of(5))
    server.use_faults(Faults([CloseAfter(2), CutAt(0), Refuse(), Status(503), CutAt(30)]))
    policy = ResumePolicy(max_reconnects=3, base_backoff=0.001, max_backoff=0.01)
    seen = follow(server, run.run_id, resume=policy)
    assert isinstance(seen.error, StreamInterruptedError)
    assert (seen.seqs, seen.error.reconnects, seen.error.last_seq) == ([1, 2], 3, 2)
    assert isinstance(seen.error.__cause__, APIError)
    assert len(streams(server)) == 4


def test_R11_a_waiting_run_that_closes_twenty_times_is_followed_to_its_end(server: DevServer) -> None:
    run = server.add_run(events=run_of(1), status="waiting")
    server.use_faults(Faults([CloseAfter(2), *[CloseAfter(0)] * 20]))
    policy = ResumePolicy(max_reconnects=3, base_backoff=0.0005, max_backoff=0.002)
    seen = follow(server, run.run_id, resume=policy)
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5], True)
    assert statuses(server) == 20


# ---- R12: the request of a reconnect ----


def test_R12_a_reconnect_repeats_parameters_and_headers_and_moves_only_cursor_and_limit(
    server: DevServer,
) -> None:
    run = server.add_run(events=run_of(20))
    server.use_faults(Faults([CloseAfter(3), CutAt(400), Status(429, retry_after=0)]))
    seen = Seen()
    with server.client(customer_id="cust_1", headers={"X-Mine": "yes"}) as client:
        source = run_events(
            run.run_id, client=client, after_seq=2, limit=10, include_output=True, resume=QUICK
        )
        with source.subscribe(seen):
            seen.wait_end()
    assert (seen.seqs, seen.completed) == (list(range(3, 13)), True)
    requests = [request for request in server.requests if request.is_stream]
    queries = [dict(request.query) for request in requests]
    assert queries[:2] == [
        {"after_seq": "2", "limit": "10", "include_output": "true"},
        {"after_seq": "5", "limit": "7", "include_output": "true"},
    ]
    for query in queries:
        assert int(query["after_seq"]) + int(query["limit"]) == 12
    assert len({tuple(sorted(request.headers.items())) for request in requests}) == 1
    assert requests[0].headers["x-mine"] == "yes"


def test_a_limit_above_ten_thousand_is_read_in_pages_over_one_connection(server: DevServer) -> None:
    run = server.add_run(events=run_of(20_500))
    lifecycle: list[LifecycleEvent] = []
    seen = follow(server, run.run_id, limit=20_100, on_lifecycle=lifecycle.append)
    assert (len(seen.events), seen.seqs[-1], seen.completed) == (20_100, 20_100, True)
    assert streams(server) == [
        {"limit": "10000"},
        {"limit": "10000", "after_seq": "10000"},
        {"limit": "100", "after_seq": "20000"},
    ]
    assert [type(value) for value in lifecycle] == [Connected, Closed]


# ---- R13: what is fatal ----


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410])
def test_R13_a_refusal_ends_the_stream_after_one_request(server: DevServer, status: int) -> None:
    run = server.add_run(events=run_of(1))
    server.use_faults(Faults(otherwise=Status(status)))
    seen = follow(server, run.run_id)
    assert isinstance(seen.error, APIError)
    assert (seen.error.status, len(server.requests)) == (status, 1)


def test_R13_a_redirect_names_its_target_and_is_not_followed(server: DevServer) -> None:
    run = server.add_run(events=run_of(1))
    server.use_faults(Faults(otherwise=Redirect("http://elsewhere.example/runs?secret=1")))
    seen = follow(server, run.run_id)
    assert isinstance(seen.error, APIError)
    assert "elsewhere.example" in str(seen.error)
    assert "secret" not in str(seen.error)
    assert len(server.requests) == 1


def test_a_wrong_content_type_is_fatal(server: DevServer) -> None:
    run = server.add_run(events=run_of(1))
    server.use_faults(Faults(otherwise=WrongContentType()))
    seen = follow(server, run.run_id)
    assert isinstance(seen.error, StreamContentTypeError)
    assert (seen.error.received, seen.error.status, len(server.requests)) == (
        "text/html; charset=utf-8",
        200,
        1,
    )


# ---- gaps ----


def test_a_gap_is_looked_at_once_more_at_once(server: DevServer) -> None:
    run = server.add_run(events=run_of(3))
    server.use_faults(Faults([Gap(4)]))
    lifecycle: list[LifecycleEvent] = []
    seen = follow(server, run.run_id, on_lifecycle=lifecycle.append, resume=ResumePolicy(max_reconnects=0))
    assert (seen.seqs, seen.completed) == (list(range(1, 8)), True)
    assert streams(server) == [{}, {"after_seq": "3"}]
    assert [type(value) for value in lifecycle] == [Connected, Reconnecting, Resumed, Closed]


def test_a_look_at_a_gap_that_was_cut_does_not_count(server: DevServer) -> None:
    run = server.add_run(events=run_of(3))
    server.use_faults(Faults([Gap(4), CutAt(0), Refuse(), None]))
    seen = follow(server, run.run_id)
    assert (seen.seqs, seen.completed) == (list(range(1, 8)), True)


# ---- one connection ----


def test_without_resuming_the_clients_timeout_holds_between_bytes(server: DevServer) -> None:
    run = server.add_run(events=run_of(3))
    server.use_faults(Faults([Silence(after_events=1)]))
    seen = Seen()
    with (
        server.client(timeout=0.1) as client,
        run_events(run.run_id, client=client, resume=None).subscribe(seen),
    ):
        seen.wait_end()
    assert isinstance(seen.error, StreamTimeoutError)
    assert (seen.seqs, seen.error.timeout) == ([1], 0.1)


def test_without_resuming_opening_is_retried_as_other_requests_are(server: DevServer) -> None:
    run = server.add_run(events=run_of(1))
    server.use_faults(Faults([Status(503, retry_after=0.001), Status(503, retry_after=0.001)]))
    seen = follow(server, run.run_id, resume=None)
    assert (seen.completed, len(server.requests)) == (True, 3)


# ---- bad lines ----


def test_a_bad_line_with_the_next_seq_moves_the_cursor(server: DevServer) -> None:
    run = server.script()
    run.append(run_of(0)[0])
    run.append({"type": "node_started", "node_id": ""})
    run.append(run_of(0)[2])
    run.append(run_of(0)[3])
    server.use_faults(Faults([CloseAfter(2)]))
    refused: list[StreamProtocolError] = []
    seen = follow(server, run.run_id, on_invalid=refused.append)
    assert (seen.seqs, len(refused)) == ([1, 3, 4], 1)
    assert streams(server) == [{}, {"after_seq": "2"}]


def test_only_the_event_after_a_bad_line_may_jump(server: DevServer) -> None:
    run = server.script()
    run.append(run_of(0)[0])
    run.append_line(b"no event", seq=2)
    for seq in (2, 4, 5):
        run.append(run_of(1)[seq - 1] | {"seq": seq})
    refused: list[StreamProtocolError] = []
    seen = follow(server, run.run_id, on_invalid=refused.append)
    assert isinstance(seen.error, SequenceGapError)
    assert (seen.seqs, seen.error.expected, seen.error.received) == ([1, 2], 3, 4)


def test_an_overlong_line_is_refused_and_skipped_to_its_newline(server: DevServer) -> None:
    run = server.add_run(events=run_of(2))
    server.use_faults(Faults([(InvalidLine(2, b"x" * 5_000), SplitBytes(700))]))
    refused: list[StreamProtocolError] = []
    seen = Seen()
    with server.client(max_line_bytes=1_000) as client:
        source = run_events(run.run_id, client=client, resume=QUICK, on_invalid=refused.append)
        with source.subscribe(seen):
            seen.wait_end()
    assert (seen.seqs, seen.completed) == ([1, 2, 3, 4, 5, 6], True)
    assert [(error.line_number, error.raw_data) for error in refused] == [(3, "x" * 200)]


# ---- R28: lifecycle and log ----


def test_R28_lifecycle_values_describe_the_faults(
    server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    run = server.add_run(events=run_of(6))
    server.use_faults(Faults([CloseAfter(2), Refuse(), Status(503), CloseAfter(2), CutAt(0), None]))
    lifecycle: list[LifecycleEvent] = []
    with caplog.at_level(logging.DEBUG, "rxruns"):
        seen = follow(server, run.run_id, on_lifecycle=lifecycle.append)
    assert seen.completed
    assert [type(value) for value in lifecycle] == [
        Connected,
        Reconnecting,
        Reconnecting,
        Reconnecting,
        Resumed,
        Reconnecting,
        Resumed,
        Reconnecting,
        Resumed,
        Closed,
    ]
    assert [value.attempt for value in lifecycle if isinstance(value, Reconnecting)] == [1, 2, 3, 1, 2]
    assert [value.after_seq for value in lifecycle if isinstance(value, Resumed)] == [2, 4, 4]
    assert lifecycle[-1] == Closed(run_id=run.run_id, last_seq=10, error=None)
    assert all(value.run_id == run.run_id for value in lifecycle)
    assert all(value.request_id for value in lifecycle if isinstance(value, Connected | Resumed))
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 2  # two outages
