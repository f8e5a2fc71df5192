"""Observables in plain loops: bounded, and disposed whichever way the loop is left."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, Subject
from reactivex.disposable import Disposable
from reactivex.scheduler import NewThreadScheduler
from reactivex.subject import ReplaySubject

from rxruns import block_on, iterate, merge_runs, ops, recorded_events, run_events, start_run, workflow
from rxruns.devserver import DevServer
from rxruns.errors import InvalidArgumentError, StreamBackpressureError
from tests.conftest import HANG, ROOT, eventually
from tests.observing import reader_threads

pytestmark = pytest.mark.usefixtures("no_leaks")
FAULT = RuntimeError("the line is dead")


class Emitting:
    """An Observable that emits numbers on a thread of its own until it is disposed."""

    def __init__(self) -> None:
        self.sent: SimpleQueue[int] = SimpleQueue()
        self.disposed = threading.Event()
        self.source: Observable[int] = Observable(self._subscribe)

    def _subscribe(self, observer: Any, scheduler: Any = None) -> Disposable:
        def emit() -> None:
            number = 0
            while not self.disposed.is_set():
                observer.on_next(number)
                self.sent.put(number)
                number += 1

        threading.Thread(target=emit, name="emitting").start()
        return Disposable(self.disposed.set)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_values_keep_their_order_with_any_capacity(values: list[int], capacity: int) -> None:
    assert values == list(iterate(reactivex.from_iterable(values), capacity=capacity))


def test_values_of_another_thread_keep_their_order() -> None:
    source = reactivex.from_iterable(range(2_000), NewThreadScheduler())
    assert list(range(2_000)) == list(iterate(source, capacity=3))


def test_a_run_is_followed_to_its_end() -> None:
    with DevServer() as server, server.client() as client:
        run_id = client.create(workflow.chain(workflow.llm("a", model="gpt-4o", user="Hello"))).run_id
        seqs = [event.seq for event in iterate(run_events(run_id, client=client))]
    assert list(range(1, len(seqs) + 1)) == seqs


def test_the_first_value_subscribes() -> None:
    source: Subject[int] = Subject()
    with iterate(source):
        assert not source.observers


def test_an_error_is_raised_after_the_values_before_it_and_nothing_follows() -> None:
    values = iterate(reactivex.concat(reactivex.of(1, 2), reactivex.throw(FAULT)))
    assert [1, 2] == [next(values), next(values)]
    with pytest.raises(RuntimeError, match="dead"):
        next(values)
    assert [] == list(values)


def test_an_error_of_subscribing_ends_the_loop() -> None:
    class Broken(Observable[int]):
        def subscribe(self, *arguments: Any, **options: Any) -> Any:
            raise LookupError("no source")

    with pytest.raises(LookupError, match="no source"):
        list(iterate(Broken()))


def test_the_source_is_held_up_while_the_loop_is_slow() -> None:
    emitting = Emitting()
    with iterate(emitting.source, capacity=3) as values:
        assert 0 == next(values)
        assert [0, 1, 2, 3] == [emitting.sent.get(timeout=HANG) for _ in range(4)]
        assert emitting.sent.empty()
        assert 1 == next(values)
        assert 4 == emitting.sent.get(timeout=HANG)


def test_break_disposes_and_frees_a_blocked_source() -> None:
    emitting = Emitting()
    for number in iterate(emitting.source, capacity=1):
        if number == 3:
            break
    assert emitting.disposed.wait(HANG)


def test_an_exception_in_the_loop_disposes() -> None:
    emitting = Emitting()
    with pytest.raises(ZeroDivisionError):
        for number in iterate(emitting.source):
            _ = 1 // number
    assert emitting.disposed.wait(HANG)


def test_break_closes_the_connection_of_a_run() -> None:
    with DevServer() as server, server.client() as client:
        run = server.script()
        run.append({"type": "run_started", "plan_hash": "0" * 64})
        for _ in iterate(run_events(run.run_id, client=client)):
            break
        assert server.wait_for(lambda it: it.streams == 0)
    assert eventually(lambda: not reader_threads())


def test_disposing_reaches_a_source_that_emits_inside_subscribe() -> None:
    given_out: list[int] = []

    def count(number: int) -> int:
        given_out.append(number)
        return number

    assert 0 == next(iterate(reactivex.range(10_000_000).pipe(reactivex.operators.map(count)), capacity=1))
    assert eventually(lambda: not [t for t in threading.enumerate() if t.name == "rxruns-subscribe"])
    assert len(given_out) < 10


def test_a_full_buffer_is_an_error_on_the_loops_own_thread() -> None:
    source: ReplaySubject[int] = ReplaySubject()
    source.on_next(0)
    received = []
    with pytest.raises(StreamBackpressureError, match="own thread"):
        for number in iterate(source, capacity=2):
            received.append(number)
            for more in range(3 if number == 0 else 0):
                source.on_next(number + more + 1)
    assert [0, 1, 2] == received


def test_a_source_that_ends_with_stop_iteration_does_not_end_the_loop_in_silence() -> None:
    empty = iter(())
    with pytest.raises(RuntimeError, match="the source raised StopIteration"):
        list(iterate(reactivex.of(1).pipe(reactivex.operators.map(lambda _: next(empty)))))


def test_an_iterator_without_a_reference_disposes() -> None:
    emitting = Emitting()
    values = iterate(emitting.source)
    assert 0 == next(values)
    del values
    gc.collect()
    assert emitting.disposed.wait(HANG)


def test_after_close_nothing_follows() -> None:
    values = iterate(reactivex.never())
    values.close()
    values.close()
    assert [] == list(values)


def test_close_from_another_thread_ends_a_waiting_loop() -> None:
    source: Subject[int] = Subject()
    values = iterate(source)
    waiting = threading.Thread(target=lambda: list(values))
    waiting.start()
    assert eventually(lambda: bool(source.observers))
    values.close()
    waiting.join(HANG)
    assert not waiting.is_alive()


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5])
def test_a_capacity_is_a_whole_number_from_1(capacity: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="capacity"):
        iterate(reactivex.never(), capacity=capacity)


SCRIPT = """
import reactivex, sys, threading
from reactivex.disposable import Disposable
from rxruns import iterate

