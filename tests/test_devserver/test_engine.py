from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft7Validator

from rxruns.devserver import PRICES, _llm
from rxruns.devserver._model import cents, provider_of
from tests.test_devserver.conftest import llm, workflow

RESPONSE_TEXT = "/output/0/content/0/text"


def kinds(events, node=None):
    return [event["type"] for event in events if node is None or event.get("node_id") == node]


def output(api, spec, **options):
    run_id = api.start(spec, **options)
    events = api.events(run_id)
    assert "run_completed" == events[-1]["type"], events[-1]
    return api.state(run_id)["outputs"]["out"]


def failure(api, spec, **options):
    run_id = api.start(spec, **options)
    events = api.events(run_id)
    assert "run_failed" == events[-1]["type"]
    return events[-1]["error"], api.state(run_id)


def test_a_run_of_one_node_has_these_events(api):
    run_id = api.start(workflow(llm("a", "[[say: hi you]]")))
    begin, end = (
        "run_compiled run_started node_started",
        "node_llm_call node_output node_succeeded run_completed",
    )
    assert [*begin.split(), *["node_output_delta"] * 4, *end.split()] == kinds(api.events(run_id))


def test_the_deltas_are_the_text_and_usage_counts_them(api):
    run_id = api.start(workflow(llm("a", "Send me more, please!")))
    events = api.events(run_id)
    deltas = [event["delta"].get("text_delta", "") for event in events if "delta" in event]
    call = next(event["llm_call"] for event in events if "llm_call" in event)
    assert api.state(run_id)["outputs"]["out"] == "".join(deltas)
    count = len(deltas) - 2
    assert {"input_tokens": 6, "output_tokens": count, "total_tokens": count + 6} == call["usage"]
    assert ("openai", "gpt-4o", "end_turn") == (call["provider"], call["model"], call["stop_reason"])


def test_the_same_seed_gives_the_same_text_and_another_does_not(serve):
    spec = workflow(llm("a", "x"), llm("b", "{{a}}"))
    texts = [output(serve(seed=seed), spec) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_parallel_nodes_are_joined_in_the_order_of_the_spec(api):
    names = [f"n{i}" for i in range(6)]
    nodes = [llm(name, f"[[say: {name}]]") for name in names]
    join = {"id": "j", "type": "join.all", "depends_on": names[::-1]}
    assert {name: name for name in names} == output(api, workflow(*nodes, join))
    assert names == list(output(api, workflow(*nodes, join)))


def test_placeholders_stand_for_inputs_texts_and_joins(api):
    spec = workflow(
        llm("a", "[[say: A]]"),
        llm("b", "[[say: B]]"),
        {"id": "j", "type": "join.all", "depends_on": ["a", "b"]},
        llm("c", "[[say: {{a}} {{ j }} {{n}} {{d}}]]"),
        inputs=[{"name": "n", "type": "integer"}, {"name": "d", "default": "dee"}],
    )
    assert 'A {"a":"A","b":"B"} 3 dee' == output(api, spec, input={"n": 3})


def test_structured_input_is_rendered_as_json(api):
    node = {"id": "a", "type": "llm", "input": [{"role": "user", "text": "[[say: {{n}}]]"}]}
    assert output(api, workflow(node, model="gpt-4o"), input={"n": "seen"}).startswith("seen")


def test_join_any_takes_the_first_and_join_collect_its_limit(api):
    slow = llm("slow", "x", tools=["wait"], tool_execution={"mode": "client"})
    spec = workflow(
        slow,
        llm("quick", "[[say: q]]"),
        llm("other", "[[say: o]]"),
        {"id": "first", "type": "join.any", "depends_on": ["slow", "quick"]},
        {"id": "two", "type": "join.collect", "depends_on": ["slow", "quick", "other"], "limit": 2},
    )
    run_id = api.start(spec)
    with api.follow(run_id) as response:
        done = set()
        while not {"first", "two"} <= done:
            event = json.loads(response.readline())
            done |= {event["node_id"]} if event["type"] == "node_succeeded" else set()
    outputs = {node["id"]: node.get("output") for node in api.state(run_id)["nodes"]}
    assert ({"quick": "q"}, {"quick": "q", "other": "o"}) == (outputs["first"], outputs["two"])
    assert api.server.cancel(run_id)


def test_join_collect_ends_at_its_timeout(api):
    slow = llm("slow", "x", tools=["wait"], tool_execution={"mode": "client"})
    join = {"id": "j", "type": "join.collect", "depends_on": ["slow"], "timeout_ms": 1}
    run_id = api.start(workflow(slow, join))
    events = api.until(run_id, "node_succeeded")
    assert "j" == events[-1]["node_id"]
    assert {} == api.state(run_id)["nodes"][1]["output"]


def test_transform_builds_and_merges_objects(api):
    nodes = [
        llm("a", '[[say: {"x": {"y/z": [1, 2]}}]]'),
        llm("b", '[[say: {"b": true}]]'),
        {"id": "o", "type": "transform.json", "object": {"k": {"from": "a", "pointer": "/x/y~1z/1"}}},
        {"id": "t", "type": "transform.json", "object": {"text": {"from": "b", "pointer": RESPONSE_TEXT}}},
        {"id": "m", "type": "transform.json", "merge": [{"from": "o"}, {"from": "t"}]},
    ]
    assert {"k": 2, "text": '{"b": true}'} == output(api, workflow(*nodes))


def fan_out(user="{{item}}", origin="i", **fields):
    """A fan-out over the input or the output of that name."""
    source = {"items_from": origin} if origin == "a" else {"items_from_input": origin}
    return {"id": "e", "type": "map.fanout", "subnode": llm("s", user), **source, **fields}


def pointing(pointer):
    return {"type": "transform.json", "object": {"k": {"from": "a", "pointer": pointer}}}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('["a", "b"]', {}),
        ('["a", "b"]', {"items_path": ""}),
        ('{"questions": ["a", "b"]}', {"items_path": "/questions"}),
        ('{"deep": {"er": ["a", "b"]}}', {"items_path": "/deep/er"}),
        ('{"questions": ["a", "b"]}', {"items_pointer": RESPONSE_TEXT, "items_path": "/questions"}),
        ('["a", "b"]', {"items_pointer": RESPONSE_TEXT}),
        ('{"questions": ["a", "b"]}', {"items_pointer": "/questions"}),
        ('{"inner": "[\\"a\\", \\"b\\"]"}', {"items_pointer": "/inner"}),
    ],
)
def test_a_fan_out_finds_its_items_in_the_json_that_a_text_is(api, text, places):
    each = fan_out("[[say: {{item}}!]]", "a", **places)
    assert ["a!", "b!"] == output(api, workflow(llm("a", f"[[say: {text}]]"), each))


