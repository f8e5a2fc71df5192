"""Dispose stops everything at once, in every phase, from any thread (R1 to R3, R15, R18 to R20, R22).

Times are hang guards at twenty times the mark; `tox -e soak` holds the marks themselves.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from reactivex.disposable import SerialDisposable

import rxruns
from rxruns import ResumePolicy, RunsClient, block_on, ops, run_events
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import (
    CloseAfter,
    CutAt,
    CutRandomly,
    Delay,
    Fault,
    NoAnswer,
    Refuse,
    Status,
    Unchunked,
)
from rxruns.lifecycle import Closed, LifecycleEvent
from tests.conftest import HANG
from tests.observing import Seen, reader_threads, run_of, uncaught
from tests.soak import measured

MARK = 0.1
QUICK = ResumePolicy(base_backoff=0.001, max_backoff=0.01)
soak = pytest.mark.soak


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer(keepalive=60.0) as server:
        yield server


@pytest.fixture
def patience(request: pytest.FixtureRequest) -> float:
    """The factor by which a mark may be exceeded: 1 when the marks are measured."""
    return 1.0 if request.node.get_closest_marker("soak") else 20.0


def idle_run(server: DevServer, events: int = 2) -> Any:
    """A run that stays open: some events, then nothing."""
    return server.add_run(events=run_of(events)[: events or None], finish=False).run_id


class Closing:
    """An ``on_lifecycle`` whose `closed` is set once the reader has closed its connection."""

    def __init__(self) -> None:
        self.values: list[LifecycleEvent] = []
        self.closed = threading.Event()

    def __call__(self, value: LifecycleEvent) -> None:
        self.values.append(value)
        if isinstance(value, Closed):
            self.closed.set()


def gone(row: str, what: str, thread: threading.Thread | None, closing: Closing, within: float) -> bool:
    """Return whether the socket and then the thread end within some seconds, right after dispose."""
    started = time.monotonic()
    if not closing.closed.wait(within) or thread is None:
        return False
    thread.join(max(0.0, within - (time.monotonic() - started)))
    measured(row, what, time.monotonic() - started, MARK)
    return not thread.is_alive()


def the_reader(before: list[threading.Thread]) -> threading.Thread:
    (thread,) = [thread for thread in reader_threads() if thread not in before]
    return thread


# ---- R1: an idle stream ----


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=soak, id="soak")])
@pytest.mark.parametrize("body", ["chunked", "close-delimited"])
def test_R01_dispose_of_an_idle_stream_frees_thread_and_socket(
    server: DevServer, body: str, count: int, patience: float
) -> None:
    run_id = idle_run(server)
    server.use_faults(Faults(otherwise=Unchunked() if body == "close-delimited" else None))
    with server.client() as client:
        for _ in range(count):
            seen, closing = Seen(), Closing()
            subscription = run_events(run_id, client=client, on_lifecycle=closing).subscribe(seen)
            seen.wait_count(2)
            subscription.dispose()
            assert gone("R1", f"dispose, idle, {body}", seen.thread, closing, MARK * patience)
            assert server.wait_for(lambda server: server.streams == 0, MARK * patience)
            assert not seen.ended


# ---- R2: every phase ----


def waiting_for_headers(server: DevServer) -> None:
    server.use_faults(Faults(otherwise=NoAnswer()))


def mid_line(server: DevServer) -> None:
    server.use_faults(Faults(otherwise=(SilentAfterBytes(300),)))


def backing_off(server: DevServer) -> None:
    server.use_faults(Faults(otherwise=Status(503, retry_after=100)))


def idle_check(server: DevServer) -> None:
    server.use_faults(Faults(rest=[NoAnswer()] * 5, otherwise=CloseAfter(0)))


@dataclass(frozen=True)
class SilentAfterBytes(Fault):
    """Send `count` bytes, then nothing."""

    count: int

    def pieces(self, pieces: Iterator[bytes], dice: random.Random, wire: Any) -> Iterator[bytes]:
        left = self.count
        for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                wire.pause(None)


PHASES: dict[str, tuple[Callable[[DevServer], None], int]] = {
    "waiting for headers": (waiting_for_headers, 1),
    "mid-line": (mid_line, 1),
    "backoff": (backing_off, 1),
    "idle check": (idle_check, 2),
}


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=soak, id="soak")])
@pytest.mark.parametrize("phase", PHASES)
def test_R02_dispose_in_a_phase_frees_thread_and_socket(
    server: DevServer, phase: str, count: int, patience: float
) -> None:
    arrange, requests = PHASES[phase]
    with server.client() as client:
        for _ in range(count):
            run_id = server.add_run(events=run_of(3)).run_id
            arrange(server)
            before, earlier = reader_threads(), len(server.requests)
            seen, closing = Seen(), Closing()
            subscription = run_events(run_id, client=client, resume=QUICK, on_lifecycle=closing).subscribe(
                seen
            )
            thread = the_reader(before)
            due = earlier + requests
            assert server.wait_for(lambda server, due=due: len(server.requests) >= due)  # type: ignore[misc]
            subscription.dispose()
            assert gone("R2", f"dispose, {phase}", thread, closing, MARK * patience)
            assert len(server.requests) == due
            assert not seen.ended


def test_R02_dispose_during_the_tcp_connect_does_not_wait(patience: float) -> None:
    with socket.socket() as full:  # listens, but never accepts: once its queue is full, connects hang
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        before, closing = reader_threads(), Closing()
        client = rxruns.RunsClient(
            api_key="mr_sk_test", base_url=f"http://127.0.0.1:{port}", connect_timeout=0.5
        )
        with client:
            run = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"
            subscription = run_events(run, client=client, on_lifecycle=closing).subscribe(Seen())
            thread = the_reader(before)
            subscription.dispose()
            assert gone("R2", "dispose, TCP connect (0.5 s)", thread, closing, 0.55 * patience)
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("count", [5, pytest.param(200, marks=soak, id="soak")])
def test_R02_dispose_inside_on_next_counts_from_its_return(
    server: DevServer, count: int, patience: float
) -> None:
    run_id = server.add_run(events=run_of(50)).run_id
    with server.client() as client:
        for _ in range(count):
            subscription = SerialDisposable()
            ready = threading.Event()

            def stop(event: Any, ready: threading.Event = ready, subscription: Any = subscription) -> None:
                ready.wait()
                if event.seq == 3:
                    subscription.dispose()

            seen, closing = Seen(stop), Closing()
            subscription.disposable = run_events(run_id, client=client, on_lifecycle=closing).subscribe(seen)
            ready.set()
            assert closing.closed.wait(MARK * patience)
            assert seen.seqs == [1, 2, 3]


def test_R02_dispose_before_subscribe_returned(server: DevServer, patience: float) -> None:
    run_id = idle_run(server)
    closing = Closing()
    subscription = SerialDisposable()
    subscription.dispose()
    with server.client() as client:
        subscription.disposable = run_events(run_id, client=client, on_lifecycle=closing).subscribe(Seen())
        assert closing.closed.wait(MARK * patience)
        assert server.wait_for(lambda server: server.streams == 0)


def test_R02_dispose_twice_and_from_several_threads(server: DevServer, patience: float) -> None:
    run_id = idle_run(server)
    seen, closing = Seen(), Closing()
    with server.client() as client:
        subscription = run_events(run_id, client=client, on_lifecycle=closing).subscribe(seen)
        seen.wait_count(2)
        threads = [threading.Thread(target=subscription.dispose) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        subscription.dispose()
        assert gone("R2", "dispose, eight threads", seen.thread, closing, MARK * patience)
    assert sum(isinstance(value, Closed) for value in closing.values) == 1


# ---- R3: nothing begins after dispose ----


@pytest.mark.parametrize("trials", [60, pytest.param(1_000, marks=soak, id="soak")])
def test_R03_no_request_starts_after_dispose_and_at_most_one_on_next_begins(
    server: DevServer, trials: int
) -> None:
    run_id = server.add_run(events=run_of(400), status="running").run_id
    dice = random.Random(3)
    server.use_faults(
        Faults(
            [
                dice.choice([CutRandomly(0, 9_000), CloseAfter(dice.randint(0, 30)), Refuse(), Delay(0.0005)])
                for _ in range(trials * 40)
            ],
            seed=3,
        )
    )
    policy = ResumePolicy(max_reconnects=50, base_backoff=0.0005, max_backoff=0.001)
    # The server notes a request when its thread has time to: attempts are counted where they begin.
    attempts: Counter[int] = Counter()
    begun: list[int] = []
    for trial in range(trials):
        disposed = threading.Event()
        late: list[int] = []

        def on_next(event: Any, disposed: threading.Event = disposed, late: list[int] = late) -> None:
            if disposed.is_set():
                late.append(event.seq)

        def key(trial: int = trial) -> str:
            attempts[trial] += 1
            return server.api_key

        closing = Closing()
        with RunsClient(api_key=key, base_url=server.url, headers={"X-Trial": str(trial)}) as client:
            source = run_events(run_id, client=client, resume=policy, on_lifecycle=closing)
            subscription = source.subscribe(on_next)
            threading.Event().wait(dice.random() * 0.02)
            subscription.dispose()
            begun.append(attempts[trial])
            disposed.set()
            assert closing.closed.wait(HANG)
            assert len(late) <= 1
    assert server.wait_for(lambda server: server.streams == 0)
    arrived = Counter(int(request.headers["x-trial"]) for request in server.requests)
    assert {} == {trial: time for trial, time in arrived.items() if time > begun[trial]}
    assert sum(arrived.values()) > trials / 2


# ---- R15: the subscriber's own exception ----


def test_R15_an_exception_in_on_next_frees_all_and_is_shown_once(server: DevServer, patience: float) -> None:
    run_id = server.add_run(events=run_of(20), finish=False).run_id

    def fail(event: Any) -> None:
        if event.seq == 3:
            raise LookupError("mine")

    seen, closing = Seen(fail), Closing()
    with server.client() as client, uncaught() as caught:
        run_events(run_id, client=client, on_lifecycle=closing).subscribe(seen)
        assert closing.closed.wait(MARK * patience)
        assert seen.thread is not None
        seen.thread.join(10)
    assert [(args.exc_type, str(args.exc_value)) for args in caught] == [(LookupError, "mine")]
    assert (seen.seqs, seen.ended, len(server.requests)) == ([1, 2, 3], False, 1)
    assert closing.values[-1] == Closed(run_id=run_id, last_seq=2, error=caught[0].exc_value)


def test_R15_an_error_without_on_error_is_shown_once(server: DevServer) -> None:
    run_id = server.add_run(events=run_of(2)).run_id
    server.use_faults(Faults(otherwise=Status(404)))
    before, closing = reader_threads(), Closing()
    with server.client() as client, uncaught() as caught:
        run_events(run_id, client=client, on_lifecycle=closing).subscribe(lambda event: None)
        assert closing.closed.wait(10)
        for thread in set(reader_threads()) - set(before):
            thread.join(10)
    assert [args.exc_type for args in caught] == [rxruns.errors.APIError]


def test_R28_an_exception_in_on_lifecycle_is_the_subscribers(server: DevServer) -> None:
    run_id = server.add_run(events=run_of(2)).run_id
    before = reader_threads()

    def fail(value: LifecycleEvent) -> None:
        if not isinstance(value, Closed):
            raise LookupError("mine")

    seen = Seen()
    with server.client() as client, uncaught() as caught:
        run_events(run_id, client=client, on_lifecycle=fail).subscribe(seen)
        for thread in set(reader_threads()) - set(before):
            thread.join(10)
    assert [args.exc_type for args in caught] == [LookupError]
    assert (seen.events, seen.ended, len(server.requests)) == ([], False, 1)


def test_an_exception_at_closed_is_shown_and_the_observer_still_hears_of_the_end(server: DevServer) -> None:
    run_id = server.add_run(events=run_of(2)).run_id

    def fail(value: LifecycleEvent) -> None:
        if isinstance(value, Closed):
            raise LookupError("mine")

    before, seen = reader_threads(), Seen()
    with server.client() as client, uncaught() as caught:
        run_events(run_id, client=client, on_lifecycle=fail).subscribe(seen)
        seen.wait_end()
        for thread in set(reader_threads()) - set(before):
            thread.join(10)
    assert (seen.completed, [args.exc_type for args in caught]) == (True, [LookupError])


# ---- R18, R19: many ----


@pytest.mark.parametrize("count", [200, pytest.param(200, marks=soak, id="soak")])
def test_R18_two_hundred_streams_at_once(server: DevServer, count: int, patience: float) -> None:
    run_id = idle_run(server)
    with server.client() as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        observed = [(Seen(), Closing()) for _ in range(count)]
        subscriptions = [
            run_events(run_id, client=client, on_lifecycle=closing).subscribe(seen)
            for seen, closing in observed
        ]
        for seen, _ in observed:
            seen.wait_count(2)
        started = time.monotonic()
        deadline = started + 0.5 * patience
        for subscription in subscriptions:
            subscription.dispose()
        for seen, closing in observed:
            assert gone("R18", "one of them", seen.thread, closing, deadline - time.monotonic())
        measured("R18", "dispose of 200 streams", time.monotonic() - started, 0.5)


@pytest.mark.parametrize("cycles", [60, pytest.param(1_000, marks=soak, id="soak")])
@pytest.mark.usefixtures("no_leaks")
def test_R19_cycles_leave_no_thread_and_no_descriptor(cycles: int) -> None:
    with DevServer() as server:
        run_id = idle_run(server)
        with server.client() as client:
            for number in range(cycles):
                seen, closing = Seen(), Closing()
                subscription = run_events(run_id, client=client, on_lifecycle=closing).subscribe(seen)
                if number % 3:
                    seen.wait_count(number % 3)
                subscription.dispose()
                assert closing.closed.wait(10)
    gc.collect()


# ---- R20: with RxPY's own operators ----


def test_R20_take_closes_its_socket(server: DevServer, patience: float) -> None:
    run_id = idle_run(server)
    closing = Closing()
    with server.client() as client:
        source = run_events(run_id, client=client, on_lifecycle=closing)
        assert block_on(source.pipe(ops.take(1), ops.map(lambda event: event.seq))) == 1
        assert closing.closed.wait(MARK * patience)
        assert server.wait_for(lambda server: server.streams == 0, MARK * patience)


def test_R20_fifty_runs_merged_lose_and_repeat_nothing(server: DevServer) -> None:
    runs = [server.add_run(events=run_of(30)).run_id for _ in range(50)]
    server.use_faults(Faults([CutRandomly(0, 6_000) for _ in range(200)], seed=20))
    by_run: dict[Any, list[int]] = {}
    with server.client() as client:
        block_on(
            rxruns.merge_runs(runs, client=client, resume=QUICK).pipe(
                ops.tap(lambda event: by_run.setdefault(event.run_id, []).append(event.seq))
            )
        )
    assert by_run == {run_id: list(range(1, 35)) for run_id in runs}


def test_R20_merged_runs_take_turns(server: DevServer) -> None:
    runs = [server.add_run(events=run_of(3)).run_id for _ in range(6)]
    most: list[int] = []
    with server.client() as client:
        source = rxruns.merge_runs(runs, max_concurrent=2, client=client)
        seqs = block_on(
            source.pipe(
                ops.tap(lambda event: most.append(server.streams)), ops.map(lambda e: e.seq), ops.to_list()
            )
        )
    assert sorted(seqs or []) == sorted(list(range(1, 8)) * 6)
    assert max(most) <= 3  # two, and perhaps one that the server has not seen closing yet


def test_R20_concat_retry_share_and_switch_latest(server: DevServer) -> None:
    first, second = (server.add_run(events=run_of(2)).run_id for _ in range(2))
    with server.client() as client:
        a, b = (run_events(run, client=client, resume=QUICK) for run in (first, second))
        seq = ops.map(lambda event: event.seq)  # type: ignore[attr-defined]
        assert block_on(a.pipe(ops.concat(b), seq, ops.to_list())) == [*range(1, 7), *range(1, 7)]

        server.use_faults(Faults([(CloseAfter(3),), None]))
        single = run_events(first, client=client, resume=None)
        assert block_on(single.pipe(ops.retry(2), seq, ops.to_list())) == [1, 2, 3, *range(1, 7)]

        server.use_faults(None)
        earlier = len(server.requests)
        shared = a.pipe(ops.share())
        both = rxruns.ops.zip(shared.pipe(seq))(shared.pipe(seq))
        assert block_on(both.pipe(ops.to_list())) == [(n, n) for n in range(1, 7)]
        assert len(server.requests) == earlier + 1

        import reactivex

        switched = reactivex.of(a, b).pipe(
            ops.switch_latest(), ops.map(lambda event: (event.run_id, event.seq))
        )
        last = block_on(switched.pipe(ops.filter(lambda pair: pair[0] == second), ops.to_list()))
        assert last == [(second, n) for n in range(1, 7)]


def test_R20_each_subscription_has_its_own_cursor(server: DevServer) -> None:
    run_id = server.add_run(events=run_of(3)).run_id
    with server.client() as client:
        source = run_events(run_id, client=client, after_seq=2).pipe(ops.map(lambda e: e.seq), ops.to_list())
        assert [block_on(source), block_on(source)] == [[3, 4, 5, 6, 7]] * 2


SPEC = {
    "kind": "workflow",
    "nodes": [{"id": "draft", "type": "llm", "model": "gpt-4o", "user": "hello"}],
    "outputs": [{"name": "text", "from": "draft"}],
}


def test_R20_start_run_retried_or_subscribed_twice_follows_one_run(server: DevServer) -> None:
    server.use_faults(Faults([(CutAt(800),)]))
    with server.client() as client:
        source = rxruns.start_run(SPEC, client=client, resume=None).pipe(ops.map(lambda event: event.run_id))
        ids = block_on(source.pipe(ops.retry(2), ops.to_list())) or []
        again = block_on(source.pipe(ops.to_list())) or []
    assert len({*ids, *again}) == 1


# ---- R22: block_on and Ctrl-C ----

SCRIPT = """
    import sys
    from rxruns import RunsClient, block_on, run_events, ops
    client = RunsClient(api_key=sys.argv[1], base_url=sys.argv[2])
    source = run_events(sys.argv[3], client=client)
    block_on(source.pipe(ops.tap(lambda event: print(event.seq, flush=True))))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's here")