def subscribe(observer, scheduler=None):
    observer.on_next(1)
    return Disposable(lambda: print("disposed", flush=True))

try:
    for value in iterate(reactivex.Observable(subscribe)):
        print("ready", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_the_loop_and_disposes() -> None:
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "disposed\ninterrupted\n" == process.stdout.read()
        assert 0 == process.wait(HANG)


# ---- iterating over an Observable ----

RUN = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"
SOURCES: dict[str, Observable[Any]] = {
    "run_events": run_events(RUN),
    "start_run": start_run("0" * 64),
    "merge_runs": merge_runs([RUN]),
    "recorded_events": recorded_events("run.ndjson"),
    "piped": run_events(RUN).pipe(ops.for_node("draft"), ops.map(str)),
    "piped twice": merge_runs([RUN]).pipe(ops.cost_totals()).pipe(ops.last()),
    "piped into nothing": run_events(RUN).pipe(),
    "a method": run_events(RUN).filter(bool).take(2),
    "an item": run_events(RUN)[3],
}


def looped(source: Any) -> None:
    for event in source:
        pytest.fail(f"the loop got {event}")


def unpacked(source: Any) -> Any:
    first, *_ = source
    return first


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    "use",
    [
        list,
        iter,
        set,
        sorted,
        unpacked,
        lambda source: 3 in source,
        looped,
    ],
    ids=["list", "iter", "set", "sorted", "unpack", "in", "for"],
)
def test_the_error_of_a_loop_over_a_source_names_the_alternatives(name: str, use: Any) -> None:
    with pytest.raises(TypeError, match=r"rxruns\.iterate\(source\).*rxruns\.block_on\(source\)"):
        use(SOURCES[name])


def test_what_is_piped_emits_what_rxpys_own_would() -> None:
    with DevServer() as server, server.client() as client:
        spec = workflow.chain(workflow.llm("draft", model="claude-sonnet-4-5", user="Hi"))
        run_id = client.create(spec).run_id
        seqs = run_events(run_id, client=client).pipe(ops.map(lambda event: event.seq))
        shared = seqs.pipe(ops.filter(lambda seq: seq < 4), ops.publish(), ops.ref_count())
        assert [1, 2, 3] == block_on(shared.pipe(ops.to_list()))
        assert [1, 2, 3, 1, 2] == list(iterate((seqs.pipe(ops.take(3)) + seqs).pipe(ops.take(5))))
        assert 6 == seqs.pipe(ops.take(3), ops.sum()).run()
