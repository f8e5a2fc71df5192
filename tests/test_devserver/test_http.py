from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from rxruns._loopback import chunk
from rxruns.devserver import DevServer
from rxruns.errors import APIError, InvalidArgumentError
from tests.test_devserver.conftest import DELTA, ENDED, STARTED, Api, all_of, llm, seqs, workflow


@pytest.fixture
def run_id(api):
    return api.server.add_run(events=[STARTED, DELTA, DELTA, ENDED]).run_id


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ModelRelay-Api-Key": "mr_sk_wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic key"},
        {"X-ModelRelay-Api-Key": "caf\xe9"},
        {"X-ModelRelay-Api-Key": "key", "Authorization": "Bearer wrong"},
    ],
)
def test_a_request_without_the_key_is_unauthorized(serve, headers):
    api = serve(api_key="mr_sk_right")
    headers = {name: value.replace("key", "mr_sk_right") for name, value in headers.items()}
    answer = api.ask("GET", f"/runs/{uuid4()}", headers=headers)
    assert (401, "UNAUTHORIZED") == (answer.status, answer.body["code"])


def test_a_bearer_token_is_accepted_beside_the_key(api, run_id):
    tokens = [f"Bearer {api.server.access_token}", f"Bearer {api.server.api_key}"]
    statuses = [
        api.ask("GET", f"/runs/{run_id}", headers={"Authorization": token}).status for token in tokens
    ]
    both = api.headers() | {"Authorization": tokens[0]}
    assert [200, 200, 200] == [*statuses, api.ask("GET", f"/runs/{run_id}", headers=both).status]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/../elsewhere", 404, "NOT_FOUND"),
        ("PUT", "/runs", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/workflows/compile", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", f"/runs/{uuid4()}", 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"/walks/{uuid4()}/events", 404, "NOT_FOUND"),
        ("GET", f"/runs/{uuid4()}", 404, "NOT_FOUND"),
        ("GET", f"/runs/{uuid4()}/events", 404, "NOT_FOUND"),
        ("GET", f"/runs/{uuid4()}/pending-tools", 404, "NOT_FOUND"),
        ("GET", "/runs/twelve", 400, "INVALID_INPUT"),
        ("GET", "/runs/../../etc/events", 404, "NOT_FOUND"),
        ("GET", "/runs/..%2f..%2fetc/events", 400, "INVALID_INPUT"),
        ("GET", "/runs/00000000-0000-0000-0000-000000000000/events", 400, "INVALID_INPUT"),
        ("POST", "/runs", 400, "INVALID_INPUT"),
        ("POST", "/workflows/compile", 400, "INVALID_INPUT"),
    ],
)
def test_an_unknown_path_is_refused_as_in_the_contract(api, method, path, status, code):
    answer = api.ask(method, path)
    assert (status, code) == (answer.status, answer.body["code"])
    assert answer.headers["X-ModelRelay-Request-Id"] == answer.body["request_id"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after_seq": "-1"}, "after_seq"),
        ({"after_seq": "x"}, "after_seq"),
        ({"after_seq": "9" * 30}, "after_seq"),
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"wait": "maybe"}, "wait"),
        ({"include_output": ""}, "include_output"),
    ],
)
def test_a_bad_query_is_refused_by_name(api, run_id, query, field):
    answer = api.get(f"/runs/{run_id}/events", **query)
    assert (400, [field]) == (answer.status, list(answer.fields))


def test_refused_fields_reach_the_user_of_a_client(api):
    spec = workflow(llm("a", "x"), inputs=[{"name": "need", "required": True}])
    with api.server.client() as client, pytest.raises(APIError) as caught:
        client.create(spec)
    assert ["input.need"] == [refused.field for refused in caught.value.fields]
    assert caught.value.request_id.startswith("req_")


def test_pages_and_other_requests_share_one_connection(api, run_id):
    connection = api.connect()
    found = [
        api.ask("GET", f"/runs/{run_id}/events", connection=connection, after_seq=after, limit=2).events
        for after in (0, 2)
    ]
    port = connection.sock.getsockname()
    state = api.ask("GET", f"/runs/{run_id}", connection=connection)
    assert [[1, 2], [3, 4]] == [seqs(events) for events in found]
    assert (200, port) == (state.status, connection.sock.getsockname())
    connection.close()


def test_each_event_is_a_chunk_of_its_own(api, run_id):
    lines = api.get(f"/runs/{run_id}/events").content.splitlines(keepends=True)
    with api.connected() as connection:
        connection.sendall(api.head(f"GET /api/v1/runs/{run_id}/events HTTP/1.1", "Connection: close"))
        _, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert b"".join(map(chunk, lines)) + b"0\r\n\r\n" == body
    assert 4 == len(lines)


def test_an_event_is_sent_while_the_client_waits(api):
    run = api.server.script()
    with api.follow(run.run_id) as response:
        assert api.server.wait_for(lambda server: server.streams == 1)
        run.append(STARTED)
        assert 1 == json.loads(response.readline())["seq"]
        run.append(ENDED)
        assert 2 == json.loads(response.readline())["seq"]
        assert b"" == response.read()