@pytest.mark.parametrize("count", [2, pytest.param(60, marks=soak, id="soak")])
def test_R22_ctrl_c_ends_block_on_and_the_process(server: DevServer, count: int, patience: float) -> None:
    run_id = str(idle_run(server))
    for _ in range(count):
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), server.api_key, server.url, run_id]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            assert [process.stdout.readline() for _ in range(2)] == ["1\n", "2\n"]
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert server.wait_for(lambda server: server.streams == 0)
            closed = measured("R22", "Ctrl-C until the connection is closed", time.monotonic() - started, 0.2)
            assert closed < 0.2 * patience
            assert process.wait(10) == -signal.SIGINT
            assert process.stderr.read().rstrip().endswith("KeyboardInterrupt")


LEAVING = """
    import atexit, os, sys, threading
    from rxruns import RunsClient, ops, run_events
    entered, leaving = threading.Event(), threading.Event()
    def show(event):
        entered.set()
        leaving.wait()
        leaving.clear()
        leaving.wait(0.05)  # as a print that takes its time, and that the interpreter is not to freeze
        os.write(1, b"shown")
    client = RunsClient(api_key=sys.argv[1], base_url=sys.argv[2])
    run_events(sys.argv[3], client=client).pipe(*map(eval, sys.argv[4:])).subscribe(show)
    entered.wait()
    atexit.register(leaving.set)
"""


