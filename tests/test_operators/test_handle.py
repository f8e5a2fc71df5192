"""``ops.handle``: a sink that fails is retried, and what it refuses becomes a dead letter."""

from __future__ import annotations

import errno
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, Subject

from rxruns import RetryPolicy, block_on, merge_runs, recorded_events, run_events
from rxruns import operators as ops
from rxruns._logs import _writer
from rxruns._ndjson._decoding import encode_event
from rxruns.cursors import MemoryCursors, SqliteCursors
from rxruns.errors import InvalidArgumentError, StoreError
from rxruns.events import RunEvent
from rxruns.testing import QUICK, FakeRuns, drawn, events, hangs, sends, subscription_times
from tests.conftest import HANG, eventually, open_descriptors
from tests.faulty_files import no_room, unprivileged
from tests.making import OTHER_RUN, RUN, delta, node_started, run_started, unknown
from tests.observing import Seen

LOG = events.run().node("draft").text("one", "two").succeeds()
EVENTS: list[RunEvent] = [run_started(1), node_started(seq=2), delta(seq=3)]
ONCE = RetryPolicy(max_attempts=1)
THRICE = RetryPolicy(max_attempts=3, base_backoff=2.0, max_backoff=3.0)
AT_ONCE = RetryPolicy(max_attempts=3, base_backoff=0.0)
NO_ROUTE = ConnectionError("no route")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dead.ndjson"


@pytest.fixture
def exact_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)


def ignore(event: RunEvent) -> None:
    """A sink that never fails."""


class Sink:
    """Fails at the given events, by ``seq``, this many times; for ever with a large number."""

    def __init__(self, fails: dict[int, int] | None = None, error: Exception = NO_ROUTE) -> None:
        self.attempts: list[int] = []
        self.thread: threading.Thread | None = None
        self._fails = dict(fails or {})
        self._error = error

    def __call__(self, event: RunEvent) -> None:
        self.attempts.append(event.seq)
        self.thread = threading.current_thread()
        if self._fails.get(event.seq, 0) > 0:
            self._fails[event.seq] -= 1
            raise self._error


FOR_EVER = 10**6


def handled(sink: Callable[[Any], object], log: Any = LOG, **options: Any) -> list[Any]:
    """The ``seq`` of each event that is emitted, then the error or "completed"."""
    seen: list[Any] = []
    source: Observable[RunEvent] = reactivex.from_iterable(log)
    source.pipe(ops.handle(sink, **options)).subscribe(
        lambda event: seen.append(event.seq), seen.append, lambda: seen.append("completed")
    )
    return seen


