"""What REST calls take and return, as values and through their schemas."""

from __future__ import annotations

import inspect
import pickle
from typing import Any
from uuid import UUID

import marshmallow as ma
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns import events, models, schemas
from rxruns.errors import InvalidArgumentError
from rxruns.models import NodeStatus, RunsCreateRequest, RunsGetResponse, RunStatus
from rxruns.structschema import StructSchema
from tests.records import HASH, NIL, NIL_REFUSED, REQUEST_ID, RUN_ID, TIME, Record, examples

CALL = {"id": "call_1", "name": "search", "arguments": "{}"}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
SUMMARY = {
    "total_steps": 1,
    "total_llm_calls": 1,
    "total_tool_calls": 0,
    "total_input_tokens": 1,
    "total_output_tokens": 2,
    "total_cost_cents": 3,
}
STEP = {
    "step": 0,
    "request_id": REQUEST_ID,
    "llm_call": {
        "provider": "openai",
        "model": "gpt-5",
        "response_id": "resp_1",
        "stop_reason": "end_turn",
        "usage": USAGE,
    },
    "tool_calls": [{"tool_call": CALL}],
    "tool_results": [{"tool_call": CALL, "output": "x", "error": "late"}],
    "waiting": {"reason": "tools", "pending_tool_calls": [{"tool_call": CALL}]},
}
NODE = {
    "id": "draft",
    "type": "llm.responses",
    "status": "failed",
    "started_at": TIME,
    "ended_at": TIME,
    "output": {"text": None},
    "error": {"message": "it broke", "code": "boom", "detail": "very"},
}
COST = {
    "provider_id": "openai",
    "model": "gpt-5",
    "requests": 1,
    "input_tokens": 1,
    "output_tokens": 2,
    "usd_cents": 3,
}
OPTIONS: Record = {
    "input": {"topic": None},
    "model_override": "gpt-5",
    "model_overrides": {
        "nodes": {"draft": "gpt-5"},
        "fanout_subnodes": [{"parent_id": "fan", "subnode_id": "sub", "model": "gpt-5"}],
    },
    "session_id": REQUEST_ID,
    "stream": True,
    "options": {"idempotency_key": "key"},
}
RUN: Record = {
    "run_id": RUN_ID,
    "status": "succeeded",
    "plan_hash": HASH,
    "cost_summary": {"total_usd_cents": 3, "line_items": [COST]},
    "nodes": [NODE],
    "outputs": {"text": None},
    "summary": SUMMARY,
    "steps": [{"node_id": "draft", "steps": [STEP]}],
    "parent_run_id": REQUEST_ID,
}
RECORDS: dict[type[models.Model], Record] = {
    models.RunsCreateRequest: {"spec": {"kind": "workflow"}, **OPTIONS},
    models.RunsCreateFromPlanRequest: {"plan_hash": HASH, **OPTIONS},
    models.RunsToolResultsRequest: {
        "node_id": "draft",
        "step": 0,
        "request_id": REQUEST_ID,
        "results": [{"tool_call": CALL, "output": "x"}],
    },
    models.RunsCreateResponse: {"run_id": RUN_ID, "status": "running", "plan_hash": HASH},
    models.RunsGetResponse: RUN,
    models.RunsPendingToolsResponse: {
        "run_id": RUN_ID,
        "pending": [
            {"node_id": "a", "step": 0, "request_id": REQUEST_ID, "tool_calls": [{"tool_call": CALL}]}
        ],
    },
    models.RunsToolResultsResponse: {"accepted": 1, "status": "running"},
    models.WorkflowsCompileResponse: {"plan_hash": HASH, "plan_json": {"nodes": []}},
    models.RunStepsResponse: {
        "steps": [
            {
                "node_id": "draft",
                "step": 0,
                "request_id": REQUEST_ID,
                "llm_call": {"model": "gpt-5"},
                "llm_request": {"messages": [None]},
                "llm_response": {"text": "x"},
                "tool_calls": [{"tool_call": CALL}],
                "tool_results": [{"tool_call": CALL, "output": "x"}],
            }
        ]
    },
    models.RunToolCallDetail: {
        "node_id": "draft",
        "step": 0,
        "tool_call": CALL,
        "tool_result": {"tool_call": CALL, "output": "x"},
    },
    models.RunTasksResponse: {
        "tasks": [{"content": "Read", "status": "in_progress", "active_form": "Reading"}]
    },
    models.WorkflowsLintResponse: {
        "kind": "workflow",
        "lint_issues": [{"code": "X", "path": "$", "message": "is wrong"}],
        "compile_issues": [{"code": "Y", "path": "$.nodes", "message": "is wrong, too"}],
        "compile_error": "no compiler",
        "plan_hash": HASH,
        "plan_json": {"nodes": []},
    },
    models.WorkflowIssue: {"code": "X", "path": "$.nodes[0]", "message": "is wrong"},
}
"""A full record of everything that is sent or received whole."""
REQUESTS = [model for model in RECORDS if model.__name__.endswith("Request")]
ABSTRACT = {models.Model, models.RunsCreateBody}


