"""`merge_runs` over real sockets and threads. What is emitted when: test_merging.py, in virtual time."""

from __future__ import annotations

import pickle
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from queue import SimpleQueue
from typing import Any
from uuid import UUID, uuid4

import pytest
import reactivex
from reactivex.subject import Subject

from rxruns import RunNotFollowed, RunsClient, block_on, merge_runs, ops
from rxruns.cursors import MemoryCursors
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CloseAfter, NoAnswer, Status
from rxruns.errors import APIError, InvalidArgumentError, StreamInterruptedError
from rxruns.events import RunEvent
from rxruns.lifecycle import Closed, Connected, LifecycleEvent
from tests.conftest import HANG, eventually
from tests.observing import Seen, reader_threads, run_of, uncaught
from tests.soak import both_sizes, measured, patience
from tests.test_memory import RUN, lines
from tests.wire import KEY, NDJSON, FakeRuns, Wire, head

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def server(no_leaks: None) -> Iterator[DevServer]:
    with DevServer(keepalive=60.0) as server:
        yield server


def open_runs(server: DevServer, count: int) -> list[Any]:
    """Runs with two events that stay open until they are finished."""
    return [server.add_run(events=run_of(2)[:2], finish=False) for _ in range(count)]


def finish(run: Any) -> None:
    run.append(run_of(0)[-1])


def streams_requested(server: DevServer) -> int:
    return sum(request.path.endswith("/events") for request in server.requests)


# ---- ids of an iterable ----


class Taking:
    """Endless ids that count those that were taken."""

    def __init__(self, ids: Iterable[Any]) -> None:
        self._ids = iter(ids)
        self._changed = threading.Condition()
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        for run_id in self._ids:
            with self._changed:
                self.taken += 1
                self._changed.notify_all()
            yield run_id

    def wait(self, taken: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.taken >= taken, HANG)


def test_the_next_id_is_taken_when_there_is_a_place_and_not_before(server: DevServer) -> None:
    runs = open_runs(server, 20)
    ids, seen = Taking(run.run_id for run in runs), Seen()
    with server.client() as client:
        subscription = merge_runs(ids, max_concurrent=3, client=client).subscribe(seen)
        seen.wait_count(6)
        for ended in range(5):
            # Each step holds for as long as no run ends, so there is nothing to wait for.
            assert (3 + ended, 3 + ended) == (ids.taken, streams_requested(server))
            finish(runs[ended])
            ids.wait(4 + ended)
            seen.wait_count(6 + 3 * (ended + 1))
        subscription.dispose()
    assert not seen.ended
    assert 8 == ids.taken


def test_ids_that_never_end_are_followed_as_they_come() -> None:
    with DevServer() as server, server.client() as client:
        ids = (server.add_run(events=run_of(1)).run_id for _ in count())
        seqs = block_on(
            merge_runs(ids, max_concurrent=4, client=client).pipe(
                ops.take(200), ops.map(lambda event: event.seq), ops.to_list()
            )
        )
        assert 40 * 15 == sum(seqs or [])  # 40 runs of 1 to 5


def test_a_queue_is_an_iterable_of_ids(server: DevServer) -> None:
    runs, seen, queue = open_runs(server, 2), Seen(), SimpleQueue[Any]()
    with server.client() as client:
        merge_runs(iter(queue.get, None), client=client).subscribe(seen)
        for number, run in enumerate(runs, 1):
            queue.put(str(run.run_id))
            seen.wait_count(2 * number)
        queue.put(None)
        for run in runs:
            assert not seen.ended
            finish(run)
        seen.wait_end()
    assert seen.completed
    assert 6 == len(seen.events)


def test_dispose_does_not_wait_for_an_iterable_and_follows_none_of_its_later_ids(
    server: DevServer,
) -> None:
    run, queue, asking = open_runs(server, 1)[0], SimpleQueue[Any](), threading.Event()

    def ids() -> Iterator[Any]:
        asking.set()
        yield queue.get()

    with server.client() as client:
        subscription = merge_runs(ids(), client=client).subscribe(Seen())
        assert asking.wait(HANG)
        subscription.dispose()
        queue.put(run.run_id)
        assert eventually(lambda: "rxruns-merge" not in {thread.name for thread in threading.enumerate()})
    assert 0 == len(server.requests)


