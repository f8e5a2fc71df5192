from __future__ import annotations

import pickle
from typing import Any

import reactivex
from reactivex.testing.marbles import marbles_testing

from rxruns import operators as ops
from rxruns.operators import NodeEvents
from rxruns.testing import subscription_times
from tests.making import (
    OTHER_RUN,
    RUN,
    delta,
    node_failed,
    node_started,
    node_succeeded,
    run_completed,
    run_failed,
    run_started,
    unknown,
)

a1, a2, A = run_started(), node_started(), run_completed()
b1, b2, B = run_started(run_id=OTHER_RUN), node_started(run_id=OTHER_RUN), run_failed(run_id=OTHER_RUN)
RUNS: dict[str | float, Any] = {"a": a1, "c": a2, "A": A, "b": b1, "d": b2, "B": B}
LISTS: dict[str | float, Any] = {"x": [a1, a2, A], "y": [b1, b2, B], "v": [a1, a2], "w": [b1]}
FAULT = RuntimeError("the line is dead")


class TestUntilComplete:
    def test_a_run_comes_as_one_list_at_its_terminal_event(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-a-c-A---|", RUNS, None)
            expected = exp("-----x---|", LISTS, None)
            assert expected == start(source.pipe(ops.buffer_until_complete()))

    def test_merged_runs_stay_apart(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-a-b-c-d-B-A-|", RUNS, None)
            expected = exp("---------y-x-|", LISTS, None)
            assert expected == start(source.pipe(ops.buffer_until_complete()))

    def test_what_is_open_at_completion_is_emitted_in_the_order_of_beginning(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-a-b-c-|", RUNS, None)
            expected = exp("-------(v,w,|)", LISTS, None)
            assert expected == start(source.pipe(ops.buffer_until_complete()))

    def test_an_error_drops_what_is_open(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-a-b-d-B-c-#", RUNS, FAULT)
            expected = exp("-------y---#", LISTS, FAULT)
            assert expected == start(source.pipe(ops.buffer_until_complete()))

    def test_no_event_makes_no_list(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            assert exp("---|", None, None) == start(hot("---|", None, None).pipe(ops.buffer_until_complete()))

    def test_each_subscription_gathers_its_own(self) -> None:
        buffered = reactivex.of(a1, a2).pipe(ops.buffer_until_complete())
        assert [a1, a2] == buffered.run() == buffered.run()

    def test_disposing_leaves_the_source(self) -> None:
        assert [(0, 2)] == subscription_times(
            reactivex.compose(ops.buffer_until_complete(), ops.take(1)),
            [RUNS["a"], RUNS["A"], RUNS["b"], RUNS["B"]],
        )


n1, n2, N = node_started("draft"), delta(node_id="draft"), node_succeeded("draft")
m1, m2, M = node_started("check"), delta(node_id="check"), node_failed("check")
o1 = node_started("draft", run_id=OTHER_RUN)
NODES: dict[str | float, Any] = {
    "r": a1,
    "n": n1,
    "p": n2,
    "N": N,
    "m": m1,
    "q": m2,
    "M": M,
    "A": A,
    "o": o1,
    "B": B,
    "u": unknown(node_id="draft"),
}
VALUES: dict[str | float, Any] = {
    "x": NodeEvents(RUN, "draft", (n1, n2, N)),
    "y": NodeEvents(RUN, "check", (m1, m2, M)),
    "z": NodeEvents(OTHER_RUN, "draft", (o1,)),
    "v": NodeEvents(RUN, "draft", (n1, n2)),
    "w": NodeEvents(RUN, "check", (m1,)),
    "u": NodeEvents(RUN, "draft", (n1, unknown(node_id="draft"), N)),
}


class TestNodes:
    def test_a_node_comes_as_one_value_when_it_succeeds_or_fails(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-r-n-m-p-N-q-M-A-|", NODES, None)
            expected = exp("---------x---y---|", VALUES, None)
            assert expected == start(source.pipe(ops.buffer_nodes()))

    def test_a_node_of_the_same_name_in_another_run_stays_apart(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-n-o-p-B-N-A-|", NODES, None)
            expected = exp("-------z-x---|", VALUES, None)
            assert expected == start(source.pipe(ops.buffer_nodes()))

    def test_the_end_of_a_run_ends_its_nodes_alone(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-n-m-o-p-A------|", NODES, None)
            expected = exp("---------(v,w)--(z,|)", VALUES, None)
            assert expected == start(source.pipe(ops.buffer_nodes()))

    def test_a_second_attempt_is_a_second_value(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-n-p-N-n-p-N-|", NODES, None)
            expected = exp("-----x-----x-|", VALUES, None)
            assert expected == start(source.pipe(ops.buffer_nodes()))

    def test_an_event_of_an_unknown_type_belongs_to_its_node(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-n-u-N-|", NODES, None)
            assert exp("-----u-|", VALUES, None) == start(source.pipe(ops.buffer_nodes()))

    def test_an_error_drops_what_is_open(self) -> None:
        with marbles_testing() as (start, _, hot, exp):
            source = hot("-n-m-p-N-#", NODES, FAULT)
            assert exp("-------x-#", VALUES, FAULT) == start(source.pipe(ops.buffer_nodes()))

    def test_disposing_leaves_the_source(self) -> None:
        assert [(0, 2)] == subscription_times(
            reactivex.compose(ops.buffer_nodes(), ops.take(1)),
            [NODES["n"], NODES["N"], NODES["n"], NODES["N"]],
        )

    def test_its_values_pickle_and_are_immutable(self) -> None:
        value = NodeEvents(RUN, "draft", (n1, N))
        assert value == pickle.loads(pickle.dumps(value))
        assert hash(value) == hash(pickle.loads(pickle.dumps(value)))
