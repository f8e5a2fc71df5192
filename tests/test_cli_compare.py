"""``rxruns compare``: two runs or logs side by side, and limits that set the exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from rxruns.devserver import DevServer, Faults, faults
from rxruns.testing import RunLog, events
from tests.commands import Outcome, Rxruns, process, unfinished
from tests.conftest import HANG
from tests.making import OTHER_RUN, RUN
from tests.observing import run_of

Logs: TypeAlias = tuple[Path, Path]

DRAFT = events.run().node("draft").llm_call(input_tokens=1_000, output_tokens=100).tool_call("search")
BEFORE = DRAFT.succeeds()
AFTER = DRAFT.tool_call("fetch").llm_call(input_tokens=500, output_tokens=0).node("edit").fails()
PRICES = '{"openai/gpt-5": {"input_usd_per_million": 3, "output_usd_per_million": 15}}'


def written(path: Path, *logs: RunLog) -> Path:
    path.write_bytes(b"".join(log.ndjson() for log in logs))
    return path


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return written(tmp_path / "before.ndjson", BEFORE), written(tmp_path / "after.ndjson", AFTER)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(PRICES)
    return path


def cells(line: str) -> list[str]:
    """Return the cells of a table's line, without the empty ones."""
    return [cell.strip() for cell in line.split("   ") if cell.strip()]


def test_two_logs_become_a_table_of_their_differences(rxruns: Rxruns, logs: Logs, prices: Path) -> None:
    found = rxruns("compare", *logs, "--prices", prices)

    assert (0, "") == (found.code, found.err)
    assert [
        "before after difference",
        f"run {RUN} {RUN}",
        "status ✓ succeeded ✗ failed succeeded → failed",
        "duration 500 ms 800 ms +300 ms, +60.0%",
        "requests 1 2 +1, +100.0%",
        "input tokens 1,000 1,500 +500, +50.0%",
        "output tokens 100 100",
        "total tokens 1,100 1,600 +500, +45.5%",
        "cost $0.004500 $0.006000 +$0.001500, +33.3%",
        "node draft ✓ succeeded 300 ms 1,100 tokens ⊘ canceled 700 ms 1,600 tokens succeeded → canceled",
        "tools search search, fetch search, +fetch",
        "node edit ✗ failed 100 ms appeared, failed",
    ] == [" ".join(line.split()) for line in found.lines]


def test_models_have_rows_where_there_are_several(rxruns: Rxruns, logs: Logs, tmp_path: Path) -> None:
    other = events.run().node("draft").llm_call("gpt-5-mini", input_tokens=10, output_tokens=1).succeeds()
    lines = rxruns("compare", logs[0], written(tmp_path / "mini", other)).lines

    assert [
        ["openai/gpt-5", "1,100 tokens  cost unknown", "-1,100, -100.0%"],
        ["openai/gpt-5-mini", "11 tokens  cost unknown", "+11"],
    ] == [cells(line) for line in lines if line.startswith("openai/")]


def test_equal_runs_have_an_empty_column_of_differences(rxruns: Rxruns, logs: Logs) -> None:
    found = rxruns("compare", logs[0], logs[0], "--same-nodes", "--same-tools", "--same-status")

    assert (0, "") == (found.code, found.err)
    assert [] == [line for line in found.lines[1:] if len(cells(line)) > 3]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--max-tokens", "+500", "--max-cost", "+34%", "--max-duration", "+0.3"], []),
        (["--max-tokens", "+499"], ["run: total tokens 1,100 → 1,600 (+500, +45.5%), limit +499"]),
        (["--max-cost", "+33%"], ["run: cost $0.004500 → $0.006000 (+$0.001500, +33.3%), limit +33%"]),
        (["--max-duration", "+10%"], ["run: duration 500 ms → 800 ms (+300 ms, +60.0%), limit +10%"]),
        (["--same-status"], ["run: succeeded → failed"]),
        (["--same-nodes"], ["node draft: succeeded → canceled", "node edit: appeared, failed"]),
        (["--same-tools"], ["node draft: tools search, +fetch"]),
    ],
)
@pytest.mark.parametrize("format", [[], ["--json"]])
def test_an_exceeded_limit_is_a_line_on_stderr_and_exit_code_1(
    rxruns: Rxruns, logs: Logs, prices: Path, format: list[str], flags: list[str], expected: list[str]
) -> None:
    found = rxruns("compare", *logs, "--prices", prices, *flags, *format)

    assert [f"rxruns: {line}" for line in expected] == found.err.splitlines()
    assert int(bool(expected)) == found.code
    assert found.out.startswith(" " if not format else "{")


