from __future__ import annotations

import json
from uuid import uuid4

import pytest
from jsonschema import FormatChecker, validate

from tests.test_devserver.conftest import llm, workflow

CLIENT = {"mode": "client"}
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer"},
        "factor": {"type": "number"},
        "exact": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "more": {"type": "object", "properties": {}},
        "none": {"type": "null"},
    },
    "required": ["city", "unit", "days", "factor", "exact", "tags"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}


def waiting(api, spec):
    """Start a run that waits; returns its id and the body that answers all pending calls."""
    run_id = api.start(spec)
    api.until(run_id, "node_waiting")
    return run_id, answers(api, run_id)


def answers(api, run_id):
    pending = api.get(f"/runs/{run_id}/pending-tools").body["pending"][0]
    calls = [item["tool_call"] for item in pending["tool_calls"]]
    body = {name: pending[name] for name in ("node_id", "step", "request_id")}
    return body | {"results": [{"tool_call": call, "output": f"{call['name']}!"} for call in calls]}


SPEC = workflow(llm("a", "x", tools=[WEATHER, "clock"], tool_execution=CLIENT))


def submit(api, run_id, body):
    return api.post(f"/runs/{run_id}/tool-results", body)


def test_a_run_waits_for_its_tools_and_resumes_with_their_results(api, check_event, check_answer):
    run_id, body = waiting(api, SPEC)
    check_answer("RunsPendingToolsResponse", api.get(f"/runs/{run_id}/pending-tools").body)
    check_answer("RunsToolResultsRequest", body)
    state = api.state(run_id, include="steps,tool_calls")
    check_answer("RunsGetResponse", state)
    assert ("waiting", "waiting") == (state["status"], state["nodes"][0]["status"])
    answer = submit(api, run_id, body)
    check_answer("RunsToolResultsResponse", answer.body)
    assert {"accepted": 2, "status": "running"} == answer.body
    events = api.events(run_id)
    for event in events:
        check_event(event)
    kinds = [event["type"] for event in events if event["type"] != "node_output_delta"]
    before = "node_started node_llm_call node_tool_call node_tool_call node_waiting"
    after = "node_tool_result node_tool_result node_llm_call node_output node_succeeded run_completed"
    assert [*before.split(), *after.split()] == kinds[2:]
    assert api.state(run_id)["outputs"]["out"].startswith("weather says weather!. clock says clock!. ")
    assert [] == api.get(f"/runs/{run_id}/pending-tools").body["pending"]
    check_answer("RunsGetResponse", api.state(run_id, include="steps,tool_calls"))
    call = body["results"][0]["tool_call"]
    detail = api.get(f"/runs/{run_id}/steps/0/tool-calls/{call['id']}").body
    check_answer("RunToolCallDetail", detail)
    assert ("a", call, "weather!") == (
        detail["node_id"],
        detail["tool_call"],
        detail["tool_result"]["output"],
    )
    for step, tool_id in (("0", "unknown"), ("7", call["id"]), ("x", call["id"])):
        assert 404 == api.get(f"/runs/{run_id}/steps/{step}/tool-calls/{tool_id}").status


def test_arguments_fit_the_parameters_and_follow_from_the_seed(serve):
    found = []
    for seed in (3, 3):
        _, body = waiting(serve(seed=seed), SPEC)
        found.append([item["tool_call"] for item in body["results"]])
    validate(json.loads(found[0][0]["arguments"]), PARAMETERS)
    assert found[0] == found[1]


def test_a_node_resumes_with_the_last_result(api):
    run_id, body = waiting(api, SPEC)
    first, second = body["results"]
    assert {"accepted": 1, "status": "waiting"} == submit(api, run_id, body | {"results": [second]}).body
    assert ["weather"] == [item["tool_call"]["name"] for item in answers(api, run_id)["results"]]
    assert 400 == submit(api, run_id, body).status
    assert {"accepted": 1, "status": "running"} == submit(api, run_id, body | {"results": [first]}).body
    assert "run_completed" == api.events(run_id)[-1]["type"]


