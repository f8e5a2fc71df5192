"""The folded state of an ended run equals the state of the service, for every shape of workflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rxruns import block_on, ops, recorded_events, run_events, workflow
from rxruns.costs import CostTotals, Price
from rxruns.devserver import DevServer
from rxruns.events import NodeError, NodeWaiting, RunEvent
from rxruns.models import RunsGetResponse
from rxruns.state import RunState
from rxruns.testing import events
from rxruns.workflow import WorkflowBuilder, WorkflowSpec, llm

PRICES = {("openai", "gpt-4o"): Price("2.50", 10), ("anthropic", "claude-haiku-4-5"): Price(1, 5)}
GPT, CLAUDE = "gpt-4o", "claude-haiku-4-5"
ITEMS = {"items": ["x", "y", "z"]}


def begun() -> WorkflowBuilder:
    """Two models side by side, for each kind of join."""
    return workflow.workflow(model=GPT).llm("a", user="A").llm("b", user="B", model=CLAUDE)


def fan_out(prompt: str) -> WorkflowSpec:
    each = workflow.workflow(model=GPT).input("items")
    each.map_fanout("each", items_from_input="items", subnode=llm("one", user=prompt), max_parallelism=2)
    return each.llm("after", user="Sum up {{each}}").output("text", from_="after").build()


SHAPES = {
    "one node": workflow.chain(llm("a", user="A"), model=GPT),
    "chain": workflow.chain(llm("a", user="A"), llm("b", user="{{a}}", model=CLAUDE), model=GPT),
    "join_all": workflow.parallel(
        llm("a"), llm("b", model=CLAUDE), then=llm("c", user="{{join}}"), model=GPT
    ),
    "join_any": begun().join_any("j", depends_on=["a", "b"]).output("j", from_="j").build(),
    "join_collect": begun().join_collect("j", limit=1, depends_on=["a", "b"]).output("j", from_="j").build(),
    "transform_json": begun().transform_json("t", object={"a": "a", "b": "b"}).output("t", from_="t").build(),
    "map_fanout": fan_out("Praise {{item}}"),
    "map_fanout that fails": fan_out("[[fail: no {{item}}]]"),
    "server tools": workflow.chain(llm("a", user="[[rounds: 2]]", tools=["clock", "sky"]), model=GPT),
    "client tools": workflow.chain(
        llm("a", tools=["clock", "sky"], tool_execution="client"), llm("b", user="{{a}}"), model=GPT
    ),
    "user_ask": workflow.chain(llm("a", user="[[ask: Left?]]", tools=["user_ask", "clock"]), model=GPT),
    "failing node": workflow.chain(llm("a"), llm("b", user="[[fail: no luck]] {{a}}"), llm("c"), model=GPT),
    "failing beside others": workflow.parallel(
        llm("a", user="[[fail: no luck]]"), llm("b", tools=["clock"], tool_execution="client"), model=GPT
    ),
}


def followed(
    server: DevServer, spec: WorkflowSpec, *steps: Callable[..., Any]
) -> tuple[RunState, RunsGetResponse]:
    """Return the last state of a run, and the state of the service after it."""
    with server.client() as client:
        given = ITEMS if spec.inputs else None
        run_id = client.create(spec, input=given).run_id
        states = run_events(run_id, client=client).pipe(
            *steps, ops.run_state(RunState(costs=CostTotals(PRICES))), ops.last()
        )
        return block_on(states), client.get(run_id, include=["steps"])


def check(state: RunState, served: RunsGetResponse) -> None:
    """Assert that both states are equal for each node with an event."""
    assert (served.run_id, served.status, served.plan_hash) == (state.run_id, state.status, state.plan_hash)
    listed = [node for node in served.nodes if node.id in state.nodes]
    assert {node.id for node in listed} == set(state.nodes)
    for node in listed:
        ours = state.nodes[node.id]
        assert (node.id, node.status, node.started_at, node.ended_at, error(node.error)) == (
            ours.id,
            ours.status,
            ours.started_at,
            ours.ended_at,
            error(ours.error),
        )
    assert served.cost_summary is not None
    assert ((), ()) == (state.costs.differences(served.cost_summary), state.costs.unpriced)
    assert ((), ()) == (state.pending_tools, state.questions)


def error(found: Any) -> tuple[str, str | None] | None:
    return found and (found.message, found.code)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_state_at_the_end_is_that_of_the_service(shape: str) -> None:
    tools = {"clock": lambda **_: "noon", "sky": lambda **_: "blue"}
    with DevServer() as server, server.client() as client:
        answers = ops.execute_tools(tools, client=client, answer=lambda question: "left")
        state, served = followed(server, SHAPES[shape], answers)
    check(state, served)
    assert ("failed" if "fail" in shape else "succeeded") == state.status


def test_the_state_of_a_canceled_run_is_that_of_the_service() -> None:
    spec = workflow.parallel(llm("a"), llm("b", tools=["x"], tool_execution="client"), model=GPT)
    with DevServer() as server:

        def cancel(event: RunEvent) -> None:
            if isinstance(event, NodeWaiting):
                assert server.cancel(event.run_id)

        state, served = followed(server, spec, ops.tap(cancel))
    check(state, served)
    assert ("canceled", "canceled") == (state.status, state.nodes["b"].status)


def at(second: int) -> datetime:
    return datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)


def test_a_recorded_log_gives_the_state_that_its_reader_expects(tmp_path: Path) -> None:
    log = events.run(start=at(0), every=1.0).node("draft").text("Hel", "lo")
    log = log.llm_call(GPT, input_tokens=1000, output_tokens=200).node_succeeds().node("check").node("edit")
    log = log.node_fails("no luck", code="PROVIDER_ERROR").fails("edit failed")
    path = tmp_path / "run.ndjson"
    path.write_bytes(log.ndjson())

    state = block_on(
        recorded_events(path).pipe(ops.run_state(RunState(costs=CostTotals(PRICES))), ops.last())
    )

    nodes = state.nodes
    assert {
        "draft": ("succeeded", at(2), at(6)),
        "check": ("canceled", at(7), at(10)),
        "edit": ("failed", at(8), at(9)),
    } == {node.id: (node.status, node.started_at, node.ended_at) for node in nodes.values()}
    assert ("failed", at(1), at(10), 11) == (state.status, state.started_at, state.ended_at, state.last_seq)
    assert NodeError(message="edit failed") == state.error
    assert NodeError(message="no luck", code="PROVIDER_ERROR") == nodes["edit"].error
    assert ("Hello", 0, 1) == (nodes["draft"].text, nodes["draft"].step, nodes["draft"].attempt)
    assert (1, 1200, Decimal("0.0045")) == (state.costs.requests, state.costs.total_tokens, state.costs.usd)