@pytest.mark.parametrize(
    ("node", "items", "texts"),
    [
        (fan_out("[[say: {{item}}!]]", max_parallelism=3), list(range(20)), [f"{n}!" for n in range(20)]),
        (fan_out(), [], []),
        (fan_out("[[say: {{item}}]]", items_path="/list"), {"list": [1, 2]}, ["1", "2"]),
        (fan_out(""), ["[[say: one]]"], ["one"]),  # no placeholder: the item is the prompt
    ],
)
def test_a_fan_out_over_an_input_keeps_the_order_of_its_items(api, node, items, texts):
    assert texts == output(api, workflow(node), input={"i": items})


def test_the_children_of_fan_outs_have_node_ids_of_their_own(api, check_answer):
    def each(name, sub):
        return {"id": name, "type": "map.fanout", "items_from_input": "i", "subnode": llm(sub, "{{item}}")}

    long = "x" * 64
    spec = workflow(
        *(each(name, sub) for name, sub in [("a", "b_c"), ("a_b", "c"), (long, "s"), ("y" * 64, long)]),
        llm("a_b_c_0"),
        llm("a_b_c_2_1"),
    )
    run_id = api.start(spec, input={"i": list(range(11))})
    started = [event["node_id"] for event in api.events(run_id) if event["type"] == "node_started"]
    assert 6 + 4 * 11 == len(started) == len(set(started))
    assert all(re.fullmatch("[a-z][a-z0-9_]{0,63}", name) for name in started)
    state = api.state(run_id, include="steps")
    check_answer("RunsGetResponse", state)
    assert set(started) == {node["id"] for node in state["nodes"]}


def test_a_node_that_fails_fails_the_run_and_cancels_the_rest(api, check_answer):
    error, state = failure(api, workflow(llm("a", "[[fail: no luck]]"), llm("b", "{{a}}")))
    assert {"message": "no luck", "code": "PROVIDER_ERROR"} == error
    assert ["failed", "canceled"] == [node["status"] for node in state["nodes"]]
    assert "outputs" not in state and error == state["nodes"][0]["error"]
    check_answer("RunsGetResponse", state)


