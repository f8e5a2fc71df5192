"""Events as values: frozen, equal, picklable, sorted into categories."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from msgspec import UNSET

from rxruns import events
from rxruns.errors import InvalidArgumentError
from rxruns.events import (
    KNOWN_EVENTS,
    NIL,
    LLMCall,
    NodeEvent,
    NodeStarted,
    PayloadArtifact,
    PayloadInfo,
    PlanEvent,
    RunCanceled,
    RunCompleted,
    RunEvent,
    RunFailed,
    SchedulerEvent,
    TerminalEvent,
    ToolCall,
    ToolCallWithArguments,
    UnknownEvent,
)
from rxruns.schemas import RunEventSchema
from tests.records import HASH, Record, examples, records, sample, samples

load = RunEventSchema().load
SAMPLES = {wire_type: load(record) for wire_type, record in samples().items()}
UNKNOWN = load(sample("node_started", type="next_year", extra={"a": [None]}))
ALL = [*SAMPLES.values(), UNKNOWN]


def structs_in(value: Any) -> Iterator[Any]:
    """The value, if it is a struct, and all structs inside of it."""
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from structs_in(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from structs_in(item)


def test_there_is_a_class_for_each_of_the_28_types() -> None:
    assert 28 == len(KNOWN_EVENTS) == len(set(KNOWN_EVENTS))
    assert {event_class.type: event_class for event_class in KNOWN_EVENTS} == {
        wire_type: type(event) for wire_type, event in SAMPLES.items()
    }


@pytest.mark.parametrize("event_class", KNOWN_EVENTS)
def test_the_type_is_a_constant_of_the_class_and_names_it(event_class: type[RunEvent]) -> None:
    assert event_class.__name__.lower() == event_class.type.replace("_", "")
    assert event_class.type == SAMPLES[event_class.type].type
    assert "type" not in event_class.__struct_fields__


def test_categories() -> None:
    def of(category: type[RunEvent]) -> set[str]:
        return {wire_type for wire_type, event in SAMPLES.items() if isinstance(event, category)}

    every = set(SAMPLES)
    assert {"run_completed", "run_failed", "run_canceled"} == of(TerminalEvent)
    assert {name for name in every if name.startswith("scheduler_")} == of(SchedulerEvent)
    assert {name for name in every if name.startswith(("scheduler_", "node_"))} == of(NodeEvent)
    assert (
        every - of(NodeEvent)
        == of(PlanEvent)
        == {name for name, event in samples().items() if "plan_hash" in event}
    )
    assert every == of(RunEvent)
    assert isinstance(UNKNOWN, RunEvent) and not isinstance(UNKNOWN, NodeEvent | PlanEvent)


def test_the_old_set_of_terminal_events_works_for_one_release_and_warns_with_its_replacement() -> None:
    remedy = r"isinstance\(event, \(RunCompleted, RunFailed, RunCanceled\)\)"
    with pytest.warns(DeprecationWarning, match=remedy):
        terminal = events.TERMINAL_EVENTS
    assert {RunCompleted, RunFailed, RunCanceled} == terminal
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        events.nothing  # noqa: B018


def test_every_class_that_can_be_used_alone_has_a_docstring() -> None:
    classes = [
        item for _, item in inspect.getmembers(events, inspect.isclass) if item.__module__ == events.__name__
    ]
    assert [] == [item.__name__ for item in classes if not item.__doc__]


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.type)
def test_an_event_survives_pickling_and_copying(event: RunEvent) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copied = pickle.loads(pickle.dumps(event, protocol))
        assert (type(event), event.type, repr(event)) == (type(copied), copied.type, repr(copied))
        assert event == copied
    assert event == copy.copy(event) == copy.deepcopy(event)


@examples(100)
@given(records)
def test_any_event_survives_pickling(record: Record) -> None:
    event = load(record)
    assert repr(event) == repr(pickle.loads(pickle.dumps(event)))


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.type)
def test_an_event_and_its_parts_are_immutable_unordered_and_not_tracked_by_the_collector(
    event: RunEvent,
) -> None:
    for struct in structs_in(event):
        assert (False, False) == (struct.__struct_config__.gc, struct.__struct_config__.order)
        for name in struct.__struct_fields__:
            with pytest.raises(AttributeError):
                setattr(struct, name, None)
        with pytest.raises(AttributeError):
            struct.something = 1


def test_all_payloads_of_the_samples_are_seen_by_these_tests() -> None:
    payloads = {
        item
        for _, item in inspect.getmembers(events, inspect.isclass)
        if issubclass(item, events.Payload) and item not in (events.Payload, events.StepPayload)
    }
    assert payloads == {type(struct) for event in ALL for struct in structs_in(event)} - {
        type(event) for event in ALL
    }


def test_equal_events_have_equal_hashes() -> None:
    hashable = [event for event in ALL if event.type not in UNHASHABLE]
    again = [load(record) for record in samples().values() if record["type"] not in UNHASHABLE]
    assert {hash(event) for event in hashable} == {hash(event) for event in again}
    assert set(hashable) == set(again)


UNHASHABLE = {"node_output", "scheduler_coordinator_completed", "next_year"}
"""Types with a JSON object."""


def test_arguments_are_named() -> None:
    with pytest.raises(TypeError):
        NodeStarted(UUID(HASH[:32]), 1, datetime.now(UTC))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="node_id"):
        NodeStarted(run_id=UUID(HASH[:32]), seq=1, ts=datetime.now(UTC))  # type: ignore[call-arg]


def test_an_event_made_by_hand_has_the_envelope_version() -> None:
    event = NodeStarted(run_id=UUID(HASH[:32]), seq=1, ts=datetime.now(UTC), node_id="a")
    assert "v2" == event.envelope_version == json.loads(msgspec.json.encode(event))["envelope_version"]


def test_absent_fields_read_as_none_and_are_not_written_arrays_are_tuples_and_from_is_from_() -> None:
    call = LLMCall(step=0, request_id=UUID(HASH[:32]))
    assert (None, None, None) == (call.provider, call.usage, call.stop_reason)
    assert {"step", "request_id"} == set(msgspec.to_builtins(call))
    assert isinstance(SAMPLES["node_user_ask"].user_ask.options, tuple)
    received = SAMPLES["scheduler_message_received"].scheduler_message_received
    assert ("a", {"a"}) == (received.from_, {msgspec.to_builtins(received)["from"]})


EXCLUDED = PayloadInfo(bytes=4, sha256=HASH, included=False)
INCLUDED = PayloadInfo(bytes=4, sha256=HASH, included=True)


@pytest.mark.parametrize(
    ("payload", "options", "message"),
    [
        (LLMCall, {"step": 0, "request_id": NIL}, "request_id must be a UUID other than the nil UUID"),
        (events.StepPayload, {"step": 0, "request_id": NIL}, "request_id must be a UUID"),
        (PayloadArtifact, {"artifact_key": "a", "info": INCLUDED}, "content must be present if"),
        (
            events.ExcludedArtifact,
            {"artifact_key": "a", "info": INCLUDED, "content": {}},
            "info must be one with included=False",
        ),
    ],
)
def test_a_rule_between_fields_names_its_field(payload: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{message}") as caught:
        payload(**options)
    assert message.split()[0] == caught.value.field


def test_absent_content_is_unset_and_null_is_a_value() -> None:
    assert PayloadArtifact(artifact_key="a", info=INCLUDED, content=None).content is None
    assert PayloadArtifact(artifact_key="a", info=EXCLUDED).content is UNSET


def test_a_call_with_arguments_is_a_call() -> None:
    assert isinstance(ToolCallWithArguments(id="1", name="a", arguments=""), ToolCall)
    with pytest.raises(TypeError, match="arguments"):
        ToolCallWithArguments(id="1", name="a")  # type: ignore[call-arg]


# ---- unknown types ----


def test_an_unknown_event_has_the_envelope_its_type_and_its_whole_record() -> None:
    assert isinstance(UNKNOWN, UnknownEvent)
    envelope = (UNKNOWN.type, UNKNOWN.seq, UNKNOWN.envelope_version, UNKNOWN.node_id)
    assert ("next_year", 7, "v2", "draft") == envelope
    assert sample("node_started", type="next_year", extra={"a": [None]}) == UNKNOWN.record


def test_an_unknown_event_has_a_node_id_only_if_it_is_text() -> None:
    for node_id in (None, 7, [], {"a": 1}):
        event = load(sample("node_started", type="next_year", node_id=node_id))
        assert (UnknownEvent, None) == (type(event), event.node_id)


def test_unknown_events_of_different_records_differ() -> None:
    assert UNKNOWN != load(sample("node_started", type="next_year"))
    assert UNKNOWN == load(sample("node_started", type="next_year", extra={"a": [None]}))


def test_names_of_our_own_classes_are_unknown_types() -> None:
    for name in ("RunEvent", "UnknownEvent", "NodeEvent", "NodeStarted"):
        assert isinstance(load(sample("node_started", type=name)), UnknownEvent)