@pytest.mark.parametrize("operators", [[], ["ops.handoff(8)"]], ids=repr)
def test_a_process_that_ends_lets_what_was_begun_be_finished(server: DevServer, operators: list[str]) -> None:
    run_id = str(idle_run(server))
    command = [sys.executable, "-c", textwrap.dedent(LEAVING), server.api_key, server.url, run_id, *operators]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)

    assert (0, "shown", "") == (ended.returncode, ended.stdout, ended.stderr)


FORKING = """
    import os, sys, threading
    from rxruns._threading._threads import start_thread
    released = threading.Event()
    def stop():
        os.write(1, b"stopped by " + (b"child" if child == 0 else b"parent"))
        released.set()
    start_thread("forking", released.wait, stop)
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_process_that_ends_leaves_its_parents_streams_alone() -> None:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)

    assert (0, "stopped by parent", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_start_run_refuses_a_bad_argument_at_once() -> None:
    with pytest.raises(rxruns.errors.InvalidArgumentError) as caught:
        rxruns.start_run(SPEC, session_id="0" * 32)
    assert caught.value.field == "session_id"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"after_seq": -1}, "after_seq"),
        ({"on_invalid": "ignore"}, "on_invalid"),
        ({"max_concurrent": 0}, "max_concurrent"),
    ],
)
def test_a_bad_argument_is_refused_at_once(options: dict[str, Any], field: str) -> None:
    source = rxruns.merge_runs if field == "max_concurrent" else run_events
    run_ids: Any = ["7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"]
    with pytest.raises(rxruns.errors.InvalidArgumentError) as caught:
        source(run_ids if field == "max_concurrent" else run_ids[0], **options)
    assert caught.value.field == field


def test_without_a_client_one_is_made_from_the_environment_and_closed(
    server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = server.add_run(events=run_of(1)).run_id
    monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
    monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
    for source in (run_events(run_id), rxruns.merge_runs([run_id]), rxruns.merge_runs([run_id] * 2)):
        assert block_on(source.pipe(ops.count())) in (5, 10)
    monkeypatch.delenv("MODELRELAY_API_KEY")
    with pytest.raises(rxruns.errors.InvalidArgumentError):
        block_on(run_events(run_id))


def test_block_on_inside_an_action_of_the_trampoline_does_not_hang(server: DevServer) -> None:
    import reactivex

    run_id = server.add_run(events=run_of(1)).run_id
    with server.client() as client:

        def count(number: int) -> Any:
            return block_on(run_events(run_id, client=client).pipe(ops.count()))

        assert block_on(reactivex.of(1, 2).pipe(ops.map(count), ops.to_list())) == [5, 5]