def test_silence_is_filled_with_blank_lines_that_do_not_count(serve):
    api = serve(keepalive=0.01)
    run = api.server.script()
    with api.follow(run.run_id, limit=1) as response:
        assert b"\n" == response.readline()
        run.append(STARTED)
        events = [json.loads(line) for line in response if line.strip()]
    assert [1] == seqs(events)


@pytest.mark.parametrize("hang_up", ["fin", "rst"])
def test_a_client_that_hangs_up_frees_its_stream(api, hang_up):
    run = api.server.script()
    connection = api.raw(run.run_id)
    assert api.server.wait_for(lambda server: server.streams == 1)
    if hang_up == "rst":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    assert api.server.wait_for(lambda server: server.streams == 0)


def test_a_request_sent_early_does_not_end_the_stream(api):
    run = api.server.script()
    with api.raw(run.run_id) as connection:
        assert api.server.wait_for(lambda server: server.streams == 1)
        connection.sendall(api.head(f"GET /api/v1/runs/{run.run_id} HTTP/1.1", "Connection: close"))
        run.append(STARTED)
        run.append(ENDED)
        received = all_of(connection)
    assert 2 == received.count(b"HTTP/1.1 200 OK")


def test_a_closed_server_can_be_started_again():
    server = DevServer()
    with server:
        assert server.start() is server
        assert not server.wait_closed(0)
        assert repr(server) == f"DevServer('{server.url}')"
    assert server.wait_closed(0)
    server.close()
    with server:
        assert not server.wait_closed(0)


def test_a_server_must_be_started():
    server = DevServer()
    assert "DevServer(not started)" == repr(server)
    with pytest.raises(InvalidArgumentError, match="not started"):
        _ = server.url


@pytest.mark.parametrize("options", [{"delay": -1}, {"keepalive": 0}, {"delay": float("nan")}])
def test_times_below_zero_are_refused(options):
    with pytest.raises(InvalidArgumentError) as caught:
        DevServer(**options)
    assert caught.value.field in options


def test_a_port_that_is_taken_leaves_nothing_behind(api):
    before = set(threading.enumerate())
    with pytest.raises(OSError):
        DevServer(port=int(api.address.port)).start()
    assert before == set(threading.enumerate())


def test_requests_are_kept_without_secrets(api, run_id):
    headers = api.headers() | {"Authorization": f"Bearer {api.server.access_token}", "X-Mine": "1"}
    api.ask("POST", f"/runs/{run_id}/tool-results", {"a": 1}, headers=headers, x="y")
    request = api.server.requests[-1]
    assert ("POST", f"/api/v1/runs/{run_id}/tool-results") == (request.method, request.path)
    assert ({"x": "y"}, {"a": 1}, "1") == (request.query, request.body, request.headers["x-mine"])
    assert "<hidden>" == request.headers["authorization"] == request.headers["x-modelrelay-api-key"]
    assert api.server.api_key not in repr(request) and api.server.access_token not in repr(request)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"after_seq": 2}, [3, 4]),
        ({"after_seq": 1, "limit": 2, "wait": "0"}, [2, 3]),
        ({"after_seq": 4}, []),
        ({"wait": "false", "include_output": "true"}, [1, 2, 3, 4]),
    ],
)
def test_each_parameter_of_a_stream_selects_events(api, run_id, query, found):
    answer = api.get(f"/runs/{run_id}/events", **query)
    assert (found, "application/x-ndjson") == (seqs(answer.events), answer.headers["Content-Type"])


@pytest.mark.parametrize(("query", "found"), [({"wait": "0"}, [1]), ({"wait": "false", "after_seq": 1}, [])])
def test_without_wait_the_stream_of_an_open_run_ends(api, query, found):
    run = api.server.add_run(events=[STARTED], finish=False)
    assert found == seqs(api.events(run.run_id, **query))


def test_a_body_that_is_not_json_is_refused_and_kept_as_text(api):
    answer = api.post("/runs", b"{no json\xff")
    assert (400, "{no json\ufffd") == (answer.status, api.server.requests[-1].body)


def test_closing_ends_streams_that_wait_and_streams_that_block():
    before = set(threading.enumerate())
    with DevServer() as server:
        runs = server.script(), server.add_run(events=[DELTA] * 50_000)
        connections = [Api(server).raw(run.run_id) for run in runs]
        assert server.wait_for(lambda server: server.streams == 2)
    assert before == set(threading.enumerate())
    for connection in connections:
        connection.close()


def test_many_streams_at_once_all_receive_everything(api):
    run = api.server.script()
    with ThreadPoolExecutor(40) as pool:
        streams = [pool.submit(api.events, run.run_id) for _ in range(40)]
        assert api.server.wait_for(lambda server: server.streams == 40)
        for event in [*[DELTA] * 100, ENDED]:
            run.append(event)
    assert [101] * 40 == [len(stream.result()) for stream in streams]