def test_an_iterable_that_raises_ends_all_with_its_own_error(server: DevServer) -> None:
    run, broken = open_runs(server, 1)[0], threading.Event()

    def ids() -> Iterator[Any]:
        yield run.run_id
        assert broken.wait(HANG)
        raise OSError("the queue is gone")

    seen = Seen()
    with server.client() as client:
        merge_runs(ids(), client=client, on_run_error="emit").subscribe(seen)
        seen.wait_count(2)
        broken.set()
        assert "the queue is gone" == str(seen.wait_end().error)
        assert server.wait_for(lambda server: server.streams == 0)


def test_an_iterable_that_fails_to_begin_ends_with_its_own_error() -> None:
    class Gone:
        def __iter__(self) -> Iterator[UUID]:
            raise OSError("the queue is gone")

    with DevServer() as server, server.client() as client, pytest.raises(OSError, match="the queue is gone"):
        block_on(merge_runs(Gone(), client=client))


def test_what_has_a_length_is_looked_at_at_once_and_kept(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(1)).run_id]
    with server.client() as client:
        source = merge_runs(ids, client=client)
        ids.append(UUID(int=0))
        assert [5, 5] == [block_on(source.pipe(ops.count())) for _ in range(2)]


@pytest.mark.parametrize("on_run_error", ["raise", "emit"])
@pytest.mark.parametrize(
    "wrong", ["7f9c2ba4", "", UUID(int=0), None, 7, b"7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"]
)
def test_a_bad_id_is_refused_at_once_in_a_collection(wrong: Any, on_run_error: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"run_ids\[1\] must be") as caught:
        merge_runs([uuid4(), wrong], on_run_error=on_run_error)
    assert "run_ids[1]" == caught.value.field


def test_a_bad_id_that_is_emitted_late_is_named(server: DevServer) -> None:
    good = server.add_run(events=run_of(1)).run_id
    with server.client() as client:
        with pytest.raises(InvalidArgumentError, match=r"run_ids\[1\] must be .*, got 'no id'"):
            block_on(merge_runs(iter([good, "no id"]), client=client))
        values = block_on(
            merge_runs(iter(["no id", good]), client=client, on_run_error="emit").pipe(ops.to_list())
        )
    (failure,) = [value for value in values or [] if isinstance(value, RunNotFollowed)]
    assert (None, 0) == (failure.run_id, failure.last_seq)
    assert isinstance(failure.error, InvalidArgumentError)
    assert 5 == len(values or []) - 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"run_ids": str(uuid4())}, "run_ids"),
        ({"run_ids": uuid4()}, "run_ids"),
        ({"run_ids": 7}, "run_ids"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"max_concurrent": True}, "max_concurrent"),
        ({"max_concurrent": 1.5}, "max_concurrent"),
        ({"on_run_error": "ignore"}, "on_run_error"),
        ({"after_seq": -1}, "after_seq"),
        ({"limit": 0}, "limit"),
    ],
)
def test_a_bad_argument_is_refused_at_once(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        merge_runs(**{"run_ids": []} | arguments)
    assert field == caught.value.field


def test_no_ids_complete_at_once() -> None:
    with DevServer() as server, server.client() as client:
        assert None is block_on(merge_runs([], client=client))


# ---- ids of an Observable ----


def test_ids_of_an_observable_wait_for_a_place(server: DevServer) -> None:
    runs, ids, seen = open_runs(server, 5), Subject[UUID](), Seen()
    with server.client() as client:
        merge_runs(ids, max_concurrent=2, client=client).subscribe(seen)
        for run in runs:
            ids.on_next(run.run_id)
        ids.on_completed()
        for ended in range(5):
            seen.wait_count(2 * min(2 + ended, 5) + ended)
            assert min(2 + ended, 5) == streams_requested(server)
            finish(runs[ended])
        seen.wait_end()
    assert seen.completed
    assert 15 == len(seen.events)


def test_an_observable_that_emits_inside_subscribe_without_an_end_can_be_disposed(server: DevServer) -> None:
    run = server.add_run(events=run_of(1))
    with server.client() as client:
        endless = reactivex.from_iterable(run.run_id for _ in count())
        source = merge_runs(endless, max_concurrent=2, client=client)
        assert [1, 2, 3] == block_on(
            source.pipe(ops.map(lambda event: event.seq), ops.distinct(), ops.take(3), ops.to_list())
        )


def test_a_run_can_be_added_inside_on_next(server: DevServer) -> None:
    first, second = (server.add_run(events=run_of(1)).run_id for _ in range(2))
    ids = Subject[UUID]()

    def ask(event: RunEvent) -> None:
        if event.seq == 3 and event.run_id == first:
            ids.on_next(second)
            ids.on_completed()

    seen = Seen(ask)
    with server.client() as client:
        merge_runs(ids, client=client).subscribe(seen)
        ids.on_next(first)
        seen.wait_end()
    assert seen.completed
    assert 10 == len(seen.events)


# ---- one bad run ----


def test_runs_that_fail_are_values_and_the_others_continue(server: DevServer) -> None:
    good = [server.add_run(events=run_of(20)).run_id for _ in range(6)]
    bad = [uuid4() for _ in range(6)]
    ids = [run_id for pair in zip(good, bad, strict=True) for run_id in pair]
    with server.client() as client:
        values = block_on(
            merge_runs(ids, max_concurrent=3, client=client, on_run_error="emit").pipe(ops.to_list())
        )
    failed = [value for value in values or [] if isinstance(value, RunNotFollowed)]
    assert sorted(bad) == sorted(value.run_id for value in failed if value.run_id)
    assert {0} == {value.last_seq for value in failed}
    assert all(isinstance(value.error, APIError) and value.error.is_not_found for value in failed)
    by_run: dict[UUID, list[int]] = {}
    for event in values or []:
        if isinstance(event, RunEvent):
            by_run.setdefault(event.run_id, []).append(event.seq)
    assert {run_id: list(range(1, 25)) for run_id in good} == by_run


def test_a_run_that_breaks_names_the_seq_to_resume_from(server: DevServer) -> None:
    run_id = server.add_run(events=run_of(6)).run_id
    server.use_faults(Faults([CloseAfter(4)]))
    with server.client() as client:
        broken = block_on(merge_runs([run_id], client=client, on_run_error="emit", resume=None))
        assert isinstance(broken, RunNotFollowed)
        assert isinstance(broken.error, StreamInterruptedError)
        assert (run_id, 4) == (broken.run_id, broken.last_seq)
        rest = block_on(
            merge_runs([run_id], client=client, after_seq=broken.last_seq).pipe(
                ops.map(lambda event: event.seq), ops.to_list()
            )
        )
    assert list(range(5, 11)) == rest


def test_a_run_that_fails_ends_all_unless_it_is_emitted(server: DevServer) -> None:
    runs, seen = open_runs(server, 5), Seen()
    ids = [*(run.run_id for run in runs), uuid4()]
    with server.client() as client:
        merge_runs(ids, client=client).subscribe(seen)
        error = seen.wait_end().error
        assert isinstance(error, APIError)
        assert error.is_not_found
        assert server.wait_for(lambda server: server.streams == 0)


def test_a_run_that_failed_at_the_service_was_followed(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(1, ends="run_failed")).run_id]
    with server.client() as client:
        last = block_on(merge_runs(ids, client=client, on_run_error="emit"))
    assert isinstance(last, RunEvent)