def letters(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


# ---- marbles ----


@pytest.mark.usefixtures("exact_backoff")
@pytest.mark.parametrize(
    ("source", "fails", "expected"),
    [
        pytest.param("-a-b-c-|", {}, "-a-b-c-|", id="no error"),
        pytest.param("-a-b-c-----|", {2: 1}, "-a---(b,c)-|", id="the second attempt after 2 s"),
        pytest.param("-a-b------c-|", {2: 2}, "-a------b-c-|", id="the third attempt after 2 and 3 s"),
        pytest.param("-a-b-c-|", {2: 3}, "-a------#", id="an error after the third"),
        pytest.param("-a-b-c-#", {}, "-a-b-c-#", id="an error of the source"),
    ],
)
def test_an_event_is_emitted_when_it_was_handled(source: str, fails: dict[int, int], expected: str) -> None:
    assert expected == drawn(source, LOG, ops.handle(Sink(fails), retry=THRICE))


@pytest.mark.usefixtures("exact_backoff")
def test_a_dead_letter_is_emitted_after_the_last_attempt_and_the_stream_continues() -> None:
    dead: list[int] = []
    operator = ops.handle(
        Sink({2: FOR_EVER}), retry=THRICE, dead_letter=lambda event, error: dead.append(event.seq)
    )
    assert "-a------b-c-|" == drawn("-a-b------c-|", LOG, operator)
    assert [2] == dead


# ---- attempts ----


def test_only_exceptions_are_retried_and_no_event_after_success() -> None:
    sink = Sink({2: 1, 4: 2})
    assert [*range(1, len(LOG) + 1), "completed"] == handled(sink, retry=AT_ONCE)
    assert [1, 2, 2, 3, 4, 4, 4, 5] == sink.attempts[:8]


def test_without_dead_letters_the_users_exception_ends_the_stream_with_a_note() -> None:
    mine = LookupError("mine")
    sink = Sink({2: FOR_EVER}, mine)
    assert [1, mine] == handled(sink, retry=AT_ONCE)
    note = f"run {LOG.run_id}, seq 2: the function failed after 3 attempts"
    assert [note] == mine.__notes__
    assert [1, 2, 2, 2] == sink.attempts


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_not_an_exception_is_neither_retried_nor_put_aside(
    path: Path, kind: type[BaseException]
) -> None:
    attempts: list[int] = []

    def stop(event: RunEvent) -> None:
        attempts.append(event.seq)
        raise kind

    source: Subject[RunEvent] = Subject()
    source.pipe(ops.handle(stop, retry=AT_ONCE, dead_letter=path)).subscribe()
    with pytest.raises(kind):
        source.on_next(EVENTS[0])
    assert ([1], []) == (attempts, letters(path))
    assert not is_open(path)


def test_an_exception_of_the_subscriber_is_neither_retried_nor_put_aside(path: Path) -> None:
    def refuse(event: RunEvent) -> None:
        raise LookupError("mine")

    sink, source = Sink(), Subject[RunEvent]()
    source.pipe(ops.handle(sink, retry=AT_ONCE, dead_letter=path)).subscribe(refuse)
    with pytest.raises(LookupError):
        source.on_next(EVENTS[0])
    assert ([1], []) == (sink.attempts, letters(path))
    assert not is_open(path)


def test_retries_are_logged_for_debugging_and_dead_letters_as_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "rxruns")
    error = ConnectionError("no\x1b[31m route\n" + "x" * 5_000)
    handled(Sink({2: FOR_EVER}, error), retry=AT_ONCE, dead_letter=lambda event, error: None)
    assert [logging.DEBUG, logging.DEBUG, logging.WARNING] == [record.levelno for record in caplog.records]
    last = caplog.records[-1].getMessage()
    expected = f"run {LOG.run_id}, seq 2: the function failed after 3 attempts; it is a dead letter: no␛[31m "
    assert last.startswith(expected)
    assert len(last) < 2_200


def test_after_an_error_nothing_is_handled_although_the_source_continues() -> None:
    def emit_all(observer: Any, scheduler: Any = None) -> Any:
        for event in LOG:
            observer.on_next(event)
        observer.on_completed()

    sink, seen = Sink({2: FOR_EVER}), list[Any]()
    early: Observable[RunEvent] = Observable(emit_all)
    early.pipe(ops.handle(sink, retry=ONCE)).subscribe(seen.append, seen.append, lambda: seen.append("end"))
    assert ([LOG[0], NO_ROUTE], [1, 2]) == (seen, sink.attempts)


@given(fails=st.dictionaries(st.integers(1, len(LOG)), st.integers(0, 5)), most=st.integers(1, 4))
def test_each_event_is_tried_until_it_is_done_or_dead_and_emitted_in_order(
    fails: dict[int, int], most: int
) -> None:
    sink, dead = Sink(fails), list[int]()
    seen = handled(
        sink,
        retry=RetryPolicy(max_attempts=most, base_backoff=0.0),
        dead_letter=lambda event, error: dead.append(event.seq),
    )
    seqs = range(1, len(LOG) + 1)
    assert [*seqs, "completed"] == seen
    assert [seq for seq in seqs if fails.get(seq, 0) >= most] == dead
    assert [seq for seq in seqs for _ in range(min(fails.get(seq, 0) + 1, most))] == sink.attempts


# ---- dead letters ----


def test_a_dead_letter_is_a_line_with_the_error_and_the_event(path: Path) -> None:
    assert [*range(1, len(LOG) + 1), "completed"] == handled(
        Sink({2: FOR_EVER, 4: FOR_EVER}), retry=AT_ONCE, dead_letter=path
    )
    first, second = letters(path)
    assert {"error", "event"} == set(first)
    assert {"type": "ConnectionError", "message": "no route", "attempts": 3} == {
        name: value for name, value in first["error"].items() if name != "failed_at"
    }
    assert [json.loads(encode_event(LOG[place])) for place in (1, 3)] == [first["event"], second["event"]]
    assert 0o600 == path.stat().st_mode & 0o777


