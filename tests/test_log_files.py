"""Logs as files: compressed, cut at any byte, out of order, or something else."""

from __future__ import annotations

import gzip
import logging
import os
import random
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from rxruns import block_on, ops, recorded_events
from rxruns._logs import Unpacker
from rxruns.errors import RunsError, StoreError, StreamProtocolError
from rxruns.events import RunEvent
from tests.logs import COMPRESSED, FORMATS, NEEDS_ZSTD, PACK, lines_of, read, unpacked, whole_events
from tests.making import OTHER_RUN, RUN, delta, run_completed, run_started
from tests.records import examples, line_of
from tests.soak import MIB, peak_of_memory

pytestmark = pytest.mark.usefixtures("no_leaks")

A_RUN: list[RunEvent] = [
    run_started(1),
    *(delta(f"{seq} é", seq=seq) for seq in range(2, 6)),
    run_completed(6),
]
LOG = b"".join(lines_of(A_RUN))


def run_of(length: int, run_id: UUID = RUN) -> list[RunEvent]:
    return [delta(str(seq), seq=seq, run_id=run_id) for seq in range(1, length + 1)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


# ---- formats ----


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["run", "run.ndjson", "run.gz", "run.zst"])
def test_a_format_is_recognized_by_its_first_bytes_whatever_the_name(
    tmp_path: Path, format: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    path.write_bytes(PACK[format](LOG))
    seen = read(path)
    assert (A_RUN, True, None) == (seen.events, seen.completed, seen.error)
    assert [] == caplog.messages


@pytest.mark.parametrize("format", COMPRESSED)
@pytest.mark.parametrize("padding", [b"", bytes(1), bytes(4_000)])
def test_compressed_parts_may_follow_each_other_with_zeros_between(
    log: Path, format: str, padding: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    pack, half = PACK[format], len(LOG) // 2
    log.write_bytes(pack(LOG[:half]) + padding + pack(b"") + pack(LOG[half:]) + padding)
    seen = read(log)
    assert (A_RUN, True, []) == (seen.events, seen.completed, caplog.messages)


@NEEDS_ZSTD
def test_zstd_may_begin_with_a_frame_to_skip(log: Path) -> None:
    log.write_bytes(b"\x5f\x2a\x4d\x18\x03\0\0\0abc" + PACK["zstd"](LOG))
    assert A_RUN == read(log).events


def test_the_error_of_a_zstd_log_names_the_missing_package(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    log.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    error = read(log).error
    assert isinstance(error, StoreError)
    assert "pip install zstandard" in str(error)
    assert str(log) == error.path


# ---- cuts ----


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("parts", [1, 3])
def test_of_a_log_that_is_cut_at_any_byte_each_whole_event_is_read(
    log: Path, format: str, parts: int, caplog: pytest.LogCaptureFixture
) -> None:
    lines = lines_of(A_RUN)
    size = len(lines) // parts
    packed = b"".join(PACK[format](b"".join(lines[at : at + size])) for at in range(0, len(lines), size))
    for cut in range(len(packed)):
        log.write_bytes(packed[:cut])
        caplog.clear()
        seen = read(log)
        plain = unpacked(format, packed[:cut])
        assert (whole_events(plain), None) == (seen.events, seen.error), cut
        if plain + b"\n" not in (b"\n", LOG) and not plain.endswith(b"\n"):
            assert plain.rpartition(b"\n")[2] in (line[:-1] for line in lines) or caplog.messages, cut


@pytest.mark.parametrize("format", COMPRESSED)
@given(events=st.integers(1, 400), cut=st.floats(0, 1), level=st.sampled_from([0, 1]))
@examples(30)
def test_what_can_be_unpacked_of_a_cut_log_is_read(format: str, events: int, cut: float, level: int) -> None:
    dice = random.Random(events)  # text that doesn't pack well fills several blocks
    log_of = [delta(dice.randbytes(40 * level).hex(), seq=seq) for seq in range(1, events + 1)]
    packed = PACK[format](b"".join(lines_of(log_of)))
    packed = packed[: round(cut * len(packed))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        path.write_bytes(packed)
        seen = read(path)
    assert (whole_events(unpacked(format, packed)), None) == (seen.events, seen.error)


@pytest.mark.parametrize("format", COMPRESSED)
def test_the_warning_of_a_cut_compressed_log_counts_the_lines_that_were_read(
    log: Path, format: str, caplog: pytest.LogCaptureFixture
) -> None:
    log.write_bytes(PACK[format](b"".join(lines_of(run_of(500))))[:-1])
    seen = read(log)
    (warning,) = caplog.messages
    assert f"{log}: the compressed file is cut after {len(seen.events)} whole lines" in warning


def test_a_gzip_log_without_its_last_byte_loses_nothing_that_is_in_it(log: Path) -> None:
    log.write_bytes(gzip.compress(b"".join(lines_of(run_of(500))))[:-1])
    assert 500 == len(read(log).events)


@pytest.mark.parametrize("format", COMPRESSED)
def test_damage_is_an_error_after_the_events_before_it(log: Path, format: str) -> None:
    log.write_bytes(PACK[format](LOG) + b"what is this?" * 10)
    seen = read(log)
    assert isinstance(seen.error, StoreError)
    assert (A_RUN, str(log)) == (seen.events, seen.error.path)
    assert f"after line 6, the {format} data is damaged" in str(seen.error)
    assert seen.error.__cause__ is not None


@pytest.mark.parametrize("zeros", [1, 5_000])
@pytest.mark.parametrize("lines", [0, 3, 6])
def test_zeros_that_a_power_loss_left_are_dropped_by_readers_and_writers(
    log: Path, lines: int, zeros: int, caplog: pytest.LogCaptureFixture
) -> None:
    start = b"".join(lines_of(A_RUN[:lines]))
    log.write_bytes(start + bytes(zeros))
    seen = read(log)
    assert (A_RUN[:lines], None) == (seen.events, seen.error)
    assert f"the last line, {lines + 1}, was cut" in caplog.text
    reactivex.from_iterable(A_RUN[lines:]).pipe(ops.record(log)).subscribe()
    assert LOG == log.read_bytes()


# ---- memory ----


@pytest.mark.parametrize("format", COMPRESSED)
def test_a_compressed_bomb_takes_bounded_memory(log: Path, format: str) -> None:
    log.write_bytes(PACK[format](b"0" * (64 * MIB)))
    with peak_of_memory() as grown:
        seen = read(log)
        peak = grown()
    assert isinstance(seen.error, StreamProtocolError)
    assert peak < 100 * MIB


@pytest.mark.parametrize("format", COMPRESSED)
def test_a_bomb_is_unpacked_in_small_pieces(format: str) -> None:
    sizes = list(map(len, Unpacker([PACK[format](b"\n" * (64 * MIB))])))
    assert (64 * MIB, True) == (sum(sizes), max(sizes) <= 2**16)


# ---- what is not a log ----


def _sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()


NO_LOGS: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
    "parquet": (b"PAR1\x15\x04\x15\x10", "a Parquet file"),
    "zip": (b"PK\x03\x04\x14\0\0\0", "a ZIP archive"),
    "sqlite": (_sqlite, "an SQLite database"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7", "lz4"),
    "utf-16 with a mark": (LOG.decode().encode("utf-16"), "UTF-16"),
    "utf-16-le": (LOG.decode().encode("utf-16-le"), "UTF-16"),
    "utf-16-be": (LOG.decode().encode("utf-16-be"), "UTF-16"),
    "CR alone": (LOG.replace(b"\n", b"\r"), "CR alone"),
    "tar": (b"run.ndjson".ljust(257, b"\0") + b"ustar\x0000" + bytes(300) + LOG, "a tar archive"),
    "compressed twice": (gzip.compress(gzip.compress(LOG)), "compressed twice"),
    "an array on one line": (b"[" + LOG.strip().replace(b"\n", b",") + b"]", "b'[{"),
    "text": (b"no log at all", "b'no log at all'"),
}


@pytest.mark.parametrize("packed", ["plain", "gzip"])
@pytest.mark.parametrize("kind", NO_LOGS)
def test_a_file_that_is_not_a_log_is_an_error_that_names_what_it_seems_to_be(
    log: Path, kind: str, packed: str
) -> None:
    content, name = NO_LOGS[kind]
    if callable(content):
        content(log)
        content = log.read_bytes()
    log.write_bytes(PACK[packed](content))
    for on_invalid in ("raise", lambda error: None):
        seen = read(log, on_invalid=on_invalid)
        if (kind, packed) == ("compressed twice", "gzip"):
            name = "compressed twice"
        assert isinstance(seen.error, StoreError)
        assert ([], str(log)) == (seen.events, seen.error.path)
        assert f"{log} is not a log: it " in str(seen.error)
        assert name in str(seen.error)


def test_a_last_line_that_is_not_part_of_a_record_is_a_bad_line(log: Path) -> None:
    log.write_bytes(LOG + b"# the end")
    seen = read(log)
    assert isinstance(seen.error, StreamProtocolError)
    assert (A_RUN, 7) == (seen.events, seen.error.line_number)


@pytest.mark.parametrize(
    "prefix", [b"2026-01-31T12:00:00.123456789Z ", b"[pod/worker-0/app] ", b"web-1  | ", b"12:00 stdout F "]
)
def test_an_event_behind_a_prefix_is_refused_with_the_way_to_strip_it(log: Path, prefix: bytes) -> None:
    log.write_bytes(b"".join(prefix + line for line in lines_of(A_RUN)))
    error = read(log).error
    assert isinstance(error, StreamProtocolError)
    assert repr(prefix.decode()) in str(error)
    assert "sed 's/^[^{]*//'" in str(error)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.symlink_to(path)])
@pytest.mark.parametrize("speed", [None, 1.0])
def test_an_unreadable_path_is_a_typed_error_with_the_reason(
    log: Path, make: Callable[[Path], object], speed: float | None
) -> None:
    make(log)
    error = read(log, speed=speed).error
    assert isinstance(error, StoreError)
    assert (str(log), True) == (error.path, isinstance(error.__cause__, OSError))
    assert error.__cause__ is not None and str(error.__cause__.args[1]) in str(error)


def test_a_path_with_a_nul_is_a_typed_error() -> None:
    with pytest.raises(RunsError):
        block_on(recorded_events("a\0b"))


def test_a_socket_is_a_typed_error(log: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(log))
        error = read(log).error
    assert isinstance(error, StoreError)


# ---- order ----


@pytest.mark.parametrize("format", FORMATS)
def test_logs_that_were_concatenated_newest_first_lose_nothing(
    log: Path, format: str, caplog: pytest.LogCaptureFixture
) -> None:
    events = run_of(200)
    lines = lines_of(events)
    log.write_bytes(PACK[format](b"".join(lines[100:])) + PACK[format](b"".join(lines[:100])))
    seen = read(log)
    assert (events, True, None, []) == (seen.events, seen.completed, seen.error, caplog.messages)


def chunks_of(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(lines)), max_size=4)) | {0, len(lines)})
    return [b"".join(lines[start:stop]) for start, stop in zip(cuts, cuts[1:], strict=False)]


