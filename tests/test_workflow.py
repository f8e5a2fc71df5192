"""Specs: the results of a builder, and the errors, which name the node and its place."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.errors import InvalidArgumentError
from rxruns.workflow import (
    Input,
    JoinAllNode,
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


def wire(type: str, id: str, **fields: Any) -> dict[str, Any]:
    """A node on the wire."""
    return {"type": type, "id": id, **fields}


def depends_on(spec: WorkflowSpec) -> dict[str, tuple[str, ...]]:
    return {node.id: node.depends_on for node in spec.nodes}


# ---- results ----


def test_a_spec_is_the_object_of_the_wire_without_absent_fields() -> None:
    client_tools = {"tools": ["search", function("add")], "tool_execution": {"mode": "client"}}
    spec = (
        workflow("article", model=MODEL, max_parallelism=4)
        .input("topic", type="string", required=False, default=None)
        .llm("draft", system="Be brief.", user="{{topic}}", stream=True)
        .llm("edit", model="gpt-5", user="{{draft}}", tools=client_tools["tools"], tool_execution="client")
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
            wire("llm", "draft", model=MODEL, system="Be brief.", user="{{topic}}", stream=True),
            wire("llm", "edit", depends_on=["draft"], model="gpt-5", user="{{draft}}", **client_tools),
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
    rest = {"from": "b", "pointer": "/x~1y/0"}
    one = wire("llm", "one", model=MODEL)
    assert [
        wire("join.all", "all", **both),
        wire("join.any", "any", **both, predicate=predicate),
        wire("join.collect", "some", **both, limit=1, timeout_ms=1),
        wire("transform.json", "card", **both, object={"title": {"from": "a"}, "rest": rest}),
        wire("transform.json", "sum", **both, merge=[{"from": "a"}, {"from": "b"}]),
        wire(
            "map.fanout",
            "each",
            **both,
            items_from="a",
            items_pointer="",
            subnode=one | {"user": "{{item}} {{b}}"},
        ),
        wire(
            "map.fanout",
            "every",
            items_from_input="list",
            items_path="/questions",
            subnode=one,
            max_parallelism=2,
        ),
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


def test_the_model_of_a_built_or_read_spec_is_written_into_nodes_that_have_none() -> None:
    builder = workflow(model=MODEL).llm("a", model="gpt-5").llm("b")
    built = builder.map_fanout("each", items_from="a", subnode=llm("one")).output("text", "b").build()
    fan_out = wire("map.fanout", "each", items_from="a", subnode=wire("llm", "one"))
    nodes = [wire("llm", "a", model="gpt-5"), wire("llm", "b"), fan_out]
    record = {"kind": "workflow", "model": MODEL, "nodes": nodes, "outputs": [{"name": "text", "from": "b"}]}

    for spec in (built, WorkflowSpec.from_dict(record)):
        first, second, third = spec.to_dict()["nodes"]
        assert ["gpt-5", MODEL, MODEL] == [first["model"], second["model"], third["subnode"]["model"]]
    assert "model" not in chain(llm("a", user="Hi")).to_dict()["nodes"][0]


def test_a_node_waits_for_the_nodes_that_it_reads() -> None:
    spec = (
        workflow(model=MODEL)
        .llm("last", input=[{"role": "user", "content": ["{{ second }}", 1]}, "{{first}}"])
        .llm("second", user="{{first}}")
        .llm("first")
        .output("text", "last")
        .build()
    )

    assert {"last": ("second", "first"), "second": ("first",), "first": ()} == depends_on(spec)


def test_a_node_that_reads_a_branch_behind_a_join_waits_only_for_the_join() -> None:
    spec = parallel(llm("a"), llm("b"), join="join_any", then=llm("c", user="{{a}}"))

    assert ("join",) == depends_on(spec)["c"]


def test_an_edge_that_is_drawn_twice_counts_once() -> None:
    spec = two_nodes().edge("a", "b").edge("a", "b").output("text", "b").build()

    assert {"a": (), "b": ("a",)} == depends_on(spec)


def test_braces_that_are_not_a_placeholder_are_text() -> None:
    texts = '{"a": {"b": {}}} {{ }} {{1}} {{a b}} {item}'

    assert texts == chain(llm("a", user=texts)).to_dict()["nodes"][0]["user"]


def test_a_single_name_counts_as_a_list() -> None:
    spec = chain(llm("a", tools="search"), llm("b", depends_on="a"), inputs="topic")

    assert ["search"] == spec.to_dict()["nodes"][0]["tools"]
    assert ({"a": (), "b": ("a",)}, "topic") == (depends_on(spec), spec.inputs[0].name)


def test_a_builder_can_be_used_after_it_built() -> None:
    builder = two_nodes().output("text", "a")
    assert [2, 3] == [len(spec.nodes) for spec in (builder.build(), builder.llm("c").build())]
    assert "<WorkflowBuilder two: 3 nodes>" == repr(builder)


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


def test_a_spec_survives_json_dicts_and_pickle_and_nodes_may_be_dicts() -> None:
    spec = parallel(llm("a", tools=[function("x")]), llm("b"), then=llm("c", user="{{join}}"), model=MODEL)
    node: Any = wire("llm", "a", user="Hi")

    assert spec == WorkflowSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert spec == pickle.loads(pickle.dumps(spec))
    assert chain(llm("a", user="Hi")) == chain(node)


def test_changing_an_argument_later_does_not_change_the_spec() -> None:
    tool = function("x", parameters={"type": "object"})
    spec = chain(llm("a", tools=[tool]))
    tool["function"]["parameters"] = {}

    assert [function("x", parameters={"type": "object"})] == spec.to_dict()["nodes"][0]["tools"]


# ---- errors ----


def one(**options: Any) -> Callable[[], object]:
    """Make a spec of one llm node."""
    return lambda: chain(llm("a", **options))


def with_third(call: str, **options: Any) -> Callable[[], object]:
    """Make a spec with a third node, by a method of the builder."""
    return lambda: getattr(two_nodes(), call)("c", **options).output("t", "c").build()


def edges(*pairs: tuple[str, str]) -> Callable[[], object]:
    """Make a spec of two nodes with edges."""
    return lambda: reduce(lambda made, pair: made.edge(*pair), pairs, two_nodes()).output("t", "b").build()


def read(**fields: Any) -> Callable[[], object]:
    """Make a spec of a plain dict."""
    return lambda: WorkflowSpec.from_dict({"kind": "workflow"} | fields)


def joined(**predicate: Any) -> Callable[[], object]:
    """Make a spec with a predicate."""
    return lambda: with_third("join_any", predicate=Predicate(**predicate), depends_on="a")()


def fan_out(subnode: Any = None, **options: Any) -> Callable[[], object]:
    """Make a spec with a fan-out."""
    return with_third("map_fanout", subnode=subnode or llm("one"), **options)


OUTPUT = {"name": "a", "from": "a"}
NESTED = MapFanoutNode(id="inner", items_from_input="item", subnode=TransformJSONNode(id="t"))

REFUSED: list[tuple[Callable[[], object], str, str]] = [
    (lambda: workflow().build(), "nodes", "at least one node"),
    (lambda: two_nodes().build(), "outputs", '.output("text", from_="b")'),
    (lambda: two_nodes().llm("a").output("t", "a").build(), "nodes[2].id", "'a' is taken by nodes[0]"),
    (lambda: chain(llm("Draft")), "nodes[0].id", "nodes[0].id must be a lower-case letter, then"),
    (lambda: chain(llm("a\n")), "nodes[0].id", "got 'a\\n'"),
    (lambda: chain(llm("a" * 65)), "nodes[0].id", "at most 64"),
    (lambda: chain(llm(5)), "nodes[0].id", "Expected `str`, got `int`"),  # type: ignore[arg-type]
    (lambda: chain("draft"), "nodes[0]", "Expected `object`, got `str`"),  # type: ignore[arg-type]
    # edges
    (edges(("a", "c")), "edges[0].to", "'c', which isn't a node"),
    (
        edges(("c", "b")),
        "nodes[1].depends_on",
        "node 'b' refers to 'c', which isn't a node; ",
    ),
    (edges(("a", 1)), "edges[0].to", "Expected `str`"),  # type: ignore[arg-type]
    (edges(("a", "a")), "nodes[0].depends_on", "'a' dep"),
    (
        edges(("a", "b"), ("b", "a")),
        "nodes[0].depends_on",
        "node 'a' waits for itself: a -> b -> a; remove one of these edges",
    ),
    (
        lambda: workflow().llm("a", user="{{b}}").llm("b", user="{{a}}").output("t", "b").build(),
        "nodes[0].depends_on",
        "waits for itself",
    ),
    # inputs and outputs
    (lambda: two_nodes().output("t", "c").build(), "outputs[0].from", "'t' refers to 'c'"),
    (
        lambda: two_nodes().output("t", "a").output("t", "b").build(),
        "outputs[1].name",
        "'t' is taken by outputs[0]",
    ),
    (lambda: two_nodes().output(" ", "a").build(), "outputs[0].name", "Expected `str`"),
    (
        lambda: two_nodes().output("t", "a", pointer="x").build(),
        "outputs[0].pointer",
        "outputs[0].pointer must be a JSON Pointer",
    ),
    (lambda: chain(llm("a"), inputs=["x", "x"]), "inputs[1].name", "'x' is taken by inputs[0]"),
    # placeholders
    (
        lambda: chain(llm("a"), llm("b", system="{{a}} {{c}}"), inputs=["topic"]),
        "nodes[1].system",
        "node 'b' reads {{c}}, which is neither a node nor an input",
    ),
    (lambda: chain(llm("a"), llm("b", user="{{a.x}}")), "nodes[1].user", "{{a.x}}"),
    (one(user="{{a}}"), "nodes[0].user", "reads its own text"),
    (one(input={"x": "{{item}}"}), "nodes[0].input", "{{item}}"),
    # tools
    (
        one(tools=["x", {"name": "y", "parameters": {}}]),
        "nodes[0].tools[1]",
        'node \'a\': a tool object must be {"type": "function", "function": {"name": "y", ...}}',
    ),
    (
        one(tools=[{"type": "function", "name": "y"}]),
        "nodes[0].tools[0]",
        '"function": {"name": "y", ...}}, got {"type", "name"}',
    ),
    (
        read(
            nodes=[{"id": "a", "type": "llm", "tools": [{"name": "y"}]}], outputs=[{"name": "a", "from": "a"}]
        ),
        "nodes[0].tools[0]",
        '"function": {"name": "y", ...}}, got {"name"}',
    ),
    (
        fan_out(llm("a", tools=[{"name": "y"}]), items_from="a"),
        "nodes[2].subnode.tools[0]",
        "a tool object must be",
    ),
    (
        one(tools=[{"type": "browser"}]),
        "nodes[0].tools[0]",
        'type must be one of "function", "web", "x_search", "code_execution", "image_generation"',
    ),
    (
        one(tools=["x", {"type": "function", "function": {}}]),
        "nodes[0].tools[1]",
        "name must be lower-case letters",
    ),
    (one(tools=[function("getWeather")]), "nodes[0].tools[0]", "got 'getWeather'"),
    (one(tools=["files.", "x"]), "nodes[0].tools[0]", "got 'files.'"),
    (one(tools=["x" * 129]), "nodes[0].tools[0]", "at most 128 characters"),
    (one(tools=[function("x", description=1)]), "nodes[0].tools[0]", "description must be text, got 1"),
    (one(tools=[function("x", parameters=["a"])]), "nodes[0].tools[0]", "parameters must be a JSON Schema"),
    (
        one(tools=[{"type": "web", "max_uses": 3}]),
        "nodes[0].tools[0]",
        'must have its settings under "web", got "max_uses" beside it',
    ),
    (
        one(tools=[{"type": "web", "web": True}]),
        "nodes[0].tools[0]",
        'settings of "web" must be an object, got True',
    ),
    (
        one(tools=[{"type": "image_generation", "image_generation": {"size": 1}}]),
        "nodes[0].tools[0]",
        'must have a "model"',
    ),
    (one(tools=function("x")), "tools", "must be a list of tools"),
    # options of llm nodes
    (one(tool_execution="me"), "nodes[0].tool_execution.mode", "'me'"),
    (one(user=b"Hi"), "nodes[0].user", "`bytes`"),
    (one(input=object()), "nodes[0]", "isn't JSON"),
    (one(max_output_tokens=0), "nodes[0].max_output_tokens", ">= 1"),
    (one(stop=["END", ""]), "nodes[0].stop[1]", "nodes[0].stop[1] must be"),
    (one(stop=[5]), "nodes[0].stop[0]", "Expected `str`"),
    (one(output_format={}), "output_format", "missing required field `type`"),
    (
        one(output_format={"type": "json_schema"}),
        "nodes[0].output_format.json_schema",
        "node 'a': json_schema must be there",
    ),
    (
        one(output_format={"type": "text", "json_schema": {}}),
        "nodes[0].output_format.json_schema",
        "got type 'text'",
    ),
    (one(retry={"backoff_ms": 5}), "retry", "missing required field `max_attempts`"),
    (
        one(retry={"max_attempts": 2, "retryable_errors": ["fire"]}),
        "retry.retryable_errors[0]",
        "Invalid enum value 'fire'",
    ),
    # options of the workflow
    (lambda: chain(llm("a"), model=" "), "model", "Expected `str`"),
    (lambda: chain(llm("a"), model=1), "model", "`int`"),  # type: ignore[arg-type]
    (lambda: parallel(llm("a"), max_parallelism=0), "max_parallelism", ">= 1"),
    # joins
    (with_third("join_all"), "nodes[2].depends_on", "join 'c'"),
    (lambda: parallel(llm("a"), join="all"), "join", "join must be one of join_all, "),  # type: ignore[arg-type]
    (with_third("join_collect", limit=0, depends_on="a"), "nodes[2].limit", ">= 1"),
    (with_third("join_collect", timeout_ms=0, depends_on="a"), "nodes[2].timeout_ms", ">= 1"),
    (
        joined(source="node_status", op="equals"),
        "nodes[2].predicate.value",
        "'equals' needs a value",
    ),
    (
        joined(source="node_output", op="exists", path="x"),
        "nodes[2].predicate.path",
        "nodes[2].predicate.path must be a JSONPath that starts with '$', got 'x'",
    ),
    # transforms
    (
        with_third("transform_json", merge=[Source(from_="a", pointer="/~2")]),
        "nodes[2].merge[0].pointer",
        "nodes[2].merge[0].pointer must be a JSON Pointer",
    ),
    (with_third("transform_json"), "nodes[2]", "either"),
    (
        with_third("transform_json", object={"x": "a"}, merge=["b"]),
        "nodes[2]",
        "node 'c' needs either object or merge",
    ),
    (with_third("transform_json", object={"x": "z"}), "nodes[2].object.x.from", "node 'c' refers to 'z'"),
    # fan-outs
    (fan_out(), "nodes[2].items_from", "either items_from or items_from_input"),
    (fan_out(items_from="z"), "nodes[2].items_from", "node 'c' refers to 'z'"),
    (fan_out(items_from_input="z"), "nodes[2].items_from_input", "there is no input 'z'"),
    (fan_out(items_from="a", items_pointer="x"), "nodes[2].items_pointer", "a JSON Pointer"),
    (fan_out(items_from="a", items_path="x"), "nodes[2].items_path", "a JSON Pointer"),
    (fan_out(llm("One"), items_from="a"), "nodes[2].subnode.id", "got 'One'"),
    (fan_out(llm("o", user="{{z}}"), items_from="a"), "nodes[2].subnode.user", "node 'o' reads {{z}}"),
    (
        fan_out(NESTED, items_from="a"),
        "nodes[2].subnode.subnode",
        "either object or merge",
    ),
    # plain dicts
    (read(kind="flow"), "kind", "kind must be 'workflow', got 'flow'"),
    (read(edges=[]), "edges", "a spec has no such field"),
    (read(), "nodes", "nodes: a workflow needs at least one node; add one with .llm(...)"),
    (read(nodes=[{"type": "llm", "id": "a", "usr": ""}]), "nodes[0]", "unknown field `usr`"),
    (read(nodes=5), "nodes", "Expected `array`, got `int`"),
    (read(nodes=[{"type": "llm", "id": "a", "depends_on": [1]}]), "nodes[0].depends_on[0]", "Expected `str`"),
    # values that are made without a builder
    (
        lambda: WorkflowSpec(
            nodes=(JoinAllNode(id="a", depends_on=("b",)),), outputs=(Output(name="t", from_="a"),)
        ),
        "nodes[0].depends_on",
        "'b', which isn't a node",
    ),
    (
        lambda: typed(["a", 1], tuple[str, ...], "depends_on"),
        "depends_on[1]",
        "depends_on[1]: Expected `str`, got `int`",
    ),
    (lambda: check_outputs((Output(name="t", from_="z"),), ()), "outputs[0].from", "the nodes are (none)"),
    (
        lambda: workflow().llm("a").llm("b").llm("c").build(),
        "outputs",
        """add one with .output("text", from_="c")""",
    ),
]


@pytest.mark.parametrize(("make", "field", "message"), REFUSED)
def test_an_invalid_workflow_is_refused_with_its_place(
    make: Callable[[], object], field: str, message: str
) -> None:
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


def test_an_object_that_defines_tools_may_replace_them_or_be_one_of_them() -> None:
    class Registry:
        def definitions(self) -> list[dict[str, Any]]:
            return [function("y"), function("z")]

    alone, among = llm("a", tools=Registry()), llm("a", tools=["x", Registry()])

    assert ((function("y"), function("z")), ("x", function("y"), function("z"))) == (alone.tools, among.tools)


def test_a_predicate_of_existence_needs_no_value() -> None:
    predicate = Predicate(source="node_output", op="exists", path="$.x")
    spec = two_nodes().join_any("j", predicate=predicate, depends_on="a").output("t", "j").build()

    assert predicate == spec.nodes[2].predicate  # type: ignore[union-attr]


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
def test_a_workflow_without_a_cycle_is_built_in_any_order(
    graph: tuple[list[str], list[tuple[str, str]]], chance: Any
) -> None:
    names, edges = graph
    shuffled = chance.sample(names, len(names))

    spec = built(shuffled, edges)

    assert set(edges) == {(first, node.id) for node in spec.nodes for first in node.depends_on}
    assert spec == WorkflowSpec.from_dict(spec.to_dict())


@given(graphs(), st.data())
def test_an_edge_back_is_refused(graph: tuple[list[str], list[tuple[str, str]]], data: st.DataObject) -> None:
    names, edges = graph
    forward = [*edges, (names[0], names[-1])]
    first, second = data.draw(st.sampled_from(forward))

    with pytest.raises(InvalidArgumentError, match="waits for itself"):
        built(names, [*forward, (second, first)])