def test_unknown_events_keep_all_their_fields(path: Path) -> None:
    handled(Sink({4: FOR_EVER}), [unknown(news={"a": [1, None]})], retry=ONCE, dead_letter=path)
    (letter,) = letters(path)
    assert {"a": [1, None]} == letter["event"]["news"]


class Silent(Exception):
    """An error that can't be printed."""

    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (StoreError("no\nroom", path="x"), "rxruns.errors.StoreError", "no␊room"),
        (ValueError("\x1b]0;\x07\udc80 \u202e"), "ValueError", "␛]0;␇\ufffd \ufffd"),
        (ValueError("x" * 10_000), "ValueError", "x" * 1_999 + "…"),
        (Silent(), f"{__name__}.Silent", ""),
    ],
)
def test_the_text_of_an_error_is_bounded_and_safe_to_print(
    path: Path, error: Exception, name: str, message: str
) -> None:
    handled(Sink({1: FOR_EVER}, error), EVENTS[:1], retry=ONCE, dead_letter=path)
    (letter,) = letters(path)
    assert (name, message) == (letter["error"]["type"], letter["error"]["message"])


def test_a_dead_letter_is_on_the_disk_before_its_event_is_emitted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(_writer.os, "fsync", lambda descriptor: calls.append(len(letters(path))))
    source: Observable[RunEvent] = reactivex.from_iterable(EVENTS)
    source.pipe(ops.handle(Sink({2: FOR_EVER}), retry=ONCE, dead_letter=path)).subscribe(
        lambda event: calls.append(event)
    )
    assert [EVENTS[0], 1, EVENTS[1], EVENTS[2]] == calls


def test_a_function_gets_the_event_and_its_last_error() -> None:
    dead: list[Any] = []
    handled(Sink({2: FOR_EVER}), retry=AT_ONCE, dead_letter=lambda *of: dead.append(of))
    assert [(LOG[1], NO_ROUTE)] == dead


def test_an_error_of_the_dead_letter_function_ends_the_stream() -> None:
    full = RuntimeError("the queue is full")

    def refuse(event: RunEvent, error: Exception) -> None:
        raise full

    assert [1, full] == handled(Sink({2: FOR_EVER}), retry=AT_ONCE, dead_letter=refuse)
    note = f"run {LOG.run_id}, seq 2: the function failed after 3 attempts: no route"
    assert [note] == full.__notes__


def test_a_checkpoint_behind_it_confirms_handled_events_and_dead_letters() -> None:
    store = MemoryCursors()
    confirmed: list[int] = []

    def sink(event: RunEvent) -> None:
        confirmed.append(store.get(LOG.run_id))
        if event.seq == 3:
            raise NO_ROUTE

    source: Observable[RunEvent] = reactivex.from_iterable(LOG)
    source.pipe(
        ops.handle(sink, retry=ONCE, dead_letter=lambda event, error: None), ops.checkpoint(store)
    ).subscribe()
    assert [*range(len(LOG))] == confirmed
    assert len(LOG) == store.get(LOG.run_id)


def test_a_checkpoint_does_not_confirm_the_event_that_ends_the_stream() -> None:
    store = MemoryCursors()
    source: Observable[RunEvent] = reactivex.from_iterable(LOG)
    source.pipe(ops.handle(Sink({3: FOR_EVER}), retry=AT_ONCE), ops.checkpoint(store)).subscribe(
        on_error=lambda error: None
    )
    assert 2 == store.get(LOG.run_id)


def test_merged_runs_keep_their_order_and_share_the_file(path: Path) -> None:
    merged = [run_started(1), run_started(1, OTHER_RUN), node_started(seq=2), node_started("b", 2, OTHER_RUN)]
    sink = Sink({2: FOR_EVER})
    assert [1, 1, 2, 2, "completed"] == handled(sink, merged, retry=ONCE, dead_letter=path)
    assert [str(RUN), str(OTHER_RUN)] == [letter["event"]["run_id"] for letter in letters(path)]


# ---- reentrancy ----


