"""A compiled plan: its hash, its inputs, its models, and its pointers."""

from __future__ import annotations

from typing import Any

import pytest

from rxruns.devserver._plan import SpecRefused, compile_spec, missing_inputs, model_of, pointed, rendered

LLM = {"id": "a", "type": "llm", "model": "m"}
SUB = {"id": "s", "type": "llm", "user": "{{item}}"}


def spec(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    outputs = [{"name": "o", "from": "a"}]
    return {"kind": "workflow", "nodes": list(nodes or (LLM,)), "outputs": outputs, **fields}


def test_the_hash_of_a_plan_follows_from_its_content() -> None:
    plan, again = compile_spec(spec()), compile_spec(dict(reversed(spec().items())))
    other = compile_spec(spec(LLM | {"user": "Hi"}))

    assert plan.hash == again.hash != other.hash
    assert (64, plan.hash.lower()) == (len(plan.hash), plan.hash)


def test_a_plan_has_the_node_types_of_responses() -> None:
    nodes = LLM, {"id": "f", "type": "map.fanout", "items_from": "a", "subnode": SUB | {"model": "m"}}
    plan = compile_spec(spec(*nodes))

    first, second = plan.spec["nodes"]
    assert {"id": "a", "type": "llm.responses", "model": "m"} == first
    assert ("map.fanout", "llm.responses") == (second["type"], second["subnode"]["type"])
    assert {"a": "llm.responses", "f": "map.fanout"} == plan.types
    assert {"a": frozenset(), "f": frozenset({"a"})} == plan.needs


def test_a_refusal_counts_its_issues() -> None:
    with pytest.raises(SpecRefused, match="1 issues") as caught:
        compile_spec(spec({"id": "a", "type": "llm"}))

    assert ["MODEL_REQUIRED"] == [issue["code"] for issue in caught.value.issues]


@pytest.mark.parametrize(
    ("declared", "given", "wrong"),
    [
        ({"required": True}, {}, {"input.x": "is required"}),
        ({"required": True}, {"x": None}, {}),
        ({"required": True, "default": 1}, {}, {}),
        ({"required": False}, {}, {}),
        ({"default": 1}, {}, {}),
        ({}, {}, {}),
        ({"type": "string"}, {"x": 1}, {"input.x": "expected string"}),
        ({"type": "integer"}, {"x": 1.5}, {"input.x": "expected integer"}),
        ({"type": "integer"}, {"x": True}, {"input.x": "expected integer"}),
        ({"type": "boolean"}, {"x": True}, {}),
        ({"type": "number"}, {"x": 1}, {}),
        ({"type": "object"}, {"x": []}, {"input.x": "expected object"}),
        ({"type": "array"}, {"x": []}, {}),
        ({"type": "date"}, {"x": 1}, {}),
        ({"type": ["string"]}, {"x": 1}, {}),
    ],
)
def test_inputs_are_required_and_have_their_types(
    declared: dict[str, Any], given: dict[str, Any], wrong: dict[str, str]
) -> None:
    plan = compile_spec(spec(inputs=[{"name": "x"} | declared]))

    assert wrong == missing_inputs(plan, given)


@pytest.mark.parametrize("field", ["system", "user", "input"])
def test_each_placeholder_needs_a_value(field: str) -> None:
    plan = compile_spec(spec(LLM | {field: "About {{topic}}."}))

    assert {"input.topic": "is used by node a, but not given"} == missing_inputs(plan, {})
    assert {} == missing_inputs(plan, {"topic": "tides"})


def test_a_fan_out_fills_in_the_item_and_needs_its_input() -> None:
    fan = {"id": "a", "type": "map.fanout", "items_from_input": "list", "subnode": SUB | {"model": "m"}}
    used = {"input.list": "is used by node a, but not given"}

    assert used == missing_inputs(compile_spec(spec(fan)), {})
    other = fan | {"subnode": SUB | {"model": "m", "system": "{{mood}}"}}
    assert used | {"input.mood": "is used by node a, but not given"} == missing_inputs(
        compile_spec(spec(other)), {}
    )
    assert {"input.item": "is used by node a, but not given"} == missing_inputs(
        compile_spec(spec(LLM | {"user": "{{item}}"})), {}
    )


SUBNODE = {"fanout_subnodes": [{"parent_id": "f", "subnode_id": "a", "model": "named"}]}


@pytest.mark.parametrize(
    ("node", "parent", "overrides", "model"),
    [
        ({"id": "a", "type": "llm"}, None, {}, "general"),
        (LLM, None, {}, "m"),
        (LLM, None, {"model_override": " all "}, "all"),
        (LLM, None, {"model_override": " "}, "m"),
        (LLM, None, {"model_overrides": {"nodes": {"a": "named"}}}, "named"),
        (LLM, None, {"model_override": "all", "model_overrides": {"nodes": {"a": "named"}}}, "named"),
        (LLM | {"id": "b"}, None, {"model_override": "all", "model_overrides": {"nodes": {"a": "x"}}}, "all"),
        (LLM, "f", {"model_overrides": {"nodes": {"a": "named"}}}, "m"),
        (LLM, "f", {"model_overrides": SUBNODE}, "named"),
        (LLM, "g", {"model_overrides": SUBNODE}, "m"),
        (LLM | {"id": "b"}, "f", {"model_overrides": SUBNODE}, "m"),
        (LLM, None, {"model_overrides": SUBNODE}, "m"),
    ],
)
def test_the_most_specific_model_of_a_node_wins(
    node: dict[str, Any], parent: str | None, overrides: dict[str, Any], model: str
) -> None:
    plan = compile_spec(spec(model="general"))

    assert model == model_of(plan, node, overrides, parent)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{a}} and {{ b }}", 'x and [1,"y"]'),
        ("{{b}}{{b}}", '[1,"y"][1,"y"]'),
        ("no place", "no place"),
        ("{{z}}", "null"),
    ],
)
def test_placeholders_are_filled_with_text_or_json(text: str, filled: str) -> None:
    assert filled == rendered(text, {"a": "x", "b": [1, "y"]})