def test_json_has_both_runs_their_differences_and_the_exceeded_limits(
    rxruns: Rxruns, logs: Logs, prices: Path
) -> None:
    flags = ["--json", "--prices", prices, "--max-cost", "+0", "--same-tools"]
    found = json.loads(rxruns("compare", *logs, *flags).out)
    none = {"node_id": None, "model": None, "limit": None}

    assert ["before", "after", "differences", "exceeded"] == list(found)
    costs = ["requests", "input_tokens", "output_tokens", "total_tokens", "unmetered", "usd", "line_items"]
    assert ["run_id", "status", "duration", *costs, "nodes"] == list(found["after"])
    assert ["node_id", "status", "attempts", "duration", "tools", *costs] == list(found["after"]["nodes"][0])
    assert (str(RUN), "failed", 0.8, 0.006) == tuple(
        found["after"][name] for name in ("run_id", "status", "duration", "usd")
    )
    assert none | {"field": "status", "before": "succeeded", "after": "failed"} == found["differences"][0]
    tools = {"before": ["search"], "after": ["search", "fetch"], "node_id": "draft"}
    assert [
        none | {"field": "usd", "before": 0.0045, "after": 0.006, "limit": "+0"},
        none | {"field": "tools"} | tools,
    ] == found["exceeded"]


def test_a_model_without_a_price_exceeds_a_limit_on_the_cost_and_is_named(
    rxruns: Rxruns, logs: Logs, prices: Path
) -> None:
    prices.write_text("{}")
    expected = "rxruns: run: cost unknown → unknown, limit +10%\nrxruns: no price for openai/gpt-5\n"
    assert (1, expected) == rxruns("compare", *logs, "--prices", prices, "--max-cost", "+10%")[::2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-cost", "+10%"], "Error: --max-cost needs --prices"),
        (["--max-tokens", "10"], "--max-tokens must be an increase such as '+10%' or '+500', got '10'"),
        (["--max-duration", "-1"], "--max-duration must be an increase such as '+10%' or '+500', got '-1'"),
        (["--after-run", "7"], "Error: Invalid value for '--after-run': '7' is not a valid UUID."),
    ],
)
def test_a_bad_flag_is_a_usage_error(rxruns: Rxruns, logs: Logs, flags: list[str], message: str) -> None:
    code, out, err = rxruns("compare", *logs, *flags)
    assert (2, "") == (code, out)
    assert message in err


def test_a_log_of_several_runs_needs_the_flag_that_selects_one(rxruns: Rxruns, tmp_path: Path) -> None:
    log = written(tmp_path / "both", BEFORE, events.run(OTHER_RUN).node("draft").succeeds())
    one = written(tmp_path / "one", BEFORE)

    for sources, flag in (((log, one), "--before-run"), ((one, log), "--after-run")):
        code, _, err = rxruns("compare", *sources)
        assert 2 == code
        assert f"{log} has several runs, for example {OTHER_RUN} and {RUN}; select one with {flag}" in err
        assert 0 == rxruns("compare", *sources, flag, RUN, "--same-nodes", "--same-tools").code
    assert (
        1 == rxruns("compare", log, log, "--before-run", RUN, "--after-run", OTHER_RUN, "--same-tools").code
    )
    assert "has no event of run" in rxruns("compare", one, one, "--after-run", OTHER_RUN).err


def test_a_log_that_ends_early_is_compared_and_exits_with_3(
    rxruns: Rxruns, logs: Logs, tmp_path: Path
) -> None:
    early = written(tmp_path / "early", DRAFT)
    found = rxruns("compare", logs[0], early, "--same-status")

    assert 3 == found.code
    assert [
        f"rxruns: {early}: run {RUN}: the events end before the run, with seq 5",
        "rxruns: run: succeeded → running",
    ] == found.err.splitlines()
    assert "► running" in found.out
    assert (1, "rxruns: run: succeeded → running\n") == rxruns(
        "compare", logs[0], early, "--same-status", "--no-follow"
    )[::2]


def test_an_empty_log_is_named(rxruns: Rxruns, logs: Logs, tmp_path: Path) -> None:
    empty = written(tmp_path / "empty")
    assert (3, "", f"rxruns: {empty}: no events\n") == rxruns("compare", logs[0], empty)
    assert (3, "", f"rxruns: {empty}: no events\n") == rxruns("compare", empty, logs[0])


def test_a_damaged_log_is_an_error_without_a_table(rxruns: Rxruns, logs: Logs) -> None:
    with logs[1].open("ab") as file:
        file.write(b"{}\n")
    code, out, err = rxruns("compare", *logs)

    assert (3, "") == (code, out)
    assert err.startswith(f"rxruns: {logs[1]}: line ")
    assert "--after" not in err
    assert 0 == rxruns("compare", *logs, "--skip-invalid").code