def test_events_that_the_function_causes_wait_for_their_turn() -> None:
    source, calls = Subject[RunEvent](), list[Any]()

    def sink(event: RunEvent) -> None:
        calls.append(("begin", event.seq))
        if event.seq == 1:
            source.on_next(EVENTS[1])
            source.on_next(EVENTS[2])
            source.on_completed()
        calls.append(("end", event.seq))

    source.pipe(ops.handle(sink)).subscribe(
        lambda event: calls.append(("emitted", event.seq)), None, lambda: calls.append("completed")
    )
    source.on_next(EVENTS[0])
    turns = [(what, seq) for seq in (1, 2, 3) for what in ("begin", "end", "emitted")]
    assert [*turns, "completed"] == calls


def test_an_event_that_the_subscriber_causes_is_confirmed_after_the_one_before() -> None:
    source, store, stored = Subject[RunEvent](), MemoryCursors(), list[int]()

    def cause(event: RunEvent) -> None:
        stored.append(store.get(RUN))
        if event.seq < 3:
            source.on_next(EVENTS[event.seq])

    source.pipe(ops.handle(ignore), ops.checkpoint(store)).subscribe(cause)
    source.on_next(EVENTS[0])
    assert [0, 1, 2] == stored


# ---- dispose ----


def test_dispose_unsubscribes_from_the_source() -> None:
    operator = reactivex.compose(ops.handle(ignore), ops.take(2))
    assert [(0, 2)] == subscription_times(operator, [EVENTS[0]] * 3)


@pytest.mark.parametrize("fails", [False, True])
def test_after_a_dispose_inside_the_function_nothing_is_retried_put_aside_or_emitted(
    path: Path, fails: bool
) -> None:
    source, emitted, attempts = Subject[RunEvent](), list[RunEvent](), list[int]()

    def leave(event: RunEvent) -> None:
        attempts.append(event.seq)
        subscription.dispose()
        if fails:
            raise NO_ROUTE

    handling = source.pipe(ops.handle(leave, retry=AT_ONCE, dead_letter=path))
    subscription = handling.subscribe(emitted.append)
    source.on_next(EVENTS[0])
    source.on_next(EVENTS[1])
    assert ([1], [], []) == (attempts, emitted, letters(path))
    assert not is_open(path)


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("merged", [False, True], ids=["one", "merged"])
def test_dispose_interrupts_the_wait_between_attempts(merged: bool) -> None:
    failed = threading.Event()

    def fail(event: RunEvent) -> None:
        failed.set()
        raise NO_ROUTE

    minutes = RetryPolicy(base_backoff=600.0, max_backoff=600.0)
    with FakeRuns(sends(*LOG), hangs()) as service, service.client() as client:
        seen = Seen()
        source = run_events(LOG.run_id, client=client, resume=QUICK)
        if merged:
            source = merge_runs([LOG.run_id], client=client, resume=QUICK)
        subscription = source.pipe(ops.handle(fail, retry=minutes)).subscribe(seen)
        assert failed.wait(HANG)
        subscription.dispose()  # no_leaks waits for the reader
    assert ([], False) == (seen.events, seen.ended)


def test_the_function_runs_on_the_readers_thread() -> None:
    sink = Sink({1: 1})
    with FakeRuns(sends(*LOG)) as service, service.client() as client:
        block_on(run_events(LOG.run_id, client=client).pipe(ops.handle(sink, retry=AT_ONCE)))
    assert sink.thread is not None
    assert "rxruns-reader" == sink.thread.name
    assert [1, *range(1, len(LOG) + 1)] == sink.attempts


# ---- the file ----


def is_open(path: Path) -> bool:
    return any(str(path) in descriptor for descriptor in open_descriptors())


@pytest.mark.parametrize("error", [None, NO_ROUTE])
def test_the_file_is_open_from_the_subscription_to_just_before_the_end(
    path: Path, error: Exception | None
) -> None:
    were_open: list[bool] = []
    source: Subject[RunEvent] = Subject()
    handling = source.pipe(ops.handle(ignore, dead_letter=path))
    assert not path.exists()

    def note(*_: object) -> None:
        were_open.append(is_open(path))

    handling.subscribe(on_completed=note, on_error=note)
    assert is_open(path)
    source.on_completed() if error is None else source.on_error(error)
    assert [False] == were_open


