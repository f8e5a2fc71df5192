"""Built logs are valid runs, and steps that do not fit are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import jsonschema
import msgspec
import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from rxruns import block_on, ops, recorded_events, run_events
from rxruns._ndjson._decoding import decode_event
from rxruns.devserver import DevServer
from rxruns.errors import InvalidArgumentError
from rxruns.events import (
    KNOWN_EVENTS,
    NodeLLMCall,
    NodeOutput,
    NodeStarted,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeWaiting,
    RunCompleted,
    RunFailed,
    TaskListUpdated,
    UnknownEvent,
)
from rxruns.models import RunStatus
from rxruns.testing import RunLog, events

STEPS: dict[str, Callable[[RunLog], RunLog]] = {
    "node a": lambda log: log.node("a"),
    "node b": lambda log: log.node("b"),
    "text": lambda log: log.text("one ", "two"),
    "metered": lambda log: log.llm_call(input_tokens=3, output_tokens=4),
    "unmetered": lambda log: log.llm_call(None, None),
    "tool call": lambda log: log.tool_call("add", {"a": 1}),
    "asks": lambda log: log.asks("Continue?", "yes", "no"),
    "waits": lambda log: log.waits(),
    "tool result": lambda log: log.tool_result("3", error="late"),
    "answers": lambda log: log.answers("yes"),
    "output": lambda log: log.output({"text": "hi"}, included=True),
    "node succeeds": lambda log: log.node_succeeds(),
    "node fails": lambda log: log.node_fails("no luck", code="X"),
    "unknown": lambda log: log.unknown("news", mood="good"),
    "time": lambda log: log.after(5),
    "succeeds": lambda log: log.succeeds({"text": "hi"}),
    "fails": lambda log: log.fails(),
    "canceled": lambda log: log.is_canceled(),
}


def built(*names: str) -> RunLog:
    """Build a log of these steps, without those that do not fit in their place."""
    log = events.run()
    for name in names:
        try:
            log = STEPS[name](log)
        except InvalidArgumentError:
            continue
    return log


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=30))
def test_each_built_log_is_valid(names: list[str]) -> None:
    log = built(*names)

    assert list(log) == [decode_event(line) for line in log.ndjson().splitlines()]
    assert list(range(1, len(log) + 1)) == [event.seq for event in log]
    assert sorted(event.ts for event in log) == [event.ts for event in log]
    assert {log.run_id} == {event.run_id for event in log}
    assert 1 == len({event.plan_hash for event in log if hasattr(event, "plan_hash")})


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=15))
def test_each_built_log_fits_the_contract(event_json_schema: dict[str, Any], names: list[str]) -> None:
    validator = jsonschema.Draft202012Validator(event_json_schema)
    for line in built(*names).ndjson().splitlines():
        record = msgspec.json.decode(line)
        if record["type"] != "news":
            validator.validate(record)


def test_the_shortest_log_is_a_whole_run() -> None:
    log = events.run().node("a").text("hi").succeeds()

    types = ["run_compiled", "run_started", "node_started", "node_output_delta", "node_succeeded"]
    assert [*types, "run_completed"] == [event.type for event in log]


def test_one_beginning_has_several_ends() -> None:
    begun = events.run().node("a").text("hi")

    assert (RunCompleted, RunFailed) == (type(begun.succeeds()[-1]), type(begun.fails()[-1]))
    assert 4 == len(begun)
    with pytest.raises(FrozenInstanceError):
        begun.now = datetime.now()  # type: ignore[misc]


def test_nodes_take_turns_and_start_once() -> None:
    log = events.run().node("a").text("1").node("b").text("2").node("a").text("3").succeeds()

    state = block_on(reactivex.from_iterable(log).pipe(ops.run_state()))
    assert {"a": "13", "b": "2"} == {node.id: node.text for node in state.nodes.values()}
    assert 2 == sum(isinstance(event, NodeStarted) for event in log)
    assert ["a", "b"] == [event.node_id for event in log if event.type == "node_succeeded"]


def test_a_run_that_fails_fails_its_node_first() -> None:
    log = events.run().node("a").node("b").fails("no luck", code="PROVIDER_ERROR")

    assert [("node_failed", "b"), ("run_failed", None)] == [
        (event.type, getattr(event, "node_id", None)) for event in log[-2:]
    ]
    assert "PROVIDER_ERROR" == log[-1].error.code
    assert ["run_failed"] == [event.type for event in events.run().fails()[2:]]


def test_steps_and_ids_follow_the_model_calls_of_a_node() -> None:
    log = events.run().node("a").llm_call().tool_call("add").tool_result("3").llm_call().tool_call("add")

    calls = [event for event in log if isinstance(event, NodeLLMCall)]
    requests = [event for event in log if isinstance(event, NodeToolCall)]
    (result,) = [event for event in log if isinstance(event, NodeToolResult)]
    assert [0, 1] == [call.llm_call.step for call in calls] == [call.tool_call.step for call in requests]
    assert [call.llm_call.request_id for call in calls] == [call.tool_call.request_id for call in requests]
    assert ["call_1", "call_2"] == [call.tool_call.tool_call.id for call in requests]
    assert "call_1" == result.tool_result.tool_call.id


def test_a_node_waits_for_its_unanswered_calls() -> None:
    begun = events.run().node("a").tool_call("add").asks("Continue?", "yes").waits()
    answered = begun.tool_result("3", call_id="call_1").waits().answers("yes")

    waits = [event for event in answered if isinstance(event, NodeWaiting)]
    assert [["call_1", "call_2"], ["call_2"]] == [
        [call.tool_call.id for call in event.waiting.pending_tool_calls] for event in waits
    ]
    assert isinstance(answered[-1], NodeUserAnswer)
    assert RunStatus.WAITING == block_on(reactivex.from_iterable(begun).pipe(ops.run_state())).status


def test_a_result_is_of_the_nodes_own_call() -> None:
    begun = events.run().node("a").tool_call("add").node("b").tool_call("sub")

    assert ("b", "call_2") == (
        begun.tool_result("1")[-1].node_id,
        begun.tool_result("1")[-1].tool_result.tool_call.id,
    )
    with pytest.raises(InvalidArgumentError, match="has no call call_1 to answer; unanswered: call_2"):
        begun.tool_result("1", call_id="call_1")
    with pytest.raises(InvalidArgumentError, match="has no call at all to answer; unanswered: none"):
        begun.tool_result("1").tool_result("2")


def test_outputs_are_included_on_request() -> None:
    without = events.run().node("a").output({"text": "hi"}).succeeds({"text": "hi"})
    along = events.run().node("a").output({"text": "hi"}, included=True)

    assert (False, 13) == (without[-1].outputs.info.included, without[-1].outputs.info.bytes)
    assert isinstance(along[-1], NodeOutput)
    assert {"text": "hi"} == along[-1].output.content


def test_times_advance_by_the_pace_and_by_pauses() -> None:
    log = events.run(every=2.0).node("a").after(60).text("late")

    assert [0, 2, 4, 66] == [(event.ts - events.START).total_seconds() for event in log]
    assert timedelta(seconds=2) == log.now - log[-1].ts


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda log: log.text("hi"), "there is no node yet"),
        (lambda log: log.node("a").node_succeeds().text("hi"), "node 'a' has ended"),
        (lambda log: log.succeeds().node("a"), "nothing follows run_completed"),
        (lambda log: log.is_canceled().unknown("news"), "nothing follows run_canceled"),
        (lambda log: log.node(""), "NodeStarted"),
        (lambda log: log.node("a").text(5), "NodeOutputDelta"),
        (lambda log: log.node("a").waits(), "NodeWaiting"),
        (lambda log: log.event(TaskListUpdated), "TaskListUpdated"),
        (lambda log: log.event(NodeStarted, node_id="a", nodes=1), "NodeStarted"),
        (lambda log: log.after("soon"), "seconds"),
        (lambda log: events.run("no id"), "run_id"),
        (lambda log: events.run(start=datetime(2026, 1, 1)), "RunCompiled"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(build: Callable[[RunLog], RunLog], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        build(events.run())


def test_any_type_of_event_can_be_appended() -> None:
    assert {kind.__name__ for kind in KNOWN_EVENTS} >= {type(event).__name__ for event in events.run()}
    log = events.run().event(NodeStarted, node_id="a", seq=7).unknown("news", mood="good")

    assert [1, 2, 7, 8] == [event.seq for event in log]
    assert isinstance(log[-1], UnknownEvent)
    assert ("news", "good") == (log[-1].type, log[-1].record["mood"])


def test_a_log_is_a_sequence_that_shows_its_types() -> None:
    log = events.run()

    assert (2, tuple(log[:1]), True) == (len(log), (log[0],), log[1] in log)
    assert "<RunLog of 2 events: run_compiled, run_started>" == repr(log)


def test_a_log_is_served_and_replayed(tmp_path: Any) -> None:
    log = events.run(uuid4()).node("a").text("hi").succeeds()
    (tmp_path / "run.ndjson").write_bytes(log.ndjson())

    assert list(log) == block_on(recorded_events(tmp_path / "run.ndjson").pipe(ops.to_list()))
    for form in (log, log.ndjson(), log.ndjson().splitlines(), tmp_path / "run.ndjson"):
        with DevServer() as server, server.client() as client:
            assert [log.run_id] == server.serve_log(form)
            assert list(log) == block_on(run_events(log.run_id, client=client).pipe(ops.to_list()))
