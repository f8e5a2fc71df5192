"""A fake service plays its script to requests for events, and answers the rest from the events it sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rxruns import ResumePolicy, RunsClient, block_on, ops, run_events, start_run, testing, workflow
from rxruns.errors import APIError, InvalidArgumentError, StreamInterruptedError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.models import RunsToolCall, RunsToolResultItem, RunsToolResultsRequest
from rxruns.testing import (
    QUICK,
    FakeRuns,
    RunLog,
    Step,
    _fake,
    drops,
    ends,
    events,
    hangs,
    refuses,
    replies,
    resets,
    sends,
    waits_for,
)
from rxruns.tools import Tools
from tests.conftest import HANG, eventually
from tests.observing import Seen, uncaught

pytestmark = pytest.mark.usefixtures("no_leaks")

LOG = events.run().node("draft").text("Hi").succeeds()
SPEC = workflow.chain(workflow.llm("draft", model="gpt-5", user="Hi"))


def seen(service: FakeRuns, log: RunLog = LOG, **options: Any) -> list[RunEvent]:
    """Follow a run to its end and return its events."""
    with service.client() as client:
        source = run_events(log.run_id, client=client, **{"resume": QUICK} | options)
        return block_on(source.pipe(ops.to_list())) or []


@contextmanager
def following(*script: Step, log: RunLog = LOG) -> Iterator[tuple[FakeRuns, RunsClient, Seen]]:
    """Follow a run of a scripted service."""
    with FakeRuns(*script) as service, service.client() as client:
        observed = Seen()
        with run_events(log.run_id, client=client, resume=QUICK).subscribe(observed):
            yield service, client, observed


@pytest.mark.parametrize(
    ("script", "cursors"),
    [
        ([sends(LOG)], [0]),
        ([sends(LOG[:2]), sends(*LOG[2:])], [0]),
        ([sends(LOG[:2]), drops(), sends(LOG[2:])], [0, 2]),
        ([sends(LOG[:2]), resets(), sends(LOG[2:])], [0, 2]),
        ([sends(LOG[:2]), ends(), sends(LOG[2:])], [0, 2]),
        ([drops(), resets(), refuses(), ends(), sends(LOG)], [0, 0, 0, 0, 0]),
        ([sends(LOG[:2]), refuses(429), refuses(500), sends(LOG[2:])], [0, 2, 2, 2]),
        ([sends(LOG[:2], b'{"type":"node_'), drops(), sends(LOG[2:])], [0, 2]),
    ],
    ids=repr,
)
def test_a_client_receives_the_whole_run_whatever_the_script_does(
    script: list[Step], cursors: list[int]
) -> None:
    with FakeRuns(*script) as service:
        assert list(LOG) == seen(service)
        assert cursors == [one.after_seq for one in service.streams]
        assert () == service.unplayed


def test_a_request_after_the_last_step_is_an_error() -> None:
    with FakeRuns(sends(LOG[:3])) as service, pytest.raises(APIError, match="the script of FakeRuns is over"):
        seen(service)


def test_a_service_may_stay_silent_until_the_client_leaves() -> None:
    with following(sends(LOG[:2]), hangs()) as (service, _, observed):
        observed.wait_count(2)
    assert service.gone.wait(HANG)


def test_a_script_waits_for_its_test() -> None:
    released = threading.Event()
    with following(sends(LOG[:2]), waits_for(released), sends(LOG[2:])) as (_, _, observed):
        assert [1, 2] == observed.wait_count(2).seqs
        released.set()
        observed.wait_end()
    assert list(LOG) == observed.events


def test_steps_of_a_stream_that_the_client_left_are_not_played_to_the_next_one() -> None:
    released = threading.Event()
    script = (
        sends(LOG[0], LOG[2:]),
        waits_for(released),
        hangs(),
        sends(LOG[1:]),
    )  # the client leaves at the gap
    with following(*script) as (service, _, observed):
        service.wait_requests(2)
        released.set()
        observed.wait_end()
    assert list(LOG) == observed.events


def test_a_second_stream_beside_an_open_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fake, "HANG", 0)
    released = threading.Event()
    with following(sends(LOG[:1]), waits_for(released), sends(LOG[1:])) as (_, client, observed):
        observed.wait_count(1)
        with pytest.raises(APIError, match="one FakeRuns for each run"):
            block_on(run_events(LOG.run_id, client=client))
        released.set()
        observed.wait_end()
    assert list(LOG) == observed.events


def test_a_refusal_is_an_error_of_the_service() -> None:
    step = refuses(404, "NOT_FOUND", "no such run", retry_after=121)
    with FakeRuns(step) as service, pytest.raises(APIError, match="no such run") as caught:
        seen(service)
    assert (404, "NOT_FOUND", 121) == (caught.value.status, caught.value.code, caught.value.retry_after)


def test_bytes_are_sent_as_they_are() -> None:
    with FakeRuns(sends(b"no json\n")) as service, pytest.raises(StreamProtocolError, match="not JSON"):
        seen(service)


def test_a_client_gives_up_after_its_reconnects() -> None:
    script = [drops()] * 3
    with FakeRuns(*script) as service, pytest.raises(StreamInterruptedError):
        seen(service, resume=ResumePolicy(max_reconnects=2, base_backoff=0.001))


def test_a_run_is_created_followed_and_looked_up() -> None:
    with FakeRuns(sends(LOG)) as service, service.client() as client:
        assert list(LOG) == block_on(start_run(SPEC, client=client).pipe(ops.to_list()))
        got = client.get(LOG.run_id)

        assert ("succeeded", LOG.plan_hash) == (got.status, got.plan_hash)
        assert ["POST", "GET", "GET"] == [request.method for request in service.requests]
        assert "workflow" == service.requests[0].json["spec"]["kind"]


def test_tools_are_called_while_the_script_waits_for_their_results() -> None:
    tools = Tools()

    @tools.tool
    def add(a: int, b: int) -> int:
        """The sum."""
        return a + b

    log = events.run().node("sum").llm_call().tool_call("add", {"a": 1, "b": 2}).waits()
    end = log.tool_result("3").text("three").succeeds()
    answered = threading.Event()
    script = [sends(log), waits_for(answered), sends(end[len(log) :])]
    with FakeRuns(*script) as service, service.client() as client:
        observed = Seen()
        source = run_events(log.run_id, client=client, resume=QUICK)
        with source.pipe(ops.execute_tools(tools, client=client)).subscribe(observed):
            assert eventually(lambda: any(request.method == "POST" for request in service.requests))
            answered.set()
            observed.wait_end()

    (posted,) = (request for request in service.requests if request.method == "POST")
    results = posted.json["results"]
    assert [("call_1", "3")] == [(item["tool_call"]["id"], item["output"]) for item in results]
    assert list(end) == observed.events


def test_pending_calls_are_those_that_were_sent_and_not_answered() -> None:
    log = events.run().node("sum").tool_call("add").asks("Continue?", "yes").waits()
    with following(sends(log), hangs(), log=log) as (_, client, observed):
        observed.wait_count(len(log))
        pending = client.pending_tools(log.run_id).pending
        status = client.get(log.run_id).status

    assert [("sum", ["add", "user_ask"])] == [
        (node.node_id, [call.tool_call.name for call in node.tool_calls]) for node in pending
    ]
    assert "waiting" == status


def test_other_calls_are_answered_by_their_step_once() -> None:
    gone = refuses(404, "NOT_FOUND", "gone", to="status")
    plan = replies({"plan_json": {}, "plan_hash": LOG.plan_hash}, to="compile")
    with FakeRuns(gone, plan, sends(LOG)) as service, service.client() as client:
        assert list(LOG) == seen(service)
        assert LOG.plan_hash == client.compile(SPEC).plan_hash
        with pytest.raises(APIError, match="gone"):
            client.get(LOG.run_id)
        assert "succeeded" == client.get(LOG.run_id).status
        with pytest.raises(APIError, match="add replies"):
            client.compile(SPEC)


def test_each_call_of_a_client_can_be_answered() -> None:
    call = {"id": "call_1", "name": "add", "arguments": "{}"}
    steps = replies({"steps": [{"node_id": "sum", "step": 0}]}, to="steps")
    detail = replies({"node_id": "sum", "step": 0, "tool_call": call}, to="tool_call")
    tasks = replies({"tasks": [{"content": "add", "status": "pending"}]}, to="tasks")
    lint = replies({"kind": "workflow"}, to="lint")
    with FakeRuns(lint, tasks, detail, steps) as service, service.client() as client:
        assert "sum" == client.steps(LOG.run_id).steps[0].node_id
        assert "add" == client.tool_call(LOG.run_id, 0, "call_1").tool_call.name
        assert "add" == client.tasks(LOG.run_id).tasks[0].content
        assert "workflow" == client.lint(SPEC).kind
        assert () == service.unplayed


def test_results_are_accepted_and_counted() -> None:
    item = RunsToolResultItem(tool_call=RunsToolCall(id="call_1", name="add"), output="3")
    request = RunsToolResultsRequest(node_id="sum", step=0, request_id=LOG.run_id, results=(item, item))
    with FakeRuns() as service, service.client() as client:
        assert 2 == client.submit_tool_results(LOG.run_id, request).accepted


def test_steps_without_a_request_are_unplayed() -> None:
    script = sends(LOG[0]), drops(), refuses(404, to="status")
    with FakeRuns(*script) as service:
        assert script == service.unplayed
        assert "FakeRuns(sends(run_compiled), drops(), refuses(404, to='status'))" == repr(service)


def test_the_repr_of_a_request_has_no_key() -> None:
    with FakeRuns(sends(LOG)) as service:
        seen(service)
        (request,) = service.requests

        assert service.api_key == request.headers["x-modelrelay-api-key"]
        assert service.api_key not in repr(service.requests) + repr(service)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sends(5), "parts must be events, logs or bytes, got 5"),  # type: ignore[arg-type]
        (lambda: sends([5]), "parts must be events, logs or bytes, got 5"),  # type: ignore[list-item]
        (lambda: sends("abc"), "parts must be events, logs or bytes, got 'abc'"),  # type: ignore[arg-type]
        (lambda: refuses(to="stop"), "to must be one of create, .*, got 'stop'"),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_step_is_refused(make: Callable[[], Step], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()


def test_a_service_must_be_started() -> None:
    with pytest.raises(InvalidArgumentError, match=r"use `with FakeRuns\(...\) as service`"):
        FakeRuns(sends(LOG)).client()


@pytest.mark.parametrize("step", [drops, [drops()], LOG])
def test_an_argument_that_is_not_a_step_is_refused(step: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"script must be steps, each called") as refused:
        FakeRuns(sends(LOG), step)
    assert "script" == refused.value.field


def test_waiting_for_a_request_that_never_arrives_fails_the_test() -> None:
    with FakeRuns() as service, uncaught() as died:
        with pytest.raises(AssertionError, match="0 requests, not 1"):
            service.wait_requests(1, timeout=0.01)
        with pytest.raises(AssertionError, match="0 connections, not 1"):
            service.wait_connections(1, timeout=0.01)
    assert [] == died


def test_the_former_name_of_a_request_warns_with_its_replacement() -> None:
    with pytest.warns(DeprecationWarning, match=r"use rxruns\.testing\.Request"):
        former = testing.Asked
    assert testing.Request is former
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        testing.nothing  # noqa: B018
