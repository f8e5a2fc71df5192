from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest
import reactivex
from reactivex import operators as rx

import rxruns
from rxruns import operators as ops
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeEvent, NodeOutputDelta, NodeStarted, TerminalEvent
from rxruns.testing import subscription_times
from tests.conftest import HANG
from tests.making import (
    delta,
    node_started,
    run_completed,
    run_started,
    unknown,
)
from tests.test_operators.marbles import check

VALUES = {
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


def test_all_lists_each_name_once() -> None:
    assert len(set(ops.__all__)) == len(ops.__all__)
    assert [] == [name for name in ops.__all__ if not hasattr(ops, name)]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (ops.for_node("draft"), "---s-d---u-----|"),
        (ops.for_node("check", "draft", "absent"), "---s-d-e-u-----|"),
        (ops.of_type(NodeOutputDelta), "-----d-e-------|"),
        (ops.of_type(NodeStarted, TerminalEvent), "---s---------E-|"),
        (ops.of_type(NodeEvent), "---s-d-e-------|"),
    ],
)
def test_the_events_of_the_given_nodes_or_classes_pass(operator: Any, expected: str) -> None:
    check(operator, "-r-s-d-e-u-w-E-|", expected, VALUES)


@pytest.mark.parametrize("node_ids", [(), ("",), ("draft", ""), (["draft"],), (None,)])
def test_for_node_refuses_invalid_node_ids(node_ids: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ops.for_node(*node_ids)
    assert "node_ids" == refused.value.field


@pytest.mark.parametrize("classes", [(), ("node_started",), (NodeStarted, str), ((NodeStarted, NodeEvent),)])
def test_of_type_refuses_other_classes_than_those_of_events(classes: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ops.of_type(*classes)
    assert "event_classes" == refused.value.field


@pytest.mark.parametrize("operator", [ops.for_node("draft"), ops.of_type(NodeStarted)])
def test_dispose_unsubscribes_from_the_source(operator: Any) -> None:
    assert [(0, 1)] == subscription_times(reactivex.compose(operator, ops.take(1)), [node_started()] * 4)


def test_operators_can_be_imported_one_by_one() -> None:
    from rxruns.ops import for_node, share, text

    assert [for_node, share, text] == [ops.for_node, ops.share, ops.text]
    assert ops is rxruns.ops is importlib.import_module("rxruns.ops")
    assert ops is importlib.import_module("rxruns.operators")


@pytest.mark.parametrize("first", ["rxruns", "rxruns.ops", "rxruns.operators"])
def test_whichever_name_is_imported_first_it_is_one_module(first: str) -> None:
    code = f"import {first}, rxruns; from rxruns.ops import text; assert rxruns.ops is rxruns.operators"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=HANG)


@pytest.mark.parametrize("command", ["rxruns", "rxruns.folds", "rxruns.cli._cost"])
def test_what_reads_logs_alone_loads_neither_http_nor_rxpy_nor_marshmallow(command: str) -> None:
    code = f"import sys, {command}; print({{'requests', 'reactivex', 'marshmallow'}} & sys.modules.keys())"
    output = subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True, timeout=HANG)

    assert "set()\n" == output


def test_each_public_name_and_module_is_an_attribute_of_the_package() -> None:
    code = (
        "import rxruns; [getattr(rxruns, name) for name in {*rxruns.__all__, *rxruns._MODULES}];"
        "print(rxruns.ops is rxruns.operators, rxruns.cursors.MemoryCursors.__name__, sorted(rxruns._HOMES))"
    )
    output = subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True, timeout=HANG)

    homes = sorted({*rxruns.__all__} - {*rxruns._MODULES, "__version__"})
    assert f"True MemoryCursors {homes}\n" == output


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rxruns' has no attribute 'run_event'"):
        _ = rxruns.run_event  # type: ignore[attr-defined]
    assert set(rxruns.__all__) <= set(dir(rxruns))