def test_the_same_idempotency_key_gives_the_same_run(api):
    spec = workflow(llm("a", "x"))
    first, second = (api.start(spec, options={"idempotency_key": key}) for key in ("k", " k "))
    other = api.start(spec, options={"idempotency_key": "  "})
    assert first == second != other


def test_a_subnode_that_fails_fails_its_fan_out(api):
    run_id = api.start(workflow(fan_out()), input={"i": ["ok", "[[fail: bad]]", "ok"]})
    assert ["e_s_1", "e"] == [
        event["node_id"] for event in api.events(run_id) if event["type"] == "node_failed"
    ]


@pytest.mark.parametrize(
    ("node", "code"),
    [
        (pointing("/none"), "POINTER_NOT_FOUND"),
        (pointing("/text/deep"), "POINTER_NOT_FOUND"),
        ({"type": "transform.json", "merge": [{"from": "a"}]}, "INVALID_ITEMS"),
        (fan_out(origin="a", items_path="/x"), "POINTER_NOT_FOUND"),
        (fan_out(origin="a"), "INVALID_ITEMS"),
    ],
)
def test_a_value_that_an_output_lacks_fails_the_node(api, node, code):
    assert code == failure(api, workflow(llm("a", "x"), {"id": "b", **node}))[0]["code"]


def test_an_output_that_is_not_there_fails_the_run(api):
    spec = workflow(llm("a", "x"), outputs=[{"name": "o", "from": "a", "pointer": "/none"}])
    error, state = failure(api, spec)
    assert ("POINTER_NOT_FOUND", "succeeded") == (error["code"], state["nodes"][0]["status"])


@pytest.mark.parametrize("node", [llm("a", "x"), fan_out()])
def test_a_canceled_run_stops_at_once(serve, node, check_event):
    api = serve(delay=30.0)
    run_id = api.start(workflow(node), input={"i": ["1", "2", "3"]})
    api.until(run_id, "node_output_delta")
    assert api.server.cancel(run_id, "not needed")
    last, state = api.events(run_id)[-1], api.state(run_id)
    assert ("run_canceled", "not needed") == (last["type"], last["error"]["message"])
    assert {"canceled"} == {state["status"], *(node["status"] for node in state["nodes"])}
    assert [False, False] == [api.server.cancel(one) for one in (run_id, api.server.script().run_id)]
    check_event(last)


def test_streaming_is_the_default_can_be_off_and_forced(api):
    spec = workflow(llm("a", "x", stream=False))
    by_query = api.post("/runs", {"spec": spec}, stream="true").body["run_id"]
    runs = api.start(workflow(llm("a"))), api.start(spec), api.start(spec, stream=True), by_query
    assert [True, False, True, True] == ["node_output_delta" in kinds(api.events(run)) for run in runs]


SUBNODE = {"parent_id": "e", "subnode_id": "s", "model": "all"}


@pytest.mark.parametrize(
    "models",
    [{"model_override": "all"}, {"model_overrides": {"nodes": {"a": "all"}, "fanout_subnodes": [SUBNODE]}}],
)
def test_an_override_alone_stands_for_the_models_of_a_spec(serve, tmp_path, models):
    api = serve(directory=tmp_path)
    fanout = {"id": "e", "type": "map.fanout", "items_from_input": "i", "subnode": {"id": "s", "type": "llm"}}
    spec = workflow({"id": "a", "type": "llm"}, fanout)
    run_id = api.start(spec, input={"i": [1]}, **models)
    events = api.events(run_id)
    assert ["all", "all"] == [event["llm_call"]["model"] for event in events if "llm_call" in event]
    plan = {"plan_hash": events[0]["plan_hash"].upper(), "input": {"i": []}}
    assert (200, 400) == (api.post("/runs", plan | models).status, api.post("/runs", plan).status)
    assert 400 == api.post("/runs", {"spec": spec, "input": {"i": []}}).status
    assert events == serve(directory=tmp_path).events(run_id)


