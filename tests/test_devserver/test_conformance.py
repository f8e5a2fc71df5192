"""The embedded service executes the specs of the official SDKs, and its answers fit the contract.

Requests are plain HTTP and JSON in the documented forms of the SDKs. The JSON Schema of the contract checks
each event, its OpenAPI description each answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.test_devserver.conftest import Answer, Api, llm, workflow

Record = dict[str, Any]
Judge = Callable[[str], Record]
CheckAnswer = Callable[[str, Any], None]
CheckEvent = Callable[[Record], None]
MODEL, OTHER = "gpt-4o", "claude-sonnet-4-5"
NODE_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
SESSION = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"
QUESTIONS = '{"questions": ["Why?", "How?"]}'


def fan_out(**items: Any) -> Record:
    return {"id": "each", "type": "map.fanout", "subnode": llm("answer", "[[say: re {{item}}]]"), **items}


TWO = (llm("first", '[[say: {"n": 1, "a": "x"}]]'), llm("second", '[[say: {"n": 2}]]'))
IDS = ["first", "second"]
TOPIC = {"inputs": [{"name": "topic", "type": "string"}]}
PREDICATE = {"source": "node_output", "op": "equals", "path": "$.n", "value": 2}
BUILT_IN = [
    {"type": "web", "web": {"intent": "auto"}},
    {"type": "x_search", "x_search": {}},
    {"type": "code_execution", "code_execution": {}},
    {"type": "image_generation", "image_generation": {"model": "gemini-2.5-flash-image"}},
]


def joined(kind: str, **fields: Any) -> Record:
    return workflow(*TWO, {"id": "j", "type": f"join.{kind}", "depends_on": IDS, **fields})


def transformed(**fields: Any) -> Record:
    return workflow(*TWO, {"id": "t", "type": "transform.json", **fields})


SCHEMA = {
    "type": "object",
    "properties": {"questions": {"type": "array", "items": {"type": "string"}}},
    "required": ["questions"],
    "additionalProperties": False,
}
JSON_FORM = {"type": "json_schema", "json_schema": {"name": "questions", "schema": SCHEMA, "strict": True}}
EVERY_LLM_FIELD = {
    "system": "Be brief.",
    "input": [{"type": "message", "role": "user", "content": [{"type": "text", "text": "{{topic}}"}]}],
    "stream": True,
    "tools": ["clock", {"type": "function", "function": {"name": "fs.search", "description": "Find"}}],
    "tool_execution": {"mode": "agentic"},
    "max_output_tokens": 50,
    "stop": ["NEVER"],
    "output_format": {"type": "text"},
    "retry": {"max_attempts": 2, "retryable_errors": ["invalid_json", "rate_limit"], "backoff_ms": 10},
}

SPECS: dict[str, tuple[Record, Any]] = {
    "an llm node": (workflow(llm("a", "[[say: hi]]")), "hi"),
    "every field of an llm node": (
        workflow(llm("a", "[[say: {{topic}}]]", **EVERY_LLM_FIELD), **TOPIC),
        None,
    ),
    "built-in tools": (workflow(llm("a", "[[say: hi]]", tools=BUILT_IN)), "hi"),
    "a model for all": (workflow({"id": "a", "type": "llm", "user": "[[say: hi]]"}, model=MODEL), "hi"),
    "an undeclared input": (workflow(llm("a", "[[say: {{topic}}]]")), "tides"),
    "a chain": (workflow(*TWO, llm("c", "[[say: {{first}}{{second}}]]", depends_on=IDS)), None),
    "join.all": (joined("all"), {"first": '{"n": 1, "a": "x"}', "second": '{"n": 2}'}),
    "join.any": (workflow(TWO[1], {"id": "j", "type": "join.any", "depends_on": ["second"]}), None),
    "join.collect": (joined("collect", limit=2), None),
    "join.collect with a predicate": (
        joined("collect", timeout_ms=600_000, predicate=PREDICATE),
        {"second": '{"n": 2}'},
    ),
    "transform.json object": (transformed(object={"a": {"from": "first", "pointer": "/a"}}), {"a": "x"}),
    "transform.json merge": (transformed(merge=[{"from": name} for name in IDS]), {"n": 2, "a": "x"}),
    "map.fanout over a path": (
        workflow(llm("ask", f"[[say: {QUESTIONS}]]"), fan_out(items_from="ask", items_path="/questions")),
        ["re Why?", "re How?"],
    ),
    "map.fanout over an input": (
        workflow(fan_out(items_from_input="topics", max_parallelism=2), inputs=[{"name": "topics"}]),
        ["re a", "re b", "re c"],
    ),
    "map.fanout over JSON that fits a schema": (
        workflow(llm("ask", output_format=JSON_FORM), fan_out(items_from="ask", items_path="/questions")),
        None,
    ),
    "outputs at pointers": (
        workflow(
            *TWO, outputs=[{"name": "out", "from": "first", "pointer": "/n"}, {"name": "n", "from": "second"}]
        ),
        1,
    ),
}
INPUT = {"topic": "tides", "topics": ["a", "b", "c"]}


@pytest.fixture
def judged(api: Api, check_event: CheckEvent, check_answer: CheckAnswer) -> Judge:
    """Follow a run to its end, check all events and answers about it, and return its state."""

    def judge(run_id: str) -> Record:
        bare, events = api.events(run_id), api.events(run_id, include_output="true")
        for event in (*events, *(event for event in bare if event not in events)):
            check_event(event)
            assert NODE_ID.fullmatch(event.get("node_id", "a"))  # the strictest SDK takes it
            for name, key in (("output", "node_output.v0"), ("outputs", "run_outputs.v0")):
                assert key == event.get(name, {"artifact_key": key})["artifact_key"]
        assert list(range(1, len(events) + 1)) == [event["seq"] for event in events]
        assert sorted(event["ts"] for event in events) == [event["ts"] for event in events]
        state: Record = api.state(run_id, include="steps,tool_calls")
        check_answer("RunsGetResponse", state)
        for path, schema in (
            ("pending-tools", "RunsPendingToolsResponse"),
            ("steps", "RunStepsResponse"),
            ("tasks", "RunTasksResponse"),
        ):
            check_answer(schema, api.get(f"/runs/{run_id}/{path}").body)
        assert {event["node_id"] for event in events if "node_id" in event} <= {
            node["id"] for node in state["nodes"]
        }
        return state

    return judge


@pytest.mark.parametrize("name", SPECS)
def test_each_node_that_a_builder_makes_is_compiled_linted_and_executed(
    name: str, api: Api, judged: Judge, check_answer: CheckAnswer
) -> None:
    spec, output = SPECS[name]
    compiled, linted = (api.post(f"/workflows/{word}", spec).body for word in ("compile", "lint"))
    check_answer("WorkflowsCompileResponse", compiled)
    check_answer("WorkflowsLintResponse", linted)
    assert {"kind": "workflow", "lint_issues": [], "compile_issues": [], **compiled} == linted

    for begun in ({"spec": spec}, {"plan_hash": compiled["plan_hash"]}):
        created = api.post("/runs", begun | {"input": INPUT}).body
        check_answer("RunsCreateResponse", created)
        state = judged(created["run_id"])
        assert (compiled["plan_hash"], "succeeded") == (created["plan_hash"], state["status"]), state
        assert compiled["plan_hash"] == state["plan_hash"]
        ids = [node["id"] for node in spec["nodes"]]
        assert ids == [node["id"] for node in state["nodes"]][: len(ids)]
        assert output is None or output == state["outputs"]["out"]


OPTIONS: dict[str, Record] = {
    "session_id": {"session_id": SESSION},
    "input": {"input": {"topic": "ants"}},
    "model_override": {"model_override": OTHER},
    "model_overrides": {
        "model_overrides": {
            "nodes": {"a": OTHER},
            "fanout_subnodes": [{"parent_id": "each", "subnode_id": "answer", "model": OTHER}],
        }
    },
    "stream": {"stream": True},
    "no stream": {"stream": False},
    "idempotency_key": {"options": {"idempotency_key": "key-1"}},
    "all": {
        "session_id": SESSION,
        "input": {"topic": "ants", "topics": []},
        "model_override": OTHER,
        "model_overrides": {"nodes": {"a": OTHER}},
        "stream": True,
        "options": {"idempotency_key": "key-2"},
    },
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("by_plan", [False, True])
def test_each_option_of_a_run_is_taken(name: str, by_plan: bool, api: Api, judged: Judge) -> None:
    options = {"input": INPUT} | OPTIONS[name]
    sent = workflow(llm("a", "[[say: {{topic}}]]"), fan_out(items_from_input="topics"), out="a")
    plan_hash = api.post("/workflows/compile", sent).body["plan_hash"]
    begun = {"plan_hash": plan_hash} if by_plan else {"spec": sent}
    options["input"] = {"topics": ["x"]} | options["input"]
    answers = [api.post("/runs", begun | options) for _ in range(2)]
    state = judged(answers[0].body["run_id"])

    assert ([200, 200], "succeeded") == ([answer.status for answer in answers], state["status"])
    assert options["input"]["topic"] == state["outputs"]["out"]
    same_run = answers[0].body["run_id"] == answers[1].body["run_id"]
    assert ("options" in OPTIONS[name]) is same_run
    models = {line["model"] for line in state["cost_summary"]["line_items"]}
    assert ({OTHER} if "model_over" in name or name == "all" else {MODEL}) == models


def test_the_task_list_that_a_model_writes_is_served(api: Api, judged: Judge) -> None:
    task = {
        "type": "object",
        "properties": {"content": {"type": "string"}, "status": {"type": "string", "enum": ["pending"]}},
    }
    parameters = {"type": "object", "properties": {"tasks": {"type": "array", "items": task}}}
    tool = {"type": "function", "function": {"name": "tasks.write", "parameters": parameters}}
    run_id = api.start(workflow(llm("a", "Plan", tools=[tool])))
    judged(run_id)
    (written,) = api.get(f"/runs/{run_id}/tasks").body["tasks"]

    assert ("pending", True) == (written["status"], bool(written["content"]))
    assert "task_list_updated" in [event["type"] for event in api.events(run_id)]


OPEN_FORM = {"type": "json_schema", "json_schema": {"schema": {"properties": {"x": {}}}}}


@pytest.mark.parametrize(
    ("sent", "lint", "compiled"),
    [
        ({"kind": "workflow", "nodes": []}, [], ["$.nodes", "$.outputs"]),
        (workflow(llm("a", output_format=OPEN_FORM)), ["$.nodes[0].output_format.json_schema"] * 2, []),
    ],
)
def test_a_lint_names_all_issues(
    api: Api, check_answer: CheckAnswer, sent: Record, lint: list[str], compiled: list[str]
) -> None:
    whole, bare = (api.post("/workflows/lint", sent, compile=flag).body for flag in ("true", "false"))
    for found in (whole, bare):
        check_answer("WorkflowsLintResponse", found)
        assert lint == [issue["path"] for issue in found["lint_issues"]]

    assert compiled == [issue["path"] for issue in whole["compile_issues"]]
    assert (bool(compiled), False) == ("plan_hash" not in whole, "compile_issues" in bare)
    assert 400 == api.post("/workflows/lint", "no spec").status


def test_a_run_that_fails_or_is_canceled_is_valid_to_its_end(api: Api, judged: Judge) -> None:
    each = {**fan_out(items_from_input="topics"), "subnode": llm("answer", "[[fail: no {{item}}]]")}
    failed = judged(api.start(workflow(each), input={"topics": ["x"]}))
    waiting = api.start(workflow(llm("a", tools=["clock"], tool_execution={"mode": "client"})))
    api.until(waiting, "node_waiting")
    api.server.cancel(waiting)

    assert ("failed", "canceled") == (failed["status"], judged(waiting)["status"])


@pytest.mark.parametrize(
    ("status", "code", "fields", "ask"),
    [
        (400, "INVALID_INPUT", ["stream"], lambda api: api.post("/runs", {"spec": {}, "stream": 1})),
        (400, "VALIDATION_ERROR", None, lambda api: api.post("/workflows/compile", {})),
        (400, "INVALID_INPUT", ["run_id"], lambda api: api.get("/runs/none")),
        (401, "UNAUTHORIZED", None, lambda api: api.ask("GET", f"/runs/{SESSION}", headers={})),
        (404, "NOT_FOUND", None, lambda api: api.get(f"/runs/{SESSION}/steps")),
        (404, "NOT_FOUND", None, lambda api: api.post("/runs", {"plan_hash": "0" * 64})),
    ],
)
def test_an_error_has_the_one_form_that_all_sdks_read(
    status: int,
    code: str,
    fields: list[str] | None,
    ask: Callable[[Api], Answer],
    api: Api,
    check_answer: CheckAnswer,
) -> None:
    answered = ask(api)
    body = answered.body
    check_answer("APIError", body)

    assert (status, code, body["message"]) == (answered.status, body["code"], body["error"])
    assert body["request_id"] == answered.headers["X-ModelRelay-Request-Id"]
    assert fields is None or fields == [field["field"] for field in body["fields"]]
