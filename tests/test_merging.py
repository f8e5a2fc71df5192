"""Many runs, one observer: in virtual time, as marbles. With threads and sockets: test_merge.py."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.notification import OnCompleted, OnError, OnNext
from reactivex.subject import Subject
from reactivex.testing import Recorded, TestScheduler

from rxruns._streams._merging import Merging, RunNotFollowed
from rxruns.errors import InvalidArgumentError, StreamError
from tests.making import node_started

A, B, C = (UUID(int=number) for number in (1, 2, 3))
BROKEN = StreamError("it broke", run_id=A, last_seq=1)
IDS: dict[str, Any] = {"a": A, "b": B, "c": C, "x": "no id"}
EVENTS: dict[str, Any] = {
    letter: node_started(letter, seq, run_id)
    for run_id, letters in ((A, "pqr"), (B, "stu"), (C, "vwx"))
    for seq, letter in enumerate(letters, 1)
}


class Stage:
    """A scheduler, ids and runs on it as marbles, and the result."""

    def __init__(self, ids: str, error: Exception | None = None, **runs: str) -> None:
        self.scheduler = TestScheduler()
        self.ids = self.scheduler.create_hot_observable(_records(ids, IDS, error, shift=200.0))
        self.runs = {
            IDS[name]: self.scheduler.create_cold_observable(_records(marbles, EVENTS, BROKEN))
            for name, marbles in runs.items()
        }

    def play(self, *, until: float = 1000, **options: Any) -> str:
        """Draw the emitted values as marbles; a failure is ``!``."""
        seen: list[Any] = self.scheduler.start(
            lambda: merging(self.ids, self.runs, **options), disposed=until
        ).messages
        self.values = [message.value.value for message in seen if message.value.kind == "N"]
        self.end = next((message.value for message in seen if message.value.kind != "N"), None)
        marbles: dict[int, str] = dict.fromkeys(range(int(seen[-1].time) - 199 if seen else 0), "-")
        for message in seen:
            marbles[int(message.time) - 200] = _letter(message.value)
        return "".join(marbles.values())

    def followed(self, name: str) -> list[tuple[float, float]]:
        """Return when a run was subscribed to, and left."""
        return _times(self.runs[IDS[name]])


def _records(
    marbles: str, lookup: dict[str, Any], error: Exception | None, shift: float = 0.0
) -> list[Recorded[Any]]:
    """One tick a character, unlike RxPY's own marbles, where letters side by side are one value."""
    ends = {"|": OnCompleted(), "#": OnError(error or BROKEN)}
    return [
        Recorded(shift + time, ends.get(letter) or OnNext(lookup[letter]))
        for time, letter in enumerate(marbles)
        if letter != "-"
    ]


def _times(source: Any) -> list[tuple[float, float]]:
    return [(at.subscribe - 200, at.unsubscribe - 200) for at in source.subscriptions]


def _letter(notification: Any) -> str:
    if notification.kind != "N":
        return "|" if notification.kind == "C" else "#"
    return "!" if isinstance(notification.value, RunNotFollowed) else str(notification.value.node_id)