def test_threads_that_run_out_are_the_failure_of_a_run(
    server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = server.add_run(events=run_of(1)).run_id
    starts = iter([True, False, True])

    def start(self: Any, begin: Callable[[Any], None] = threading.Thread.start) -> None:
        if self.name == "rxruns-reader" and not next(starts):
            raise RuntimeError("can't start new thread")
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with server.client() as client:
        source = merge_runs([run_id] * 3, max_concurrent=1, client=client, on_run_error="emit")
        values = block_on(source.pipe(ops.to_list())) or []
    (failure,) = [value for value in values if isinstance(value, RunNotFollowed)]
    assert "can't start new thread" == str(failure.error)
    assert 11 == len(values)


def test_a_failure_pickles() -> None:
    failure = RunNotFollowed(run_id=uuid4(), error=APIError("no", status=404), last_seq=3)
    copied = pickle.loads(pickle.dumps(failure))
    assert (failure.run_id, 404, 3) == (copied.run_id, copied.error.status, copied.last_seq)


# ---- where each run begins ----


def test_each_run_begins_at_its_cursor_in_a_store(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(2)).run_id for _ in range(3)]
    store = MemoryCursors()
    with server.client() as client:

        def life(events: int) -> list[tuple[UUID, int]]:
            followed = merge_runs(ids, max_concurrent=1, client=client, after_seq=store.get)
            named = followed.pipe(ops.take(events), ops.checkpoint(store))  # stored before it completes
            return block_on(named.pipe(ops.map(lambda event: (event.run_id, event.seq)), ops.to_list())) or []

        printed = life(8) + life(8) + life(8)
    assert [(run_id, seq) for run_id in ids for seq in range(1, 7)] == printed