def test_results_for_another_step_or_request_conflict(api):
    run_id, body = waiting(api, SPEC)
    wrong = [body | {"step": 1}, body | {"request_id": str(uuid4())}]
    assert [(409, "CONFLICT")] * 2 == [
        (answer.status, answer.body["code"]) for answer in (submit(api, run_id, item) for item in wrong)
    ]


def test_results_for_what_is_not_pending_are_not_found(api):
    run_id, body = waiting(api, SPEC)
    assert 404 == submit(api, run_id, body | {"node_id": "z"}).status
    assert 404 == submit(api, uuid4(), body).status
    assert [200, 404] == [submit(api, run_id, body).status for _ in range(2)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"more": 1}, "more"),
        ({"node_id": 1}, "node_id"),
        ({"request_id": 1}, "request_id"),
        ({"step": -1}, "step"),
        ({"step": True}, "step"),
        ({"results": []}, "results"),
        ({"results": "x"}, "results"),
        ({"results": ["x"]}, "results[0].tool_call"),
        ({"results": [{"tool_call": {"id": "x"}, "output": ""}]}, "results[0].tool_call"),
        ({"results": [{"tool_call": {"id": "x", "name": "y"}, "output": 1}]}, "results[0].output"),
        ({"results": [{"tool_call": {"id": "x", "name": "y"}, "output": "o"}]}, "results[0].tool_call"),
    ],
)
def test_bad_results_are_refused_by_field(api, change, field):
    run_id, body = waiting(api, SPEC)
    answer = submit(api, run_id, body | change)
    assert 400 == answer.status and field in answer.fields


def test_missing_fields_and_a_call_answered_twice_are_refused(api):
    run_id, body = waiting(api, SPEC)
    assert {"node_id", "step", "request_id", "results"} == set(submit(api, run_id, {}).fields)
    assert 400 == submit(api, run_id, body | {"results": body["results"][:1] * 2}).status
    assert 400 == submit(api, run_id, []).status


def test_an_error_of_a_tool_is_passed_on(api):
    run_id, body = waiting(api, SPEC)
    body["results"][0] |= {"output": "Error: down", "error": "down"}
    submit(api, run_id, body)
    results = [event["tool_result"] for event in api.events(run_id) if "tool_result" in event]
    assert ["down", None] == [result.get("error") for result in results]


def test_a_question_waits_for_its_answer_in_every_mode(api, check_event):
    spec = workflow(llm("a", "[[ask: Left or right?]]", tools=["user_ask", "clock"]))
    run_id, body = waiting(api, spec)
    assert ["user_ask"] == [item["tool_call"]["name"] for item in body["results"]]
    body["results"][0]["output"] = json.dumps({"answer": "left", "is_freeform": False})
    assert 200 == submit(api, run_id, body).status
    events = api.events(run_id)
    for event in events:
        check_event(event)
    question = next(event["user_ask"] for event in events if "user_ask" in event)
    answer = next(event["user_answer"] for event in events if "user_answer" in event)
    assert ("Left or right?", ["yes", "no"], True) == (
        question["question"],
        [option["label"] for option in question["options"]],
        question["allow_freeform"],
    )
    assert ("left", False) == (answer["answer"], answer["is_freeform"])


@pytest.mark.parametrize(
    "output",
    [
        "left",
        "[]",
        '{"answer": 1, "is_freeform": true}',
        '{"answer": "  ", "is_freeform": true}',
        '{"answer": "x"}',
    ],
)
def test_a_malformed_answer_is_refused(api, output):
    run_id, body = waiting(api, workflow(llm("a", "x", tools=["user_ask"])))
    body["results"][0]["output"] = output
    answer = submit(api, run_id, body)
    assert (400, ["results[0].output"]) == (answer.status, list(answer.fields))


def test_a_failed_answer_goes_to_the_model_with_the_results_beside_it(api, check_event):
    node = llm("a", "x", tools=["user_ask", "clock"], tool_execution=CLIENT)
    run_id, body = waiting(api, workflow(node))
    body["results"][0]["output"] = "Error: the person left"
    assert {"accepted": 2, "status": "running"} == submit(api, run_id, body).body
    events = api.events(run_id)
    for event in events:
        check_event(event)
    results = [event["tool_result"] for event in events if "tool_result" in event]
    assert [("user_ask", "Error: the person left"), ("clock", "clock!")] == [
        (result["tool_call"]["name"], result["output"]) for result in results
    ]
    assert api.state(run_id)["outputs"]["out"].startswith("user_ask says Error: the person left. clock says")


