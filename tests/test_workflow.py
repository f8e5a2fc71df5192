"""Specs: what a builder makes of its calls, and what is refused, naming node and place."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.errors import InvalidArgumentError
from rxruns.workflow import (
    Input,
    JoinAllNode,
    LLMNode,
    LLMRetry,
    MapFanoutNode,
    Output,
    OutputFormat,
    Predicate,
    Source,
    TransformJSONNode,
    WorkflowBuilder,
    WorkflowSpec,
    chain,
    llm,
    parallel,
    workflow,
)
from rxruns.workflow._check import check_outputs, typed

MODEL = "claude-sonnet-4-5"


def two_nodes() -> WorkflowBuilder:
    return workflow("two", model=MODEL).llm("a", user="Hi").llm("b", user="Ho")


def function(name: str, **more: Any) -> dict[str, Any]:
    """A tool object of the service."""
    return {"type": "function", "function": {"name": name, **more}}


def depends_on(spec: WorkflowSpec) -> dict[str, tuple[str, ...]]:
    return {node.id: node.depends_on for node in spec.nodes}


# ---- what is built ----


def test_a_spec_is_the_object_of_the_wire_without_what_is_absent() -> None:
    spec = (
        workflow("article", model=MODEL, max_parallelism=4)
        .input("topic", type="string", required=False, default=None)
        .llm("draft", system="Be brief.", user="{{topic}}", stream=True)
        .llm(
            "edit",
            model="gpt-5",
            user="{{draft}}",
            tools=["search", function("add")],
            tool_execution="client",
        )
        .edge("draft", "edit")
        .output("text", from_="edit", pointer="/text")
        .build()
    )

    assert {
        "kind": "workflow",
        "name": "article",
        "model": MODEL,
        "max_parallelism": 4,
        "inputs": [{"name": "topic", "type": "string", "required": False, "default": None}],
        "nodes": [
            {
                "type": "llm",
                "id": "draft",
                "model": MODEL,
                "system": "Be brief.",
                "user": "{{topic}}",
                "stream": True,
            },
            {
                "type": "llm",
                "id": "edit",
                "depends_on": ["draft"],
                "model": "gpt-5",
                "user": "{{draft}}",
                "tools": ["search", function("add")],
                "tool_execution": {"mode": "client"},
            },
        ],
        "outputs": [{"name": "text", "from": "edit", "pointer": "/text"}],
    } == spec.to_dict()


def test_each_kind_of_node_has_its_fields_on_the_wire() -> None:
    matching = Predicate(source="node_output", op="matches", path="$.ok", value="yes|no")
    spec = (
        two_nodes()
        .input("list")
        .join_all("all", depends_on=["a", "b"])
        .join_any("any", predicate=matching, depends_on=["a", "b"])
        .join_collect("some", limit=1, timeout_ms=1, depends_on=["a", "b"])
        .transform_json("card", object={"title": "a", "rest": Source(from_="b", pointer="/x~1y/0")})
        .transform_json("sum", merge=["a", "b"])
        .map_fanout("each", items_from="a", items_pointer="", subnode=llm("one", user="{{item}} {{b}}"))
        .map_fanout(
            "every", items_from_input="list", items_path="/questions", max_parallelism=2, subnode=llm("one")
        )
        .output("cards", "card")
        .build()
    )

    predicate = {"source": "node_output", "op": "matches", "path": "$.ok", "value": "yes|no"}
    both = {"depends_on": ["a", "b"]}
    assert [
        {"type": "join.all", "id": "all", **both},
        {"type": "join.any", "id": "any", **both, "predicate": predicate},
        {"type": "join.collect", "id": "some", **both, "limit": 1, "timeout_ms": 1},
        {
            "type": "transform.json",
            "id": "card",
            **both,
            "object": {"title": {"from": "a"}, "rest": {"from": "b", "pointer": "/x~1y/0"}},
        },
        {"type": "transform.json", "id": "sum", **both, "merge": [{"from": "a"}, {"from": "b"}]},
        {
            "type": "map.fanout",
            "id": "each",
            **both,
            "items_from": "a",
            "items_pointer": "",
            "subnode": {"type": "llm", "id": "one", "model": MODEL, "user": "{{item}} {{b}}"},
        },
        {
            "type": "map.fanout",
            "id": "every",
            "items_from_input": "list",
            "items_path": "/questions",
            "subnode": {"type": "llm", "id": "one", "model": MODEL},
            "max_parallelism": 2,
        },
    ] == spec.to_dict()["nodes"][2:]


def test_an_llm_node_has_the_limits_and_forms_of_its_output_on_the_wire() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "cities", "schema": {"type": "array"}}}
    retry = {"max_attempts": 3, "retryable_errors": ["invalid_json", "timeout"], "backoff_ms": 0}
    by_mapping = llm("a", max_output_tokens=5, stop="END", output_format=form, retry=retry)
    by_value = llm(
        "a",
        max_output_tokens=5,
        stop=["END"],
        output_format=OutputFormat(**form),  # type: ignore[arg-type]
        retry=LLMRetry(max_attempts=3, retryable_errors=("invalid_json", "timeout"), backoff_ms=0),
    )
    spec = workflow().node(by_value).output("t", "a").build()

    assert by_mapping == by_value
    wire = {"max_output_tokens": 5, "stop": ["END"], "output_format": form, "retry": retry}
    assert [{"type": "llm", "id": "a", **wire}] == spec.to_dict()["nodes"]
    assert spec == WorkflowSpec.from_dict(spec.to_dict())


def test_the_model_of_the_spec_is_written_into_nodes_that_have_none() -> None:
    spec = (
        workflow(model=MODEL)
        .input("items")
        .llm("a", model="gpt-5")
        .map_fanout("each", items_from_input="items", subnode=llm("one"))
        .output("text", "a")
        .build()
    )

    assert ["gpt-5", MODEL] == [
        spec.to_dict()["nodes"][0]["model"],
        spec.to_dict()["nodes"][1]["subnode"]["model"],
    ]


def test_a_spec_that_is_read_means_by_its_model_what_a_built_one_does() -> None:
    fan_out = {"id": "each", "type": "map.fanout", "items_from": "a", "subnode": {"id": "one", "type": "llm"}}
    record = {
        "kind": "workflow",
        "model": MODEL,
        "nodes": [{"id": "a", "type": "llm", "model": "gpt-5"}, {"id": "b", "type": "llm"}, fan_out],
        "outputs": [{"name": "text", "from": "b"}],
    }
    builder = workflow(model=MODEL).llm("a", model="gpt-5").llm("b")
    built = builder.map_fanout("each", items_from="a", subnode=llm("one")).output("text", "b").build()

    read = WorkflowSpec.from_dict(record).to_dict()["nodes"]
    assert ["gpt-5", MODEL, MODEL] == [read[0]["model"], read[1]["model"], read[2]["subnode"]["model"]]
    assert [node["model"] for node in read[:2]] == [node["model"] for node in built.to_dict()["nodes"][:2]]


def test_without_a_model_nodes_are_left_without_one() -> None:
    assert "model" not in chain(llm("a", user="Hi")).to_dict()["nodes"][0]


def test_a_node_waits_for_what_it_reads() -> None:
    spec = (
        workflow(model=MODEL)
        .llm("last", input=[{"role": "user", "content": ["{{ second }}", 1]}, "{{first}}"])
        .llm("second", user="{{first}}")
        .llm("first")
        .output("text", "last")
        .build()
    )

    assert {"last": ("second", "first"), "second": ("first",), "first": ()} == depends_on(spec)


def test_who_reads_a_branch_behind_a_join_waits_for_the_join_alone() -> None:
    spec = parallel(llm("a"), llm("b"), join="join_any", then=llm("c", user="{{a}}"))

    assert ("join",) == depends_on(spec)["c"]


def test_an_edge_that_is_drawn_twice_counts_once() -> None:
    spec = two_nodes().edge("a", "b").edge("a", "b").output("text", "b").build()

    assert {"a": (), "b": ("a",)} == depends_on(spec)


def test_what_is_no_placeholder_is_text() -> None:
    texts = '{"a": {"b": {}}} {{ }} {{1}} {{a b}} {item}'

    assert texts == chain(llm("a", user=texts)).to_dict()["nodes"][0]["user"]


def test_one_name_is_taken_as_a_list_of_one() -> None:
    spec = chain(llm("a", tools="search"), llm("b", depends_on="a"), inputs="topic")

    assert (("search",), {"a": (), "b": ("a",)}, "topic") == (
        spec.nodes[0].tools if isinstance(spec.nodes[0], LLMNode) else None,
        depends_on(spec),
        spec.inputs[0].name,
    )


def test_a_builder_can_go_on_after_it_built() -> None:
    builder = two_nodes().output("text", "a")
    first = builder.build()
    second = builder.llm("c").build()

    assert ([2, 3], "<WorkflowBuilder two: 3 nodes>") == (
        [len(first.nodes), len(second.nodes)],
        repr(builder),
    )


def test_a_chain_runs_in_order_and_its_last_node_is_the_result() -> None:
    spec = chain([llm("a"), llm("b"), llm("c")], name="abc", model=MODEL)

    assert {"a": (), "b": ("a",), "c": ("b",)} == depends_on(spec)
    assert (Output(name="c", from_="c"),) == spec.outputs


def test_a_chain_can_name_its_outputs_and_declare_its_inputs() -> None:
    declared = Input(name="tone", default="dry")
    spec = chain(llm("a", user="{{topic}} {{tone}}"), inputs=["topic", declared], outputs={"text": "a"})

    assert ((Input(name="topic"), declared), (Output(name="text", from_="a"),)) == (spec.inputs, spec.outputs)


@pytest.mark.parametrize(
    ("join", "kind"), [("join_all", "join.all"), ("join_any", "join.any"), ("join_collect", "join.collect")]
)
def test_parallel_nodes_are_joined(join: Any, kind: str) -> None:
    spec = parallel(llm("a"), llm("b"), join=join, join_id="both", max_parallelism=2)

    assert {"type": kind, "id": "both", "depends_on": ["a", "b"]} == spec.to_dict()["nodes"][2]
    assert ([{"name": "both", "from": "both"}], 2) == (spec.to_dict()["outputs"], spec.max_parallelism)


def test_a_spec_survives_json_dicts_and_pickle() -> None:
    spec = parallel(llm("a", tools=[function("x")]), llm("b"), then=llm("c", user="{{join}}"), model=MODEL)

    assert spec == WorkflowSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert spec == pickle.loads(pickle.dumps(spec))


def test_what_was_passed_can_be_changed_later_without_changing_the_spec() -> None:
    tool = function("x", parameters={"type": "object"})
    spec = chain(llm("a", tools=[tool]))
    tool["function"]["parameters"] = {}

    assert [function("x", parameters={"type": "object"})] == spec.to_dict()["nodes"][0]["tools"]


def test_nodes_may_be_plain_dicts() -> None:
    node: Any = {"id": "a", "type": "llm", "user": "Hi"}

    assert chain(llm("a", user="Hi")) == chain(node)


# ---- what is refused ----

REFUSED: list[tuple[str, Callable[[], object], str, str]] = [
    ("no node", lambda: workflow().build(), "nodes", "at least one node"),
    ("no output", lambda: two_nodes().build(), "outputs", '.output("text", from_="b")'),
    (
        "an id twice",
        lambda: two_nodes().llm("a").output("t", "a").build(),
        "nodes[2].id",
        "'a' is taken by nodes[0]",
    ),
    ("a bad id", lambda: chain(llm("Draft")), "nodes[0].id", "'Draft' is no node id"),
    ("a newline in an id", lambda: chain(llm("a\n")), "nodes[0].id", "is no node id"),
    ("a long id", lambda: chain(llm("a" * 65)), "nodes[0].id", "at most 64"),
    ("an id of another type", lambda: chain(llm(5)), "nodes[0].id", "Expected `str`, got `int`"),  # type: ignore[arg-type]
    (
        "an edge to nowhere",
        lambda: two_nodes().edge("a", "c").build(),
        "edges[0].to",
        "'c', which is no node",
    ),
    (
        "an edge from nowhere",
        lambda: two_nodes().edge("c", "b").output("t", "b").build(),
        "nodes[1].depends_on",
        "node 'b' refers to 'c', which is no node; the nodes are a, b",
    ),
    ("an edge of no text", lambda: two_nodes().edge("a", 1), "edges[0].to", "Expected `str`"),  # type: ignore[arg-type]
    (
        "an edge to itself",
        lambda: two_nodes().edge("a", "a").output("t", "b").build(),
        "nodes[0].depends_on",
        "'a' dep",
    ),
    (
        "a cycle",
        lambda: two_nodes().edge("a", "b").edge("b", "a").output("t", "b").build(),
        "nodes[0].depends_on",
        "node 'a' waits for itself: a -> b -> a; remove one of these edges",
    ),
    (
        "a cycle of texts",
        lambda: workflow().llm("a", user="{{b}}").llm("b", user="{{a}}").output("t", "b").build(),
        "nodes[0].depends_on",
        "waits for itself",
    ),
    (
        "an output of nothing",
        lambda: two_nodes().output("t", "c").build(),
        "outputs[0].from",
        "'t' refers to 'c'",
    ),
    (
        "an output twice",
        lambda: two_nodes().output("t", "a").output("t", "b").build(),
        "outputs[1].name",
        "'t' is taken by outputs[0]",
    ),
    ("a blank output", lambda: two_nodes().output(" ", "a").build(), "outputs[0].name", "Expected `str`"),
    (
        "a bad pointer",
        lambda: two_nodes().output("t", "a", pointer="x").build(),
        "outputs[0].pointer",
        "output 't': 'x' is no JSON Pointer",
    ),
    (
        "a bad escape in a pointer",
        lambda: (
            two_nodes().transform_json("c", merge=[Source(from_="a", pointer="/~2")]).output("t", "c").build()
        ),
        "nodes[2].merge[0].pointer",
        "node 'c': '/~2' is no JSON Pointer",
    ),
    (
        "an unknown placeholder",
        lambda: chain(llm("a"), llm("b", system="{{a}} {{c}}"), inputs=["topic"]),
        "nodes[1].system",
        "node 'b' reads {{c}}, which is neither a node nor an input",
    ),
    ("a dotted placeholder", lambda: chain(llm("a"), llm("b", user="{{a.x}}")), "nodes[1].user", "{{a.x}}"),
    ("its own text", lambda: chain(llm("a", user="{{a}}")), "nodes[0].user", "reads its own text"),
    (
        "an item outside a fan-out",
        lambda: chain(llm("a", input={"x": "{{item}}"})),
        "nodes[0].input",
        "{{item}}",
    ),
    (
        "an input twice",
        lambda: chain(llm("a"), inputs=["x", "x"]),
        "inputs[1].name",
        "'x' is taken by inputs[0]",
    ),
    (
        "a flat tool",
        lambda: chain(llm("a", tools=["x", {"name": "y", "parameters": {}}])),
        "nodes[0].tools[1]",
        'node \'a\': a tool object must be {"type": "function", "function": {"name": "y", ...}}',
    ),
    (
        "a flat tool with a type",
        lambda: chain(llm("a", tools=[{"type": "function", "name": "y"}])),
        "nodes[0].tools[0]",
        '"function": {"name": "y", ...}}, got {"type", "name"}',
    ),
    (
        "a flat tool in a plain dict",
        lambda: WorkflowSpec.from_dict(
            {
                "kind": "workflow",
                "nodes": [{"id": "a", "type": "llm", "tools": [{"name": "y"}]}],
                "outputs": [{"name": "a", "from": "a"}],
            }
        ),
        "nodes[0].tools[0]",
        '"function": {"name": "y", ...}}, got {"name"}',
    ),
    (
        "a flat tool in a fan-out",
        lambda: chain(
            MapFanoutNode(id="f", items_from_input="l", subnode=llm("a", tools=[{"name": "y"}])), inputs="l"
        ),
        "nodes[0].subnode.tools[0]",
        "a tool object must be",
    ),
    (
        "a tool of an unknown type",
        lambda: chain(llm("a", tools=[{"type": "browser"}])),
        "nodes[0].tools[0]",
        'type must be one of "function", "web", "x_search", "code_execution", "image_generation"',
    ),
    (
        "a function without name",
        lambda: chain(llm("a", tools=["x", {"type": "function", "function": {}}])),
        "nodes[0].tools[1]",
        "name must be lower-case letters",
    ),
    (
        "a function with a name that the service refuses",
        lambda: chain(llm("a", tools=[function("getWeather")])),
        "nodes[0].tools[0]",
        "got 'getWeather'",
    ),
    (
        "a name that the service refuses",
        lambda: chain(llm("a", tools=["files.", "x"])),
        "nodes[0].tools[0]",
        "got 'files.'",
    ),
    (
        "a name that is too long",
        lambda: chain(llm("a", tools=["x" * 129])),
        "nodes[0].tools[0]",
        "at most 128 characters",
    ),
    (
        "a description that is no text",
        lambda: chain(llm("a", tools=[function("x", description=1)])),
        "nodes[0].tools[0]",
        "description must be text, got 1",
    ),
    (
        "parameters that are no schema",
        lambda: chain(llm("a", tools=[function("x", parameters=["a"])])),
        "nodes[0].tools[0]",
        "parameters must be a JSON Schema",
    ),
    (
        "settings beside the type",
        lambda: chain(llm("a", tools=[{"type": "web", "max_uses": 3}])),
        "nodes[0].tools[0]",
        'must have its settings under "web", got "max_uses" beside it',
    ),
    (
        "settings that are no object",
        lambda: chain(llm("a", tools=[{"type": "web", "web": True}])),
        "nodes[0].tools[0]",
        'settings of "web" must be an object, got True',
    ),
    (
        "an image generation without a model",
        lambda: chain(llm("a", tools=[{"type": "image_generation", "image_generation": {"size": 1}}])),
        "nodes[0].tools[0]",
        'must have a "model"',
    ),
    (
        "an object in the place of the list of tools",
        lambda: llm("a", tools=function("x")),
        "tools",
        "must be a list of tools",
    ),
    ("a tool mode", lambda: chain(llm("a", tool_execution="me")), "nodes[0].tool_execution.mode", "'me'"),  # type: ignore[arg-type]
    ("a user text of bytes", lambda: chain(llm("a", user=b"Hi")), "nodes[0].user", "`bytes`"),  # type: ignore[arg-type]
    ("an input that is no JSON", lambda: chain(llm("a", input=object())), "nodes[0]", "is no JSON"),
    ("a blank model", lambda: chain(llm("a"), model=" "), "model", "Expected `str`"),
    (
        "a model of another type",
        lambda: workflow(model=1).llm("a", model="m").output("t", "a").build(),  # type: ignore[arg-type]
        "model",
        "`int`",
    ),
    (
        "no parallelism",
        lambda: workflow(max_parallelism=0).llm("a").output("t", "a").build(),
        "max_parallelism",
        ">= 1",
    ),
    (
        "a join of nothing",
        lambda: two_nodes().join_all("j").output("t", "j").build(),
        "nodes[2].depends_on",
        "join 'j'",
    ),
    ("a join of no kind", lambda: parallel(llm("a"), join="all"), "join", "'all' is none of join_all"),  # type: ignore[arg-type]
    (
        "a limit of nothing",
        lambda: two_nodes().join_collect("j", limit=0, depends_on="a").output("t", "j").build(),
        "nodes[2].limit",
        ">= 1",
    ),
    (
        "a time limit of nothing",
        lambda: two_nodes().join_collect("j", timeout_ms=0, depends_on="a").output("t", "j").build(),
        "nodes[2].timeout_ms",
        ">= 1",
    ),
    (
        "an output of no tokens",
        lambda: workflow().llm("a", max_output_tokens=0).output("t", "a").build(),
        "nodes[0].max_output_tokens",
        ">= 1",
    ),
    (
        "a stop that is empty",
        lambda: workflow().llm("a", stop=["END", ""]).output("t", "a").build(),
        "nodes[0].stop[1]",
        "node 'a': stop must be",
    ),
    (
        "a stop that is no text",
        lambda: workflow().llm("a", stop=[5]).output("t", "a").build(),  # type: ignore[list-item]
        "nodes[0].stop[0]",
        "Expected `str`",
    ),
    (
        "a form of the output without its type",
        lambda: workflow().llm("a", output_format={}),
        "output_format",
        "missing required field `type`",
    ),
    (
        "a JSON output without a schema",
        lambda: workflow().llm("a", output_format={"type": "json_schema"}).output("t", "a").build(),
        "nodes[0].output_format.json_schema",
        "node 'a': json_schema must be there",
    ),
    (
        "a text output with a schema",
        lambda: (
            workflow().llm("a", output_format={"type": "text", "json_schema": {}}).output("t", "a").build()
        ),
        "nodes[0].output_format.json_schema",
        "got type 'text'",
    ),
    (
        "a retry without a number",
        lambda: workflow().llm("a", retry={"backoff_ms": 5}),
        "retry",
        "missing required field `max_attempts`",
    ),
    (
        "a retry after an error that the service does not know",
        lambda: workflow().llm("a", retry={"max_attempts": 2, "retryable_errors": ["fire"]}),
        "retry.retryable_errors[0]",
        "Invalid enum value 'fire'",
    ),
    (
        "a predicate without value",
        lambda: (
            two_nodes()
            .join_any("j", predicate=Predicate(source="node_status", op="equals"), depends_on="a")
            .output("t", "j")
            .build()
        ),
        "nodes[2].predicate.value",
        "node 'j': 'equals' needs a value",
    ),
    (
        "a predicate with a bad path",
        lambda: (
            two_nodes()
            .join_any("j", predicate=Predicate(source="node_output", op="exists", path="x"), depends_on="a")
            .output("t", "j")
            .build()
        ),
        "nodes[2].predicate.path",
        "node 'j': path must be a JSONPath that starts with '$', got 'x'",
    ),
    (
        "a transform of nothing",
        lambda: two_nodes().transform_json("c").output("t", "c").build(),
        "nodes[2]",
        "either",
    ),
    (
        "a transform of both",
        lambda: two_nodes().transform_json("c", object={"x": "a"}, merge=["b"]).output("t", "c").build(),
        "nodes[2]",
        "node 'c' needs either object or merge",
    ),
    (
        "a transform of an unknown node",
        lambda: two_nodes().transform_json("c", object={"x": "z"}).output("t", "c").build(),
        "nodes[2].object.x.from",
        "node 'c' refers to 'z'",
    ),
    (
        "items of nothing",
        lambda: two_nodes().map_fanout("f", subnode=llm("one")).output("t", "f").build(),
        "nodes[2].items_from",
        "either items_from or items_from_input",
    ),
    (
        "items of an unknown node",
        lambda: two_nodes().map_fanout("f", items_from="z", subnode=llm("one")).output("t", "f").build(),
        "nodes[2].items_from",
        "node 'f' refers to 'z'",
    ),
    (
        "items of an unknown input",
        lambda: (
            two_nodes().map_fanout("f", items_from_input="z", subnode=llm("one")).output("t", "f").build()
        ),
        "nodes[2].items_from_input",
        "there is no input 'z'",
    ),
    (
        "items at a bad pointer",
        lambda: (
            two_nodes()
            .map_fanout("f", items_from="a", items_pointer="x", subnode=llm("one"))
            .output("t", "f")
            .build()
        ),
        "nodes[2].items_pointer",
        "node 'f': 'x' is no JSON Pointer",
    ),
    (
        "items at a bad path",
        lambda: (
            two_nodes()
            .map_fanout("f", items_from="a", items_path="x", subnode=llm("one"))
            .output("t", "f")
            .build()
        ),
        "nodes[2].items_path",
        "node 'f': 'x' is no JSON Pointer",
    ),
    (
        "a bad subnode id",
        lambda: two_nodes().map_fanout("f", items_from="a", subnode=llm("One")).output("t", "f").build(),
        "nodes[2].subnode.id",
        "'One' is no node id",
    ),
    (
        "a subnode that reads nothing known",
        lambda: (
            two_nodes()
            .map_fanout("f", items_from="a", subnode=llm("o", user="{{z}}"))
            .output("t", "f")
            .build()
        ),
        "nodes[2].subnode.user",
        "node 'o' reads {{z}}",
    ),
    ("a node that is none", lambda: chain("draft"), "nodes[0]", "Expected `object`, got `str`"),  # type: ignore[arg-type]
    ("another kind", lambda: WorkflowSpec.from_dict({"kind": "flow"}), "kind", "got 'flow'"),
    (
        "an unknown field",
        lambda: WorkflowSpec.from_dict({"kind": "workflow", "edges": []}),
        "edges",
        "no such field",
    ),
    (
        "an empty spec",
        lambda: WorkflowSpec.from_dict({"kind": "workflow"}),
        "nodes",
        "nodes: a workflow needs at least one node; add one with .llm(...)",
    ),
    (
        "an unknown field of a node",
        lambda: WorkflowSpec.from_dict(
            {"kind": "workflow", "nodes": [{"type": "llm", "id": "a", "usr": ""}]}
        ),
        "nodes[0]",
        "unknown field `usr`",
    ),
    (
        "nodes that are no list",
        lambda: WorkflowSpec.from_dict({"kind": "workflow", "nodes": 5}),
        "nodes",
        "Expected `array`, got `int`",
    ),
]


@pytest.mark.parametrize(
    ("make", "field", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_not_sound_is_refused(make: Callable[[], object], field: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make()

    assert field == caught.value.field
    assert message in str(caught.value)


@pytest.mark.parametrize(("count", "listed"), [(1, ""), (8, ", n7"), (9, ", n7, ..."), (10, ", n7, ...")])
def test_an_error_lists_eight_nodes_at_most(count: int, listed: str) -> None:
    nodes = [llm(f"n{place}") for place in range(count)]
    with pytest.raises(InvalidArgumentError) as caught:
        chain(nodes, outputs={"text": "z"})

    _, _, names = str(caught.value).partition("the nodes are n0")
    assert "".join(f", n{place}" for place in range(1, min(count, 7))) + listed == names


def test_an_error_says_that_there_are_no_names_to_choose_from() -> None:
    outputs = (Output(name="t", from_="z"),)
    with pytest.raises(InvalidArgumentError, match="the nodes are none$"):
        check_outputs(outputs, ())


def test_a_workflow_without_outputs_names_its_last_node() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"'c' neither; add one with \.output\(\"text\", from_=\"c\"\)"
    ):
        workflow().llm("a").llm("b").llm("c").build()


def test_a_tool_may_be_a_name_a_function_or_built_in() -> None:
    tools: list[Any] = [
        "x",
        "files.read",
        function("y"),
        function("z", description="It zs.", parameters={"type": "object"}),
        {"type": "web"},
        {"type": "x_search", "x_search": {"from_date": "2026-01-01"}},
        {"type": "code_execution", "code_execution": {}},
        {"type": "image_generation", "image_generation": {"model": "gemini-2.5-flash-image"}},
    ]

    assert tools == list(chain(llm("a", tools=tools)).nodes[0].tools)  # type: ignore[union-attr]


def test_what_defines_tools_may_stand_for_them_or_among_them() -> None:
    class Registry:
        def definitions(self) -> list[dict[str, Any]]:
            return [function("y"), function("z")]

    alone, among = llm("a", tools=Registry()), llm("a", tools=["x", Registry()])

    assert ((function("y"), function("z")), ("x", function("y"), function("z"))) == (alone.tools, among.tools)


def test_a_predicate_that_asks_whether_something_exists_needs_no_value() -> None:
    predicate = Predicate(source="node_output", op="exists", path="$.x")
    spec = two_nodes().join_any("j", predicate=predicate, depends_on="a").output("t", "j").build()

    assert predicate == spec.nodes[2].predicate  # type: ignore[union-attr]


def test_a_list_that_is_wrong_is_named_with_the_place() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        typed(["a", 1], tuple[str, ...], "depends_on")

    assert ("depends_on[1]", "depends_on[1]: Expected `str`, got `int`") == (
        caught.value.field,
        str(caught.value),
    )


def test_a_place_inside_a_list_is_named_by_its_number() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        WorkflowSpec.from_dict({"kind": "workflow", "nodes": [{"type": "llm", "id": "a", "depends_on": [1]}]})

    assert "nodes[0].depends_on[0]" == caught.value.field


def test_a_spec_is_checked_however_it_is_made() -> None:
    with pytest.raises(InvalidArgumentError, match="'b', which is no node"):
        WorkflowSpec(nodes=(JoinAllNode(id="a", depends_on=("b",)),), outputs=(Output(name="t", from_="a"),))


def test_a_nested_fan_out_is_checked_to_its_end() -> None:
    inner = MapFanoutNode(id="inner", items_from_input="item", subnode=TransformJSONNode(id="t"))
    with pytest.raises(InvalidArgumentError) as caught:
        workflow().input("x").map_fanout("f", items_from_input="x", subnode=inner).output("t", "f").build()

    assert "nodes[0].subnode.subnode" == caught.value.field


# ---- laws ----

NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), min_size=2, max_size=12, unique=True)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    """Names in an order, and edges along it."""
    names = draw(NAMES)
    places = st.integers(0, len(names) - 1)
    pairs = draw(st.lists(st.tuples(places, places).filter(lambda pair: pair[0] < pair[1]), max_size=30))
    return names, [(names[first], names[second]) for first, second in pairs]


def built(names: list[str], edges: list[tuple[str, str]]) -> WorkflowSpec:
    builder = workflow(model=MODEL)
    for name in names:
        builder.llm(name)
    for first, second in edges:
        builder.edge(first, second)
    return builder.output("text", from_=names[-1]).build()


@given(graphs(), st.randoms())
def test_whatever_has_no_cycle_is_built_in_any_order(
    graph: tuple[list[str], list[tuple[str, str]]], chance: Any
) -> None:
    names, edges = graph
    shuffled = chance.sample(names, len(names))

    spec = built(shuffled, edges)

    assert set(edges) == {(first, node.id) for node in spec.nodes for first in node.depends_on}
    assert spec == WorkflowSpec.from_dict(spec.to_dict())


@given(graphs(), st.data())
def test_any_edge_back_is_refused(
    graph: tuple[list[str], list[tuple[str, str]]], data: st.DataObject
) -> None:
    names, edges = graph
    forward = [*edges, (names[0], names[-1])]
    first, second = data.draw(st.sampled_from(forward))

    with pytest.raises(InvalidArgumentError, match="waits for itself"):
        built(names, [*forward, (second, first)])