@pytest.mark.parametrize(
    ("predicate", "taken"),
    [
        ({"source": "node_output", "op": "exists", "path": "$.ok"}, ["b", "c"]),
        ({"source": "node_output", "op": "equals", "path": "$.ok", "value": True}, ["b"]),
        ({"source": "node_output", "op": "equals", "path": "$.ok", "value": 1}, []),
        ({"source": "node_output", "op": "equals", "path": "$['list'][1].x", "value": "y"}, ["c"]),
        ({"source": "node_output", "op": "equals", "value": "plain text"}, ["a"]),
        ({"source": "node_output", "op": "equals", "path": "$", "value": {"ok": True}}, ["b"]),
        ({"source": "node_output", "op": "matches", "value": "^pl.*t$"}, ["a"]),
        ({"source": "node_output", "op": "matches", "path": "$.ok", "value": "true|false"}, ["b", "c"]),
        ({"source": "node_status", "op": "equals", "value": "succeeded"}, ["a", "b", "c"]),
        ({"source": "node_status", "op": "matches", "value": "failed"}, []),
    ],
)
def test_a_join_takes_what_fulfils_its_predicate(api, predicate, taken):
    texts = {"a": "plain text", "b": '{"ok": true}', "c": '{"ok": false, "list": [0, {"x": "y"}]}'}
    nodes = [llm(name, f"[[say: {text}]]") for name, text in texts.items()]
    join = {"id": "j", "depends_on": list(texts), "predicate": predicate}
    collected = output(api, workflow(*nodes, join | {"type": "join.collect"}))
    assert taken == list(collected)
    any_of = workflow(*nodes, join | {"type": "join.any"})
    if not taken:
        assert "NO_MATCH" == failure(api, any_of)[0]["code"]
        return
    (first,), (limited,) = (
        output(api, any_of),
        output(api, workflow(*nodes, join | {"type": "join.collect", "limit": 1})),
    )
    assert {first, limited} <= set(taken)


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def ended(api, spec):
    """Return the text of a run, the stop reason of its last model call and its output tokens."""
    run_id = api.start(spec)
    events = api.events(run_id)
    call = [event["llm_call"] for event in events if "llm_call" in event][-1]
    deltas = [event["delta"]["text_delta"] for event in events if "text_delta" in event.get("delta", {})]
    text = api.state(run_id)["outputs"]["out"]
    assert "".join(deltas) == text and len(deltas) == call["usage"]["output_tokens"]
    assert sum(call["usage"].values()) == 2 * call["usage"]["total_tokens"]
    return text, call["stop_reason"], len(deltas)


WORDS = "one two END three"


@pytest.mark.parametrize(
    ("fields", "text", "reason"),
    [
        ({}, WORDS, "end_turn"),
        ({"max_output_tokens": 2}, "one two", "max_tokens"),
        ({"max_output_tokens": 4}, WORDS, "end_turn"),
        ({"stop": ["three", "END"]}, "one two ", "stop_sequence"),
        ({"stop": ["nowhere"]}, WORDS, "end_turn"),
        ({"stop": ["END"], "max_output_tokens": 1}, "one", "max_tokens"),
        ({"output_format": {"type": "text"}}, WORDS, "end_turn"),
        ({"retry": {"max_attempts": 3, "retryable_errors": ["timeout"], "backoff_ms": 5}}, WORDS, "end_turn"),
    ],
)
def test_a_text_ends_as_its_node_requires(api, fields, text, reason):
    found = ended(api, workflow(llm("a", "[[say: one two END three]]", **fields)))
    assert (text, reason) == found[:2]