def schema_of(struct: type[Any]) -> StructSchema[Any]:
    found: StructSchema[Any] = getattr(schemas, f"{struct.__name__}Schema")()
    return found


def structs_in(value: Any) -> list[Any]:
    if isinstance(value, msgspec.Struct):
        inner = [structs_in(getattr(value, name)) for name in value.__struct_fields__]
        return [value, *(struct for structs in inner for struct in structs)]
    return [struct for item in value for struct in structs_in(item)] if isinstance(value, tuple) else []


def full(model: type[models.Model]) -> Any:
    return schema_of(model).load(RECORDS[model])


@pytest.mark.parametrize("model", RECORDS)
def test_a_full_record_is_loaded_and_dumped_as_it_was(model: type[models.Model]) -> None:
    assert RECORDS[model] == schema_of(model).dump(full(model))
    assert msgspec.convert(RECORDS[model], model) == full(model)


def test_the_records_here_hold_every_model() -> None:
    every = {
        item for _, item in inspect.getmembers(models, inspect.isclass) if issubclass(item, models.Model)
    }
    assert every - ABSTRACT == {type(struct) for model in RECORDS for struct in structs_in(full(model))}


def test_each_model_and_each_payload_has_a_schema_with_its_name() -> None:
    structs = [
        item
        for module in (models, events)
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, models.Model | events.Payload) and item.__module__ == module.__name__
    ]
    for struct in {*structs} - ABSTRACT - {events.Payload, events.StepPayload}:
        schema = schema_of(struct)
        assert struct is schema.struct
        assert schema.__doc__ and struct.__doc__
        assert ("raise" if "Requests" in struct.__name__ else schema.unknown) == schema.unknown


@pytest.mark.parametrize("model", RECORDS)
def test_a_model_and_all_inside_of_it_is_immutable_and_pickles(model: type[models.Model]) -> None:
    value = full(model)
    assert repr(value) == repr(pickle.loads(pickle.dumps(value)))
    for struct in structs_in(value):
        for name in struct.__struct_fields__:
            with pytest.raises(AttributeError):
                setattr(struct, name, None)


@pytest.mark.parametrize("model", RECORDS)
def test_what_is_received_is_read_with_tolerance_and_what_is_sent_is_strict(
    model: type[models.Model],
) -> None:
    messages = schema_of(model).validate(RECORDS[model] | {"next_year": 1})
    assert ({"next_year": ["Unknown field."]} if model in REQUESTS else {}) == messages


def test_unknown_fields_inside_follow_the_whole() -> None:
    call = {**CALL, "next_year": 1}
    sent = RECORDS[models.RunsToolResultsRequest] | {"results": [{"tool_call": call, "output": "x"}]}
    messages = schemas.RunsToolResultsRequestSchema().validate(sent)
    assert {"results": {0: {"tool_call": {"next_year": ["Unknown field."]}}}} == messages
    received = {"tool_call": call, "output": "x"}
    assert models.RunsToolCall(**CALL) == schemas.RunToolResultSchema().load(received).tool_call


@pytest.mark.parametrize("model", RECORDS)
def test_optional_fields_may_be_absent_or_null(model: type[models.Model]) -> None:
    schema = schema_of(model)
    required = {name: RECORDS[model][name] for name, field in schema.fields.items() if field.required}
    nulls = {name: None for name, field in schema.fields.items() if not field.required}
    assert schema.load(required) == schema.load(required | nulls)
    assert all(value is not None for value in schema.dump(schema.load(required)).values())


# ---- what is sent ----


def test_absent_options_are_left_out_of_the_body() -> None:
    assert {"spec": {}} == schemas.RunsCreateRequestSchema().dump(RunsCreateRequest(spec={}))
    assert {"spec": {}} == msgspec.to_builtins(RunsCreateRequest(spec={}))


