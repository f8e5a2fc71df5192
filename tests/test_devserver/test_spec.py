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


@pytest.mark.parametrize(
    ("wrong", "code", "path"),
    [
        ("text", "INVALID_TYPE", "$"),
        (spec(LLM, kind="plan"), "INVALID_KIND", "$.kind"),
        (spec(LLM, tier="x"), "UNKNOWN_FIELD", "$.tier"),
        (spec(), "REQUIRED", "$.nodes"),
        (spec("x"), "INVALID_TYPE", "$.nodes[0]"),
        (spec(LLM, max_parallelism=0), "INVALID_NUMBER", "$.max_parallelism"),
        (spec(LLM, inputs={}), "INVALID_TYPE", "$.inputs"),
        (spec(LLM, inputs=[{"name": "x"}, {"name": "x"}]), "INVALID_INPUT", "$.inputs[1].name"),
        (spec(LLM, inputs=["x"]), "INVALID_INPUT", "$.inputs[0].name"),
        (spec(LLM, outputs=[]), "REQUIRED", "$.outputs"),
        (spec(LLM, outputs=[{"from": "a"}]), "REQUIRED", "$.outputs[0].name"),
        (spec(LLM, outputs=[{"name": "o", "from": "z"}]), "UNKNOWN_NODE", "$.outputs[0].from"),
        (
            spec(LLM, outputs=[{"name": "o", "from": "a", "pointer": "x"}]),
            "INVALID_POINTER",
            "$.outputs[0].pointer",
        ),
        (spec(LLM, LLM), "DUPLICATE_ID", "$.nodes[1].id"),
        (spec(LLM, LLM | {"id": "B"}), "INVALID_ID", "$.nodes[1].id"),
        (spec(LLM, LLM | {"id": "b\n"}), "INVALID_ID", "$.nodes[1].id"),
        (spec(LLM, LLM | {"id": "b" * 65}), "INVALID_ID", "$.nodes[1].id"),
        (spec({"id": "a", "type": "llm"}), "MODEL_REQUIRED", "$.nodes[0].model"),
        (spec(LLM | {"depends_on": "b"}), "INVALID_TYPE", "$.nodes[0].depends_on"),
        (spec(LLM | {"depends_on": ["z"]}), "UNKNOWN_NODE", "$.nodes[0].depends_on[0]"),
        (spec(LLM | {"depends_on": [["z"]]}), "UNKNOWN_NODE", "$.nodes[0].depends_on[0]"),
        (spec(LLM | {"depends_on": ["a"]}), "CYCLE", "$.nodes[0]"),
        (spec(LLM | {"user": "{{b}}"}, LLM | {"id": "b", "user": "{{a}}"}), "CYCLE", "$.nodes[1]"),
        (node("route.switch"), "UNSUPPORTED", "$.nodes[1].type"),
        (node(["llm"]), "UNSUPPORTED", "$.nodes[1].type"),
        (node("llm", model="m", user=1), "INVALID_TYPE", "$.nodes[1].user"),
        (node("llm", model="m", stream=1), "INVALID_TYPE", "$.nodes[1].stream"),
        (node("llm", model="m", tools="x"), "INVALID_TYPE", "$.nodes[1].tools"),
        (node("llm", model="m", tools=[1]), "INVALID_TOOL", "$.nodes[1].tools[0]"),
        (node("llm", model="m", tools=[{"function": "x"}]), "INVALID_TOOL", "$.nodes[1].tools[0]"),
        (node("llm", model="m", tools=["x", {"name": "y"}]), "INVALID_TOOL", "$.nodes[1].tools[1]"),
        (node("llm", model="m", tools=["getX"]), "INVALID_TOOL", "$.nodes[1].tools[0]"),
        (node("llm", model="m", tools=[{"type": "browser"}]), "INVALID_TOOL", "$.nodes[1].tools[0]"),
        (
            node("llm", model="m", tool_execution={"mode": "x"}),
            "INVALID_MODE",
            "$.nodes[1].tool_execution.mode",
        ),
        (node("join.all"), "REQUIRED", "$.nodes[1].depends_on"),
        (joined(5), "INVALID_PREDICATE", "$.nodes[1].predicate"),
        (joined(PREDICATE | {"more": 1}), "INVALID_PREDICATE", "$.nodes[1].predicate.more"),
        (joined(PREDICATE | {"source": "x"}), "INVALID_PREDICATE", "$.nodes[1].predicate.source"),
        (joined(PREDICATE | {"op": "x"}), "INVALID_PREDICATE", "$.nodes[1].predicate.op"),
        (joined(PREDICATE | {"op": "equals"}), "INVALID_PREDICATE", "$.nodes[1].predicate.value"),
        (
            joined(PREDICATE | {"op": "matches", "value": "("}),
            "INVALID_PREDICATE",
            "$.nodes[1].predicate.value",
        ),
        (joined(PREDICATE | {"path": "/x"}), "INVALID_PREDICATE", "$.nodes[1].predicate.path"),
        (joined(PREDICATE | {"path": "$..x"}), "INVALID_PREDICATE", "$.nodes[1].predicate.path"),
        (spec(LLM | {"max_output_tokens": 0}), "INVALID_NUMBER", "$.nodes[0].max_output_tokens"),
        (spec(LLM | {"stop": "END"}), "INVALID_TYPE", "$.nodes[0].stop"),
        (spec(LLM | {"stop": [""]}), "INVALID_TYPE", "$.nodes[0].stop"),
        (spec(LLM | {"output_format": "text"}), "INVALID_FORMAT", "$.nodes[0].output_format"),
        (spec(LLM | {"output_format": {"type": "xml"}}), "INVALID_FORMAT", "$.nodes[0].output_format.type"),
        (
            spec(LLM | {"output_format": {"type": "json_schema"}}),
            "INVALID_FORMAT",
            "$.nodes[0].output_format.json_schema",
        ),
        (spec(LLM | {"retry": 3}), "INVALID_RETRY", "$.nodes[0].retry"),
        (spec(LLM | {"retry": {}}), "INVALID_RETRY", "$.nodes[0].retry.max_attempts"),
        (
            spec(LLM | {"retry": {"max_attempts": 2, "retryable_errors": ["fire"]}}),
            "INVALID_RETRY",
            "$.nodes[0].retry.retryable_errors",
        ),
        (
            spec(LLM | {"retry": {"max_attempts": 2, "backoff_ms": -1}}),
            "INVALID_RETRY",
            "$.nodes[0].retry.backoff_ms",
        ),
        (node("join.collect", depends_on=["a"], limit=True), "INVALID_NUMBER", "$.nodes[1].limit"),
        (node("join.collect", depends_on=["a"], timeout_ms=0), "INVALID_NUMBER", "$.nodes[1].timeout_ms"),
        (node("transform.json"), "REQUIRED", "$.nodes[1]"),
        (node("transform.json", merge=["x"]), "UNKNOWN_NODE", "$.nodes[1].merge[0].from"),
        (node("transform.json", object={"k": {"from": "z"}}), "UNKNOWN_NODE", "$.nodes[1].object.k.from"),
        (
            node("transform.json", object={"k": {"from": "a", "x": 1}}),
            "UNKNOWN_FIELD",
            "$.nodes[1].object.k.x",
        ),
        (node("map.fanout", subnode=SUB), "REQUIRED", "$.nodes[1]"),
        (node("map.fanout", items_from="z", subnode=SUB), "UNKNOWN_NODE", "$.nodes[1].items_from"),
        (node("map.fanout", items_from_input=1, subnode=SUB), "INVALID_TYPE", "$.nodes[1].items_from_input"),
        (
            node("map.fanout", items_from="a", items_path="$", subnode=SUB),
            "INVALID_POINTER",
            "$.nodes[1].items_path",
        ),
        (node("map.fanout", items_from="a"), "UNSUPPORTED", "$.nodes[1].subnode.type"),
        (
            node("map.fanout", items_from="a", subnode=SUB | {"id": "S"}),
            "INVALID_ID",
            "$.nodes[1].subnode.id",
        ),
        (
            node("map.fanout", items_from="a", subnode=SUB | {"tools": ["x"]}),
            "UNSUPPORTED",
            "$.nodes[1].subnode.tools",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_path(wrong, code, path):
    assert (code, path) in [(issue["code"], issue["path"]) for issue in check(wrong)]


def test_all_issues_are_told_at_once():
    wrong = spec({"id": "A", "type": "llm"}, {"id": "a", "type": "none"}, kind="x")
    assert {"$.kind", "$.nodes[0].id", "$.nodes[0].model", "$.nodes[1].type"} == {
        issue["path"] for issue in check(wrong)
    }


def test_issues_come_back_from_compiling_and_creating(api):
    wrong = spec({"id": "a", "type": "llm"})
    for answer in (api.post("/workflows/compile", wrong), api.post("/runs", {"spec": wrong})):
        assert (400, "VALIDATION_ERROR") == (answer.status, answer.body["code"])
        assert [("MODEL_REQUIRED", "$.nodes[0].model")] == [
            (issue["code"], issue["path"]) for issue in answer.body["issues"]
        ]
