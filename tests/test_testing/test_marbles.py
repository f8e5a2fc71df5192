"""Runs as marbles and in virtual time; the drawings agree with the marbles of RxPY."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex
from reactivex.testing import TestScheduler
from reactivex.testing.marbles import marbles_testing

from rxruns import ops
from rxruns.errors import InvalidArgumentError, RunFailedError
from rxruns.events import NodeWaiting
from rxruns.testing import Played, drawn, events, play, subscription_times

LOG = events.run(every=1.0).node("draft").text("Hi").node("check").text("Ho").succeeds()


@pytest.mark.parametrize(
    ("given", "expected", "operators"),
    [
        ("-a-b-c-|", "-a-b-c-|", ()),
        ("-a-b-c--", "-a-b-c--", ()),
        ("-a-b-#", "-a-b-#", ()),
        ("-a-b-c-d-e-f-|", "-----c-d-----|", (ops.for_node("draft"),)),
        ("-a-b-c-|", "-(a,|)", (ops.take(1),)),
        ("-a-b-|", "-----(b,|)", (ops.take_last(1),)),
        ("-(a,b)-c|", "-(a,b)-c|", ()),
        ("- a - b |", "-a-b|", ()),
        ("-a-b-c-|", "---a-b-(c,|)", (ops.delay(2.0), ops.take(3))),
    ],
)
def test_the_output_is_drawn(given: str, expected: str, operators: tuple[Any, ...]) -> None:
    assert expected == drawn(given, LOG, *operators)


def test_a_drawing_is_read_as_rxpy_reads_it() -> None:
    diagram = drawn("-a-b-c-d-e-f-|", LOG, ops.for_node("check"))
    letters: dict[str | float, Any] = dict(zip("abcdefgh", LOG, strict=False))

    with marbles_testing() as (start, _, hot, exp):
        source = hot("-a-b-c-d-e-f-|", letters, None)
        assert exp(diagram, letters, None) == start(source.pipe(ops.for_node("check")))


def test_values_other_than_events_have_names() -> None:
    assert "----(n,|)" == drawn("-a-b|", LOG, ops.count(), names={"n": 2})
    with pytest.raises(InvalidArgumentError, match="names lacks a name for 2"):
        drawn("-a-b|", LOG, ops.count())


@pytest.mark.parametrize("diagram", ["-a-z-|", "-ab-|", "-(a,7)-|"])
def test_a_drawing_of_events_that_the_log_lacks_is_refused(diagram: str) -> None:
    with pytest.raises(InvalidArgumentError, match="diagram must be .*, got '(z|ab|7)'"):
        drawn(diagram, LOG)


def test_a_drawing_that_is_too_short_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="add ticks"):
        drawn("-ab|", LOG, ops.flat_map(lambda event: reactivex.of(event, event)), names={"ab": LOG[0]})


def test_a_run_is_played_at_the_times_of_its_events() -> None:
    played = play(LOG, ops.map(lambda event: event.seq))

    assert Played([(float(seq - 1), seq) for seq in range(1, len(LOG) + 1)], completed_at=8.0) == played


def test_a_run_without_an_end_stays_open_for_the_given_time() -> None:
    waits = events.run(every=1.0).node("ask").asks("Continue?").waits()

    assert [(64.0, "node_waiting")] == play(waits, ops.debounce(60.0), ops.map(lambda e: e.type)).values
    assert [] == play(waits, ops.debounce(60.0), lasting=59.0).values
    assert play(waits).completed_at is None
    assert Played() == play([])


def test_a_failure_is_the_error_of_the_output() -> None:
    played = play(events.run().fails("no luck"), ops.raise_on_failure())

    assert isinstance(played.error, RunFailedError)
    assert 3 == len(played.values)


def test_operators_that_need_a_clock_get_one() -> None:
    scheduler = TestScheduler()
    log = events.run(every=0.0).node("ask").tool_call("boss").waits().after(90).tool_result("yes").succeeds()

    quiet = play(log, ops.debounce(60.0, scheduler=scheduler), ops.of_type(NodeWaiting), scheduler=scheduler)

    assert [60.0] == [time for time, _ in quiet.values]


def test_an_operator_leaves_its_source_when_it_is_done() -> None:
    assert [(0.0, 2.0)] == subscription_times(ops.take(2), LOG)