def test_a_text_may_use_a_node_and_a_declared_input() -> None:
    nodes = LLM, {"id": "b", "type": "llm", "model": "m", "user": "{{a}} {{x}}"}

    assert {} == missing_inputs(compile_spec(spec(*nodes, inputs=[{"name": "x"}])), {})


@pytest.mark.parametrize(
    ("value", "pointer", "found"),
    [
        ({"a": [1, 2]}, None, {"a": [1, 2]}),
        ({"a": [1, 2]}, "", {"a": [1, 2]}),
        ({"a": [1, 2]}, "/a/1", 2),
        ({"a/b": {"~": 1}}, "/a~1b/~0", 1),
        ({"1": "one"}, "/1", "one"),
        ('{"text": "inner"}', "/text", "inner"),
        ('{"a": 1}', "/text", '{"a": 1}'),
        ("[7]", "/0", 7),
        ("hi", "/text", "hi"),
        ("hi", "/output/0/role", "assistant"),
        ("hi", "/output/0/content/0", {"type": "text", "text": "hi"}),
    ],
)
def test_a_pointer_leads_into_json_or_into_a_text_as_a_response(
    value: Any, pointer: str | None, found: Any
) -> None:
    assert found == pointed(value, pointer)


@pytest.mark.parametrize(
    ("value", "pointer", "missing"),
    [
        ({"a": 1}, "/b", "b"),
        ([1], "/x", "x"),
        ([1], "/1", "index"),
        ({"a": 1}, "/a/b", "b"),
        ("hi", "/x", "x"),
    ],
)
def test_a_pointer_to_nothing_names_the_missing_part(value: Any, pointer: str, missing: str) -> None:
    with pytest.raises(LookupError, match=missing):
        pointed(value, pointer)