def merging(
    ids: Observable[Any],
    runs: Mapping[UUID, Observable[Any]],
    *,
    most: float = math.inf,
    emits: bool = False,
    follow: Callable[[UUID, Any], tuple[Observable[Any], int]] | None = None,
    on_stopped: Callable[[], object] = lambda: None,
) -> Observable[Any]:
    def subscribe(
        observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        merging = Merging(
            observer,
            follow or (lambda run_id, keep_line: (runs[run_id], 0)),
            most=most,
            emits=emits,
            on_stopped=on_stopped,
        )
        merging.subscribe_to(ids, scheduler)
        return Disposable(merging.dispose)

    return Observable(subscribe)


# ---- the way of ids and events ----


def test_events_are_emitted_in_the_order_of_their_arrival() -> None:
    stage = Stage("-a-b-|", a="-p---q|", b="-s-----t-|")
    assert "--p-s-q---t-|" == stage.play()


def test_all_are_followed_at_once_where_there_is_no_limit() -> None:
    stage = Stage("-abc|", a="---p|", b="---s|", c="---v|")
    assert "----psv|" == stage.play()


def test_a_run_waits_for_the_end_of_another_where_there_is_a_limit() -> None:
    stage = Stage("-abc|", a="---p|", b="-s|", c="-v---|")
    assert "---spv---|" == stage.play(most=2)
    assert [(1, 5)] == stage.followed("a")
    assert [(2, 4)] == stage.followed("b")
    assert [(4, 9)] == stage.followed("c")


def test_waiting_runs_are_followed_in_the_order_of_their_ids() -> None:
    stage = Stage("-cab|", a="-p|", b="-s|", c="-v|")
    assert "--v-p-s|" == stage.play(most=1)


def test_it_completes_when_the_ids_and_the_runs_have() -> None:
    assert "--p-----|" == Stage("-a------|", a="-p|").play()
    assert "--p-----|" == Stage("-a-|", a="-p-----|").play()
    assert "--|" == Stage("--|").play()
    assert "--p" == Stage("-a------", a="-p|").play()


def test_a_repeated_id_is_followed_twice() -> None:
    stage = Stage("-a-a|", a="-p--q|")
    assert "--p-pq-q|" == stage.play()
    assert [(1, 6), (3, 8)] == stage.followed("a")


# ---- a run that fails ----


def test_a_failure_ends_and_disposes_all() -> None:
    stage = Stage("-abc-----", a="-p--#", b="--s--t", c="---v---w")
    assert "--p-s#" == stage.play(most=2)
    assert BROKEN is stage.end.exception
    assert [(2, 5)] == stage.followed("b")
    assert [] == stage.followed("c")
    assert [(0, 5)] == _times(stage.ids)


def test_a_failure_that_is_emitted_ends_nothing_and_makes_room() -> None:
    stage = Stage("-abc|", a="-p--#", b="--s----t|", c="-v|")
    assert "--p-s!v--t|" == stage.play(most=2, emits=True)
    assert RunNotFollowed(run_id=A, error=BROKEN, last_seq=1) == stage.values[2]
    assert [(5, 7)] == stage.followed("c")


def test_a_bad_id_is_named() -> None:
    stage = Stage("-ax-", a="----p")
    assert "--#" == stage.play()
    assert isinstance(stage.end.exception, InvalidArgumentError)
    assert "run_ids[1] must be a uuid.UUID or its text, and not the nil UUID, got 'no id'" == str(
        stage.end.exception
    )
    assert "run_ids[1]" == stage.end.exception.field


def test_a_bad_id_is_emitted_and_takes_no_place() -> None:
    stage = Stage("-axb-|", a="---p|", b="-s|")
    assert "--!-p-s|" == stage.play(most=1, emits=True)
    assert None is stage.values[0].run_id
    assert "run_ids[1]" == stage.values[0].error.field


def test_what_ends_the_ids_ends_all_in_both_modes() -> None:
    for emits in (False, True):
        stage = Stage("-a---#", OSError("the queue is gone"), a="-p----q|")
        assert "--p--#" == stage.play(emits=emits)
        assert "the queue is gone" == str(stage.end.exception)
        assert [(1, 5)] == stage.followed("a")


def test_a_run_that_fails_to_begin_frees_its_place() -> None:
    def follow(run_id: UUID, keep_line: object) -> Any:
        raise BROKEN

    stage = Stage("-abc|")
    assert "-!!!|" == stage.play(most=1, emits=True, follow=follow)
    assert [A, B, C] == [value.run_id for value in stage.values]
    assert "-#" == Stage("-abc|").play(most=1, follow=follow)


def test_thousands_that_fail_to_begin_do_not_pile_up_on_the_stack() -> None:
    def follow(run_id: UUID, keep_line: object) -> tuple[Observable[Any], int]:
        if run_id == A:
            return release, 0
        raise BROKEN

    ids, release = Subject[UUID](), Subject[Any]()
    seen: list[Any] = []
    merging(ids, {}, most=1, emits=True, follow=follow).subscribe(seen.append)
    for run_id in [A] + [B] * 5_000:
        ids.on_next(run_id)
    assert [] == seen
    release.on_completed()
    assert 5_000 == len(seen)


# ---- dispose ----


def test_dispose_disposes_ids_and_runs() -> None:
    stage = Stage("-abc-----", a="-p---q", b="-s", c="-v")
    stopped: list[str] = []
    assert "--ps" == stage.play(most=2, until=205, on_stopped=lambda: stopped.append("once"))
    assert [(1, 5), (2, 5)] == stage.followed("a") + stage.followed("b")
    assert [] == stage.followed("c")
    assert [(0, 5)] == _times(stage.ids)
    assert ["once"] == stopped


def test_on_stopped_is_called_once_however_it_ends() -> None:
    for ids, run in (("-a|", "-p|"), ("-a|", "-#"), ("-a#", "-p"), ("-x", "")):
        stopped: list[str] = []
        Stage(ids, a=run).play(on_stopped=lambda stopped=stopped: stopped.append("once"))  # type: ignore[misc]
        assert ["once"] == stopped


# ---- what on_next itself brings about ----


class Nested:
    """An observer that records where each of its calls begins and ends."""

    def __init__(self, on_event: Callable[[Any], object]) -> None:
        self.script: list[str] = []
        self._on_event = on_event

    def on_next(self, value: Any) -> None:
        self.script.append("begins")
        self._on_event(value)
        self.script.append("ends")

    def on_error(self, error: Exception) -> None:
        self.script.append(type(error).__name__)

    def on_completed(self) -> None:
        self.script.append("completed")


def _nested(on_event: Callable[[Subject[Any], Any], object], *, emits: bool) -> list[str]:
    ids, run = Subject[Any](), Subject[Any]()
    observer = Nested(lambda value: on_event(ids, value))
    merging(ids, {A: run, B: reactivex.never()}, emits=emits).subscribe(observer)
    ids.on_next(A)
    run.on_next(EVENTS["p"])
    run.on_next(EVENTS["q"])
    return observer.script


def test_a_bad_id_inside_on_next_is_reported_after_it() -> None:
    def once(ids: Subject[Any], value: Any) -> None:
        if value == EVENTS["p"]:
            ids.on_next("no id")

    assert ["begins", "ends"] * 3 == _nested(once, emits=True)
    assert ["begins", "ends", "InvalidArgumentError"] == _nested(once, emits=False)


def test_an_end_of_the_ids_inside_on_next_is_reported_after_it() -> None:
    assert ["begins", "ends", "OSError"] == _nested(lambda ids, value: ids.on_error(OSError()), emits=True)


def test_a_run_that_on_next_asks_for_is_followed() -> None:
    ids, runs = Subject[UUID](), {A: Subject[Any](), B: Subject[Any]()}
    seen: list[Any] = []

    def on_next(event: Any) -> None:
        seen.append(event.node_id)
        if event == EVENTS["p"]:
            ids.on_next(B)

    merging(ids, runs).subscribe(on_next)
    ids.on_next(A)
    runs[A].on_next(EVENTS["p"])
    runs[B].on_next(EVENTS["s"])
    assert ["p", "s"] == seen


# ---- the law ----

LENGTHS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12)


