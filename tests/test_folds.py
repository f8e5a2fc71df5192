"""Folds combine: separately folded parts add up to the fold of the whole."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from rxruns import CostTotals, Price, ops
from rxruns._fold import checked_fold, known_types, needs_whole_runs
from rxruns.errors import InvalidArgumentError
from rxruns.events import (
    KNOWN_EVENTS,
    NodeEvent,
    NodeFailed,
    NodeLLMCall,
    RunEvent,
    SchedulerEvent,
    TerminalEvent,
    UnknownEvent,
)
from rxruns.folds import NodeSpans, RunStates
from rxruns.state import RunState
from tests.folding import Seen, SeenInOrder
from tests.making import (
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
from tests.records import examples

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}
THIRD_RUN = UUID(int=3)


def run_of(run_id: UUID) -> list[RunEvent]:
    """A run with two nodes, one of which starts again."""
    return in_turn(
        run_started(run_id=run_id),
        node_started("a", run_id=run_id),
        delta("Hi", "a", run_id=run_id),
        node_failed("a", run_id=run_id),
        node_started("a", run_id=run_id),
        llm_call(usage=tokens(3, 5), run_id=run_id),
        node_started("b", run_id=run_id),
        node_succeeded("a", run_id=run_id),
        delta("more", "b", run_id=run_id),
        unknown(run_id=run_id),
        run_canceled(run_id=run_id),
    )


def stepped(fold: Any, events: Any) -> Any:
    for event in events:
        fold = fold.step(event)
    return fold


@st.composite
def interleaved(draw: st.DrawFn) -> list[RunEvent]:
    """Three runs, each in order, mixed."""
    waiting = {run_id: run_of(run_id) for run_id in (RUN, OTHER_RUN, THIRD_RUN)}
    order = draw(st.permutations([run_id for run_id in waiting for _ in range(11)]))
    return [waiting[run_id].pop(0) for run_id in order]


EMPTY = [CostTotals(PRICES), RunStates(RunState(costs=CostTotals(PRICES))), NodeSpans()]


@pytest.mark.parametrize("empty", EMPTY, ids=lambda fold: type(fold).__name__)
@examples(50)
@given(events=interleaved(), data=st.data())
def test_runs_folded_separately_add_up_to_the_fold_of_all(empty: Any, events: Any, data: Any) -> None:
    parts = [
        stepped(empty, [event for event in events if event.run_id == run_id])
        for run_id in data.draw(st.permutations([RUN, OTHER_RUN, THIRD_RUN]))
    ]
    one, other, third = parts
    whole = stepped(empty, events)

    together = one.combine(other.combine(third))
    assert together == one.combine(other).combine(third)
    assert pickle.loads(pickle.dumps(together)) == together
    if isinstance(empty, NodeSpans):
        assert set(whole.spans) == set(together.spans)
    else:
        assert whole == together


@examples(50)
@given(events=interleaved(), at=st.integers(0, 33))
def test_costs_may_be_cut_inside_a_run(events: Any, at: int) -> None:
    empty = CostTotals(PRICES)
    assert stepped(empty, events) == stepped(empty, events[:at]).combine(stepped(empty, events[at:]))


@pytest.mark.parametrize("empty", [*EMPTY, Seen()], ids=lambda fold: type(fold).__name__)
def test_an_empty_fold_changes_nothing_on_either_side(empty: Any) -> None:
    filled = stepped(empty, run_of(RUN))

    assert filled == filled.combine(empty) == empty.combine(filled)
    assert empty is checked_fold(empty)


@examples(50)
@given(events=interleaved())
def test_each_run_has_the_final_state_of_run_state(events: Any) -> None:
    states = stepped(RunStates(), events)

    assert {RUN, OTHER_RUN, THIRD_RUN} == set(states)
    for run_id, state in states.items():
        assert reactivex.from_iterable(run_of(run_id)).pipe(ops.run_state()).run() == state


def test_states_of_many_runs_are_kept_apart_and_start_with_the_given_prices() -> None:
    runs = [UUID(int=number) for number in range(1, 500)]
    states = stepped(RunStates(), [run_started(run_id=run_id) for run_id in runs])
    states = stepped(states, [run_completed(run_id=run_id) for run_id in runs])

    assert runs == list(states)
    assert {"succeeded"} == {state.status for state in states.values()}
    states = stepped(RunStates(RunState(costs=CostTotals(PRICES))), run_of(RUN))
    assert "0.00005375" == f"{states[RUN].costs.usd:f}"


@pytest.mark.parametrize("cut", range(12))
def test_spans_are_those_that_node_spans_emits(cut: int) -> None:
    events = run_of(RUN)[:cut]
    emitted = reactivex.from_iterable(events).pipe(ops.node_spans(), ops.to_list()).run()

    assert tuple(emitted) == stepped(NodeSpans(), events).spans


def test_a_step_of_spans_leaves_the_value_before_unchanged() -> None:
    before = NodeSpans().step(node_started("a"))
    spans = before.spans
    before.step(node_succeeded("a"))

    assert spans == before.spans
    assert before is before.step(delta("x", "a"))


@pytest.mark.parametrize("empty", [RunStates(), NodeSpans()], ids=lambda fold: type(fold).__name__)
def test_a_run_in_two_parts_is_refused_by_name(empty: Any) -> None:
    events = run_of(RUN)
    with pytest.raises(InvalidArgumentError, match=f"{RUN} were folded in two parts") as caught:
        stepped(empty, events[:5]).combine(stepped(empty, events[5:]))

    assert "run_id" == caught.value.field


# ---- what a fold declares ----


def declaring(types: Any) -> Any:
    return type("Declaring", (Seen,), {"event_types": types})()


@pytest.mark.parametrize(
    ("types", "found"),
    [
        ((NodeLLMCall, NodeFailed), {"node_llm_call", "node_failed"}),
        (NodeFailed, {"node_failed"}),
        ([TerminalEvent], {"run_completed", "run_failed", "run_canceled"}),
        ((SchedulerEvent,), {event.type for event in KNOWN_EVENTS if event.type.startswith("scheduler_")}),
        (
            (NodeEvent, TerminalEvent),
            {event.type for event in KNOWN_EVENTS if event.type.startswith("node")}
            | {event.type for event in KNOWN_EVENTS if event.type.startswith("scheduler_")}
            | {"run_completed", "run_failed", "run_canceled"},
        ),
        ((RunEvent,), set()),
        ((NodeFailed, UnknownEvent), set()),
    ],
)
def test_categories_stand_for_their_types_and_those_with_unknown_events_for_all(
    types: Any, found: set[str]
) -> None:
    assert found == {event.type for event in known_types(declaring(types))}


def test_a_fold_that_declares_nothing_needs_all_events_and_may_be_cut() -> None:
    assert () == known_types(Seen())
    assert (NodeLLMCall,) == known_types(CostTotals())
    assert [False, False, True, True, True] == [
        needs_whole_runs(fold) for fold in (Seen(), CostTotals(), SeenInOrder(), RunStates(), NodeSpans())
    ]


@pytest.mark.parametrize("types", [(), ("node_failed",), (int,), (NodeFailed, None)], ids=repr)
def test_other_values_than_event_classes_are_refused(types: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        checked_fold(declaring(types))
    assert "fold.event_types" == caught.value.field


@dataclass(frozen=True)
class Halfway:
    def step(self, event: RunEvent) -> Halfway:
        return self


@pytest.mark.parametrize(
    ("fold", "words"),
    [
        (CostTotals, "pass CostTotals()"),
        (Halfway(), "a value with step(event) and combine(other), got Halfway()"),
        (None, "got None"),
        (stepped(CostTotals(), run_of(RUN)), "must be empty"),
        (stepped(Seen(), run_of(RUN)), "must be empty"),
    ],
    ids=["a class", "half a fold", "none", "filled totals", "filled"],
)
def test_other_values_than_empty_folds_are_refused_with_a_remedy(fold: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        checked_fold(fold)
    assert words in str(caught.value)
    assert "fold" == caught.value.field