@pytest.mark.parametrize("described", [SCHEMA, {"name": "trip", "schema": SCHEMA, "strict": True}])
def test_a_text_is_json_that_fits_the_schema_of_its_node(api, described):
    form = {"type": "json_schema", "json_schema": described}
    text, reason, _ = ended(api, workflow(llm("a", "Plan a trip", output_format=form)))
    reply = ended(api, workflow(llm("a", '[[say: {"city": "Bonn"}]]', output_format=form)))
    Draft7Validator(SCHEMA).validate(json.loads(text))
    assert ("end_turn", '{"city": "Bonn"}') == (reason, reply[0])
    assert text != ended(api, workflow(llm("a", "Another trip", output_format=form)))[0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plan_hash": "0" * 64}, "spec"),
        ({"more": 1}, "more"),
        ({"input": []}, "input"),
        ({"options": "x"}, "options"),
        ({"stream": "yes"}, "stream"),
        ({"model_override": 1}, "model_override"),
        ({"session_id": "x"}, "session_id"),
        ({"session_id": None}, "session_id"),
        ({"session_id": "00000000-0000-0000-0000-000000000000"}, "session_id"),
        ({"model_overrides": {"nodes": {"none": "m"}}}, "model_overrides.nodes.none"),
        ({"model_overrides": {"nodes": {"a": " "}}}, "model_overrides.nodes.a"),
        ({"model_overrides": {"nodes": []}}, "model_overrides"),
        ({"model_overrides": {"fanout_subnodes": [{}]}}, "model_overrides.fanout_subnodes[0]"),
        ({"model_overrides": {"fanout_subnodes": ["x"]}}, "model_overrides.fanout_subnodes[0]"),
        ({"model_overrides": {"fanout_subnodes": [{"parent_id": []}]}}, "model_overrides.fanout_subnodes[0]"),
        ({}, "input.need"),
        ({"input": {"need": True}}, "input.need"),
        ({"input": {"need": "1"}}, "input.need"),
    ],
)
def test_a_bad_request_is_refused_by_field(api, body, field):
    spec = workflow(
        llm("a", "x"),
        inputs=[{"name": "need", "type": "integer", "required": True}, {"name": "any", "type": "blob"}],
    )
    answer = api.post("/runs", {"spec": spec, **body})
    assert 400 == answer.status and field in answer.fields


def test_max_parallelism_one_runs_node_after_node(api):
    spec = workflow(*(llm(f"n{i}", "x") for i in range(4)), max_parallelism=1)
    events = api.events(api.start(spec))
    order = [event["node_id"] for event in events if event["type"] in ("node_started", "node_succeeded")]
    assert ["n0", "n0", "n1", "n1", "n2", "n2", "n3", "n3"] == order


def test_costs_are_summed_per_model_and_rounded_half_up(api):
    nodes = [llm(f"n{i}", "[[tokens: 2000]]", stream=False) for i in range(2)]
    run_id = api.start(workflow(*nodes, llm("free", "x", model="mine")))
    api.events(run_id)
    lines = {line["model"]: line for line in api.state(run_id)["cost_summary"]["line_items"]}
    paid = lines["gpt-4o"]
    assert (2, 4000) == (paid["requests"], paid["output_tokens"])
    assert cents("openai", "gpt-4o", paid["input_tokens"], 4000) == paid["usd_cents"] == 4
    assert ("simulated", 0) == (lines["mine"]["provider_id"], lines["mine"]["usd_cents"])


def test_half_a_cent_is_a_cent_and_every_priced_model_has_its_provider():
    assert (1, 0) == (cents("openai", "gpt-4o", 2_000, 0), cents("openai", "gpt-4o", 1_999, 0))
    assert all(provider == provider_of(model) for provider, model in PRICES)


def test_outputs_are_included_on_request_and_only_when_small(api):
    spec = workflow(llm("a", "[[say: small]]"), llm("b", "[[tokens: 250000]]", stream=False))
    run_id = api.start(spec)
    bare, whole = api.events(run_id), api.events(run_id, include_output="true")
    info = [event["output"]["info"]["included"] for event in whole if "output" in event]
    content = [event["output"].get("content") for event in whole if "output" in event]
    assert [True, False] == sorted(info, reverse=True)
    assert {"text": "small"} in content and None in content
    assert not any("content" in str(event) for event in bare if "output" in event)
    assert bare[-1]["outputs"]["info"] == whole[-1]["outputs"]["info"]
    assert not whole[-1]["outputs"]["info"]["included"]
    assert len(api.state(run_id)["outputs"]["out"]) > 1_000_000


def test_steps_and_tool_calls_are_included_on_request(api):
    run_id = api.start(workflow(llm("a", "x", tools=["clock"])))
    api.events(run_id)
    bare, steps, calls = (api.state(run_id, include=names) for names in ("", "steps", "steps,tool_calls"))
    assert "steps" not in bare
    assert [False, False] == ["tool_calls" in step for step in steps["steps"][0]["steps"]]
    assert "clock" == calls["steps"][0]["steps"][0]["tool_calls"][0]["tool_call"]["name"]
    assert 400 == api.get(f"/runs/{run_id}", include="secrets").status


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_engine_itself_ends_the_run(api, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(_llm, "run", breaks)
    error, _ = failure(api, workflow(llm("a", "x")))
    assert {"message": "ZeroDivisionError: oops", "code": "INTERNAL"} == error
