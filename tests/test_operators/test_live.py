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
from tests.test_operators.marbles import check
from tests.waiting import tool_result, waiting


def later(event: Any, seconds: float) -> Any:
    return replace(event, ts=NOON + timedelta(seconds=seconds))


def span(**changes: Any) -> NodeSpan:
    known: dict[str, Any] = {"run_id": RUN, "node_id": "draft", "started_at": NOON, "ended_at": NOON}
    return NodeSpan(**known | {"status": "succeeded"} | changes)


def emitted(operator: Any, *events: RunEvent) -> list[Any]:
    return reactivex.from_iterable(events).pipe(operator, ops.to_list()).run()  # type: ignore[no-any-return]


class TestEventTime:
    def test_each_event_is_paired_with_its_time(self) -> None:
        first, second = run_started(), later(run_completed(), 3)
        timed = [Timed(first, NOON), Timed(second, NOON + timedelta(seconds=3))]
        assert timed == emitted(ops.event_time(), first, second)


class TestRunState:
    def test_a_state_is_emitted_after_each_event_that_changes_it(self) -> None:
        started, piece = run_started(1), delta(seq=2)
        one = RunState().step(started)
        two = one.step(piece)
        values = {"s": started, "d": piece, "x": one, "y": two}
        check(ops.run_state(), "-s-d-d-s-|", "-x-y-----|", values)

    def test_it_continues_from_a_stored_state(self) -> None:
        initial = RunState().step(run_started(1))
        states = emitted(ops.run_state(initial), run_started(1), delta(seq=2), delta(seq=3))
        assert [2, 3] == [state.last_seq for state in states]

    def test_a_second_run_is_an_error(self) -> None:
        with pytest.raises(InvalidArgumentError, match="group_by"):
            emitted(ops.run_state(), run_started(), run_started(run_id=OTHER_RUN))

    def test_each_subscription_has_its_own(self) -> None:
        states = reactivex.of(run_started()).pipe(ops.run_state())
        assert states.run() == states.run()

    def test_dispose_unsubscribes_from_the_source(self) -> None:
        operator = reactivex.compose(ops.run_state(), ops.take(1))
        assert [(0, 1)] == subscription_times(operator, [run_started(), run_completed()])


class TestText:
    def test_each_piece_has_the_text_so_far(self) -> None:
        events = [run_started(), node_started(), delta("Hel"), delta(""), unknown(), delta("lo")]
        texts = [(one.run_id, one.node_id, one.piece, one.text) for one in emitted(ops.text(), *events)]
        assert [(RUN, "draft", "Hel", "Hel"), (RUN, "draft", "lo", "Hello")] == texts

    def test_nodes_and_merged_runs_stay_apart(self) -> None:
        events = [delta("a"), delta("b", "other"), delta("c", run_id=OTHER_RUN), delta("d")]
        assert ["a", "b", "c", "ad"] == [one.text for one in emitted(ops.text(), *events)]

    @pytest.mark.parametrize(
        ("between", "text"),
        [(node_started(), "b"), (run_completed(), "b"), (node_succeeded(), "ab"), (node_failed(), "ab")],
    )
    def test_a_start_or_the_end_of_the_run_clears_the_text_and_a_nodes_end_does_not(
        self, between: RunEvent, text: str
    ) -> None:
        assert ["a", text] == [one.text for one in emitted(ops.text(), delta("a"), between, delta("b"))]

    @given(
        st.lists(
            st.builds(delta, st.sampled_from(["a", "b", ""]), st.sampled_from(["draft", "other"]))
            | st.sampled_from([node_started(), node_started("other"), node_succeeded(), node_failed()]),
            max_size=12,
        )
    )
    def test_it_equals_the_text_in_the_runs_state(self, events: list[RunEvent]) -> None:
        log = in_turn(*events)
        texts = [(one.node_id, one.text) for one in emitted(ops.text(), *log)]
        states = emitted(ops.run_state(), *log)
        assert texts == [
            (event.node_id, state.nodes[event.node_id].text)
            for event, state in zip(log, states, strict=True)
            if isinstance(event, NodeOutputDelta) and event.delta.text_delta
        ]

    def test_only_the_given_nodes_are_followed(self) -> None:
        events = [delta("a"), delta("b", "other"), delta("c", "third"), node_started("other"), delta("d")]
        for names in [("draft",), ("draft", "third"), ("absent",)]:
            alone = emitted(reactivex.compose(ops.for_node(*names), ops.text()), *events)
            assert alone == emitted(ops.text(*names), *events)

    @pytest.mark.parametrize("names", [("",), (5,), ("draft", None)])
    def test_an_invalid_node_id_is_refused(self, names: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="^node_ids must be text that isn't empty") as refused:
            ops.text(*names)
        assert "node_ids" == refused.value.field

    def test_the_text_of_a_run_that_has_ended_is_freed(self) -> None:
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

    def test_a_node_without_text_emits_nothing(self) -> None:
        assert [] == emitted(ops.text(), node_succeeded(), run_completed())

    def test_an_error_of_the_source_passes(self) -> None:
        check(ops.text(), "--#", "--#", {})

    def test_dispose_unsubscribes_from_the_source(self) -> None:
        operator = reactivex.compose(ops.text(), ops.take(1))
        assert [(0, 2)] == subscription_times(operator, [run_started(), delta(), delta()])


class TestNodeSpans:
    def test_a_span_is_emitted_when_its_node_ends(self) -> None:
        end = later(node_succeeded(), 2)
        values = {"a": node_started(), "A": end, "x": span(ended_at=end.ts)}
        check(ops.node_spans(), "-a--A--|", "----x--|", values)

    def test_it_has_the_error_and_the_tokens_of_its_node(self) -> None:
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

    def test_a_node_that_is_open_at_the_end_of_its_run_is_canceled(self) -> None:
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
    def test_a_span_that_is_open_at_completion_has_no_end(self, events: list[RunEvent], status: str) -> None:
        expected = span(status=status, ended_at=None)
        assert [expected] == emitted(ops.node_spans(), node_started(), *events)
        assert None is expected.duration

    def test_an_error_drops_open_spans(self) -> None:
        check(ops.node_spans(), "-a-#", "---#", {"a": node_started()})

    def test_each_start_is_an_attempt(self) -> None:
        events = [node_started(), node_failed(), node_started(), node_started(), node_succeeded()]
        found = [(one.attempt, one.status) for one in emitted(ops.node_spans(), *events)]
        assert [(1, "failed"), (2, "canceled"), (3, "succeeded")] == found

    def test_a_node_whose_start_was_not_seen_has_a_span_without_one(self) -> None:
        assert [span(started_at=None)] == emitted(ops.node_spans(), delta(), delta(), node_succeeded())

    def test_events_after_the_end_of_a_node_belong_to_no_span(self) -> None:
        events = [node_started(), node_succeeded(), llm_call(), node_succeeded(), delta()]
        assert [span()] == emitted(ops.node_spans(), *events)

    def test_open_spans_are_emitted_when_they_begin(self) -> None:
        events = [node_started(), delta(), node_succeeded()]
        open_ = span(status="running", ended_at=None)
        assert [open_, span()] == emitted(ops.node_spans(open_spans=True), *events)

    def test_dispose_unsubscribes_from_the_source(self) -> None:
        operator = reactivex.compose(ops.node_spans(), ops.take(1))
        assert [(0, 2)] == subscription_times(operator, [node_started(), node_succeeded(), run_completed()])