def test_a_store_that_raises_is_the_failure_of_its_run(server: DevServer) -> None:
    good, bad = (server.add_run(events=run_of(1)).run_id for _ in range(2))

    def after_seq(run_id: UUID) -> int:
        if run_id == bad:
            raise OSError("the store is gone")
        return -1 if run_id.int == 7 else 3

    with server.client() as client:
        source = merge_runs(
            [bad, good, UUID(int=7)],
            client=client,
            after_seq=after_seq,
            on_run_error="emit",
            max_concurrent=1,
        )
        broken, *events, wrong = block_on(source.pipe(ops.to_list())) or []
        with pytest.raises(OSError, match="the store is gone"):
            block_on(merge_runs([bad], client=client, after_seq=after_seq))
    assert isinstance(broken, RunNotFollowed) and isinstance(wrong, RunNotFollowed)
    assert (bad, "the store is gone") == (broken.run_id, str(broken.error))
    assert isinstance(wrong.error, InvalidArgumentError)
    assert [4, 5] == [event.seq for event in events if isinstance(event, RunEvent)]


# ---- one at a time ----


def test_on_next_is_called_by_one_thread_at_a_time(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(50)).run_id for _ in range(8)]
    inside, never = threading.Lock(), threading.Event()
    overlaps, threads = 0, set()

    def look(event: RunEvent) -> None:
        nonlocal overlaps
        free = inside.acquire(blocking=False)
        overlaps += not free
        threads.add(threading.current_thread())
        never.wait(0.0002)  # lets the others try
        if free:
            inside.release()

    with server.client() as client:
        assert 8 * 54 == block_on(merge_runs(ids, client=client).pipe(ops.tap(look), ops.count()))
    assert 0 == overlaps
    assert 8 == len(threads)


def test_a_subscription_inside_on_next_is_one_of_its_own(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(3)).run_id for _ in range(3)]
    inner = Seen()
    with server.client() as client:
        source = merge_runs(ids, client=client)

        def subscribe_once(event: RunEvent) -> None:
            if len(outer.events) == 1:
                source.subscribe(inner)
                inner.wait_end()  # while the outer one stands still

        outer = Seen(subscribe_once)
        source.subscribe(outer)
        outer.wait_end()
    assert (True, 21) == (inner.completed, len(inner.events))
    assert (True, 21) == (outer.completed, len(outer.events))


class Flood:
    """An act that sends 80 MB, much more than sockets hold, and shows when the sockets are full."""

    CONTENT = b"".join(line + b"\n" for line in lines(1_000, 100_000))

    def __init__(self) -> None:
        self.sent = 0
        self.held = threading.Event()

    def __call__(self, wire: Wire) -> bool:
        wire.send(head(200, {"Content-Type": NDJSON, "Connection": "close"}))
        sock = wire.connection
        sock.setblocking(False)
        while self.sent < len(self.CONTENT) and select.select([], [sock], [], 0.3)[1]:
            self.sent += sock.send(self.CONTENT[self.sent : self.sent + 65_536])
        self.held.set()
        sock.setblocking(True)
        wire.wait_gone()
        return False


def test_a_paused_consumer_pauses_all() -> None:
    floods = [Flood(), Flood(), Flood()]
    resume = threading.Event()
    seen = Seen(lambda event: resume.wait(HANG))
    with FakeRuns(*floods) as service, RunsClient(api_key=KEY, base_url=service.url) as client:
        subscription = merge_runs([RUN] * 3, client=client).subscribe(seen)
        for flood in floods:
            assert flood.held.wait(HANG)
        subscription.dispose()
        resume.set()
        assert eventually(lambda: [] == reader_threads())
    assert max(flood.sent for flood in floods) < 20e6  # what two sockets' buffers hold
    assert 1 == len(seen.events)


# ---- dispose ----


PHASES: dict[str, Faults | None] = {
    "while events come": None,
    "waiting for headers": Faults(otherwise=NoAnswer()),
    "backoff": Faults(otherwise=Status(503, retry_after=100)),
}


@pytest.mark.parametrize("phase", PHASES)
def test_dispose_ends_all_in_each_phase(server: DevServer, phase: str) -> None:
    ids, seen = Taking(run.run_id for run in open_runs(server, 10)), Seen()
    server.use_faults(PHASES[phase])
    with server.client() as client:
        subscription = merge_runs(ids, max_concurrent=4, client=client).subscribe(seen)
        assert server.wait_for(lambda server: streams_requested(server) == 4)
        subscription.dispose()
        assert eventually(lambda: [] == reader_threads())
        assert server.wait_for(lambda server: server.streams == 0)
    assert (4, 4) == (ids.taken, streams_requested(server))
    assert not seen.ended


