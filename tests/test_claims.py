"""``merge_runs(claim=store)``: workers share runs, each followed by the one that holds its lease (R42)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from reactivex.subject import Subject

from rxruns import ResumePolicy, RunNotFollowed, RunsClient, block_on, merge_runs, ops, run_events
from rxruns.cursors import MemoryCursors, SqliteCursors
from rxruns.devserver import DevServer, ScriptedRun
from rxruns.errors import APIError, InvalidArgumentError, LeaseLostError, StoreError
from rxruns.events import RunEvent, TerminalEvent
from tests.conftest import HANG, eventually
from tests.leasing import SharedFile, expire, owner_of, shared_file, take_away
from tests.making import RUN
from tests.observing import Seen, reader_threads, run_of, uncaught

SHORT = 0.4
"""Seconds of a lease that a test waits for."""

QUICK = ResumePolicy(base_backoff=0.01, idle_timeout=20.0)


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer() as server:
        yield server


@pytest.fixture
def client(server: DevServer) -> Iterator[RunsClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedFile]:
    with shared_file(tmp_path) as shared:
        yield shared


def run(server: DevServer, deltas: int = 3) -> UUID:
    """Add a run that has ended, of ``deltas + 4`` events."""
    return server.add_run(events=run_of(deltas)).run_id


def waiting_run(server: DevServer, events: int = 2) -> ScriptedRun:
    """Add a run that has begun, and doesn't end by itself."""
    script = server.script()
    for event in run_of(events)[:events]:
        script.append(event)
    return script


def end(script: ScriptedRun) -> None:
    """Let a run end with two events."""
    for event in run_of(0)[-2:]:
        script.append(event)


def emitted(source: Any) -> list[Any]:
    """Return all values of a source."""
    found: list[Any] = block_on(source.pipe(ops.to_list()))
    return found


# ---- the runs of one worker ----


def test_each_event_is_emitted_and_the_end_of_each_run_is_recorded(
    server: DevServer, client: RunsClient
) -> None:
    runs = [run(server) for _ in range(5)]
    with MemoryCursors() as store:
        events = emitted(merge_runs(runs, claim=store, max_concurrent=2, client=client))
        assert [7] * 5 == [store.get(run_id) for run_id in runs]
        assert [True] * 5 == [store.ended(run_id) for run_id in runs]
    assert {(run_id, seq) for run_id in runs for seq in range(1, 8)} == {
        (event.run_id, event.seq) for event in events
    }
    assert 35 == len(events)


def test_a_run_whose_end_is_recorded_is_not_followed(server: DevServer, client: RunsClient) -> None:
    ended, other = run(server), run(server)
    store = MemoryCursors()
    store.finish(ended, 7)
    events = emitted(merge_runs([ended, other], claim=store, client=client))
    assert {other} == {event.run_id for event in events}


def test_a_run_starts_at_its_cursor(server: DevServer, client: RunsClient) -> None:
    run_id, store = run(server), MemoryCursors()
    store.set(run_id, 5)
    assert [6, 7] == [event.seq for event in emitted(merge_runs([run_id], claim=store, client=client))]


def test_the_end_of_a_run_is_recorded_that_was_handled_before(server: DevServer, client: RunsClient) -> None:
    run_id, store = run(server), MemoryCursors()
    store.set(run_id, 7)
    assert [] == emitted(merge_runs([run_id], claim=store, client=client, resume=QUICK))
    assert (7, True) == (store.get(run_id), store.ended(run_id))


def test_no_more_leases_are_held_than_runs_may_be_followed(server: DevServer, client: RunsClient) -> None:
    runs = [run(server) for _ in range(6)]
    store = MemoryCursors()
    most = 0

    def count(event: RunEvent) -> None:
        nonlocal most
        most = max(most, len(store._leases))

    block_on(merge_runs(runs, claim=store, max_concurrent=2, client=client).pipe(ops.do_action(count)))
    assert 1 <= most <= 2


def test_an_iterable_is_not_taken_further_than_there_are_places(
    server: DevServer, client: RunsClient
) -> None:
    script = waiting_run(server)
    taken: list[UUID] = []

    def ids() -> Iterator[UUID]:
        for run_id in (script.run_id, *(run(server) for _ in range(3))):
            taken.append(run_id)
            yield run_id

    seen = Seen()
    merge_runs(ids(), claim=MemoryCursors(), max_concurrent=1, client=client).subscribe(seen)
    seen.wait_count(2)
    assert 1 == len(taken)
    end(script)
    seen.wait_end()
    assert (4, True) == (len(taken), seen.completed)


