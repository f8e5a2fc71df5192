from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest
import reactivex
from reactivex import operators as rx
from reactivex.testing.marbles import marbles_testing

import rxruns
from rxruns import operators as ops
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeEvent, NodeOutputDelta, NodeStarted, TerminalEvent
from rxruns.testing import subscription_times
from tests.conftest import HANG
from tests.making import (
    delta,
    node_started,
    node_succeeded,
    run_completed,
    run_failed,
    run_started,
    unknown,
)

LOOKUP: dict[str | float, Any] = {
    "r": run_started(),
    "s": node_started(),
    "d": delta(),
    "e": delta("there", "check"),
    "u": unknown(node_id="draft"),
    "w": unknown(node_id=7),
    "E": run_completed(),
}


def test_every_operator_of_rxpy_is_here_and_is_the_same_function() -> None:
    assert [] == [name for name in rx.__all__ if getattr(ops, name) is not getattr(rx, name)]
    assert set(rx.__all__) <= set(ops.__all__)


def test_all_lists_what_is_there_once() -> None:
    assert len(set(ops.__all__)) == len(ops.__all__)
    assert [] == [name for name in ops.__all__ if not hasattr(ops, name)]


def test_for_node_passes_on_the_events_of_its_nodes() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-s-d-e-u-w-E-|", LOOKUP, None)
        expected = exp("---s-d---u-----|", LOOKUP, None)
        assert expected == start(source.pipe(ops.for_node("draft")))


def test_for_node_takes_several_nodes() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-s-d-e-u-w-E-|", LOOKUP, None)
        expected = exp("---s-d-e-u-----|", LOOKUP, None)
        assert expected == start(source.pipe(ops.for_node("check", "draft", "absent")))


@pytest.mark.parametrize("node_ids", [(), ("",), ("draft", ""), (["draft"],), (None,)])
def test_for_node_refuses_what_is_no_node_id(node_ids: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ops.for_node(*node_ids)
    assert "node_ids" == refused.value.field


def test_of_type_passes_on_the_events_of_a_class() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-s-d-e-u-w-E-|", LOOKUP, None)
        expected = exp("-----d-e-------|", LOOKUP, None)
        assert expected == start(source.pipe(ops.of_type(NodeOutputDelta)))


def test_of_type_takes_several_classes_and_categories() -> None:
    with marbles_testing() as (start, _, hot, exp):
        source = hot("-r-s-d-e-u-w-E-|", LOOKUP, None)
        expected = exp("---s-------------", LOOKUP, None)[:1] + exp("-------------E-|", LOOKUP, None)
        assert expected == start(source.pipe(ops.of_type(NodeStarted, TerminalEvent)))


def test_of_type_knows_that_a_category_stands_for_its_classes() -> None:
    events = [run_started(), node_started(), node_succeeded(), run_failed()]
    assert events[1:3] == reactivex.from_(events).pipe(ops.of_type(NodeEvent), ops.to_list()).run()


@pytest.mark.parametrize("classes", [(), ("node_started",), (NodeStarted, str), ((NodeStarted, NodeEvent),)])
def test_of_type_refuses_what_is_no_class_of_events(classes: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ops.of_type(*classes)
    assert "event_classes" == refused.value.field


@pytest.mark.parametrize("operator", [ops.for_node("draft"), ops.of_type(NodeStarted)])
def test_disposing_leaves_the_source(operator: Any) -> None:
    assert [(0, 1)] == subscription_times(
        reactivex.compose(operator, ops.take(1)), [LOOKUP["s"], LOOKUP["s"], LOOKUP["s"], LOOKUP["s"]]
    )


def test_operators_can_be_imported_one_by_one() -> None:
    from rxruns.ops import for_node, share, text

    assert [for_node, share, text] == [ops.for_node, ops.share, ops.text]
    assert ops is rxruns.ops is importlib.import_module("rxruns.ops")
    assert ops is importlib.import_module("rxruns.operators")


@pytest.mark.parametrize("first", ["rxruns", "rxruns.ops", "rxruns.operators"])
def test_whichever_name_is_imported_first_it_is_one_module(first: str) -> None:
    code = (
        f"import {first}; from rxruns.ops import text; import rxruns; assert rxruns.ops is rxruns.operators"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=HANG)