def test_a_flat_tool_object_is_refused_with_the_form_that_is_meant(api):
    answer = api.post("/runs", {"spec": workflow(llm("a", "x", tools=[{"name": "add"}]))})
    assert (400, "$.nodes[0].tools[0]") == (answer.status, answer.body["issues"][0]["path"])
    form = '{"type": "function", "function": {"name": "add", ...}}'
    assert f'a tool object must be {form}, got {{"name"}}' == answer.body["issues"][0]["message"]


@pytest.mark.parametrize("kind", ["web", "x_search", "code_execution", "image_generation"])
def test_built_in_tools_are_run_by_the_model_without_a_call(api, kind):
    tools = [{"type": kind, kind: {"model": "gemini-2.5-flash-image"}}]
    run_id = api.start(workflow(llm("a", "x", tools=tools, tool_execution=CLIENT)))
    kinds = {event["type"] for event in api.events(run_id)}
    assert "run_completed" in kinds and not {"node_tool_call", "node_waiting"} & kinds


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, {"type": "string", "maxLength": 2}]},
        {"allOf": [{"type": "integer", "minimum": 40, "maximum": 50}]},
        {"type": "number", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "integer", "maximum": -5},
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "uuid", "minLength": 3},
        {"type": "string", "minLength": 60},
        {"type": "string", "contentEncoding": "base64"},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        {"type": "array", "minItems": 3, "items": {"$ref": "#/$defs/Point"}},
        {"$ref": "#/$defs/Tree"},
        {"const": [1, None]},
        {"default": 1},
    ],
)
def test_arguments_fit_what_a_registry_writes(api, schema):
    definitions = {
        "Point": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        "Tree": {
            "type": "object",
            "properties": {"left": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}},
            "required": ["left"],
        },
    }
    parameters = {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": definitions}
    tool = {"type": "function", "function": {"name": "it", "parameters": parameters}}
    _, body = waiting(api, workflow(llm("a", "x", tools=[tool], tool_execution=CLIENT)))
    arguments = json.loads(body["results"][0]["tool_call"]["arguments"])
    validate(arguments, parameters, format_checker=FormatChecker())


@pytest.mark.parametrize("mode", ["server", "agentic"])
def test_the_service_runs_tools_itself_unless_they_are_the_clients(api, mode):
    node = llm("a", "x", tools=["clock"], tool_execution={"mode": mode})
    run_id = api.start(workflow(node))
    events = api.events(run_id)
    results = [event["tool_result"]["output"] for event in events if "tool_result" in event]
    assert 1 == len(results) and results[0] in api.state(run_id)["outputs"]["out"]
    assert "node_waiting" not in [event["type"] for event in events]


def test_more_rounds_are_asked_for_in_the_prompt(api):
    node = llm("a", "[[rounds: 2]]", tools=["clock"], tool_execution=CLIENT)
    run_id, first = waiting(api, workflow(node))
    submit(api, run_id, first)
    with api.follow(run_id) as response:
        seen = 0
        while seen < 2:
            seen += json.loads(response.readline())["type"] == "node_waiting"
    second = answers(api, run_id)
    assert (0, 1) == (first["step"], second["step"])
    submit(api, run_id, second)
    assert "run_completed" == api.events(run_id)[-1]["type"]


def test_a_run_with_a_busy_node_is_running_though_another_waits(api):
    run = api.server.script()
    run.append({"type": "node_started", "node_id": "busy"})
    run.append({"type": "node_started", "node_id": "asks"})
    call = {"id": "c", "name": "user_ask", "arguments": "{}"}
    waits = {
        "step": 0,
        "request_id": str(uuid4()),
        "pending_tool_calls": [{"tool_call": call}],
        "reason": "r",
    }
    run.append({"type": "node_waiting", "node_id": "asks", "waiting": waits})
    assert "running" == api.state(run.run_id)["status"]
    run.append({"type": "node_succeeded", "node_id": "busy"})
    assert "waiting" == api.state(run.run_id)["status"]
