from __future__ import annotations

import pytest

from rxruns.devserver._spec import check

LLM = {"id": "a", "type": "llm", "model": "m"}


def spec(*nodes, **fields):
    return {"kind": "workflow", "nodes": list(nodes), "outputs": [{"name": "o", "from": "a"}], **fields}


def node(type_, **fields):
    return spec(LLM, {"id": "b", "type": type_, **fields})


PREDICATE = {"source": "node_output", "op": "exists", "path": "$.x"}


def joined(predicate):
    return node("join.any", depends_on=["a"], predicate=predicate)


SUB = {"id": "s", "type": "llm", "model": "m"}


# The wrong specs, and the path that an issue of that code names.
ISSUES: dict[str, list[tuple[str, object]]] = {
    "INVALID_TYPE": [
        ("$", "text"),
        ("$.nodes[0]", spec("x")),
        ("$.inputs", spec(LLM, inputs={})),
        ("$.nodes[0].depends_on", spec(LLM | {"depends_on": "b"})),
        ("$.nodes[1].user", node("llm", model="m", user=1)),
        ("$.nodes[1].stream", node("llm", model="m", stream=1)),
        ("$.nodes[1].tools", node("llm", model="m", tools="x")),
        ("$.nodes[0].stop", spec(LLM | {"stop": "END"})),
        ("$.nodes[0].stop", spec(LLM | {"stop": [""]})),
        ("$.nodes[1].items_from_input", node("map.fanout", items_from_input=1, subnode=SUB)),
    ],
    "INVALID_KIND": [("$.kind", spec(LLM, kind="plan"))],
    "UNKNOWN_FIELD": [
        ("$.tier", spec(LLM, tier="x")),
        ("$.nodes[1].object.k.x", node("transform.json", object={"k": {"from": "a", "x": 1}})),
    ],
    "REQUIRED": [
        ("$.nodes", spec()),
        ("$.outputs", spec(LLM, outputs=[])),
        ("$.outputs[0].name", spec(LLM, outputs=[{"from": "a"}])),
        ("$.nodes[1].depends_on", node("join.all")),
        ("$.nodes[1]", node("transform.json")),
        ("$.nodes[1]", node("map.fanout", subnode=SUB)),
    ],
    "INVALID_NUMBER": [
        ("$.max_parallelism", spec(LLM, max_parallelism=0)),
        ("$.nodes[0].max_output_tokens", spec(LLM | {"max_output_tokens": 0})),
        ("$.nodes[1].limit", node("join.collect", depends_on=["a"], limit=True)),
        ("$.nodes[1].timeout_ms", node("join.collect", depends_on=["a"], timeout_ms=0)),
    ],
    "INVALID_INPUT": [
        ("$.inputs[1].name", spec(LLM, inputs=[{"name": "x"}, {"name": "x"}])),
        ("$.inputs[0].name", spec(LLM, inputs=["x"])),
    ],
    "UNKNOWN_NODE": [
        ("$.outputs[0].from", spec(LLM, outputs=[{"name": "o", "from": "z"}])),
        ("$.nodes[0].depends_on[0]", spec(LLM | {"depends_on": ["z"]})),
        ("$.nodes[0].depends_on[0]", spec(LLM | {"depends_on": [["z"]]})),
        ("$.nodes[1].merge[0].from", node("transform.json", merge=["x"])),
        ("$.nodes[1].object.k.from", node("transform.json", object={"k": {"from": "z"}})),
        ("$.nodes[1].items_from", node("map.fanout", items_from="z", subnode=SUB)),
    ],
    "INVALID_POINTER": [
        ("$.outputs[0].pointer", spec(LLM, outputs=[{"name": "o", "from": "a", "pointer": "x"}])),
        ("$.nodes[1].items_path", node("map.fanout", items_from="a", items_path="$", subnode=SUB)),
    ],
    "DUPLICATE_ID": [("$.nodes[1].id", spec(LLM, LLM))],
    "INVALID_ID": [
        ("$.nodes[1].id", spec(LLM, LLM | {"id": "B"})),
        ("$.nodes[1].id", spec(LLM, LLM | {"id": "b\n"})),
        ("$.nodes[1].id", spec(LLM, LLM | {"id": "b" * 65})),
        ("$.nodes[1].subnode.id", node("map.fanout", items_from="a", subnode=SUB | {"id": "S"})),
    ],
    "MODEL_REQUIRED": [("$.nodes[0].model", spec({"id": "a", "type": "llm"}))],
    "CYCLE": [
        ("$.nodes[0]", spec(LLM | {"depends_on": ["a"]})),
        ("$.nodes[1]", spec(LLM | {"user": "{{b}}"}, LLM | {"id": "b", "user": "{{a}}"})),
    ],
    "UNSUPPORTED": [
        ("$.nodes[1].type", node("route.switch")),
        ("$.nodes[1].type", node(["llm"])),
        ("$.nodes[1].subnode.type", node("map.fanout", items_from="a")),
        ("$.nodes[1].subnode.tools", node("map.fanout", items_from="a", subnode=SUB | {"tools": ["x"]})),
    ],
    "INVALID_TOOL": [
        ("$.nodes[1].tools[0]", node("llm", model="m", tools=[1])),
        ("$.nodes[1].tools[0]", node("llm", model="m", tools=[{"function": "x"}])),
        ("$.nodes[1].tools[1]", node("llm", model="m", tools=["x", {"name": "y"}])),
        ("$.nodes[1].tools[0]", node("llm", model="m", tools=["getX"])),
        ("$.nodes[1].tools[0]", node("llm", model="m", tools=[{"type": "browser"}])),
    ],
    "INVALID_MODE": [
        ("$.nodes[1].tool_execution.mode", node("llm", model="m", tool_execution={"mode": "x"}))
    ],
    "INVALID_PREDICATE": [
        ("$.nodes[1].predicate", joined(5)),
        ("$.nodes[1].predicate.more", joined(PREDICATE | {"more": 1})),
        ("$.nodes[1].predicate.source", joined(PREDICATE | {"source": "x"})),
        ("$.nodes[1].predicate.op", joined(PREDICATE | {"op": "x"})),
        ("$.nodes[1].predicate.value", joined(PREDICATE | {"op": "equals"})),
        ("$.nodes[1].predicate.value", joined(PREDICATE | {"op": "matches", "value": "("})),
        ("$.nodes[1].predicate.path", joined(PREDICATE | {"path": "/x"})),
        ("$.nodes[1].predicate.path", joined(PREDICATE | {"path": "$..x"})),
    ],
    "INVALID_FORMAT": [
        ("$.nodes[0].output_format", spec(LLM | {"output_format": "text"})),
        ("$.nodes[0].output_format.type", spec(LLM | {"output_format": {"type": "xml"}})),
        ("$.nodes[0].output_format.json_schema", spec(LLM | {"output_format": {"type": "json_schema"}})),
    ],
    "INVALID_RETRY": [
        ("$.nodes[0].retry", spec(LLM | {"retry": 3})),
        ("$.nodes[0].retry.max_attempts", spec(LLM | {"retry": {}})),
        (
            "$.nodes[0].retry.retryable_errors",
            spec(LLM | {"retry": {"max_attempts": 2, "retryable_errors": ["fire"]}}),
        ),
        ("$.nodes[0].retry.backoff_ms", spec(LLM | {"retry": {"max_attempts": 2, "backoff_ms": -1}})),
    ],
}


@pytest.mark.parametrize(
    ("code", "path", "wrong"), [(code, *case) for code, cases in ISSUES.items() for case in cases]
)
def test_each_issue_names_its_code_and_path(code, path, wrong):
    assert (code, path) in [(issue["code"], issue["path"]) for issue in check(wrong)]


def test_all_issues_are_returned_at_once():
    wrong = spec({"id": "A", "type": "llm"}, {"id": "a", "type": "none"}, kind="x")
    assert {"$.kind", "$.nodes[0].id", "$.nodes[0].model", "$.nodes[1].type"} == {
        issue["path"] for issue in check(wrong)
    }


def test_compiling_and_creating_return_the_issues(api):
    wrong = spec({"id": "a", "type": "llm"})
    for answer in (api.post("/workflows/compile", wrong), api.post("/runs", {"spec": wrong})):
        assert (400, "VALIDATION_ERROR") == (answer.status, answer.body["code"])
        assert [("MODEL_REQUIRED", "$.nodes[0].model")] == [
            (issue["code"], issue["path"]) for issue in answer.body["issues"]
        ]
