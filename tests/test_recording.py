"""``record=``: the log of a followed run has the lines of its events exactly as they were received."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxruns import RunsClient, block_on, merge_runs, ops, recorded_events, run_events, start_run
from rxruns._logs._writer import LogWriter
from rxruns._ndjson._decoding import decode_event, encode_event
from rxruns._transport import Cancellation
from rxruns.cli import run
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CloseAfter, CutRandomly, Duplicates, Refuse, Replay, Unchunked
from rxruns.errors import InvalidArgumentError, RunsError, StoreError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.lifecycle import Closed, LifecycleEvent
from rxruns.testing import QUICK, FakeRuns, Step, drops, ends, events, hangs, refuses, sends
from tests.bodies import Instead
from tests.conftest import HANG, eventually, open_descriptors
from tests.observing import Seen, run_of, uncaught

pytestmark = pytest.mark.usefixtures("no_leaks")

LOG = events.run().node("draft").text("one", "two", "three", "zwölf \N{WAVING HAND SIGN}").succeeds()
KEEPALIVE = b'{"type":"keepalive"}\n'


def as_sent(event: RunEvent, number: int) -> bytes:
    """A line as no encoder of ours writes it: undeclared fields, blanks, CRLF now and then."""
    newline = b"\r\n" if number % 3 == 0 else b"\n"
    return b'{ "news": {"cached_tokens": 7.50},\t' + encode_event(event)[1:-1] + b' , "more":null}' + newline


LINES = [as_sent(event, number) for number, event in enumerate(LOG)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ndjson"


@pytest.fixture
def server(no_leaks: None) -> Iterator[DevServer]:
    with DevServer(keepalive=60.0) as server:
        yield server


def follow(path: Path, *script: Step, **options: Any) -> Seen:
    """Follow a run to its end; when an event is emitted, its line is the last in the log."""

    def check(event: RunEvent) -> None:
        whole, last = path.read_bytes().rsplit(b"\n", 2)[-2:]
        assert (event, b"") == (decode_event(whole), last)

    seen = Seen(check)
    with FakeRuns(*script) as service, service.client(max_line_bytes=2**20) as client:
        source = run_events(LOG.run_id, client=client, record=path, **{"resume": QUICK} | options)
        with source.subscribe(seen):
            seen.wait_end()
    return seen


def raw_lines(server: DevServer, run_id: Any) -> list[bytes]:
    """The lines of a run as the embedded service sends them."""
    with server.client() as client:
        stream = client._calls.open_events(
            run_id,
            after_seq=0,
            limit=None,
            wait=True,
            include_output=False,
            cancellation=Cancellation(),
            options={"timeout": HANG},
        )
        return b"".join(stream.chunks()).splitlines(keepends=True)


# ---- the lines ----


def in_chunks(size: int) -> Callable[[list[bytes]], list[bytes]]:
    def cut(lines: list[bytes]) -> list[bytes]:
        body = b"".join(lines)
        return [body[place : place + size] for place in range(0, len(body), size)]

    return cut


@pytest.mark.parametrize(
    "cut", [list, in_chunks(1), in_chunks(97), in_chunks(10**6)], ids=["lines", "bytes", "pieces", "at once"]
)
def test_the_log_is_what_the_service_sent_without_what_is_not_an_event(
    path: Path, cut: Callable[[list[bytes]], list[bytes]]
) -> None:
    first = [b"\xef\xbb\xbf", LINES[0], b"\n", KEEPALIVE, LINES[1], LINES[0], LINES[2][:50]]
    again = [LINES[1], KEEPALIVE, LINES[2], b"not an event\n", b"\r\n", *LINES[3:5]]
    rest = [*LINES[4:], KEEPALIVE]
    refused: list[StreamProtocolError] = []
    script = sends(*cut(first)), drops(), sends(*cut(again)), refuses(503), refuses(503), sends(*cut(rest))
    seen = follow(path, *script, on_invalid=refused.append)

    assert (list(LOG), True) == (seen.events, seen.completed)
    assert b"".join(LINES) == path.read_bytes()
    assert 1 == len(refused)


def test_a_last_line_without_a_newline_gets_one(path: Path) -> None:
    seen = follow(path, sends(*LINES[:-1], LINES[-1].rstrip()), ends())

    assert (list(LOG), True) == (seen.events, seen.completed)
    assert b"".join(LINES[:-1]) + LINES[-1].rstrip() + b"\n" == path.read_bytes()


def test_a_log_of_a_run_is_continued_where_it_ends(path: Path) -> None:
    follow(path, sends(*LINES[:3]), ends(), limit=3)
    path.write_bytes(path.read_bytes() + LINES[3][:40])  # as a killed process leaves it
    follow(path, sends(*LINES[3:]), after_seq=3)

    assert b"".join(LINES) == path.read_bytes()
    assert list(LOG) == block_on(recorded_events(path).pipe(ops.to_list()))


def test_R40_cuts_at_random_bytes_leave_no_trace_in_the_log(server: DevServer, path: Path) -> None:
    run_id = server.add_run(events=run_of(2_000)).run_id
    lines = raw_lines(server, run_id)
    dice = random.Random(40)

    def fault() -> Any:
        match dice.randrange(6):
            case 0:
                return Refuse()
            case 1:
                return (Replay(dice.randint(1, 20)), CutRandomly(0, 5_000))
            case 2:
                return (Duplicates(0.5), CutRandomly(0, 5_000))
            case 3:
                return (Unchunked(), CutRandomly(0, 5_000, how=("rst", "fin")))
            case _:
                return CutRandomly(0, 50_000)

    server.use_faults(Faults([fault() for _ in range(2_000)], seed=40))
    with server.client() as client:
        seen = Seen()
        with run_events(run_id, client=client, resume=QUICK, record=path).subscribe(seen):
            seen.wait_end()

    assert seen.completed
    assert lines == path.read_bytes().splitlines(keepends=True)


def test_a_run_that_is_started_is_recorded_by_each_subscription(server: DevServer, tmp_path: Path) -> None:
    spec = {
        "kind": "workflow",
        "nodes": [{"id": "draft", "type": "llm", "model": "claude-sonnet-4-5", "user": "Hi"}],
        "outputs": [{"name": "text", "from": "draft"}],
    }
    with server.client() as client:
        source = start_run(spec, client=client, record=tmp_path / "log")
        last = block_on(source)
        assert last is not None
        once = (tmp_path / "log").read_bytes()
        block_on(source)

    lines = raw_lines(server, last.run_id)
    assert (lines, lines * 2) == tuple(
        text.splitlines(keepends=True) for text in (once, (tmp_path / "log").read_bytes())
    )


# ---- merged runs ----


@pytest.mark.parametrize("on_run_error", ["raise", "emit"])
def test_merged_runs_share_a_log_in_the_order_of_their_events(
    server: DevServer, path: Path, on_run_error: Any
) -> None:
    runs = [server.add_run(events=run_of(40)).run_id for _ in range(8)]
    lines = {run_id: raw_lines(server, run_id) for run_id in runs}
    server.use_faults(Faults([CloseAfter(1 + number % 7) for number in range(60)]))
    seen = Seen()
    with server.client() as client:
        merged = merge_runs(runs, client=client, record=path, resume=QUICK, on_run_error=on_run_error)
        with merged.subscribe(seen):
            seen.wait_end()

    recorded = path.read_bytes().splitlines(keepends=True)
    assert seen.events == [decode_event(line) for line in recorded]
    for run_id in runs:
        assert lines[run_id] == [line for line in recorded if str(run_id).encode() in line]


def test_what_waits_for_its_turn_when_all_is_disposed_is_not_recorded(server: DevServer, path: Path) -> None:
    runs = [server.add_run(events=run_of(40)).run_id for _ in range(8)]
    with server.client() as client:
        taken = block_on(merge_runs(runs, client=client, record=path).pipe(ops.take(5), ops.to_list()))

    assert taken == [decode_event(line) for line in path.read_bytes().splitlines()]


def test_a_repeated_run_is_recorded_twice(server: DevServer, path: Path) -> None:
    run_id = server.add_run(events=run_of(5)).run_id
    lines = raw_lines(server, run_id)
    with server.client() as client:
        block_on(merge_runs([run_id, run_id], client=client, record=path))

    assert sorted(lines * 2) == sorted(path.read_bytes().splitlines(keepends=True))


# ---- what goes wrong ----


def sources(client: RunsClient | None, run_id: Any, **options: Any) -> list[Any]:
    """Each kind of Observable that records, for a run with that id."""
    return [
        run_events(run_id, client=client, **options),
        start_run("0" * 64, client=client, **options),
        merge_runs([run_id], client=client, **options),
        merge_runs([run_id], client=client, on_run_error="emit", **options),
    ]


@pytest.mark.parametrize(
    "name", ["run.gz", "run.ndjson.xz", "run.zst", "run.bz2", "run\0.ndjson", "run\ud800.ndjson"]
)
def test_a_path_that_no_log_can_have_is_refused_at_once(tmp_path: Path, name: str) -> None:
    for source in (run_events, merge_runs):
        with pytest.raises(InvalidArgumentError, match="^record must ") as refused:
            source([LOG.run_id] if source is merge_runs else LOG.run_id, record=tmp_path / name)  # type: ignore[operator]
        assert "record" == refused.value.field
    with pytest.raises(InvalidArgumentError, match="^record must "):
        start_run("0" * 64, record=tmp_path / name)


def not_a_log(path: Path) -> None:
    path.write_text("dear diary")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (Path.mkdir, "can't be opened: Is a directory"),
        (os.mkfifo, "can't be appended to: it is not a regular file"),
        (not_a_log, "is not a log: its last line begins with b'dear diary'"),
        (lambda path: path.symlink_to(path / "missing" / "x"), "can't be opened: "),
    ],
    ids=["directory", "fifo", "diary", "missing"],
)
def test_a_log_that_cannot_be_opened_is_an_error_that_names_it_and_nothing_is_requested(
    runs_environment: DevServer, path: Path, prepare: Callable[[Path], object], reason: str
) -> None:
    prepare(path)
    for source in sources(None, LOG.run_id, record=path):  # the client of the environment is closed again
        seen = Seen()
        source.subscribe(seen)
        seen.wait_end()
        assert isinstance(seen.error, StoreError)
        assert str(path) == seen.error.path
        assert str(seen.error).startswith(f"the log {path} {reason}")
    assert [] == runs_environment.requests


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to offer")
def test_R41_a_full_disk_ends_the_stream_with_an_error_before_the_event_is_emitted(server: DevServer) -> None:
    run_id = server.add_run(events=run_of(5)).run_id
    with server.client() as client:
        for source in sources(client, run_id, record="/dev/full")[::2]:
            seen = Seen()
            with source.subscribe(seen):
                seen.wait_end()
            assert [] == seen.events
            assert isinstance(seen.error, StoreError)
            assert "the log /dev/full can't be written: No space left on device" == str(seen.error)
            assert isinstance(seen.error.__cause__, OSError)
            assert errno.ENOSPC == seen.error.__cause__.errno


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to offer")
@pytest.mark.parametrize("on_run_error", ["raise", "emit"])
def test_a_full_disk_ends_all_merged_runs(server: DevServer, on_run_error: Any) -> None:
    runs = [server.add_run(events=run_of(5)).run_id for _ in range(3)]
    seen = Seen()
    with server.client() as client:
        merged = merge_runs(runs, client=client, record="/dev/full", on_run_error=on_run_error)
        with merged.subscribe(seen):
            seen.wait_end()
    assert [] == seen.events
    assert isinstance(seen.error, StoreError)


def test_an_error_of_a_log_closes_the_stream_as_any_other(server: DevServer) -> None:
    lifecycle: list[LifecycleEvent] = []
    run_id = server.add_run(events=run_of(5)).run_id
    with server.client() as client:
        seen = Seen()
        options: dict[str, Any] = {"record": "/dev/full", "on_lifecycle": lifecycle.append}
        with run_events(run_id, client=client, **options).subscribe(seen):
            seen.wait_end()
    assert Closed(run_id=run_id, last_seq=0, error=seen.error) == lifecycle[-1]
    assert 1 == len(server.requests)


# ---- the file ----


def is_open(path: Path) -> bool:
    return any(str(path) in descriptor for descriptor in open_descriptors())


def test_a_log_is_opened_by_the_subscription_for_its_owner_alone(server: DevServer, path: Path) -> None:
    run_id = server.add_run(events=run_of(1)).run_id
    with server.client() as client:
        source = run_events(run_id, client=client, record=path)
        assert not path.exists()
        block_on(source)
    assert 0o600 == path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    "script",
    [[sends(*LINES)], [refuses(404)], [sends(LINES[0], b"[]\n")]],
    ids=["end", "refusal", "bad line"],
)
@pytest.mark.parametrize("merged", [False, True], ids=["one", "merged"])
def test_the_log_is_closed_before_the_end_is_emitted(path: Path, script: list[Step], merged: bool) -> None:
    was_open: list[bool] = []
    ended = threading.Event()

    def end(error: Exception | None = None) -> None:
        was_open.append(is_open(path))
        ended.set()

    with FakeRuns(*script) as service, service.client() as client:
        source: Any = merge_runs([LOG.run_id], client=client, record=path)
        source = source if merged else run_events(LOG.run_id, client=client, record=path)
        with source.subscribe(lambda event: None, end, end):
            assert ended.wait(HANG)
    assert [False] == was_open


@pytest.mark.parametrize(
    "script",
    [[hangs()], [sends(LINES[0]), hangs()], [refuses(503, retry_after=60)]],
    ids=["open", "read", "wait"],
)
@pytest.mark.parametrize("merged", [False, True], ids=["one", "merged"])
def test_dispose_closes_the_log_at_once(path: Path, script: list[Step], merged: bool) -> None:
    with FakeRuns(*script) as service, service.client() as client:
        source: Any = merge_runs([LOG.run_id], client=client, record=path)
        source = source if merged else run_events(LOG.run_id, client=client, record=path)
        subscription = source.subscribe()
        service.wait_requests(1)
        assert is_open(path)
        subscription.dispose()
        assert eventually(lambda: not is_open(path))  # a line may be on its way


def test_dispose_inside_on_next_closes_the_log_at_once(path: Path) -> None:
    with FakeRuns(sends(b"".join(LINES)), hangs()) as service, service.client() as client:
        was_open: list[bool] = []
        left = threading.Event()

        def leave(event: RunEvent) -> None:
            was_open.append(is_open(path))
            subscription.dispose()
            was_open.append(is_open(path))
            left.set()

        subscribed = threading.Event()
        seen = Seen(lambda event: subscribed.wait(HANG) and leave(event))
        subscription = run_events(LOG.run_id, client=client, record=path).subscribe(seen)
        subscribed.set()
        assert left.wait(HANG)
    assert [True, False] == was_open
    assert LINES[0] == path.read_bytes()


@pytest.mark.parametrize("merged", [False, True], ids=["one", "merged"])
def test_a_subscriber_that_raises_closes_the_log(path: Path, merged: bool) -> None:
    def refuse(event: RunEvent) -> None:
        raise LookupError("mine")

    with uncaught() as died, FakeRuns(sends(*LINES), hangs()) as service, service.client() as client:
        source: Any = merge_runs([LOG.run_id], client=client, record=path)
        source = source if merged else run_events(LOG.run_id, client=client, record=path)
        source.subscribe(refuse)
        assert eventually(lambda: bool(died) and not is_open(path))
    assert LINES[0] == path.read_bytes()


def test_an_event_received_during_dispose_is_neither_recorded_nor_emitted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()
    subscribed = threading.Event()
    append = LogWriter.append

    def append_late(log: LogWriter, line: bytes) -> bool:
        assert subscribed.wait(HANG)
        if line == LINES[1]:
            subscription.dispose()
        return append(log, line)

    def tell(value: LifecycleEvent) -> None:
        if isinstance(value, Closed):
            assert (1, None) == (value.last_seq, value.error)
            closed.set()

    monkeypatch.setattr(LogWriter, "append", append_late)
    seen = Seen()
    with FakeRuns(sends(*LINES), hangs()) as service, service.client() as client:
        subscription = run_events(LOG.run_id, client=client, record=path, on_lifecycle=tell).subscribe(seen)
        subscribed.set()
        assert closed.wait(HANG)
    assert ([LOG[0]], LINES[0]) == (seen.events, path.read_bytes())


def test_a_client_that_the_environment_does_not_describe_leaves_no_log_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for source in sources(None, LOG.run_id, record=path):
        seen = Seen()
        source.subscribe(seen)
        seen.wait_end()
        assert isinstance(seen.error, RunsError)
        assert not is_open(path)


# ---- the command line ----


def test_R40_the_command_line_records_what_the_service_sent(
    runs_environment: DevServer, path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    added = runs_environment.add_run(events=run_of(3))
    sent = [
        b'{"news":{"cached_tokens":7.50}, ' + line[1:-1] + b"\r\n"
        for line in raw_lines(runs_environment, added.run_id)
    ]
    instead = [line[:-1] for line in sent]
    runs_environment.use_faults(
        Faults([(Instead(lambda: instead[:4]), CloseAfter(9)), Instead(lambda: instead)])
    )

    assert 0 == run(["events", str(added.run_id), "--type", "node_started", "--record", str(path)])
    assert b"".join(sent) == path.read_bytes()
    assert b"news" not in capsysbinary.readouterr().out


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("pipe", 3, "can't be appended to: it is not a regular file"),
        ("missing/run.ndjson", 3, "can't be opened: No such file or directory"),
        ("run.ndjson.gz", 2, "record must not end in .gz"),
    ],
)
def test_a_log_that_the_command_line_cannot_record_is_an_error_of_one_line(
    name: str,
    code: int,
    message: str,
    runs_environment: DevServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    os.mkfifo(tmp_path / "pipe")
    run_id = runs_environment.add_run(events=run_of(3)).run_id
    assert code == run(["events", str(run_id), "--record", str(tmp_path / name)])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert message in err
    assert str(tmp_path / name) in err