def test_a_second_subscription_appends_behind_a_torn_line(path: Path) -> None:
    handled(Sink({2: FOR_EVER}), retry=ONCE, dead_letter=path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-30])
    handled(Sink({3: FOR_EVER}), retry=ONCE, dead_letter=path)
    assert [2, 3] == [letter["event"]["seq"] for letter in letters(path)]


def test_a_last_letter_without_its_newline_is_kept(path: Path) -> None:
    handled(Sink({2: FOR_EVER}), retry=ONCE, dead_letter=path)
    path.write_bytes(path.read_bytes().rstrip())  # as some editors leave it
    handled(Sink({3: FOR_EVER}), retry=ONCE, dead_letter=path)
    assert [2, 3] == [letter["event"]["seq"] for letter in letters(path)]


def test_dead_letters_can_be_redone_into_the_same_file(path: Path) -> None:
    handled(Sink({2: FOR_EVER, 3: FOR_EVER}), retry=ONCE, dead_letter=path)
    sink = Sink({3: FOR_EVER})
    redone = recorded_events(path).pipe(ops.handle(sink, retry=ONCE, dead_letter=path), ops.to_list())
    assert [LOG[1], LOG[2]] == block_on(redone)
    assert ([2, 3], [2, 3, 3]) == (sink.attempts, [letter["event"]["seq"] for letter in letters(path)])


# ---- R41: files that can't be used ----


def check_refusal(seen: list[Any], path: Path | str, reason: str, emitted: int = 0) -> None:
    """The stream ended after the events before, with an error that names the file."""
    *before, error = seen
    assert list(range(1, emitted + 1)) == before
    assert isinstance(error, StoreError)
    assert (str(path), True) == (error.path, str(error).startswith(f"the log {path} {reason}")), str(error)


def not_a_log(path: Path) -> None:
    path.write_text("dear diary")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "missing" / "dead.ndjson")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (Path.mkdir, "can't be opened: Is a directory"),
        (dangling, "can't be opened: No such file or directory"),
        (not_a_log, "is not a log: its last line begins with b'dear diary'"),
    ],
)
def test_R41_an_unusable_file_ends_the_stream_before_any_event_and_stays(
    path: Path, prepare: Callable[[Path], object], reason: str
) -> None:
    prepare(path)
    sink = Sink()
    check_refusal(handled(sink, dead_letter=path), path, reason)
    assert [] == sink.attempts
    assert prepare is not not_a_log or path.read_text() == "dear diary"


def test_R41_a_read_only_file_ends_the_stream_before_any_event() -> None:
    with TemporaryDirectory() as directory:  # pytest's own can't be entered by an unprivileged user
        path, sink = Path(directory, "dead.ndjson"), Sink()
        Path(directory).chmod(0o755)
        path.touch()
        path.chmod(0o444)
        with unprivileged():
            seen = handled(sink, dead_letter=path)
    check_refusal(seen, path, "can't be opened: Permission denied")
    assert [] == sink.attempts


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to offer")
def test_R41_a_full_disk_ends_the_stream_before_the_dead_letter_is_emitted() -> None:
    store, seen = MemoryCursors(), list[Any]()
    source: Observable[RunEvent] = reactivex.from_iterable(LOG)
    handling = ops.handle(Sink({3: FOR_EVER}), retry=AT_ONCE, dead_letter="/dev/full")
    source.pipe(handling, ops.checkpoint(store)).subscribe(lambda event: seen.append(event.seq), seen.append)
    check_refusal(seen, "/dev/full", "can't be written: No space left on device", emitted=2)
    assert errno.ENOSPC == seen[-1].__cause__.errno
    assert [f"run {LOG.run_id}, seq 3: the function failed after 3 attempts: no route"] == seen[-1].__notes__
    assert 2 == store.get(LOG.run_id)


