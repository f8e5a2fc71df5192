"""The state of a run as a value: it changes with each event, and equals the service's at the end."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rxruns import RunsClient, workflow
from rxruns.costs import CostTotals, Price
from rxruns.devserver import DevServer
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeError, RunEvent, TerminalEvent
from rxruns.state import NodeSpan, NodeState, NodeText, RunState
from rxruns.state._rope import Rope
from tests.making import (
    CALL_ID,
    NOON,
    OTHER_RUN,
    RUN,
    delta,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_canceled,
    run_completed,
    run_failed,
    run_started,
    tokens,
    unknown,
)
from tests.waiting import (
    OUTPUT,
    call,
    node_output,
    tool_call,
    tool_result,
    user_answer,
    user_ask,
    waiting,
)


def fold(events: Sequence[RunEvent], state: RunState | None = None) -> RunState:
    state = state or RunState()
    for event in events:
        state = state.step(event)
    return state


class TestRun:
    def test_each_event_moves_the_cursor_and_a_repeated_one_changes_nothing(self) -> None:
        state = RunState()
        assert (None, "running", 0, 0) == (state.run_id, state.status, len(state.nodes), state.last_seq)
        state = fold([run_started(1), node_started(seq=2), unknown(5)])
        assert (5, state) == (state.last_seq, state.step(delta("hi", seq=3)))
        assert state is state.step(delta("hi", seq=3))

    def test_an_event_of_another_run_is_refused_by_name(self) -> None:
        with pytest.raises(InvalidArgumentError, match=str(OTHER_RUN)) as refused:
            fold([run_started()]).step(run_started(2, OTHER_RUN))
        assert "run_id" == refused.value.field

    def test_a_completed_run_has_succeeded_with_its_outputs(self) -> None:
        state = fold([run_started(1), run_completed(2)])
        assert ("succeeded", NOON, NOON) == (state.status, state.started_at, state.ended_at)
        assert state.outputs and state.outputs.artifact_key == "out"

    @pytest.mark.parametrize(
        ("end", "status", "message"),
        [(run_failed(9), "failed", "no luck"), (run_canceled(9), "canceled", "by a person")],
    )
    def test_when_a_run_ends_otherwise_its_open_nodes_are_canceled(
        self, end: RunEvent, status: str, message: str
    ) -> None:
        state = fold([node_started("a", 1), node_succeeded("a", 2), node_started("b", 3), waiting(4), end])
        found = {name: (node.status, node.ended_at) for name, node in state.nodes.items()}
        assert {"a": ("succeeded", NOON), "b": ("canceled", NOON), "draft": ("canceled", None)} == found
        assert (status, NodeError(message=message), ()) == (state.status, state.error, state.pending_tools)

    def test_a_run_waits_if_a_node_waits_and_none_is_running(self) -> None:
        state = fold([node_started(seq=1), node_started("other", 2), waiting(3)])
        assert ["running", "waiting"] == [state.status, state.step(node_succeeded("other", 4)).status]

    def test_it_counts_costs_with_its_prices_and_knows_nodes_of_unknown_events(self) -> None:
        start = RunState(costs=CostTotals({("openai", "gpt-5"): Price(1, 1)}))
        state = fold([llm_call(usage=tokens(1_000_000, 0)), unknown(5, node_id="new"), unknown(6)], start)
        assert (1_000_000, 1) == (state.costs.total_tokens, state.costs.usd)
        assert {"draft": "running", "new": "running"} == {
            name: node.status for name, node in state.nodes.items()
        }


class TestNode:
    def test_a_node_runs_from_its_start_and_has_the_text_of_its_deltas(self) -> None:
        events = [node_started(seq=1), delta("Hel", seq=2), delta("", seq=3), delta("lo", seq=4)]
        node = fold(events).nodes["draft"]
        assert ("running", NOON, None) == (node.status, node.started_at, node.ended_at)
        assert "Hello" == node.text

    def test_its_end_is_kept_with_error_and_output(self) -> None:
        done = fold([node_started(seq=1), node_output(2), node_succeeded(seq=3)]).nodes["draft"]
        failed = fold([node_started(seq=1), node_failed(seq=2)]).nodes["draft"]
        assert ("succeeded", NOON, OUTPUT) == (done.status, done.ended_at, done.output)
        assert ("failed", NodeError(message="no luck")) == (failed.status, failed.error)

    def test_another_start_is_another_attempt(self) -> None:
        events = [node_started(seq=1), delta("old", seq=2), node_failed(seq=3), node_started(seq=4)]
        node = fold(events).nodes["draft"]
        assert (2, "running", "") == (node.attempt, node.status, node.text)
        assert node.error is node.ended_at is None

    def test_a_waiting_node_resumes_with_the_last_result(self) -> None:
        calls = call(), call("user_ask", "call_2")
        waits = fold([node_started(seq=1), user_ask(2), waiting(3, *calls)])
        once = waits.step(tool_result(4))
        twice = once.step(user_answer(5))
        assert ["waiting", "waiting", "running"] == [
            one.nodes["draft"].status for one in (waits, once, twice)
        ]
        assert [2, 1, 0] == [len(one.pending_tools) for one in (waits, once, twice)]
        assert [user_ask(2).user_ask] == [question.user_ask for question in once.questions]
        assert () == twice.questions
        pending = once.pending_tools[0]
        assert ("draft", 0, CALL_ID, "user_ask") == (
            pending.node_id,
            pending.step,
            pending.request_id,
            pending.tool_call.name,
        )

    def test_its_step_is_the_last_one_and_a_result_without_a_wait_changes_no_status(self) -> None:
        state = fold([node_started(seq=1), llm_call(seq=2), tool_call(3, step=0), waiting(4, step=1)])
        assert 1 == state.nodes["draft"].step
        assert () == state.step(node_failed(seq=5)).pending_tools
        assert "running" == fold([node_started(seq=1), tool_result(2)]).nodes["draft"].status


class TestValues:
    def test_they_pickle_and_stay_equal(self) -> None:
        state = fold(
            [run_started(1), node_started(seq=2), delta(seq=3), waiting(4), user_ask(5), llm_call(seq=6)]
        )
        span = NodeSpan(run_id=RUN, node_id="a", started_at=NOON, ended_at=NOON + timedelta(seconds=2))
        text = NodeText(RUN, "a", "lo", Rope("Hel").plus("lo"))
        values = [state, span, text, state.nodes, state.nodes["draft"]]
        assert values == pickle.loads(pickle.dumps(values))
        assert [2.0, None] == [span.duration, replace(span, ended_at=None).duration]

    @pytest.mark.parametrize(
        "value",
        [
            RunState(),
            NodeState(id="a"),
            NodeSpan(run_id=RUN, node_id="a"),
            NodeText(RUN, "a", "x", Rope("x")),
        ],
    )
    def test_they_are_immutable(self, value: Any) -> None:
        with pytest.raises(AttributeError):
            value.run_id = None

    def test_an_old_state_is_not_changed_by_its_steps(self) -> None:
        old = fold([node_started(seq=1), delta("a", seq=2)])
        new = [old.step(delta(text, seq=3)) for text in "bc"]
        assert ["a", "ab", "ac"] == [state.nodes["draft"].text for state in (old, *new)]

    def test_nodes_are_a_mapping_in_the_order_of_their_first_events(self) -> None:
        names = [f"n{number % 200}" for number in range(500)]
        nodes = fold([node_started(name, seq) for seq, name in enumerate(names, 1)]).nodes
        assert list(dict.fromkeys(names)) == list(nodes)
        assert (200, 3, None) == (len(nodes), nodes["n7"].attempt, nodes.get("m"))
        assert "n7" in repr(nodes)


@st.composite
def logs(draw: st.DrawFn) -> list[RunEvent]:
    """A run of any shape, with the events of a node in any order."""
    makers = [
        node_started,
        node_succeeded,
        node_failed,
        delta,
        lambda seq: waiting(seq),
        lambda seq: tool_result(seq),
        user_ask,
        user_answer,
        llm_call,
        unknown,
    ]
    events = [
        run_started(1),
        *(draw(st.sampled_from(makers))(seq=seq) for seq in range(2, draw(st.integers(2, 40)))),
    ]
    ends = draw(st.sampled_from([None, run_completed, run_failed, run_canceled]))
    return [*events, *([] if ends is None else [ends(len(events) + 1)])]


class TestLaws:
    @given(logs(), st.data())
    def test_a_fold_that_is_resumed_from_a_stored_state_equals_the_fold_from_the_start(
        self, events: list[RunEvent], data: st.DataObject
    ) -> None:
        place = data.draw(st.integers(0, len(events)))
        stored = pickle.loads(pickle.dumps(fold(events[:place])))
        overlap = data.draw(st.integers(0, place))
        assert fold(events) == fold(events[overlap:], stored)

    def test_at_every_event_of_a_run_of_500(self) -> None:
        dice = random.Random(7)
        makers = [node_started, node_succeeded, delta, delta, delta, waiting, tool_result, llm_call]
        middle = [dice.choice(makers)(seq=seq) for seq in range(2, 500)]
        events: list[RunEvent] = [run_started(1), *middle, run_completed(500)]
        states = list(accumulate(events, RunState.step, initial=RunState()))
        assert all(states[-1] == fold(events[place:], state) for place, state in enumerate(states))

    @given(logs())
    def test_after_its_end_nothing_of_a_run_is_open(self, events: list[RunEvent]) -> None:
        state = fold(events)
        if isinstance(events[-1], TerminalEvent):
            assert not {"running", "waiting"} & {node.status for node in state.nodes.values()}
            assert () == state.pending_tools == state.questions


class TestRope:
    @given(st.lists(st.text(max_size=3), max_size=40), st.data())
    def test_any_branching_gives_the_text_of_its_own_branch(
        self, pieces: list[str], data: st.DataObject
    ) -> None:
        ropes = [(Rope(), "")]
        for piece in pieces:
            rope, text = data.draw(st.sampled_from(ropes))
            ropes.append((rope.plus(piece), text + piece))
        assert [text for _, text in ropes] == [str(rope) for rope, _ in ropes]
        assert [len(text) for _, text in ropes] == [len(rope) for rope, _ in ropes]

    def test_long_texts_are_joined_in_stretches_that_ropes_share(self) -> None:
        ropes = list(accumulate((f"{number} " for number in range(5_000)), Rope.plus, initial=Rope()))
        assert "".join(f"{number} " for number in range(5_000)) == str(ropes[-1])
        assert str(ropes[2_500].plus("!")) == "".join(f"{number} " for number in range(2_500)) + "!"
        assert len({id(rope._tail) for rope in ropes}) <= 11, "a step would copy the text so far"

    def test_it_is_a_value(self) -> None:
        rope = Rope("a").plus("b")
        assert rope == Rope("ab") == pickle.loads(pickle.dumps(rope))
        assert hash(rope) == hash(Rope("ab"))
        assert rope != Rope("ba")
        assert rope != "ab"
        assert "Rope('ab')" == repr(rope)


def followed(server: DevServer, client: RunsClient, *nodes: Any) -> tuple[RunState, Any]:
    """Return the fold of a run's whole log, and the run as the service reports it."""
    created = client.create(workflow.parallel(*nodes))
    state = RunState()
    with client.stream_events(created.run_id) as events:
        for event in events:
            state = state.step(event)
    return state, client.get(created.run_id)


@pytest.mark.parametrize("prompt", ["Hello", "[[fail: no credit]]"])
def test_at_the_end_of_a_run_its_state_is_what_the_service_reports(prompt: str) -> None:
    nodes = [
        workflow.llm("a", model="gpt-4o", user="Hello"),
        workflow.llm("b", model="gpt-4o", user=prompt, tools=["clock"]),
    ]
    with DevServer() as server, server.client() as client:
        state, reported = followed(server, client, *nodes)
    assert (reported.run_id, reported.status, reported.plan_hash) == (
        state.run_id,
        state.status,
        state.plan_hash,
    )
    theirs = {node.id: node for node in reported.nodes}
    for name, node in state.nodes.items():
        there = theirs[name]
        assert (there.status, there.started_at, there.ended_at) == (
            node.status,
            node.started_at,
            node.ended_at,
        )
        assert (there.error and there.error.message) == (node.error and node.error.message)
    assert reported.summary is not None
    assert reported.summary.total_llm_calls == state.costs.requests
