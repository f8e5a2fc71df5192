"""Recorded logs folded on this machine come to what their events come to, in one process or in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rxruns import CostTotals, Price
from rxruns._logs import _engine, _pool
from rxruns._logs._engine import fold_parts, planned
from rxruns.errors import InvalidArgumentError, RunsError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.folds import RunStates, fold_logs
from tests.conftest import HANG, ROOT, eventually
from tests.folding import DeadlyElsewhere, Refusing, Seen, SeenCalls, SeenInOrder, folded_here, write_log
from tests.logs import PACK
from tests.making import OTHER_RUN, RUN, delta, in_turn, llm_call, run_completed, run_started, tokens
from tests.records import examples
from tests.soak import MIB, both_sizes

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
PRICES = {("openai", "gpt-5"): Price("1.25", 10)}


def run_of(run_id: UUID = RUN, calls: int = 20) -> list[RunEvent]:
    """A run with some model calls, each after a delta."""
    calls_and_text = [event for _ in range(calls) for event in (delta(), llm_call(usage=tokens(3, 5)))]
    return [
        replace(event, run_id=run_id) for event in in_turn(run_started(), *calls_and_text, run_completed())
    ]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs of some KiB are split as those of gigabytes are."""
    monkeypatch.setattr(_engine, "SMALLEST", 1)
    monkeypatch.setattr(_engine, "LARGEST", 1_000)


STARTS = pytest.mark.parametrize("start", ["forked", "spawned"])
"""For tests that run a program of their own."""


