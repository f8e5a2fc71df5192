"""``ops.overdue``: one value for each silence of a run or a node."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, Subject
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import HistoricalScheduler
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.marbles import marbles_testing

from rxruns import RunNotFollowed, block_on, merge_runs, run_events
from rxruns import operators as ops
from rxruns.devserver import DevServer
from rxruns.errors import InvalidArgumentError, StreamInterruptedError
from rxruns.events import RunEvent
from rxruns.operators import Overdue, _overdue
from rxruns.testing import events, play, subscription_times
from tests.conftest import HANG, eventually
from tests.making import (
    OTHER_RUN,
    RUN,
    delta,
    node_failed,
    node_started,
    node_succeeded,
    run_canceled,
    run_completed,
    run_failed,
    run_started,
    unknown,
)
from tests.observing import run_of, uncaught
from tests.soak import MIB, both_sizes, peak_of_memory
from tests.waiting import call, tool_result, waiting

FAULT = RuntimeError("the line is dead")
GONE = StreamInterruptedError("gone", run_id=RUN, last_seq=2)
VALUES: dict[str | float, Any] = {
    "r": run_started(1),
    "s": run_started(1, OTHER_RUN),
    "R": run_completed(9),
    "F": run_failed(9),
    "C": run_canceled(9),
    "S": run_completed(9, OTHER_RUN),
    "X": RunNotFollowed(run_id=RUN, last_seq=2, error=GONE),
    "Y": RunNotFollowed(run_id=None, last_seq=0, error=GONE),
    "u": unknown(4),
    "a": node_started("a", 2),
    "A": node_succeeded("a", 5),
    "E": node_failed("a", 5),
    "b": node_started("b", 3),
    "B": node_succeeded("b", 6),
    "c": node_started("a", 2, OTHER_RUN),
    "d": delta(node_id="a", seq=4),
    "w": waiting(4, call(), call(id="call_2"), node_id="a"),
    "x": tool_result(5, node_id="a"),
    "y": tool_result(6, node_id="a", id="call_2"),
}


def check(source: str, expected: str, of: Any) -> None:
    """Assert the values in a drawing: the last event of each, as a capital if the status is "waiting"."""
    names = {id(value): str(name) for name, value in VALUES.items()}

    def label(value: Overdue) -> str:
        assert (4, value.last.run_id) == (value.seconds, value.run_id)
        assert value.node_id == (None if of == "run" else getattr(value.last, "node_id", ""))
        name = names[id(value.last)]
        return name.upper() if value.status == "waiting" else name

    with marbles_testing(timespan=1.0) as (start, _, hot, exp):
        values = hot(source, VALUES, FAULT).pipe(ops.overdue(4, of), ops.map(label))
        assert exp(expected, None, FAULT) == start(values)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("-r---------R-|", "-----r-------|", id="once for a silence"),
        pytest.param("-r--u--u----u------R-|", "-----------u----u----|", id="again after another event"),
        pytest.param("-r-s-u---S------R|", "-------s-u-------|", id="each run alone"),
        pytest.param("-r-R--------|", "------------|", id="not after the end"),
        pytest.param("-r-F--------|", "------------|", id="not after a failure"),
        pytest.param("-r-C--------|", "------------|", id="not after it was canceled"),
        pytest.param("-r-X-Y------|", "------------|", id="not of a run that can't be followed"),
        pytest.param("-s-X-Y------|", "-----s------|", id="although another one can't be followed"),
        pytest.param("-r-|", "---|", id="not after completion"),
        pytest.param("-r-#", "---#", id="not after an error"),
        pytest.param("-r---w-d----R|", "-----------D-|", id="also of a run that waits"),
        pytest.param("-a-b-w------R|", "---------w---|", id="not waiting while another node runs"),
        pytest.param("--------|", "--------|", id="nothing without an event"),
    ],
)
def test_a_silent_run_is_overdue(source: str, expected: str) -> None:
    check(source, expected, "run")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("-a----------A-R-|", "-----a----------|", id="once for a silence"),
        pytest.param("-a--d--d----d------R-|", "-----------d----d----|", id="again after another event"),
        pytest.param("-a-b-A---B--R|", "-------b-----|", id="each node alone"),
        pytest.param("-a-r-u-s-------R|", "-----a----------|", id="although others have events"),
        pytest.param("-a-c-R--------S|", "-------c-------|", id="not after the end of its run"),
        pytest.param("-a-X----------|", "--------------|", id="not of a run that can't be followed"),
        pytest.param("-a-A-d--------|", "--------------|", id="not after its end, whatever follows"),
        pytest.param("-a-E----------|", "--------------|", id="not after its failure"),
        pytest.param("-a-E-a--------|", "---------a----|", id="when it started again"),
        pytest.param("-d------------|", "-----d--------|", id="without a start that was seen"),
        pytest.param("-a-w----------|", "-------W------|", id="while it waits"),
        pytest.param("-a-w-x--------|", "---------X----|", id="while one of two calls is answered"),
        pytest.param("-a-w-x-y------|", "-----------y--|", id="after its answers"),
        pytest.param("-a-w-#", "-----#", id="not after an error"),
    ],
)
def test_a_silent_node_is_overdue(source: str, expected: str) -> None:
    check(source, expected, "node")


@given(
    times=st.lists(st.tuples(st.integers(1, 60), st.sampled_from("rRsS")), min_size=1).map(sorted),
    seconds=st.integers(1, 20).map(lambda whole: whole + 0.5),
)
def test_the_values_are_the_pauses_between_the_events_of_each_run(
    times: list[tuple[int, str]], seconds: float
) -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        [ReactiveTest.on_next(200 + at, VALUES[name]) for at, name in times]
    )
    seen = scheduler.start(lambda: source.pipe(ops.overdue(seconds)), disposed=1_000.0)

    expected: list[tuple[float, str]] = []
    for run in "rs":
        own = [(at, name) for at, name in times if name.lower() == run]
        for (at, name), (after, _) in pairwise([*own, (10**6, "the end")]):
            if name == run and at + seconds < after:  # a capital ends the run
                expected.append((at + seconds, run))
    values: list[Any] = seen.messages
    runs = {RUN: "r", OTHER_RUN: "s"}
    assert sorted(expected) == sorted((each.time - 200, runs[each.value.value.run_id]) for each in values)


def test_silences_that_end_together_are_all_reported() -> None:
    source = [run_started(1, RUN), run_started(1, OTHER_RUN)]
    scheduler = TestScheduler()
    hot = scheduler.create_hot_observable([ReactiveTest.on_next(210, each) for each in source])
    seen = scheduler.start(lambda: hot.pipe(ops.overdue(60)))
    assert [(270.0, RUN), (270.0, OTHER_RUN)] == [
        (message.time, message.value.value.run_id)
        for message in seen.messages  # type: ignore[attr-defined]
    ]


def test_since_is_the_time_of_arrival_by_the_schedulers_clock() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    scheduler, source, seen = HistoricalScheduler(noon), Subject[RunEvent](), list[Overdue]()
    source.pipe(ops.overdue(60)).subscribe(seen.append, scheduler=scheduler)
    scheduler.advance_by(timedelta(seconds=5))
    source.on_next(run_started(1))
    scheduler.advance_by(timedelta(seconds=60))
    assert [Overdue(RUN, None, "running", run_started(1), noon + timedelta(seconds=5), 60)] == seen


def test_a_run_that_is_played_is_reported_at_its_pace() -> None:
    log = events.run(every=1.0).node("draft").asks("Ship it?").waits().after(300.0).answers("yes").succeeds()
    played = play(log, ops.overdue(60.0, of="node"))
    assert [(64.0, "draft", "waiting")] == [(at, each.node_id, each.status) for at, each in played.values]


# ---- one timer, and no more ----


class Timers(TestScheduler):
    """Counts the timers that are set and not yet cancelled or run."""

    def __init__(self) -> None:
        super().__init__()
        self.set = self.waiting = 0

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> Any:
        self.set += 1
        self.waiting += 1
        done = Disposable(self._done)

        def run(*arguments: Any) -> Any:
            done.dispose()
            return action(*arguments)

        timer = super().schedule_relative(duetime, run, state)
        return CompositeDisposable(timer, done)

    def _done(self) -> None:
        self.waiting -= 1


@pytest.mark.parametrize("of", ["run", "node"])
def test_one_timer_serves_all_runs_and_events_do_not_set_it_again(of: Any) -> None:
    scheduler, source, seen = Timers(), Subject[RunEvent](), list[Overdue]()
    subscription = source.pipe(ops.overdue(60, of)).subscribe(seen.append, scheduler=scheduler)
    assert 0 == scheduler.set
    ids = [events.run(f"7f9c2ba4-e88f-4a2c-9d5a-{number:012x}").node("a") for number in range(1, 101)]
    for _ in range(600):
        for log in ids:
            source.on_next(log[2])
        scheduler.advance_by(1.0)
        assert 1 == scheduler.waiting
    assert ([], True) == (seen, scheduler.set <= 12)
    scheduler.advance_by(60.0)
    assert (100, 0) == (len(seen), scheduler.waiting)
    source.on_next(ids[0][2])
    assert 1 == scheduler.waiting
    subscription.dispose()
    assert 0 == scheduler.waiting


@pytest.mark.parametrize("end", ["completed", "error", "dispose"])
def test_the_timer_is_cancelled_at_once(end: str) -> None:
    scheduler, source = Timers(), Subject[RunEvent]()
    waiting_at_the_end: list[int] = []

    def note(*_: object) -> None:
        waiting_at_the_end.append(scheduler.waiting)

    subscription = source.pipe(ops.overdue(60)).subscribe(None, note, note, scheduler=scheduler)
    source.on_next(run_started())
    {
        "completed": source.on_completed,
        "error": lambda: source.on_error(FAULT),
        "dispose": subscription.dispose,
    }[end]()
    assert ([] if end == "dispose" else [0], 0) == (waiting_at_the_end, scheduler.waiting)


def test_dispose_inside_a_value_drops_the_others() -> None:
    scheduler, source, seen = TestScheduler(), Subject[RunEvent](), list[Overdue]()

    def leave(value: Overdue) -> None:
        seen.append(value)
        subscription.dispose()

    subscription = source.pipe(ops.overdue(60)).subscribe(leave, scheduler=scheduler)
    source.on_next(run_started(1))
    source.on_next(run_started(1, OTHER_RUN))
    scheduler.advance_by(1_000)
    assert 1 == len(seen)


def test_dispose_unsubscribes_from_the_source() -> None:
    operator = reactivex.compose(ops.overdue(0.5), ops.take(1))
    assert [(0, 1.5)] == subscription_times(operator, [run_started(1)] * 3)


def test_an_event_that_a_value_causes_begins_another_silence() -> None:
    scheduler, source, seen = TestScheduler(), Subject[RunEvent](), list[Overdue]()

    def answer(value: Overdue) -> None:
        seen.append(value)
        source.on_next(delta(seq=value.last.seq + 1))

    source.pipe(ops.overdue(60), ops.take(3)).subscribe(answer, scheduler=scheduler)
    source.on_next(run_started(1))
    scheduler.advance_by(1_000)
    assert [1, 2, 3] == [value.last.seq for value in seen]


def test_a_limit_of_centuries_is_a_limit() -> None:
    scheduler, source, seen = Timers(), Subject[RunEvent](), list[Overdue]()
    source.pipe(ops.overdue(1e12)).subscribe(seen.append, scheduler=scheduler)
    source.on_next(run_started(1))
    scheduler.advance_by(86_400.0 * 3)
    assert ([], 1) == (seen, scheduler.waiting)


# ---- threads ----


@pytest.mark.usefixtures("no_leaks")
def test_a_stuck_run_of_a_service_is_reported_on_another_thread_and_dispose_ends_all() -> None:
    threads: list[str] = []
    with DevServer() as server, server.client() as client:
        runs = [server.add_run(events=run_of(1)[:2], finish=False).run_id for _ in range(3)]
        source = merge_runs(runs, client=client).pipe(
            ops.overdue(0.02, of="node"),
            ops.tap(lambda value: threads.append(threading.current_thread().name)),
            ops.take(3),
            ops.to_list(),
        )
        found = block_on(source)
    assert set(runs) == {value.run_id for value in found or []}
    assert "rxruns-reader" not in threads


@pytest.mark.usefixtures("no_leaks")
def test_a_subscriber_that_raises_on_the_timers_thread_frees_the_source_too() -> None:
    def refuse(value: Overdue) -> None:
        raise LookupError("mine")

    with uncaught() as died, DevServer() as server, server.client() as client:
        run = server.add_run(events=run_of(1)[:2], finish=False).run_id
        run_events(run, client=client).pipe(ops.overdue(0.01)).subscribe(refuse)
        assert eventually(lambda: bool(died))
    assert [LookupError] == [each.exc_type for each in died]


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("error", [None, FAULT])
def test_the_end_of_the_source_waits_for_the_value_that_is_being_emitted(error: Exception | None) -> None:
    source, calls = Subject[RunEvent](), list[str]()
    entered, ending, ended = threading.Event(), threading.Event(), threading.Event()

    def on_next(value: Overdue) -> None:
        calls.append("value")
        entered.set()
        assert ending.wait(HANG)
        ended.wait(0.01)  # the source has every chance to be faster
        calls.append("emitted")

    def end(*_: object) -> None:
        calls.append("end")
        ended.set()

    source.pipe(ops.overdue(0.001)).subscribe(on_next, end, end)
    source.on_next(run_started(1))
    assert entered.wait(HANG)

    def finish() -> None:
        ending.set()
        source.on_completed() if error is None else source.on_error(error)

    thread = threading.Thread(target=finish)
    thread.start()
    thread.join(HANG)
    assert ["value", "emitted", "end"] == calls


@pytest.mark.usefixtures("no_leaks")
def test_neither_events_nor_dispose_wait_for_the_value_that_is_being_emitted() -> None:
    source, entered, free = Subject[RunEvent](), threading.Event(), threading.Event()

    def on_next(value: Overdue) -> None:
        entered.set()
        assert free.wait(HANG)

    subscription = source.pipe(ops.overdue(0.001)).subscribe(on_next)
    source.on_next(run_started(1))
    assert entered.wait(HANG)
    source.on_next(delta(seq=2))
    subscription.dispose()
    free.set()


# ---- memory ----


@both_sizes
@pytest.mark.parametrize("of", ["run", "node"])
def test_ended_runs_and_nodes_are_forgotten(of: Any, soaking: bool) -> None:
    count = 100_000 if soaking else 5_000
    source: Subject[RunEvent] = Subject()
    source.pipe(ops.overdue(3600, of)).subscribe(scheduler=TestScheduler())

    def run(number: int) -> None:
        log = events.run(f"7f9c2ba4-e88f-4a2c-9d5a-{number:012x}").node("a").text("Hi").node_succeeds()
        for event in log.node("b").succeeds():
            source.on_next(event)

    for number in range(1, 1_000):
        run(number)
    with peak_of_memory() as grown:
        for number in range(1_000, 1_000 + count):
            run(number)
        assert grown() < MIB


def test_what_has_ended_leaves_nothing_behind() -> None:
    for of_nodes in (False, True):
        silences = _overdue._Silences(of_nodes)
        for event in [*events.run().node("a").text("Hi").node_succeeds().node("b").succeeds()]:
            silences.note(event, 1.0)
        assert ({}, 0) == (silences._runs, len(silences._quiet))


# ---- arguments ----


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        *(("seconds", (value,)) for value in (0, -1, None, "60", float("nan"), float("inf"), True)),
        *(("of", (60, value)) for value in ("nodes", None, [])),
    ],
)
def test_a_bad_argument_is_refused_at_once(field: str, arguments: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} must be ") as refused:
        ops.overdue(*arguments)
    assert field == refused.value.field


def test_an_error_of_the_subscription_is_passed_on() -> None:
    seen: list[Any] = []
    failing: Observable[RunEvent] = reactivex.throw(FAULT)
    failing.pipe(ops.overdue(60)).subscribe(seen.append, seen.append)
    assert [FAULT] == seen
