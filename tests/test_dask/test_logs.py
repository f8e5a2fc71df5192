"""Recorded logs on a cluster come to what they come to here, wherever they are cut."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns import CostTotals, Price
from rxruns._logs import _blocks, _fold_part
from rxruns._logs._engine import fold_parts
from rxruns._logs._fold_part import fold_part
from rxruns._logs._parts import LogPart, find_files, split
from rxruns._logs._pool import Pool
from rxruns.dask import fold_logs
from rxruns.errors import InvalidArgumentError, StoreError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.folds import NodeSpans, RunStates
from tests.folding import Deadly, Refusing, Seen, SeenCalls, SeenInOrder, folded_here, write_log
from tests.logs import COMPRESSED, PACK
from tests.making import OTHER_RUN, RUN, delta, llm_call, node_started, run_completed, run_started, tokens
from tests.records import examples, line_of, lines, records_of, sample

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}


def run_of(run_id: UUID = RUN, calls: int = 20) -> list[RunEvent]:
    """A run with some model calls, each after three deltas."""
    events: list[RunEvent] = [run_started(1, run_id), node_started(seq=2, run_id=run_id)]
    for _ in range(calls):
        seq = len(events)
        events += [delta(f"{seq} naïve", seq=seq + number, run_id=run_id) for number in (1, 2, 3)]
        events.append(llm_call(usage=tokens(3, 5), seq=seq + 4, run_id=run_id))
    return [*events, run_completed(len(events) + 1, run_id)]


def folded_in_parts(fold: Any, paths: Sequence[Path], count: int, **options: Any) -> Any:
    """Fold as the cluster's tasks do, without a cluster, with the first file in `parts` parts."""
    files = find_files(paths)
    parts = split(files, max(1, -(-files[0].size // count)))
    return fold_parts(Pool(0, int), parts, partial(fold_part, fold=fold, **options)).value


# ---- the law ----

some_events = st.builds(
    lambda call, run_id, seq: llm_call(seq=seq, run_id=run_id) if call else delta(seq=seq, run_id=run_id),
    st.booleans(),
    st.sampled_from([RUN, OTHER_RUN]),
    st.integers(1, 6),
)


some_logs = st.lists(some_events, max_size=12)
ends = st.sampled_from([b"\n", b"", b'\n{"type":"node_llm', b"\n\n"])


@examples(150)
@given(events=some_logs, end=ends, parts=st.integers(1, 8))
def test_a_log_in_parts_has_the_result_of_its_events(events: Any, end: bytes, parts: int) -> None:
    with TemporaryDirectory() as directory:
        log = write_log(Path(directory, "run.ndjson"), events, end)
        calls = folded_in_parts(SeenCalls(), [log], parts, every_line=True)

        assert folded_here(Seen(), log) == folded_in_parts(Seen(), [log], parts)
        assert folded_here(SeenCalls(), log) == calls


@examples(150)
@given(events=some_logs, end=ends, parts=st.integers(1, 8))
def test_lines_that_are_passed_over_might_as_well_not_be_there(events: Any, end: bytes, parts: int) -> None:
    with TemporaryDirectory() as directory:
        whole = write_log(Path(directory, "run.ndjson"), events, end)
        calls = [event for event in events if event.type == "node_llm_call"]
        filtered = write_log(Path(directory, "calls.ndjson"), calls, end)

        expected = folded_here(SeenCalls(), filtered).events
        assert sorted(expected) == sorted(folded_in_parts(SeenCalls(), [whole], parts).events)


@st.composite
def spelled_logs(draw: st.DrawFn) -> list[bytes]:
    """One run's log, in order, each line spelled in one of the many ways that mean the same."""
    types = st.sampled_from(["node_llm_call", "node_llm_call", "node_output_delta", "run_failed"])
    records = draw(st.lists(types.flatmap(records_of), max_size=6))
    numbered = [record | {"run_id": str(RUN), "seq": seq} for seq, record in enumerate(records, 1)]
    return [draw(lines(st.just(record))) for record in numbered]


@examples(100)
@given(log=spelled_logs(), parts=st.integers(1, 8))
def test_skipping_lines_does_not_change_the_result_of_a_valid_log(log: list[bytes], parts: int) -> None:
    with TemporaryDirectory() as directory:
        path = write_log(Path(directory, "run.ndjson"), log)
        for fold in (SeenCalls(), CostTotals(PRICES)):
            expected = folded_here(fold, path)

            assert expected == folded_in_parts(fold, [path], parts)
            assert expected == folded_in_parts(fold, [path], parts, every_line=True)


# ---- on a cluster ----


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """Three logs: two runs that take turns, the first half of a run, the rest of it with some of it again."""
    first, other, third = run_of(), run_of(OTHER_RUN), run_of(UUID(int=3))
    turns = [event for pair in zip(first, other, strict=True) for event in pair]
    return [
        write_log(tmp_path / "a.ndjson", turns),
        write_log(tmp_path / "b.ndjson", third[:50]),
        write_log(tmp_path / "c.ndjson", third[30:]),
    ]


def whole(fold: Any) -> Any:
    for run_id in (RUN, OTHER_RUN, UUID(int=3)):
        for event in run_of(run_id):
            fold = fold.step(event)
    return fold


@pytest.mark.parametrize("size", [None, 7_000])
def test_costs_of_many_logs_are_those_of_their_runs(cluster: Any, logs: list[Path], size: int | None) -> None:
    totals = fold_logs(logs, CostTotals(PRICES), dask_client=cluster, partition_size=size)

    assert whole(CostTotals(PRICES)) == totals
    assert 60 == totals.requests


@pytest.mark.parametrize(
    "fold", [RunStates(), NodeSpans(), SeenInOrder()], ids=lambda fold: type(fold).__name__
)
def test_folds_of_whole_runs_get_whole_files(cluster: Any, logs: list[Path], fold: Any) -> None:
    assert folded_here(fold, logs[0]) == fold_logs(logs[0], fold, partition_size=2_000)


def test_a_fold_of_whole_runs_refuses_a_run_in_two_files(cluster: Any, logs: list[Path]) -> None:
    with pytest.raises(InvalidArgumentError, match="keep the log of a run in one file"):
        fold_logs(logs, RunStates())


def test_files_may_be_in_any_order_and_in_the_same_one_twice(cluster: Any, logs: list[Path]) -> None:
    totals = fold_logs([*reversed(logs), logs[0]], CostTotals(PRICES), partition_size=9_000)
    assert whole(CostTotals(PRICES)) == totals


def test_patterns_and_urls_are_resolved(cluster: Any, logs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "no_log.txt").write_text("?")
    expected = whole(CostTotals(PRICES))

    assert expected == fold_logs(f"{tmp_path}/*.ndjson", CostTotals(PRICES))
    assert expected == fold_logs([f"file://{tmp_path}/**/[abc].ndjson"], CostTotals(PRICES))


def test_a_file_with_brackets_in_its_name_is_meant_as_it_is_written(cluster: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "run[1].ndjson", run_of())
    assert 20 == fold_logs(log, CostTotals()).requests


def test_a_compressed_log_is_read_in_one_part(cluster: Any, tmp_path: Path) -> None:
    plain = write_log(tmp_path / "run.ndjson", run_of())
    packed = tmp_path / "run.ndjson.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert folded_here(Seen(), plain) == fold_logs(packed, Seen(), partition_size=100)


@pytest.mark.parametrize("format", COMPRESSED)
@pytest.mark.parametrize("size", [100, None])
def test_a_compressed_log_is_recognized_whatever_its_name(
    cluster: Any, tmp_path: Path, format: str, size: int | None
) -> None:
    plain, packed = write_log(tmp_path / "run.ndjson", run_of()), tmp_path / "packed"
    packed.write_bytes(PACK[format](plain.read_bytes()))

    assert folded_here(Seen(), plain) == fold_logs(packed, Seen(), partition_size=size)


@pytest.mark.parametrize("format", COMPRESSED)
@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "ndjson"])
def test_a_compressed_log_that_was_cut_has_the_same_result_as_here(
    tmp_path: Path, format: str, suffix: str
) -> None:
    packed = PACK[format](write_log(tmp_path / "plain", run_of()).read_bytes())
    log = tmp_path / f"run.{suffix}"
    for cut in (-1, -len(packed) // 2):
        log.write_bytes(packed[:cut])
        folded = folded_alone(log, Seen())
        assert folded_here(Seen(), log) == folded.value
        assert f"{log}: the compressed file is cut; what followed is lost" in folded.cut


@pytest.mark.parametrize("format", COMPRESSED)
def test_a_compressed_log_that_is_damaged_is_an_error(tmp_path: Path, format: str) -> None:
    log = tmp_path / "run"
    log.write_bytes(PACK[format](write_log(tmp_path / "plain", run_of()).read_bytes()) + b"what is this?" * 9)
    with pytest.raises(StoreError, match="damaged"):
        folded_alone(log, Seen())


def test_a_worker_that_is_killed_changes_nothing(cluster: Any, logs: list[Path], tmp_path: Path) -> None:
    deadly = Deadly(marker=str(tmp_path / "killed"), seq=44)
    survived = fold_logs(logs[0], deadly, partition_size=6_000)

    assert (tmp_path / "killed").exists()
    assert folded_here(Seen(), logs[0]).events == survived.events


def test_progress_is_shown_as_dask_shows_it(
    cluster: Any, logs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = fold_logs(logs, SeenCalls())
    assert "" == capsys.readouterr().out

    assert quiet == fold_logs(logs, SeenCalls(), progress=True)
    assert "100% Completed" in capsys.readouterr().out


def test_what_a_fold_raises_is_raised_here(cluster: Any, logs: list[Path]) -> None:
    with pytest.raises(ArithmeticError, match="no use for"):
        fold_logs(logs, Refusing())


# ---- what is wrong with a log ----

BAD = line_of(sample("node_llm_call", seq="5"))


def test_a_bad_line_is_an_error_that_names_file_and_byte(cluster: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "run.ndjson", [run_started(1), BAD, run_completed(9)])
    offset = log.read_bytes().index(BAD)

    with pytest.raises(StreamProtocolError) as caught:
        fold_logs(log, CostTotals())
    assert f"{log}, byte {offset}: not a valid event: seq: Not a valid integer." in str(caught.value)
    assert BAD.decode()[:200] == caught.value.raw_data


@pytest.mark.parametrize("size", [1_500, 100_000])
def test_on_invalid_gets_each_bad_line_in_order_and_the_rest_counts(
    cluster: Any, tmp_path: Path, size: int
) -> None:
    other = BAD.replace(b'"5"', b'"6"')
    log = write_log(tmp_path / "run.ndjson", [BAD, *run_of(), other, llm_call(seq=900), BAD], b"")
    refused: list[StreamProtocolError] = []

    assert 21 == fold_logs(log, CostTotals(), on_invalid=refused.append, partition_size=size).requests
    content = log.read_bytes()
    offsets = [0, content.index(other), content.rindex(BAD)]
    assert [f"byte {offset}:" in str(error) for offset, error in zip(offsets, refused, strict=True)] == [
        True
    ] * 3


def test_a_skipped_line_is_not_validated_without_every_line(cluster: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "run.ndjson", [line_of(sample("node_started", seq=0)), b"]", *run_of()])

    assert 20 == fold_logs(log, CostTotals()).requests
    with pytest.raises(StreamProtocolError, match="byte 0: not a valid event: seq"):
        fold_logs(log, CostTotals(), every_line=True)


def folded_alone(path: Path, fold: Any, **options: Any) -> Any:
    (part,) = find_files(path)
    return fold_part(part, fold, **options)


def test_a_line_that_is_not_a_record_is_reported_too(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "run.ndjson", [b"[]", b"\xff", b'{"type":"keepalive"}', b"", b"{", run_started(1)]
    )
    folded = folded_alone(log, Seen(), tolerant=True)

    message = ["byte 0: not a JSON object", "byte 3: not UTF-8", "byte 27: not JSON"]
    assert [True] * 3 == [reason in str(error) for reason, error in zip(message, folded.invalid, strict=True)]
    assert 1 == len(folded.value.events)


def test_thousands_of_bad_lines_are_counted_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fold_part, "MAX_REPORTED", 2)
    folded = folded_alone(write_log(tmp_path / "run.ndjson", [b"?"] * 50), Seen(), tolerant=True)

    assert 3 == len(folded.invalid)
    assert "48 more lines" in str(folded.invalid[-1])


def test_a_line_that_is_too_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blocks, "BLOCK", 256)
    monkeypatch.setattr(_blocks, "MAX_LINE_BYTES", 1_000)
    log = write_log(tmp_path / "run.ndjson", [run_started(1), b"x" * 1_500, run_completed(3)])
    folded = folded_alone(log, SeenCalls(), tolerant=True)

    (error,) = folded.invalid
    assert f"byte {log.read_bytes().index(b'xx')}: a line is longer than" in str(error)
    assert 2 == len(folded_alone(log, Seen(), tolerant=True).value.events)


@pytest.mark.parametrize("fold", [Seen(), SeenCalls()], ids=["all", "calls"])
def test_a_last_line_that_was_cut_is_left_out_with_a_warning(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, fold: Any
) -> None:
    log = write_log(tmp_path / "run.ndjson", run_of(), b'\n{"type":"node_llm_c')

    with caplog.at_level(logging.WARNING, "rxruns"):
        assert whole_run(fold) == fold_logs(log, fold, partition_size=2_000)
    assert [f"{log}: the last line was cut and is left out"] == caplog.messages


def whole_run(fold: Any) -> Any:
    for event in run_of():
        fold = fold.step(event)
    return fold


def test_the_whole_events_of_a_compressed_log_that_was_cut_are_read(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    plain = write_log(tmp_path / "run.ndjson", run_of()).read_bytes()
    cut = tmp_path / "run.ndjson.gz"
    cut.write_bytes(packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH))
    folded = folded_alone(cut, Seen())

    assert whole_run(Seen()) == folded.value
    assert (f"{cut}: the compressed file is cut; what followed is lost",) == folded.cut


def test_what_is_appended_while_the_log_is_read_is_left_for_the_next_time(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run.ndjson", run_of())
    (part,) = find_files(log)
    with log.open("ab") as more:
        more.write(BAD)

    assert whole_run(Seen()) == fold_part(part, Seen()).value


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\n"])
def test_an_empty_log_leaves_the_fold_empty(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "run.ndjson"
    log.write_bytes(content)

    assert Seen() == folded_alone(log, Seen()).value
    assert SeenCalls() == folded_in_parts(SeenCalls(), [log, log], 9)


def test_windows_line_ends_and_a_byte_order_mark_are_ignored(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run.ndjson", run_of())
    log.write_bytes(b"\xef\xbb\xbf" + log.read_bytes().replace(b"\n", b"\r\n"))

    assert whole_run(Seen()) == folded_in_parts(Seen(), [log], 50)


# ---- what is wrong with an argument ----


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"paths": []}, "paths", "paths must be at least one path"),
        ({"paths": 5}, "paths", "a path or a URL"),
        ({"paths": ["a", None]}, "paths[1]", "a path or a URL"),
        ({"paths": "no/such*file"}, "paths", "a file, or a pattern that matches one"),
        ({"paths": ["no_such_file"]}, "paths", "one, got 'no_such_file'"),
        ({"paths": "unknown://place"}, "paths", "unknown"),
        ({"fold": CostTotals}, "fold", "CostTotals()"),
        ({"partition_size": 0}, "partition_size", "from 1"),
        ({"on_invalid": "skip"}, "on_invalid", "'raise' or a function"),
        ({"dask_client": "tcp://127.0.0.1:8786"}, "dask_client", "must be a distributed.Client, got str"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_argument_is_refused_by_name(
    cluster: Any, tmp_path: Path, options: dict[str, Any], field: str, message: str
) -> None:
    arguments: dict[str, Any] = {"paths": write_log(tmp_path / "a", []), "fold": CostTotals()} | options
    with pytest.raises(InvalidArgumentError) as caught:
        fold_logs(arguments.pop("paths"), arguments.pop("fold"), **arguments)

    assert field == caught.value.field
    assert message in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_shown(cluster: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="password") as caught:
        fold_logs("ftp://ada:s3cret@host/run.ndjson", CostTotals())
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff", StoreError, "can't be read"),
        (b"PAR1\n\n", StoreError, "is not a log: it seems to be a Parquet file"),
        (b"no gzip", StreamProtocolError, "not JSON"),
    ],
)
def test_a_file_that_a_worker_fails_to_read_is_an_error(
    cluster: Any, tmp_path: Path, content: bytes, error: type[Exception], message: str
) -> None:
    (tmp_path / "run.gz").write_bytes(content)
    with pytest.raises(error, match=f"run.gz.*{message}"):
        fold_logs(tmp_path / "run.gz", CostTotals())


def test_a_file_that_was_deleted_meanwhile_is_an_error() -> None:
    with pytest.raises(StoreError, match="gone.ndjson can't be read"):
        fold_part(LogPart("gone.ndjson", 0, 5, 5), Seen())