@pytest.fixture(params=["forked", "spawned"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start other processes in this way."""
    name = str(request.param)
    if name == "forked" and not _pool._is_single_threaded():
        pytest.skip("a fork of this process isn't safe: earlier tests left threads, such as Dask's")
    monkeypatch.setattr(_pool, "_is_single_threaded", lambda: name == "forked")
    return name


@pytest.fixture
def log(tmp_path: Path) -> Path:
    turns = zip(run_of(), run_of(OTHER_RUN), strict=True)
    return write_log(tmp_path / "run.ndjson", [event for pair in turns for event in pair])


@pytest.mark.usefixtures("small_parts", "no_leaks", "start")
@pytest.mark.parametrize("fold", [Seen(), SeenCalls(), SeenInOrder(), CostTotals(PRICES)], ids=str)
@pytest.mark.parametrize("processes", [1, 3, None])
def test_a_log_comes_to_what_its_events_come_to(log: Path, fold: Any, processes: int | None) -> None:
    assert folded_here(fold, log) == fold_logs(log, fold, processes=processes)


def test_a_process_without_threads_runs_the_cases_that_this_one_may_skip() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "forked"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * HANG, check=False)
    assert 0 == done.returncode, done.stdout
    assert "passed" in done.stdout and "skipped" not in done.stdout


@pytest.mark.usefixtures("small_parts")
def test_where_no_process_can_be_started_this_one_does_the_work(
    log: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    def refuse(*arguments: object) -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(_pool, f"_{start}", refuse)
    assert folded_here(Seen(), log) == fold_logs(log, Seen(), processes=3)


@pytest.mark.usefixtures("small_parts")
def test_overlapping_files_in_any_order_count_each_event_once(tmp_path: Path) -> None:
    events = run_of()
    logs = [write_log(tmp_path / f"{at}.ndjson", events[at : at + 20]) for at in (24, 0, 12)]
    packed = tmp_path / "all.gz"
    packed.write_bytes(PACK["gzip"](write_log(tmp_path / "all", events).read_bytes()))

    assert 20 == fold_logs([*logs, packed], CostTotals(), processes=2).requests


@examples(100)
@given(
    files=st.lists(st.lists(st.integers(0, 41), max_size=40), min_size=1, max_size=4),
    fold=st.sampled_from([Seen(), SeenCalls()]),
)
def test_files_with_any_events_in_any_order_count_each_event_once(files: list[list[int]], fold: Seen) -> None:
    events = run_of()
    with tempfile.TemporaryDirectory() as directory:
        logs = [
            write_log(Path(directory, str(number)), [events[place] for place in places])
            for number, places in enumerate(files)
        ]
        plan = planned(logs, fold, every_line=False, on_invalid="raise")
        with _pool.Pool(0, lambda count: None) as pool:
            folded = fold_parts(pool, plan.parts(1, size=1_000), plan.work)

    given = {events[place] for places in files for place in places}
    types = getattr(fold, "event_types", (RunEvent,))
    assert sorted(event.seq for event in given if isinstance(event, types)) == sorted(
        seq for _, seq, _ in folded.value.events
    )


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("format", ["plain", "gzip"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_with_its_halves_in_reverse_is_folded_by_seq(
    tmp_path: Path, format: str, processes: int
) -> None:
    events = run_of()
    plain = write_log(tmp_path / "plain", [*events[20:], *events[:25]])
    log = tmp_path / "log"
    log.write_bytes(PACK[format](plain.read_bytes()))

    assert folded_here(Seen(), plain) == fold_logs(log, Seen(), processes=processes)
    assert 20 == fold_logs(log, CostTotals(), processes=processes).requests
    assert len(events) == fold_logs(log, RunStates(), processes=processes)[RUN].last_seq


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("processes", [1, 2])
def test_progress_is_called_with_bytes_up_to_all(log: Path, processes: int) -> None:
    calls: list[tuple[int, int]] = []
    fold_logs([log, log], Seen(), processes=processes, on_progress=lambda *call: calls.append(call))

    assert sorted(calls) == calls
    assert (2 * log.stat().st_size, 2 * log.stat().st_size) == calls[-1]


def test_an_error_of_progress_is_raised_as_it_is(log: Path) -> None:
    def broken(read: int, total: int) -> None:
        raise BrokenPipeError("no terminal")

    with pytest.raises(BrokenPipeError, match="no terminal"):
        fold_logs(log, Seen(), on_progress=broken)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("processes", [1, 3])
def test_of_several_bad_lines_the_first_one_is_raised(tmp_path: Path, processes: int) -> None:
    log = write_log(tmp_path / "run.ndjson", [*run_of(), b"?", *run_of(OTHER_RUN), b"!"])
    with pytest.raises(StreamProtocolError) as caught:
        fold_logs(log, Seen(), processes=processes)

    assert f"{log}, byte {log.read_bytes().index(b'?')}: not JSON" in str(caught.value)


@pytest.mark.usefixtures("small_parts", "start")
@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_fold_is_raised_here(log: Path, processes: int) -> None:
    with pytest.raises(ArithmeticError, match="no use for"):
        fold_logs(log, Refusing(), processes=processes)


@pytest.mark.usefixtures("small_parts", "no_leaks", "start")
def test_a_killed_process_is_an_error_that_names_it_and_its_part(log: Path) -> None:
    with pytest.raises(RunsError) as caught:
        fold_logs(log, DeadlyElsewhere(), processes=2)
    message = str(caught.value)
    assert message.startswith("process ")
    assert f" was killed by SIGKILL while it folded {log}, bytes " in message


STUCK = """
import sys
from rxruns._logs import _engine, _pool
from rxruns._logs._engine import fold_parts, planned
from rxruns.folds import fold_logs
from tests import folding
_pool._is_single_threaded = lambda: sys.argv[3] == "forked"
_engine.SMALLEST, _engine.LARGEST = 1, 1_000
fold_logs(sys.argv[1], getattr(folding, sys.argv[4])(pipe=sys.argv[2]), processes=3)
"""


def is_running(process: int) -> bool:
    """Return False for a process that has ended, whether or not its parent has noticed."""
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@STARTS
@pytest.mark.parametrize(("end", "fold"), [(signal.SIGINT, "StuckElsewhere"), (signal.SIGKILL, "StuckHere")])
def test_the_other_processes_end_with_this_one(
    log: Path, tmp_path: Path, start: str, end: signal.Signals, fold: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", STUCK, log, pipe, start, fold]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        others = list(map(int, pipe.read_text("ascii").split()))
        process.send_signal(end)
        _, errors = process.communicate(timeout=HANG)

    assert (end is signal.SIGINT) == (b"KeyboardInterrupt" in errors)
    assert others and eventually(lambda: not any(map(is_running, others)))


SCRIPT = """
from rxruns._logs import _engine, _pool
from rxruns._logs._engine import fold_parts, planned
from rxruns.folds import fold_logs
from rxruns import CostTotals
from tests.folding import Seen
_engine.SMALLEST, _engine.LARGEST = 1, 1_000
_pool._is_single_threaded = lambda: START == "forked"
class Mine(Seen):
    pass
assert 40 == fold_logs(LOG, CostTotals(), processes=2).requests
fold_logs(LOG, Mine(), processes=2)
"""


@STARTS
def test_a_program_needs_no_guard_and_its_own_classes_are_refused_with_a_remedy(
    log: Path, tmp_path: Path, start: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("LOG", repr(str(log))).replace("START", repr(start)), "utf-8")
    done = subprocess.run([sys.executable, script], env=ENVIRONMENT, capture_output=True, text=True)
    assert (
        "InvalidArgumentError: fold can't be sent to other processes: a class or function of it is defined "
        "in the main program; define it in a module that they can import, or pass processes=1"
    ) in done.stderr


def test_a_fold_that_cannot_be_pickled_is_refused_for_processes_alone(log: Path) -> None:
    fold: Any = Seen(events=())
    object.__setattr__(fold, "key", lambda event: event.seq)
    with pytest.raises(InvalidArgumentError, match="fold can't be sent to other processes: .*processes=1"):
        fold_logs(log, fold, processes=2)

    assert fold_logs(log, fold).events == folded_here(Seen(), log).events


def test_an_error_that_cannot_be_sent_is_described() -> None:
    class Private(Exception):
        pass

    assert "Private: secret" == str(_pool._sendable(Private("secret")))


def test_a_url_needs_fsspec_and_a_path_does_not(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folded_here(Seen(), log) == fold_logs(f"file://{log}", Seen())
    monkeypatch.setitem(sys.modules, "fsspec", None)

    assert folded_here(Seen(), log) == fold_logs(log, Seen())
    with pytest.raises(InvalidArgumentError, match="URLs need fsspec: pip install fsspec"):
        fold_logs("s3://bucket/run.ndjson", Seen())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"processes": 0}, "processes"),
        ({"processes": 1.5}, "processes"),
        ({"every_line": 1}, "every_line"),
        ({"on_invalid": "skip"}, "on_invalid"),
        ({"on_progress": 5}, "on_progress"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_by_name(log: Path, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        fold_logs(log, CostTotals(), **options)
    assert field == caught.value.field


MEASURED = """
import resource, sys
from pathlib import Path
from rxruns import CostTotals
from rxruns.folds import fold_logs
calls = fold_logs(sys.argv[1], CostTotals(), processes=2).requests
(here,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(calls, int(here) + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@both_sizes
def test_memory_stays_small_whatever_the_log_has(tmp_path: Path, soaking: bool) -> None:
    run = write_log(tmp_path / "one", run_of()).read_bytes()
    runs = (1_000 if soaking else 40) * MIB // len(run)
    log = tmp_path / "large.ndjson"
    with log.open("wb") as file:
        for number in range(1, runs + 1):
            file.write(run.replace(str(RUN).encode(), str(UUID(int=number)).encode()))
    command = [sys.executable, "-c", MEASURED, str(log)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)
    calls, kibibytes = map(int, done.stdout.split())

    assert 20 * runs == calls
    assert kibibytes * 1024 < 200 * MIB