@st.composite
def shuffled_logs(draw: st.DrawFn) -> tuple[bytes, dict[UUID, list[RunEvent]]]:
    """Pieces of the logs of several runs, filtered or not, in any order, some of them twice."""
    runs: dict[UUID, list[RunEvent]] = {}
    pieces: list[bytes] = []
    for run_id in (RUN, OTHER_RUN, UUID(int=9))[: draw(st.integers(1, 3))]:
        seqs = sorted(draw(st.sets(st.integers(1, 30), min_size=1)))
        runs[run_id] = [delta(f"{seq}\u2028", seq=seq, run_id=run_id) for seq in seqs]
        pieces += chunks_of(draw, lines_of(runs[run_id]))
    twice = draw(st.lists(st.sampled_from(pieces), max_size=2))
    start = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    content = start + b"".join(draw(st.permutations(pieces + twice)))
    return content.removesuffix(draw(st.sampled_from([b"", b"\n"]))), runs


@pytest.mark.parametrize("format", ["plain", "gzip"])
@given(shuffled_logs())
@examples(80)
def test_each_runs_events_are_read_once_by_seq_in_any_order_of_the_file(
    format: str, log_and_runs: tuple[bytes, dict[UUID, list[RunEvent]]]
) -> None:
    content, runs = log_and_runs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        path.write_bytes(PACK[format](content))
        seen = read(path)
    assert seen.error is None
    assert runs == {run: [event for event in seen.events if event.run_id == run] for run in runs}
    assert len(seen.events) == sum(map(len, runs.values()))