def test_dispose_inside_on_next_ends_all_and_nothing_follows(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(500)).run_id for _ in range(6)]
    subscribed = threading.Event()
    seen = Seen(lambda event: subscribed.wait(HANG) and event.seq >= 3 and subscription.dispose())
    with server.client() as client:
        subscription = merge_runs(ids, client=client).subscribe(seen)
        subscribed.set()
        seen.wait_until(lambda seen: any(event.seq >= 3 for event in seen.events))
        assert eventually(lambda: [] == reader_threads())
        assert server.wait_for(lambda server: server.streams == 0)
    assert 1 == sum(event.seq >= 3 for event in seen.events)
    assert not seen.ended


def test_dispose_of_a_paused_consumer_frees_all_the_others_when_it_returns(server: DevServer) -> None:
    ids = [server.add_run(events=run_of(5)).run_id for _ in range(6)]
    resume, connected, closed = threading.Event(), threading.Semaphore(0), SimpleQueue[Closed]()

    def on_lifecycle(value: LifecycleEvent) -> None:
        if isinstance(value, Connected):
            connected.release()
        elif isinstance(value, Closed):
            closed.put(value)

    seen = Seen(lambda event: resume.wait(HANG))
    with server.client() as client:
        subscription = merge_runs(ids, client=client, on_lifecycle=on_lifecycle).subscribe(seen)
        for _ in ids:
            assert connected.acquire(timeout=HANG)
        subscription.dispose()  # while five readers wait for their turn, with an event in hand
        resume.set()
        last_seqs = sorted(closed.get(timeout=HANG).last_seq for _ in ids)
        assert eventually(lambda: [] == reader_threads())
    assert 1 >= len(seen.events)
    assert not seen.ended
    assert [0] * (6 - len(seen.events)) + [1] * len(seen.events) == last_seqs  # what was handed over


# ---- the subscriber's own errors ----


def test_what_on_next_raises_is_shown_once_and_ends_all(server: DevServer) -> None:
    ids = [run.run_id for run in open_runs(server, 5)]

    def fail(event: RunEvent) -> None:
        raise LookupError("of the subscriber")

    seen = Seen(fail)
    with uncaught() as died, server.client() as client:
        merge_runs(ids, client=client).subscribe(seen)
        assert eventually(lambda: [] == reader_threads() and bool(died))
        assert server.wait_for(lambda server: server.streams == 0)
    assert ["of the subscriber"] == [str(one.exc_value) for one in died]
    assert 1 == len(seen.events)
    assert not seen.ended


def test_what_on_lifecycle_raises_is_shown_and_ends_all(server: DevServer) -> None:
    ids = [run.run_id for run in open_runs(server, 5)]
    seen = Seen()

    def on_lifecycle(value: Any) -> None:
        if not isinstance(value, Closed):
            raise LookupError(f"of the subscriber: {value.run_id}")

    with uncaught() as died, server.client() as client:
        merge_runs(ids, client=client, on_lifecycle=on_lifecycle).subscribe(seen)
        assert eventually(lambda: [] == reader_threads() and bool(died))
        assert server.wait_for(lambda server: server.streams == 0)
    assert {LookupError} == {one.exc_type for one in died}
    assert not seen.ended


# ---- a thousand ----


@both_sizes
def test_R18_all_of_a_thousand_streams_are_disposed_within_a_second(soaking: bool) -> None:
    streams = 1_000 if soaking else 100
    seen = Seen()
    with DevServer(keepalive=60.0) as server, server.client() as client:
        ids = [run.run_id for run in open_runs(server, streams)]
        subscription = merge_runs(ids, client=client).subscribe(seen)
        seen.wait_count(2 * streams)
        assert streams == server.streams == len(reader_threads())
        started = time.monotonic()
        subscription.dispose()
        disposed = time.monotonic() - started
        assert eventually(lambda: [] == reader_threads())
        freed = time.monotonic() - started
        assert server.wait_for(lambda server: server.streams == 0)
        seen_by_service = time.monotonic() - started
    if soaking:
        measured("R18", "dispose of 1,000 merged streams returns", disposed, 1.0)
        measured("R18", "1,000 merged streams, threads gone", freed, 1.0)
        measured("R18", "1,000 merged streams, the service has seen it", seen_by_service, 1.0)
    assert seen_by_service < patience(soaking)
