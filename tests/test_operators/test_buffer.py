from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import reactivex

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
from tests.test_operators.marbles import check

a1, a2, A = run_started(), node_started(), run_completed()
b1, b2, B = run_started(run_id=OTHER_RUN), node_started(run_id=OTHER_RUN), run_failed(run_id=OTHER_RUN)
LISTS = {"x": [a1, a2, A], "y": [b1, b2, B], "v": [a1, a2], "w": [b1]}
RUNS: dict[str, Any] = {"a": a1, "c": a2, "A": A, "b": b1, "d": b2, "B": B} | LISTS


class TestUntilComplete:
    check = staticmethod(partial(check, ops.buffer_until_complete(), values=RUNS))

    def test_a_run_is_one_list_at_its_terminal_event(self) -> None:
        self.check("-a-c-A---|", "-----x---|")

    def test_merged_runs_stay_apart(self) -> None:
        self.check("-a-b-c-d-B-A-|", "---------y-x-|")

    def test_open_runs_are_emitted_at_completion_in_the_order_of_their_beginning(self) -> None:
        self.check("-a-b-c-|", "-------(v,w,|)")

    def test_an_error_drops_open_runs(self) -> None:
        self.check("-a-b-d-B-c-#", "-------y---#")

    def test_without_events_there_is_no_list(self) -> None:
        self.check("---|", "---|")

    def test_each_subscription_has_its_own_lists(self) -> None:
        buffered = reactivex.of(a1, a2).pipe(ops.buffer_until_complete())
        assert [a1, a2] == buffered.run() == buffered.run()

    def test_dispose_unsubscribes_from_the_source(self) -> None:
        operator = reactivex.compose(ops.buffer_until_complete(), ops.take(1))
        assert [(0, 2)] == subscription_times(operator, [a1, A, b1, B])


n1, n2, N, u = node_started(), delta(), node_succeeded(), unknown(node_id="draft")
m1, m2, M = node_started("check"), delta(node_id="check"), node_failed("check")
o1 = node_started("draft", run_id=OTHER_RUN)
VALUES = {
    "x": NodeEvents(RUN, "draft", (n1, n2, N)),
    "y": NodeEvents(RUN, "check", (m1, m2, M)),
    "z": NodeEvents(OTHER_RUN, "draft", (o1,)),
    "v": NodeEvents(RUN, "draft", (n1, n2)),
    "w": NodeEvents(RUN, "check", (m1,)),
    "k": NodeEvents(RUN, "draft", (n1, u, N)),
}
NODES = VALUES | {"r": a1, "n": n1, "p": n2, "N": N, "m": m1, "q": m2, "M": M, "A": A}
NODES |= {"o": o1, "B": B, "u": u}


class TestNodes:
    check = staticmethod(partial(check, ops.buffer_nodes(), values=NODES))

    def test_a_node_is_one_value_when_it_succeeds_or_fails(self) -> None:
        self.check("-r-n-m-p-N-q-M-A-|", "---------x---y---|")

    def test_a_node_of_the_same_name_in_another_run_stays_apart(self) -> None:
        self.check("-n-o-p-B-N-A-|", "-------z-x---|")

    def test_the_end_of_a_run_ends_only_its_own_nodes(self) -> None:
        self.check("-n-m-o-p-A------|", "---------(v,w)--(z,|)")

    def test_a_second_attempt_is_a_second_value(self) -> None:
        self.check("-n-p-N-n-p-N-|", "-----x-----x-|")

    def test_an_event_of_an_unknown_type_belongs_to_its_node(self) -> None:
        self.check("-n-u-N-|", "-----k-|")

    def test_an_error_drops_open_nodes(self) -> None:
        self.check("-n-m-p-N-#", "-------x-#")

    def test_dispose_unsubscribes_from_the_source(self) -> None:
        operator = reactivex.compose(ops.buffer_nodes(), ops.take(1))
        assert [(0, 2)] == subscription_times(operator, [n1, N, n1, N])

    def test_its_values_pickle_and_are_immutable(self) -> None:
        value = NodeEvents(RUN, "draft", (n1, N))
        assert value == pickle.loads(pickle.dumps(value))
        assert hash(value) == hash(pickle.loads(pickle.dumps(value)))
