"""Recorded logs on the command line: all commands read the same logs, with the same exit codes."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from rxruns.events import RunEvent
from tests.commands import Rxruns
from tests.logs import FORMATS, PACK, lines_of
from tests.making import OTHER_RUN, RUN, delta, llm_call, run_completed, run_failed, run_started, tokens
from tests.otlp import OtlpReceiver

pytestmark = pytest.mark.usefixtures("no_leaks")

A_RUN = lines_of([run_started(1), llm_call(seq=2, usage=tokens(1, 2, 3)), run_completed(3)])
EARLY = f"run {RUN}: the events end before the run, with seq 2\n"


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN", "MODELRELAY_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture(params=["events", "cost", "compare", "timeline", "replay", "watch", "export"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[object]]:
    """Each command that reads a log, without its log."""
    other = tmp_path / "other"
    other.write_bytes(b"".join(A_RUN))
    rest: dict[str, list[object]] = {
        "compare": [other],
        "timeline": ["-o", tmp_path / "run.html"],
        "replay": ["--speed", "inf"],
    }
    if request.param == "export":
        with OtlpReceiver() as receiver:
            yield ["export", "--otlp", receiver.url]
    else:
        yield [request.param, *rest.get(request.param, [])]


@pytest.mark.parametrize("format", FORMATS)
def test_each_command_reads_a_log_in_each_format_and_order(
    rxruns: Rxruns, command: list[object], log: Path, format: str
) -> None:
    for lines in (A_RUN, [*A_RUN[1:], A_RUN[0]]):
        log.write_bytes(PACK[format](b"".join(lines)))
        assert 0 == rxruns(*command, log).code


@pytest.mark.parametrize("format", FORMATS)
def test_each_command_reports_that_a_log_ends_early_and_exits_with_3(
    rxruns: Rxruns, command: list[object], log: Path, format: str
) -> None:
    log.write_bytes(PACK[format](b"".join(A_RUN[:2])))
    code, _, err = rxruns(*command, log)
    assert 3 == code
    assert err.startswith("rxruns: ") or command[0] in ("timeline", "export")
    assert err.endswith(EARLY)


@pytest.mark.parametrize("end", [run_completed(3), run_failed(3)])
@pytest.mark.parametrize("cut", [b'{"type":"run_st', bytes(99), None])
def test_each_command_reports_that_a_log_was_cut_and_exits_with_3(
    rxruns: Rxruns, command: list[object], log: Path, cut: bytes | None, end: RunEvent
) -> None:
    """Whatever became of the run whose end is in it."""
    content = b"".join([*A_RUN[:2], *lines_of([end])])
    log.write_bytes(gzip.compress(content)[:-1] if cut is None else content + cut)
    code, _, err = rxruns(*command, log)
    assert 3 == code
    assert f"rxruns: {log}: " in err and " was cut" in err or "is cut" in err


def test_each_command_explains_how_to_strip_a_prefix(
    rxruns: Rxruns, command: list[object], log: Path
) -> None:
    log.write_bytes(b"".join(b"[pod/worker/app] " + line for line in A_RUN))
    code, out, err = rxruns(*command, log)
    assert (3, True, True) == (code, "[pod/worker/app] " in err, "sed 's/^[^{]*//'" in err)
    assert "total" not in out


def test_each_command_rejects_a_file_that_is_not_a_log_in_one_line(
    rxruns: Rxruns, command: list[object], log: Path
) -> None:
    log.write_bytes(b"PAR1" + bytes(100))
    code, _, err = rxruns(*command, log)
    assert (3, 1) == (code, err.count("\n"))
    assert f"{log} is not a log: it seems to be a Parquet file" in err


def test_a_log_without_read_permission_is_a_usage_error(
    rxruns: Rxruns, command: list[object], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(b"".join(A_RUN))
    monkeypatch.setattr(os, "access", lambda path, mode: path != log)
    code, _, err = rxruns(*command, log)
    assert (2, True) == (code, f"'{log}' can't be read: permission denied" in err)


# ---- cost ----


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("content", [b"", b"no log", b"PAR1", gzip.compress(b"".join(A_RUN))[:12]])
def test_an_unreadable_log_has_no_total(rxruns: Rxruns, log: Path, content: bytes, flags: list[str]) -> None:
    log.write_bytes(content)
    code, out, err = rxruns("cost", log, *flags)
    assert (3, "", True) == (code, out, str(log) in err)


def test_a_total_without_an_unreadable_log_is_marked(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    log.write_bytes(b"".join(A_RUN))
    other = tmp_path / "other"
    other.write_bytes(b"PAR1")
    code, out, _ = rxruns("cost", log, other)
    assert (3, True) == (code, out.splitlines()[-1].startswith("total of the events read"))
    assert 3 == json.loads(rxruns("cost", log, other, "--json").out)["total"]["total_tokens"]


def test_a_run_whose_end_is_in_another_log_does_not_end_early(
    rxruns: Rxruns, log: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    log.write_bytes(b"".join(A_RUN[:2]))
    other.write_bytes(A_RUN[2])
    assert (0, "") == rxruns("cost", log, other)[::2]


def test_of_several_runs_that_end_early_the_first_is_named_and_the_rest_is_counted(
    rxruns: Rxruns, log: Path
) -> None:
    log.write_bytes(b"".join([*A_RUN[:2], *lines_of([run_started(1, OTHER_RUN)])]))
    code, _, err = rxruns("cost", log)
    assert (3, f"rxruns: {log}: {EARLY[:-1]}, and 1 more\n") == (code, err)


def test_cost_skips_lines_that_hold_no_cost_unless_every_line_is_validated(rxruns: Rxruns, log: Path) -> None:
    log.write_bytes(b"".join([*A_RUN[:2], b"{broken\n", A_RUN[2]]))

    assert (0, "") == rxruns("cost", log)[::2]
    code, out, err = rxruns("cost", log, "--every-line")
    assert (3, True, True) == (code, "total of the events read" in out, "line 3: not JSON" in err)


def test_a_run_in_rotated_logs_is_counted_once_and_whole(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    calls = [llm_call(seq=seq, usage=tokens(1, 2, 3)) for seq in range(2, 12)]
    events = lines_of([run_started(1), *calls, run_completed(12)])
    other = tmp_path / "other"
    log.write_bytes(b"".join(events[:8]))
    other.write_bytes(b"".join(events[5:]))
    code, out, err = rxruns("cost", other, log, "--json")

    assert (0, "") == (code, err)
    assert 10 == json.loads(out)["total"]["requests"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_early_end_names_the_last_event_of_any_type(rxruns: Rxruns, log: Path, format: str) -> None:
    log.write_bytes(PACK[format](b"".join([*A_RUN[:2], *lines_of([delta(seq=5), delta(seq=6)])])))
    code, _, err = rxruns("cost", log)
    assert (3, f"rxruns: {log}: run {RUN}: the events end before the run, with seq 6\n") == (code, err)


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("run", [f"{RUN} openai/gpt-5 3 3 6 9", f"{OTHER_RUN} no calls"]),
        ("node", ["plan openai/gpt-5 1 1 2 3", "draft openai/gpt-5 2 2 4 6"]),
        ("day", ["2026-01-31 openai/gpt-5 2 2 4 6", "2026-02-01 openai/gpt-5 1 1 2 3"]),
        ("model", ["openai/gpt-5 3 3 6 9"]),
    ],
)
def test_costs_are_summed_by_run_node_day_or_model(
    rxruns: Rxruns, log: Path, by: str, rows: list[str]
) -> None:
    call = llm_call(seq=2, usage=tokens(1, 2, 3))
    calls = [
        replace(call, node_id="plan"),
        replace(call, seq=3),
        replace(call, seq=4, ts=call.ts + timedelta(days=1)),
    ]
    ends = run_completed(5), run_started(1, OTHER_RUN), run_completed(2, OTHER_RUN)
    log.write_bytes(b"".join(lines_of([run_started(1), *calls, *ends])))
    code, out, _ = rxruns("cost", log, "--by", by)

    found = [" ".join(line.split()) for line in out.splitlines()[1:]]
    assert (0, [*(row if "no calls" in row else f"{row} unknown" for row in rows)]) == (code, found[:-1])
    assert "total 2 runs 3 3 6 9 unknown" == found[-1]

    (name, groups), (_, total) = json.loads(rxruns("cost", log, "--by", by, "--json").out).items()
    assert (f"{by}s", 3, 9) == (name, total["requests"], total["total_tokens"])
    assert [row.split()[0] for row in rows] == [next(iter(group.values())) for group in groups]