@pytest.mark.parametrize(
    "model, field", [(models.RunsCreateRequest, "session_id"), (models.RunsToolResultsRequest, "request_id")]
)
def test_nil_ids_are_refused_by_name(model: type[models.Model], field: str) -> None:
    record = RECORDS[model] | {field: NIL}
    assert {field: [NIL_REFUSED]} == schema_of(model).validate(record)
    arguments = {name: getattr(full(model), name) for name in model.__struct_fields__}
    with pytest.raises(InvalidArgumentError, match=f"^{field} must be a UUID") as caught:
        model(**arguments | {field: UUID(int=0)})
    assert field == caught.value.field


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_keys_and_models_are_not_sent(blank: str) -> None:
    messages = schemas.RunsCreateRequestSchema().validate(
        {"spec": {}, "model_override": blank, "options": {"idempotency_key": blank}}
    )
    told = ["Must be text that is not blank."]
    assert {"model_override": told, "options": {"idempotency_key": told}} == messages


# ---- what is received ----


@examples(50)
@given(st.text(max_size=8))
def test_enums_are_open(value: str) -> None:
    run = schemas.RunsGetResponseSchema().load(
        RUN | {"status": value, "nodes": [NODE | {"status": value, "type": value}]}
    )
    assert (value, value, value) == (run.status, run.nodes[0].status, run.nodes[0].type)


def test_todays_states_have_names() -> None:
    run = schemas.RunsGetResponseSchema().load(RUN)
    assert run.status == RunStatus.SUCCEEDED
    assert run.nodes[0].status == NodeStatus.FAILED
    assert "running" == RunStatus.RUNNING == str(RunStatus.RUNNING)
    assert RunStatus.FAILED is pickle.loads(pickle.dumps(RunStatus.FAILED))


def test_the_least_that_a_run_is() -> None:
    least = {name: RUN[name] for name in ("run_id", "status", "plan_hash")} | {
        "cost_summary": {"total_usd_cents": 0}
    }
    run = schemas.RunsGetResponseSchema().load(least)
    assert isinstance(run, RunsGetResponse)
    assert ((), {}, None, (), None) == (run.nodes, run.outputs, run.summary, run.steps, run.parent_run_id)
    assert () == run.cost_summary.line_items


@pytest.mark.parametrize("value", ["text", ["a", 1], {"a": None}, 5, 1.5, False])
def test_outputs_and_details_are_any_json_value(value: Any) -> None:
    node = NODE | {"output": value, "error": {"message": "it broke", "detail": value}}
    record = RUN | {"nodes": [node], "outputs": value}
    run = schemas.RunsGetResponseSchema().load(record)

    assert (value, value, value) == (run.outputs, run.nodes[0].output, run.nodes[0].error.detail)
    assert run == msgspec.convert(record, RunsGetResponse)
    assert record == schemas.RunsGetResponseSchema().dump(run)


def test_an_absent_count_of_tokens_of_a_step_is_0() -> None:
    usage = schemas.RunNodeStepUsageSchema().load({"input_tokens": 3, "total_tokens": None})
    assert models.RunNodeStepUsage(3, 0, 0) == usage


@pytest.mark.parametrize("count", [-1, 1.0, True, "1"])
def test_counts_are_whole_numbers_from_0(count: Any) -> None:
    with pytest.raises(ma.ValidationError):
        schemas.RunCostLineItemSchema().load(COST | {"usd_cents": count})


# ---- against the service's description ----

NAMES = {
    "NodeErrorV0": "NodeResultError",
    "RunToolResultV0": "RunToolResult",
    "Usage": "RunNodeStepUsage",
}


def described(openapi: Record) -> dict[type[models.Model], Record]:
    found = {}
    for name, description in openapi["components"]["schemas"].items():
        model = getattr(models, NAMES.get(name, name.removesuffix("V0")), None)
        if isinstance(model, type) and issubclass(model, models.Model):
            found[model] = description
    return found


def test_models_have_the_fields_of_the_services_description(openapi: Record) -> None:
    found = described(openapi)
    assert len(found) >= 15
    for model, description in found.items():
        ours = msgspec.structs.fields(model)
        assert set(description["properties"]) == {field.encode_name for field in ours}, model
        required = {field.encode_name for field in ours if field.required}
        if schema_of(model).unknown == "exclude":  # what is received; what is sent may be stricter
            assert required <= set(description.get("required", ())), model


@pytest.mark.parametrize(
    "name, enum",
    [("RunStatusV0", RunStatus), ("NodeStatusV0", NodeStatus), ("RunTaskStatus", models.RunTaskStatus)],
)
def test_todays_states_are_those_of_the_services_description(openapi: Record, name: str, enum: Any) -> None:
    assert openapi["components"]["schemas"][name]["enum"] == list(enum)