def test_the_ids_may_be_an_observable(server: DevServer, client: RunsClient) -> None:
    ids: Subject[UUID] = Subject()
    seen = Seen()
    merge_runs(ids, claim=MemoryCursors(), client=client).subscribe(seen)
    for _ in range(3):
        ids.on_next(run(server))
    ids.on_completed()
    seen.wait_end()
    assert (21, True) == (len(seen.events), seen.completed)


# ---- several workers ----


def test_a_run_that_another_holds_waits_without_a_place(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    held, free = run(server), run(server)
    theirs = shared.open()
    lease = theirs.claim(held)
    assert lease is not None
    seen = Seen()
    merge_runs([held, free], claim=shared.open(lease=SHORT), max_concurrent=1, client=client).subscribe(seen)
    seen.wait_count(7)
    assert {free} == {event.run_id for event in seen.events}
    lease.set(4)
    lease.release()
    seen.wait_end()
    assert [5, 6, 7] == seen.seqs[7:]


def test_it_completes_when_another_has_followed_the_rest(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id = run(server)
    lease = shared.open().claim(run_id)
    assert lease is not None
    seen = Seen()
    merge_runs([run_id], claim=shared.open(lease=SHORT), client=client).subscribe(seen)
    lease.finish(7)
    seen.wait_end()
    assert ([], True) == (seen.events, seen.completed)


def test_a_run_whose_owner_died_is_taken_over(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id = run(server)
    dead = shared.open()
    assert dead.claim(run_id) is not None
    dead.set(run_id, 3)
    seen = Seen()
    merge_runs([run_id], claim=shared.open(lease=SHORT), client=client).subscribe(seen)
    expire(shared, run_id)
    seen.wait_end()
    assert [4, 5, 6, 7] == seen.seqs


def test_workers_share_runs_without_following_one_twice(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    runs = [run(server) for _ in range(30)]
    workers = [Seen() for _ in range(3)]
    for seen in workers:
        store = shared.open(lease=2.0)
        merge_runs(runs, claim=store, max_concurrent=4, client=client).pipe(ops.checkpoint(store)).subscribe(
            seen
        )
    for seen in workers:
        seen.wait_end()
    assert [True] * 3 == [seen.completed for seen in workers]
    followed = [(event.run_id, event.seq) for seen in workers for event in seen.events]
    assert 210 == len(followed) == len(set(followed))


# ---- a lost lease ----


def test_R42_a_run_whose_lease_was_lost_ends_quietly_and_is_claimed_again(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    script, other = waiting_run(server), run(server)
    store = shared.open(lease=SHORT)
    seen = Seen()
    merge_runs([script.run_id, other], claim=store, client=client).pipe(ops.checkpoint(store)).subscribe(seen)
    seen.wait_count(9)
    assert eventually(lambda: store.get(script.run_id) == 2)
    take_away(shared, script.run_id)
    assert eventually(lambda: not reader_threads())  # the renewal noticed
    assert not seen.ended
    end(script)
    expire(shared, script.run_id)
    seen.wait_end()
    assert [1, 2, 3, 4] == [event.seq for event in seen.events if event.run_id == script.run_id]
    assert (True, True) == (seen.completed, store.ended(script.run_id))


def test_R42_a_stale_owner_finishes_the_event_under_way_and_its_cursor_is_refused(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id = run(server)
    store, theirs = shared.open(), shared.open()
    refused: list[LeaseLostError] = []

    def lose(event: RunEvent) -> None:
        if event.seq == 3 and not refused:
            expire(shared, run_id)
            assert theirs.claim(run_id) is not None
            with pytest.raises(LeaseLostError) as error:
                store.set(run_id, 3)
            refused.append(error.value)

    seen = Seen(lose)
    merge_runs([run_id], claim=store, client=client).pipe(ops.checkpoint(store)).subscribe(seen)
    seen.wait_count(3)
    assert eventually(lambda: not reader_threads())
    assert ([1, 2, 3], False) == (seen.seqs, seen.ended)
    assert (run_id, 2) == (refused[0].run_id, theirs.get(run_id))


def test_R42_a_worker_that_was_suspended_in_an_event_handles_no_other(
    server: DevServer, client: RunsClient, shared: SharedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = run(server)
    store = shared.open()

    def suspend(event: RunEvent) -> None:
        if event.seq == 3 and run_id in store._leases:
            store._leases[run_id]._deadline = 0.0  # as after a suspension, before the renewal ran

    seen = Seen(suspend)
    merge_runs([run_id], claim=store, client=client).pipe(ops.checkpoint(store)).subscribe(seen)
    seen.wait_count(3)
    assert eventually(lambda: not reader_threads())
    assert ([1, 2, 3], 3) == (seen.seqs, store.get(run_id))


def test_a_checkpoint_of_a_run_that_is_followed_without_a_lease_reports_that_another_has_it(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id = run(server)
    assert shared.open().claim(run_id) is not None
    with pytest.raises(LeaseLostError, match="holds the run's lease"):
        block_on(run_events(run_id, client=client).pipe(ops.checkpoint(shared.open())))


# ---- the end ----


def test_dispose_releases_the_leases_and_stops_the_threads(
    server: DevServer, client: RunsClient, shared: SharedFile, no_leaks: None
) -> None:
    scripts = [waiting_run(server) for _ in range(5)]
    store = SqliteCursors(shared.path, lease=SHORT)
    seen = Seen()
    subscription = merge_runs([each.run_id for each in scripts], claim=store, client=client).subscribe(seen)
    seen.wait_count(10)
    subscription.dispose()
    assert eventually(lambda: {None} == {owner_of(shared, each.run_id) for each in scripts})
    assert not any(store.ended(each.run_id) for each in scripts)
    store.close()
    client.close()
    server.close()


def test_dispose_does_not_wait_for_a_store_that_is_locked(
    server: DevServer, client: RunsClient, shared: SharedFile, no_leaks: None
) -> None:
    def claiming() -> bool:
        return any(thread.name == "rxruns-claims" for thread in threading.enumerate())

    script = waiting_run(server)
    store = SqliteCursors(shared.path)
    ids: Subject[UUID] = Subject()
    seen = Seen()
    subscription = merge_runs(ids, claim=store, client=client).subscribe(seen)
    ids.on_next(script.run_id)
    seen.wait_count(2)
    with closing(sqlite3.connect(shared.path, isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        ids.on_next(run(server))
        assert eventually(store._lock.locked)
        subscription.dispose()
        assert claiming()  # it waits for the file, and the lease for its release
        assert eventually(lambda: not reader_threads())
    assert eventually(lambda: owner_of(shared, script.run_id) is None)
    assert eventually(lambda: not claiming())
    assert 2 == len(seen.events)
    store.close()
    client.close()
    server.close()


def test_a_lease_is_kept_until_the_event_under_way_was_handled(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id = run(server)
    store = shared.open()
    entered, leave = threading.Event(), threading.Event()

    def handle(event: RunEvent) -> None:
        entered.set()
        assert leave.wait(HANG)
        store.set(run_id, event.seq)

    seen = Seen(handle)
    subscription = merge_runs([run_id], claim=store, client=client).subscribe(seen)
    assert entered.wait(HANG)
    subscription.dispose()
    assert owner_of(shared, run_id) is not None
    leave.set()
    assert eventually(lambda: owner_of(shared, run_id) is None)
    assert (1, [1]) == (store.get(run_id), seen.seqs)


def test_a_stream_that_takes_some_events_stores_their_cursors_and_releases_the_run(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id, store = run(server), shared.open()
    taken = emitted(merge_runs([run_id], claim=store, client=client).pipe(ops.take(7), ops.checkpoint(store)))
    assert (7, 7, False) == (len(taken), store.get(run_id), store.ended(run_id))
    assert eventually(lambda: owner_of(shared, run_id) is None)
    assert [] == emitted(merge_runs([run_id], claim=store, client=client, resume=QUICK))
    assert store.ended(run_id)


def test_an_exception_of_the_subscriber_records_nothing_and_releases_the_run(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id, store = run(server), shared.open()

    def fail(event: RunEvent) -> None:
        if isinstance(event, TerminalEvent):
            raise OSError("the subscriber's own")

    with uncaught() as caught:
        merge_runs([run_id], claim=store, client=client).pipe(ops.checkpoint(store)).subscribe(Seen(fail))
        assert eventually(lambda: bool(caught) and owner_of(shared, run_id) is None)
    assert (6, False) == (store.get(run_id), store.ended(run_id))


def test_an_operator_that_fails_at_the_last_event_records_nothing(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    run_id, store = run(server), shared.open()

    def mapper(event: RunEvent) -> RunEvent:
        if isinstance(event, TerminalEvent):
            raise OSError("an operator's")
        return event

    with pytest.raises(OSError, match="an operator's"):
        block_on(
            merge_runs([run_id], claim=store, client=client).pipe(ops.map(mapper), ops.checkpoint(store))
        )
    assert eventually(lambda: owner_of(shared, run_id) is None)
    assert (6, False) == (store.get(run_id), store.ended(run_id))


@pytest.mark.parametrize("on_run_error", ["raise", "emit"])
def test_a_run_that_cannot_be_followed_releases_its_lease(
    server: DevServer, client: RunsClient, shared: SharedFile, on_run_error: Any
) -> None:
    unknown, known = uuid4(), run(server)
    store = shared.open()
    source = merge_runs(
        [unknown, known], claim=store, max_concurrent=1, client=client, on_run_error=on_run_error
    )
    seen = Seen()
    source.subscribe(seen)
    seen.wait_end()
    assert eventually(lambda: owner_of(shared, unknown) is None)
    assert not store.ended(unknown)
    if on_run_error == "raise":
        assert isinstance(seen.error, APIError)
    else:
        assert seen.completed
        assert [unknown] == [value.run_id for value in seen.events if isinstance(value, RunNotFollowed)]
        assert store.ended(known)


EXITS = """
import sys, threading
from rxruns import RunsClient, merge_runs
from rxruns.cursors import SqliteCursors

url, key, path, run_id = sys.argv[1:]
arrived = threading.Event()
source = merge_runs([run_id], claim=SqliteCursors(path), client=RunsClient(api_key=key, base_url=url))
source.subscribe(lambda event: arrived.set())
arrived.wait()
"""


def test_a_process_that_exits_while_it_follows_a_run_releases_it(
    server: DevServer, shared: SharedFile
) -> None:
    script = waiting_run(server)
    command = [sys.executable, "-W", "error", "-c", EXITS, server.url, server.api_key, shared.path]
    subprocess.run(
        [*command, str(script.run_id)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=HANG,
    )
    assert owner_of(shared, script.run_id) is None


# ---- the store fails ----


@pytest.mark.parametrize("on_run_error", ["raise", "emit"])
def test_R41_a_store_that_fails_ends_all_runs(
    server: DevServer, client: RunsClient, shared: SharedFile, on_run_error: Any, no_leaks: None
) -> None:
    script = waiting_run(server)
    store = SqliteCursors(shared.path)
    ids: Subject[UUID] = Subject()
    seen = Seen()
    merge_runs(ids, claim=store, client=client, on_run_error=on_run_error).subscribe(seen)
    ids.on_next(script.run_id)
    seen.wait_count(2)
    shared.run("DROP TABLE LEASES")
    ids.on_next(run(server))
    seen.wait_end()
    assert isinstance(seen.error, StoreError)
    assert str(shared.path) == seen.error.path
    store.close()
    client.close()
    server.close()


def test_R41_an_end_that_cannot_be_recorded_is_an_error(
    server: DevServer, client: RunsClient, shared: SharedFile
) -> None:
    script = waiting_run(server)
    seen = Seen()
    merge_runs([script.run_id], claim=shared.open(), client=client).subscribe(seen)
    seen.wait_count(2)
    shared.run("DROP TABLE cursors")
    end(script)
    seen.wait_end()
    assert isinstance(seen.error, StoreError)


# ---- arguments ----


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("claim", {"claim": "postgresql://user:s3cret@host/db"}),
        ("claim", {"claim": SqliteCursors}),
        ("after_seq", {"after_seq": 3}),
        ("after_seq", {"after_seq": lambda run_id: 0}),
        ("limit", {"limit": 3}),
        ("wait", {"wait": False}),
    ],
)
def test_options_that_leases_decide_are_refused(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} must be") as refused:
        merge_runs([RUN], **({"claim": MemoryCursors()} | options))
    assert "s3cret" not in str(refused.value)
