"""Folds by key and folds in one pass come to what the single folds come to, wherever the events are cut."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rxruns import CostTotals, Price
from rxruns._fold import checked_fold, known_types
from rxruns._fold import needs_whole_runs as whole
from rxruns.errors import InvalidArgumentError
from rxruns.events import LLMCall, NodeFailed, NodeLLMCall, RunEvent
from rxruns.folds import By, NodeSpans, RunStates, Together, fold_logs
from tests.folding import Seen, SeenCalls, SeenInOrder, folded_here, write_log
from tests.making import (
    CALL_ID,
    NOON,
    OTHER_RUN,
    RUN,
    delta,
    in_turn,
    llm_call,
    node_failed,
    node_started,
    run_completed,
    run_started,
    tokens,
)
from tests.records import examples

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}
NAMES = ["run_id", "node_id", "provider", "model", "day", "hour", "minute"]


def third_of_seq(event: RunEvent) -> int:
    """A key of our own."""
    return event.seq % 3


def stepped(fold: Any, events: Any) -> Any:
    for event in events:
        fold = fold.step(event)
    return fold


some_events = st.builds(
    lambda make, run_id, seq, hours: replace(
        make(), run_id=run_id, seq=seq, ts=NOON + timedelta(hours=hours)
    ),
    st.sampled_from([llm_call, delta, run_started, lambda: llm_call(usage=tokens(3, 5))]),
    st.sampled_from([RUN, OTHER_RUN]),
    st.integers(1, 50),
    st.integers(0, 40),
)


@pytest.mark.parametrize("key", [*NAMES, third_of_seq], ids=str)
@examples(30)
@given(events=st.lists(some_events, max_size=12), at=st.integers(0, 12))
def test_the_fold_of_each_key_is_that_of_its_events(key: Any, events: list[RunEvent], at: int) -> None:
    by = stepped(By(key, Seen()), events)
    cut = stepped(By(key, Seen()), events[:at]).combine(stepped(By(key, Seen()), events[at:]))

    assert by == cut == pickle.loads(pickle.dumps(by))
    assert sorted(stepped(Seen(), events).events) == sorted(e for fold in by.values() for e in fold.events)


def test_keys_are_those_of_the_event_and_none_where_it_has_none() -> None:
    call = llm_call(usage=tokens(3, 5))
    late = replace(call, ts=datetime(2026, 2, 1, 0, 30, 15, tzinfo=timezone(timedelta(hours=2))))
    bare = NodeLLMCall(run_id=RUN, seq=1, ts=NOON, node_id="a", llm_call=LLMCall(step=0, request_id=CALL_ID))
    started = run_started()

    assert [RUN] == list(By("run_id", Seen()).step(started))
    assert [None, "draft"] == list(stepped(By("node_id", Seen()), [started, call]))
    assert ["openai", None] == list(stepped(By("provider", Seen()), [call, bare, started]))
    assert ["gpt-5", None] == list(stepped(By("model", Seen()), [call, bare, started]))
    for unit, start in (
        ("day", datetime(2026, 1, 31, tzinfo=UTC)),
        ("hour", datetime(2026, 1, 31, 22, tzinfo=UTC)),
        ("minute", datetime(2026, 1, 31, 22, 30, tzinfo=UTC)),
    ):
        by: Any = By(unit, Seen())  # type: ignore[call-overload]
        assert [start] == list(by.step(late))


def test_a_key_function_gets_the_events_that_the_fold_needs() -> None:
    def of_call(event: Any) -> str:
        model: str = event.llm_call.model
        return model

    by = By(of_call, CostTotals())
    assert by is by.step(run_started())
    assert ["gpt-5"] == list(by.step(llm_call()))


@examples(30)
@given(events=st.lists(some_events, max_size=12), at=st.integers(0, 12))
def test_folds_in_one_pass_come_to_what_each_comes_to(events: list[RunEvent], at: int) -> None:
    empty = Together(cost=CostTotals(PRICES), seen=Seen(), nodes=By("node_id", SeenCalls()))
    together = stepped(empty, events)

    assert {name: stepped(fold, events) for name, fold in empty.items()} == dict(together)
    assert together == stepped(empty, events[:at]).combine(stepped(empty, events[at:]))
    assert together == pickle.loads(pickle.dumps(together))
    assert together.cost is together["cost"]


def test_a_step_that_changes_nothing_gives_the_value_itself() -> None:
    for fold in (By("run_id", CostTotals()), Together(cost=CostTotals(), by=By("day", CostTotals()))):
        assert fold is fold.step(delta())
        assert fold == checked_fold(fold)


def test_they_declare_what_their_folds_need() -> None:
    calls, spans = By("day", CostTotals()), By("run_id", NodeSpans())
    failed: Any = type("Failed", (Seen,), {"event_types": (NodeFailed,)})()

    assert (NodeLLMCall,) == known_types(calls)
    assert () == known_types(spans) == known_types(Together(calls=calls, spans=spans))
    assert {NodeLLMCall, NodeFailed} == set(known_types(Together(calls=calls, failed=failed)))
    assert [False, True, False, True] == [
        whole(calls), whole(spans), whole(Together(a=calls)), whole(Together(a=calls, b=spans))
    ]  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2])
def test_they_fold_logs_on_processes(tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxruns._logs._engine.SMALLEST", 1)
    monkeypatch.setattr("rxruns._logs._engine.LARGEST", 700)
    events = [
        node_started(),
        *[llm_call(usage=tokens(3, 5)) for _ in range(20)],
        node_failed(),
        run_completed(),
    ]
    log = write_log(tmp_path / "run.ndjson", in_turn(run_started(), *events))
    for fold in (
        By("minute", CostTotals(PRICES)),
        By(third_of_seq, SeenInOrder()),
        Together(cost=By("node_id", CostTotals()), states=RunStates(), spans=NodeSpans()),
    ):
        assert folded_here(fold, log) == fold_logs(log, fold, processes=processes)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: By("team", CostTotals()), "key"),  # type: ignore[call-overload]
        (lambda: By(5, CostTotals()), "key"),  # type: ignore[call-overload]
        (lambda: By("day", CostTotals), "fold"),  # type: ignore[type-var]
        (lambda: By("day", CostTotals().step(llm_call())), "fold"),
        (lambda: Together(), "folds"),
        (lambda: Together(cost=5), "cost"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_by_name(make: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert field == caught.value.field


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no fold 'spans'"):
        _ = Together(cost=CostTotals()).spans
