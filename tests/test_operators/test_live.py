from __future__ import annotations

import gc
from datetime import timedelta
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from reactivex.subject import Subject
from reactivex.testing.marbles import marbles_testing

from rxruns import operators as ops
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeError, NodeOutputDelta, RunEvent
from rxruns.state import NodeSpan, RunState, Timed
from rxruns.state._rope import Rope
from rxruns.testing import subscription_times
from tests.making import (
    NOON,
    OTHER_RUN,
    RUN,
    delta,
    in_turn,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_canceled,
    run_completed,
    run_started,
    tokens,
    unknown,
)
from tests.waiting import tool_result, waiting

FAULT = RuntimeError("the line is dead")


def later(event: Any, seconds: float) -> Any:
    return replace(event, ts=NOON + timedelta(seconds=seconds))


def span(**changes: Any) -> NodeSpan:
    known: dict[str, Any] = {"run_id": RUN, "node_id": "draft", "started_at": NOON, "ended_at": NOON}
    return NodeSpan(**known | {"status": "succeeded"} | changes)


def emitted(operator: Any, *events: RunEvent) -> list[Any]:
    return reactivex.from_iterable(events).pipe(operator, ops.to_list()).run()  # type: ignore[no-any-return]


class TestEventTime:
    def test_each_event_comes_with_its_time(self) -> None:
        first, second = run_started(), later(run_completed(), 3)
        timed = [Timed(first, NOON), Timed(second, NOON + timedelta(seconds=3))]
        assert timed == emitted(ops.event_time(), first, second)


class TestRunState:
    def test_a_state_comes_after_each_event_that_changes_it(self) -> None:
        started, said = run_started(1), delta(seq=2)
        one = RunState().step(started)
        two = one.step(said)
        events: dict[str | float, Any] = {"s": started, "d": said}
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-s-d-d-s-|", events, None)
            expected = exp("-1-2-----|", {"1": one, "2": two, 1: one, 2: two}, None)
            assert expected == start(source.pipe(ops.run_state()))

    def test_it_goes_on_from_a_stored_state(self) -> None:
        initial = RunState().step(run_started(1))
        assert [2, 3] == [
            s.last_seq for s in emitted(ops.run_state(initial), run_started(1), delta(seq=2), delta(seq=3))
        ]

    def test_a_second_run_is_an_error(self) -> None:
        with pytest.raises(InvalidArgumentError, match="group_by"):
            emitted(ops.run_state(), run_started(), run_started(run_id=OTHER_RUN))

    def test_each_subscription_has_its_own(self) -> None:
        states = reactivex.of(run_started()).pipe(ops.run_state())
        assert states.run() == states.run()

    def test_disposing_leaves_the_source(self) -> None:
        operator = reactivex.compose(ops.run_state(), ops.take(1))
        assert [(0, 1)] == subscription_times(operator, [run_started(), run_completed()])