@pytest.mark.parametrize("format", ["plain", "gzip"])
def test_bad_lines_of_a_log_out_of_order_are_refused_once_with_their_numbers(log: Path, format: str) -> None:
    new, old = lines_of(run_of(9)[4:]), lines_of(run_of(9)[:4])
    first = lines_of([run_started(1, OTHER_RUN)])
    lines = [b"bad 1\n", *first, b"bad 3\n", *new[:2], b"bad 6\n", *new[2:], *old, b"bad 14\n"]
    log.write_bytes(PACK[format](b"".join(lines)))
    refused: list[StreamProtocolError] = []
    seen = read(log, on_invalid=refused.append)
    assert [1, *range(1, 10)] == seen.seqs
    assert [1, 3, 6, 14] == sorted(error.line_number or 0 for error in refused)
    assert all(error.raw_data == f"bad {error.line_number}" for error in refused)


def test_a_cut_last_line_of_a_log_out_of_order_causes_a_warning_and_stays_the_last(
    log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = lines_of(run_of(9))
    log.write_bytes(b"".join([*lines[5:], *lines[:5]])[:-20])
    seen = read(log)
    assert ([1, 2, 3, 4, 6, 7, 8, 9], None) == (seen.seqs, seen.error)
    assert "the last line, 9, was cut" in caplog.text


def test_damage_of_a_log_out_of_order_is_an_error_after_the_events_before_it(log: Path) -> None:
    lines = lines_of(run_of(9))
    log.write_bytes(gzip.compress(b"".join([*lines[5:], *lines[:5]])) + b"more")
    seen = read(log)
    assert isinstance(seen.error, StoreError)
    assert list(range(1, 10)) == seen.seqs


def test_runs_take_turns_as_they_do_in_the_file(log: Path) -> None:
    mine, theirs = run_of(4), run_of(2, OTHER_RUN)
    order = [mine[2], theirs[0], mine[3], mine[0], theirs[1], mine[1]]
    log.write_bytes(b"".join(lines_of(order)))
    assert [mine[0], theirs[0], mine[1], mine[2], theirs[1], mine[3]] == read(log).events


def test_a_log_that_only_repeats_events_is_read_as_it_is(log: Path) -> None:
    mine, theirs = run_of(5)[1::2], run_of(1, OTHER_RUN)
    log.write_bytes(b"".join(lines_of([*mine, *theirs, *mine])) + b"\n\n")
    assert [*mine, *theirs] == read(log).events


def test_of_events_with_the_same_seq_the_first_valid_one_is_given_in_a_log_out_of_order(log: Path) -> None:
    bad = line_of({"type": "node_started", "seq": 2, "run_id": str(RUN)}) + b"\n"
    one, two, three, four = lines_of(run_of(4))
    log.write_bytes(b"".join([three, four, bad, one, two]))
    refused: list[StreamProtocolError] = []
    assert run_of(4) == read(log, on_invalid=refused.append).events
    assert [3] == [error.line_number for error in refused]


def test_an_ordered_log_with_gaps_is_read_as_it_is(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events = run_of(3_000)[4::3]
    log.write_bytes(b"".join(lines_of(events)))
    assert (events, []) == (read(log).events, caplog.messages)


def test_the_index_of_a_log_out_of_order_is_small(log: Path) -> None:
    text = "x" * 2_000
    with log.open("wb") as file:
        for start in (10_001, 1):
            file.writelines(lines_of(delta(text, seq=seq) for seq in range(start, start + 10_000)))
    with peak_of_memory() as grown:
        count = block_on(recorded_events(log).pipe(ops.count()))
        peak = grown()
    assert 20_000 == count
    assert peak < 10 * MIB < os.path.getsize(log) / 3


def test_a_bad_record_in_a_log_out_of_order_follows_the_events_before_it(log: Path) -> None:
    bad = line_of({"type": "node_started", "seq": 3, "run_id": str(RUN)}) + b"\n"
    one, two, four, five = (lines_of([delta("x", seq=seq)])[0] for seq in (1, 2, 4, 5))
    log.write_bytes(b"".join([four, five, one, two, bad]))
    seen = read(log)
    assert isinstance(seen.error, StreamProtocolError)
    assert ([1, 2], 5) == (seen.seqs, seen.error.line_number)