def test_a_run_that_cannot_be_followed_is_an_error_without_a_table(
    rxruns: Rxruns, service: DevServer, logs: Logs
) -> None:
    broken = Faults([faults.InvalidLine(after_events=3)])
    with DevServer(faults=broken, api_key=service.api_key) as server:
        (run_id,) = server.serve_log(AFTER)
        code, out, err = rxruns("compare", logs[0], run_id, "--base-url", server.url)

    assert (3, "", 1) == (code, out, err.count("\n"))
    assert err.startswith("rxruns: ")
    assert "--after" not in err


def test_one_log_may_be_standard_input(rxruns: Rxruns, logs: Logs) -> None:
    with logs[1].open("rb") as piped:
        command = process("compare", logs[0], "-", "--same-status", stdin=piped)
        _, err = command.communicate(timeout=HANG)
    assert (1, "rxruns: run: succeeded → failed\n") == (command.returncode, err)
    assert "only one of the two can be standard input" in rxruns("compare", "-", "-").err


def test_names_of_a_run_cannot_control_the_terminal(rxruns: Rxruns, tmp_path: Path) -> None:
    name = "\x1b[2J\u202e\n[bold]x"
    log = events.run().event(type(BEFORE[2]), node_id=name).node("draft").llm_call(name, name).tool_call(name)
    hostile = written(tmp_path / "hostile", log.succeeds())
    plain = written(tmp_path / "plain", BEFORE)
    for sources in ((hostile, plain), (plain, hostile), (hostile, hostile)):
        for flags in ([], ["--json"]):
            found = rxruns("compare", *sources, "--same-nodes", "--same-tools", *flags)
            assert "[bold]x" in found.out
            assert all(line.isprintable() for line in (found.out + found.err).splitlines())


def test_nodes_with_differences_come_first_where_there_are_too_many(rxruns: Rxruns, tmp_path: Path) -> None:
    log = events.run()
    for number in range(150):
        log = log.node(f"each_one_{number}")
    after = written(tmp_path / "after", log.node("each_one_149").tool_call("search").succeeds())
    before = written(tmp_path / "before", log.succeeds())
    lines = rxruns("compare", before, after).lines

    assert "… 50 more nodes" == lines[-1]
    assert ["each_one_98", "each_one_149"] == [
        line.split()[1] for line in lines if line.startswith("node each_one_")
    ][-2:]
    few = written(tmp_path / "few", BEFORE)
    assert (
        "rxruns: and 131 more differences"
        == rxruns("compare", few, before, "--same-nodes").err.splitlines()[-1]
    )


def test_runs_of_a_service_are_compared_with_logs(rxruns: Rxruns, service: DevServer, logs: Logs) -> None:
    (run_id,) = service.serve_log(AFTER)
    assert (0, "") == rxruns("compare", logs[1], run_id, "--same-nodes", "--same-tools")[::2]
    assert 3 == rxruns("compare", logs[1], OTHER_RUN).code


def test_an_open_run_is_followed_to_its_end_unless_the_flag_is_given(
    rxruns: Rxruns, service: DevServer, logs: Logs
) -> None:
    script = unfinished(service, run_of(1)[:-1])
    found = rxruns("compare", script.run_id, script.run_id, "--no-follow")
    assert (0, ["status", "► running", "► running"]) == (found.code, cells(found.lines[2]))

    command = process("compare", logs[0], script.run_id, stdout=-1)
    assert service.wait_for(lambda server: server.streams == 1)
    script.append(run_of(1)[-1])
    out, err = command.communicate(timeout=HANG)
    assert (0, "") == (command.returncode, err)
    assert ["✓ succeeded", "✓ succeeded"] == cells(out.splitlines()[2])[1:3]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_control_c_ends_following_with_130(service: DevServer, logs: Logs) -> None:
    script = unfinished(service, run_of(1)[:-1])
    command = process("compare", logs[0], script.run_id, stdout=-1)
    assert service.wait_for(lambda server: server.streams == 1)
    command.send_signal(signal.SIGINT)

    assert ("", "\n") == command.communicate(timeout=HANG)
    assert 130 == command.returncode


def test_a_closed_output_pipe_is_exit_code_141(logs: Logs) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = process("compare", *logs, stdout=writer)
    os.close(writer)
    assert (None, "") == command.communicate(timeout=HANG)
    assert 141 == command.returncode


def test_help_has_examples(rxruns: Rxruns) -> None:
    found: Outcome = rxruns("compare", "--help")
    assert "Example: rxruns compare main.ndjson branch.ndjson --same-nodes" in found.out