@given(runs=LENGTHS, most=st.integers(1, 4), order=st.randoms(use_true_random=False))
def test_each_event_is_emitted_once_in_order_and_the_number_of_runs_is_bounded(
    runs: list[tuple[int, bool]], most: int, order: Any
) -> None:
    """Whatever ends when: `order` decides which run speaks next."""
    ids = Subject[UUID]()
    opened: deque[tuple[UUID, Subject[Any]]] = deque()
    active: dict[UUID, tuple[Subject[Any], list[Any]]] = {}
    expected: dict[UUID, list[int]] = {}
    failed: list[UUID] = []
    seen: dict[UUID, list[int]] = {}
    not_followed: list[UUID | None] = []
    ends: list[str] = []

    def follow(run_id: UUID, keep_line: object) -> tuple[Observable[Any], int]:
        events, fails = runs[run_id.int - 1]
        source = Subject[Any]()
        expected[run_id] = list(range(1, events + 1))
        active[run_id] = (source, [*expected[run_id], "fails" if fails else "ends"])
        opened.append((run_id, source))
        return source, 0

    def on_next(value: Any) -> None:
        if isinstance(value, RunNotFollowed):
            not_followed.append(value.run_id)
            assert (seen.get(value.run_id or A) or [0])[-1] == value.last_seq
        else:
            seen.setdefault(value.run_id, []).append(value.seq)

    merging(ids, {}, most=most, emits=True, follow=follow).subscribe(
        on_next, lambda error: ends.append("error"), lambda: ends.append("completed")
    )
    for number in range(len(runs)):
        ids.on_next(UUID(int=number + 1))
        assert len(active) <= most
    ids.on_completed()
    while active:
        assert [] == ends
        run_id = order.choice(sorted(active))
        source, script = active[run_id]
        act = script.pop(0)
        if act == "ends" or act == "fails":
            del active[run_id]
            if act == "fails":
                failed.append(run_id)
                source.on_error(BROKEN)
            else:
                source.on_completed()
        else:
            source.on_next(node_started(seq=act, run_id=run_id))
        assert len(active) <= most
    assert ["completed"] == ends
    assert [UUID(int=number + 1) for number in range(len(runs))] == [run_id for run_id, _ in opened]
    assert {run_id: seqs for run_id, seqs in expected.items() if seqs} == seen
    assert failed == not_followed