@pytest.mark.parametrize("room", range(0, 400, 23))
def test_R41_a_disk_that_fills_up_loses_no_confirmed_letter_and_the_next_process_continues(
    path: Path, room: int
) -> None:
    store, refuses_all = MemoryCursors(), Sink(dict.fromkeys(range(1, 99), FOR_EVER))

    def work() -> list[Any]:
        seen: list[Any] = []
        source: Observable[RunEvent] = reactivex.from_iterable(LOG[store.get(LOG.run_id) :])
        handling = ops.handle(refuses_all, retry=ONCE, dead_letter=path)
        source.pipe(handling, ops.checkpoint(store)).subscribe(
            lambda event: seen.append(event.seq), seen.append, lambda: seen.append("completed")
        )
        return seen

    with no_room(room):
        seen = work()
    confirmed = store.get(LOG.run_id)
    check_refusal(seen, path, "can't be written: File too large", emitted=confirmed)
    assert "completed" == work()[-1]
    assert list(range(1, len(LOG) + 1)) == [letter["event"]["seq"] for letter in letters(path)]
    assert list(LOG) == block_on(recorded_events(path).pipe(ops.to_list()))


def test_R41_a_locked_cursor_store_behind_it_leaves_the_dead_letter_and_repeats_its_event(
    path: Path, tmp_path: Path
) -> None:
    cursors = tmp_path / "cursors.db"
    with SqliteCursors(cursors, busy_timeout=0.02) as store:

        def work(sink: Sink) -> list[Any]:
            seen: list[Any] = []
            source: Observable[RunEvent] = reactivex.from_iterable(LOG[store.get(LOG.run_id) :])
            handling = ops.handle(sink, retry=ONCE, dead_letter=path)
            source.pipe(handling, ops.checkpoint(store)).subscribe(on_error=seen.append)
            return seen

        locking = sqlite3.connect(cursors, isolation_level=None)
        locking.execute("BEGIN EXCLUSIVE")
        (error,) = work(Sink({1: FOR_EVER}))
        locking.close()
        assert (StoreError, str(cursors)) == (type(error), error.path)
        again = Sink()
        assert [] == work(again)
        assert (1, len(LOG)) == (again.attempts[0], store.get(LOG.run_id))
    assert [1] == [letter["event"]["seq"] for letter in letters(path)]


def test_an_event_that_cannot_be_encoded_ends_the_stream(path: Path) -> None:
    seen = handled(Sink({4: FOR_EVER}), [unknown(news=object())], retry=ONCE, dead_letter=path)
    assert [TypeError] == [type(value) for value in seen]
    assert [] == letters(path)


def test_a_device_need_not_support_fsync() -> None:
    seen = handled(Sink({2: FOR_EVER}), retry=ONCE, dead_letter="/dev/null")
    assert "completed" == seen[-1]


def test_a_letter_that_is_written_while_another_thread_disposes_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, disposed = threading.Event(), threading.Event()
    write = _writer._write

    def write_slowly(*args: Any) -> None:
        writing.set()
        assert disposed.wait(HANG)
        write(*args)

    monkeypatch.setattr(_writer, "_write", write_slowly)
    source, emitted = Subject[RunEvent](), list[RunEvent]()
    handling = source.pipe(ops.handle(Sink({1: FOR_EVER}), retry=ONCE, dead_letter=path))
    subscription = handling.subscribe(emitted.append)
    thread = threading.Thread(target=source.on_next, args=(EVENTS[0],))
    thread.start()
    assert writing.wait(HANG)
    subscription.dispose()
    disposed.set()
    thread.join(HANG)
    assert eventually(lambda: not is_open(path))
    assert ([1], []) == ([letter["event"]["seq"] for letter in letters(path)], emitted)


# ---- arguments ----


async def asynchronous(event: RunEvent) -> None:
    """No sink for a thread."""


@pytest.mark.parametrize(
    ("field", "function", "options"),
    [
        ("function", None, {}),
        ("function", asynchronous, {}),
        ("retry", ignore, {"retry": None}),
        ("retry", ignore, {"retry": 3}),
        ("dead_letter", ignore, {"dead_letter": "dead.ndjson.gz"}),
        ("dead_letter", ignore, {"dead_letter": ""}),
        ("dead_letter", ignore, {"dead_letter": 1}),
    ],
)
def test_a_bad_argument_is_refused_at_once(field: str, function: Any, options: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} must ") as refused:
        ops.handle(function, **options)
    assert field == refused.value.field


@pytest.fixture(autouse=True)
def _no_open_files(path: Path) -> Iterator[None]:
    yield
    assert not is_open(path)
