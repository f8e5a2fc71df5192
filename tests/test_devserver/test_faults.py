from __future__ import annotations

import http.client
import json
import pickle

import pytest

from rxruns.devserver import Faults
from rxruns.devserver.faults import (
    CloseAfter,
    CutAt,
    CutRandomly,
    Delay,
    Duplicates,
    Fault,
    Gap,
    InvalidLine,
    LoseResponse,
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
from rxruns.errors import InvalidArgumentError
from tests.test_devserver.conftest import DELTA, ENDED, llm, seqs, workflow

RESET = (ConnectionResetError, http.client.RemoteDisconnected)
CUT = (http.client.IncompleteRead, ConnectionResetError)


@pytest.fixture
def faulty(serve):
    """Serve a run of ten events with faults; returns the API and the run id."""

    def start(*script, **options):
        api = serve(faults=Faults(script, **options), keepalive=0.01)
        return api, api.server.add_run(events=[DELTA] * 9 + [ENDED]).run_id

    return start


def broken(api, run_id):
    """The bytes before the stream broke."""
    with api.follow(run_id) as response:
        received = b""
        try:
            while piece := response.read(1):
                received += piece
        except CUT:
            return received
    raise AssertionError("the stream ended cleanly")


def whole(api, run_id, **query):
    return api.get(f"/runs/{run_id}/events", **query).content


@pytest.mark.parametrize(
    "fault",
    [None, CutAt(10**9), SplitBytes(), Silence(2, seconds=0.01), Delay(per_event=0.001, before_status=0.001)],
)
def test_a_fault_that_only_delays_or_splits_loses_nothing(faulty, fault):
    api, run_id = faulty(fault)
    assert whole(api, run_id) == whole(api, run_id)
    assert list(range(1, 11)) == seqs(api.events(run_id))


@pytest.mark.parametrize("cut", [CutAt(300, "rst"), CutAt(300, "fin"), CutAt(300, "chunk"), CutAt(0, "fin")])
def test_a_cut_comes_at_the_byte_and_the_next_stream_is_complete(faulty, cut):
    api, run_id = faulty(cut)
    assert cut.at == len(broken(api, run_id))
    assert list(range(1, 11)) == seqs(api.events(run_id))


def test_random_cuts_are_the_same_for_the_same_seed(faulty):
    def lengths(seed):
        api, run_id = faulty(otherwise=CutRandomly(0, 1000, ["fin"]), seed=seed)
        return [len(broken(api, run_id)) for _ in range(4)]

    assert lengths(1) == lengths(1) != lengths(2)


def test_a_cut_can_look_like_a_clean_end(faulty):
    api, run_id = faulty(CutAt(300, "end"))
    connection = api.connect()
    first = api.ask("GET", f"/runs/{run_id}/events", connection=connection)
    assert 300 == len(first.content)
    assert 200 == api.ask("GET", f"/runs/{run_id}", connection=connection).status
    connection.close()


@pytest.mark.parametrize("how", ["rst", "fin", "chunk"])
def test_other_answers_can_be_cut_too(faulty, how):
    api, run_id = faulty(rest=[CutAt(10, how)])
    with pytest.raises(CUT):
        api.get(f"/runs/{run_id}")
    assert 200 == api.get(f"/runs/{run_id}").status


def test_refused_connections_are_reset(faulty):
    api, run_id = faulty(Refuse())
    with pytest.raises(RESET):
        whole(api, run_id)
    assert 10 == len(seqs(api.events(run_id)))


@pytest.mark.parametrize(
    ("fault", "code", "retry_after"),
    [
        (Status(503, retry_after=2), "SERVICE_UNAVAILABLE", "2"),
        (Status(429, retry_after="soon"), "RATE_LIMIT", "soon"),
        (Status(404), "NOT_FOUND", None),
        (Status(410), "INVALID_INPUT", None),
        (Status(599), "SERVICE_UNAVAILABLE", None),
        (Status(503, code="MINE"), "MINE", None),
    ],
)
def test_a_status_is_answered_with_its_code_and_the_connection_stays(faulty, fault, code, retry_after):
    api, run_id = faulty(fault)
    connection = api.connect()
    answer = api.ask("GET", f"/runs/{run_id}/events", connection=connection)
    assert (fault.status, code) == (answer.status, answer.body["code"])
    assert retry_after == answer.headers.get("Retry-After")
    assert 200 == api.ask("GET", f"/runs/{run_id}/events", connection=connection).status
    connection.close()


def test_a_redirect_names_its_target(faulty):
    answer = faulty(Redirect("http://127.0.0.1:9/x", 302))
    answer = answer[0].get(f"/runs/{answer[1]}/events")
    assert (302, "http://127.0.0.1:9/x") == (answer.status, answer.headers["Location"])


def test_a_wrong_content_type_comes_with_the_body(faulty):
    api, run_id = faulty(WrongContentType(), WrongContentType(""))
    answers = [api.get(f"/runs/{run_id}/events") for _ in range(3)]
    assert ["text/html; charset=utf-8", "", "application/x-ndjson"] == [
        answer.headers["Content-Type"] for answer in answers
    ]


def test_an_unchunked_body_ends_with_the_connection(faulty):
    api, run_id = faulty(Unchunked())
    answer = api.get(f"/runs/{run_id}/events")
    assert (False, "close") == ("Transfer-Encoding" in answer.headers, answer.headers["Connection"])
    assert 10 == len(answer.events)


def test_an_unchunked_body_can_be_cut(faulty):
    api, run_id = faulty((Unchunked(), CutAt(50, "end")), (Unchunked(), CutAt(60, "chunk")))
    assert [50, 60] == [len(whole(api, run_id)) for _ in range(2)]


def test_each_byte_is_a_chunk(faulty):
    api, run_id = faulty(SplitBytes(), None)
    with api.follow(run_id) as response:
        assert response.fp is not None
        assert [b"1\r\n", b"{\r\n"] == [response.fp.readline(), response.fp.readline()]


def test_a_clean_end_comes_early(faulty):
    api, run_id = faulty(CloseAfter(3), CloseAfter())
    assert [3, 0, 10] == [len(seqs(api.events(run_id))) for _ in range(3)]


def test_a_fault_counts_events_without_keepalives(serve):
    api = serve(faults=Faults([CloseAfter(1)]), keepalive=0.005)
    run = api.server.script()
    with api.follow(run.run_id) as response:
        assert b"\n" == response.readline()
        run.append(DELTA)
        assert 1 == sum(line != b"\n" for line in response)


def test_a_fault_can_send_the_record_of_a_keepalive_which_the_client_skips(faulty):
    api, run_id = faulty(InvalidLine(1, b'{"type":"keepalive"}'))
    with api.server.client() as client:
        assert list(range(1, 11)) == [event.seq for event in client.list_events(run_id)]


def test_silence_lasts_until_the_client_hangs_up(faulty):
    api, run_id = faulty(Silence(2))
    with api.follow(run_id) as response:
        assert [1, 2] == [json.loads(response.readline())["seq"] for _ in range(2)]
        assert 1 == api.server.streams
    assert api.server.wait_for(lambda server: server.streams == 0)


def test_no_answer_at_all_until_the_client_hangs_up(serve):
    api = serve(faults=Faults([NoAnswer()], rest=[NoAnswer()]))
    for path in ("/runs/x/events", "/runs/x"):
        before = len(api.server.requests)
        connection = api.connect()
        connection.request("GET", api.address.path + path, headers=api.headers())
        assert api.server.wait_for(lambda server, before=before: len(server.requests) == before + 1)
        connection.close()


def test_a_server_with_silent_streams_can_be_closed(faulty):
    api, run_id = faulty(Silence(1))
    with api.follow(run_id) as response:
        response.readline()
        api.server.close()


def test_a_replay_begins_before_the_requested_event(faulty):
    api, run_id = faulty(Replay(3), Replay(3))
    assert [4, 5, 6] == seqs(whole(api, run_id, after_seq=6, limit=3))
    assert 1 == seqs(whole(api, run_id, after_seq=1))[0]


def test_duplicates_repeat_and_lose_nothing(faulty):
    found = seqs(whole(*faulty(Duplicates(0.5), seed=3)))
    assert set(range(1, 11)) == set(found) and len(found) > 10


def test_a_gap_leaves_events_out(faulty):
    api, run_id = faulty((Gap(2, 5), InvalidLine(0, b"{")))
    assert [1, 3, 4, 6, 7, 8, 9, 10] == seqs(whole(api, run_id).removeprefix(b"{\n"))


def test_an_invalid_line_does_not_disturb_the_gaps(faulty):
    api, run_id = faulty((InvalidLine(1, b"\xff"), Gap(2)))
    lines = whole(api, run_id).splitlines()
    assert (9 + 1, b"\xff") == (len(lines), lines[1])


def test_a_lost_response_follows_a_served_request(serve):
    api = serve(faults=Faults([LoseResponse()], rest=[LoseResponse()]))
    spec = workflow(llm("a", "x"))
    body = {"spec": spec, "options": {"idempotency_key": "k"}}
    with pytest.raises(RESET):
        api.post("/runs", body)
    run_id = api.post("/runs", body).body["run_id"]
    with pytest.raises(RESET):
        api.events(run_id)
    assert "run_completed" == api.events(run_id)[-1]["type"]


def test_a_request_without_the_key_uses_up_no_fault(faulty):
    api, run_id = faulty(Status(503))
    statuses = [
        api.ask("GET", f"/runs/{run_id}/events", headers=headers).status for headers in ({}, None, None)
    ]
    assert [401, 503, 200] == statuses


def test_faults_can_be_changed_while_serving(faulty):
    api, run_id = faulty(Status(503))
    api.server.use_faults(Faults([CloseAfter(1)]))
    assert [1] == seqs(api.events(run_id))
    api.server.use_faults(None)
    assert 10 == len(seqs(api.events(run_id)))


def test_a_custom_fault_changes_the_lines(faulty):
    class Shout(Fault):
        def lines(self, lines, dice, wire):
            return (line.replace(b"message_delta", b"MESSAGE") for line in lines)

    assert b"MESSAGE" in whole(*faulty(Shout()))


@pytest.mark.parametrize("name", ["script", "rest"])
def test_an_entry_that_is_not_a_fault_is_refused(name):
    with pytest.raises(InvalidArgumentError) as caught:
        Faults(**{name: [(Refuse(), "refuse")]})
    assert name == caught.value.field


def test_faults_are_values():
    faults = Faults([CutAt(1), (Gap(1), None or Refuse())], rest=[None], otherwise=Silence(), seed=3)
    assert faults == pickle.loads(pickle.dumps(faults))
    assert faults == Faults([CutAt(1), [Gap(1), Refuse()]], rest=[None], otherwise=Silence(), seed=3)


def test_a_fault_that_fails_itself_costs_one_connection(faulty, caplog):
    class Broken(Fault):
        def before(self, wire):
            raise ZeroDivisionError("mine")

    api, run_id = faulty(Broken())
    with pytest.raises(RESET):
        whole(api, run_id)
    assert 10 == len(seqs(api.events(run_id)))
    assert "a request failed" in caplog.text