class TestText:
    def test_each_piece_comes_with_all_that_was_said(self) -> None:
        said = emitted(
            ops.text(), run_started(), node_started(), delta("Hel"), delta(""), unknown(), delta("lo")
        )
        assert [("Hel", "Hel"), ("lo", "Hello")] == [(one.piece, one.text) for one in said]
        assert {(RUN, "draft")} == {(one.run_id, one.node_id) for one in said}

    def test_nodes_and_merged_runs_stay_apart(self) -> None:
        events = [delta("a"), delta("b", "other"), delta("c", run_id=OTHER_RUN), delta("d")]
        assert ["a", "b", "c", "ad"] == [one.text for one in emitted(ops.text(), *events)]

    @pytest.mark.parametrize("end", [node_started(), run_completed()])
    def test_another_attempt_begins_anew(self, end: RunEvent) -> None:
        assert ["a", "b"] == [one.text for one in emitted(ops.text(), delta("a"), end, delta("b"))]

    @pytest.mark.parametrize("end", [node_succeeded(), node_failed()])
    def test_what_comes_after_a_nodes_end_belongs_to_the_attempt_that_ended(self, end: RunEvent) -> None:
        assert ["a", "ab"] == [one.text for one in emitted(ops.text(), delta("a"), end, delta("b"))]

    @given(
        st.lists(
            st.builds(delta, st.sampled_from(["a", "b", ""]), st.sampled_from(["draft", "other"]))
            | st.sampled_from([node_started(), node_started("other"), node_succeeded(), node_failed()]),
            max_size=12,
        )
    )
    def test_it_is_the_text_that_the_runs_state_has(self, events: list[RunEvent]) -> None:
        log = in_turn(*events)
        texts = [(one.node_id, one.text) for one in emitted(ops.text(), *log)]
        states = emitted(ops.run_state(), *log)
        assert texts == [
            (event.node_id, state.nodes[event.node_id].text)
            for event, state in zip(log, states, strict=True)
            if isinstance(event, NodeOutputDelta) and event.delta.text_delta
        ]

    def test_nodes_that_are_named_are_followed_alone(self) -> None:
        events = [delta("a"), delta("b", "other"), delta("c", "third"), node_started("other"), delta("d")]
        for names in [("draft",), ("draft", "third"), ("nobody",)]:
            alone = emitted(reactivex.compose(ops.for_node(*names), ops.text()), *events)
            assert alone == emitted(ops.text(*names), *events)

    @pytest.mark.parametrize("names", [("",), (5,), ("draft", None)])
    def test_a_name_that_is_none_is_refused(self, names: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="a node id is text") as refused:
            ops.text(*names)
        assert "node_ids" == refused.value.field

    def test_a_run_that_has_ended_leaves_nothing_behind_whichever_node_is_followed(self) -> None:
        def texts() -> int:
            gc.collect()
            return sum(isinstance(found, Rope) and "gone" in str(found) for found in gc.get_objects())

        source: Subject[RunEvent] = Subject()
        subscription = source.pipe(ops.text("draft")).subscribe()
        source.on_next(delta("gone"))
        assert 1 == texts()
        source.on_next(run_completed())
        assert 0 == texts()
        subscription.dispose()

    def test_the_end_of_a_node_that_said_nothing_is_no_matter(self) -> None:
        assert [] == emitted(ops.text(), node_succeeded(), run_completed())

    def test_errors_pass(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            assert exp("--#", None, FAULT) == start(hot("--#", None, FAULT).pipe(ops.text()))

    def test_disposing_leaves_the_source(self) -> None:
        operator = reactivex.compose(ops.text(), ops.take(1))
        assert [(0, 2)] == subscription_times(operator, [run_started(), delta(), delta()])


class TestNodeSpans:
    def test_a_span_comes_when_its_node_ends(self) -> None:
        begin, end = node_started(), later(node_succeeded(), 2)
        events: dict[str | float, Any] = {"a": begin, "A": end}
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-a--A--|", events, None)
            expected = exp("----x--|", {"x": span(ended_at=end.ts)}, None)
            assert expected == start(source.pipe(ops.node_spans()))

    def test_it_tells_why_a_node_failed_and_what_it_took(self) -> None:
        events = [
            node_started(),
            llm_call(usage=tokens(3, 4)),
            llm_call(usage=tokens(3, 4, total=100)),
            llm_call(),
            llm_call(usage=tokens(read=1)),
            node_failed(),
        ]
        expected = span(status="failed", error=NodeError(message="no luck"), tokens=108)
        assert [expected] == emitted(ops.node_spans(), *events)

    def test_what_is_open_at_the_end_of_its_run_is_canceled(self) -> None:
        events = [node_started(), node_started(run_id=OTHER_RUN), later(run_canceled(), 1), run_completed()]
        expected = [
            span(status="canceled", ended_at=NOON + timedelta(seconds=1)),
            span(run_id=OTHER_RUN, status="running", ended_at=None),
        ]
        assert expected == emitted(ops.node_spans(), *events)

    @pytest.mark.parametrize(
        ("events", "status"),
        [([], "running"), ([waiting(3)], "waiting"), ([waiting(3), tool_result(4)], "running")],
    )
    def test_what_is_open_at_completion_has_no_end(self, events: list[RunEvent], status: str) -> None:
        expected = span(status=status, ended_at=None)
        assert [expected] == emitted(ops.node_spans(), node_started(), *events)
        assert None is expected.duration

    def test_an_error_drops_what_is_open(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-a-#", {"a": node_started()}, FAULT)
            assert exp("---#", None, FAULT) == start(source.pipe(ops.node_spans()))

    def test_each_start_is_an_attempt(self) -> None:
        events = [node_started(), node_failed(), node_started(), node_started(), node_succeeded()]
        found = [(one.attempt, one.status) for one in emitted(ops.node_spans(), *events)]
        assert [(1, "failed"), (2, "canceled"), (3, "succeeded")] == found

    def test_a_node_whose_start_was_not_seen_has_a_span_without_one(self) -> None:
        assert [span(started_at=None)] == emitted(ops.node_spans(), delta(), delta(), node_succeeded())

    def test_what_comes_after_the_end_belongs_to_no_span(self) -> None:
        assert [span()] == emitted(
            ops.node_spans(), node_started(), node_succeeded(), llm_call(), node_succeeded(), delta()
        )

    def test_open_spans_come_when_they_begin(self) -> None:
        events = [node_started(), delta(), node_succeeded()]
        open_ = span(status="running", ended_at=None)
        assert [open_, span()] == emitted(ops.node_spans(open_spans=True), *events)

    def test_disposing_leaves_the_source(self) -> None:
        operator = reactivex.compose(ops.node_spans(), ops.take(1))
        assert [(0, 2)] == subscription_times(operator, [node_started(), node_succeeded(), run_completed()])
