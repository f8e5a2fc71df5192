"""The commands that follow, write, count, start and replay runs, against a service on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from reactivex import Observable

from rxruns import RunsClient, recorded_events
from rxruns._arguments import OnInvalid
from rxruns.cli import run
from rxruns.cli._lines import line
from rxruns.cli._panel import Panel
from rxruns.devserver import DevServer, Faults, faults
from rxruns.errors import TransportError
from rxruns.events import RunEvent
from tests.commands import Rxruns, process, recorded, started, unfinished
from tests.observing import PLAN, run_of
from tests.waiting import tool_call, tool_result, user_answer, user_ask, waiting

pytestmark = pytest.mark.usefixtures("no_leaks")

PRICES = {"anthropic/claude-sonnet-4-5": {"input_usd_per_million": 3, "output_usd_per_million": 15}}
SPEC = """
kind: workflow
inputs: [{name: city}, {name: days}]
nodes:
  - {id: plan, type: llm, model: claude-sonnet-4-5, user: "{{days}} days in {{city}}"}
outputs: [{name: text, from: plan}]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "trip.yaml"
    path.write_text(SPEC)
    return path


def calling(usage: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """A run with one call of a model."""
    call = {
        "step": 0,
        "request_id": "3d2f1c5a-93a4-4c38-8f2b-1f9f6f1a5b33",
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 1000, "output_tokens": 200} if usage is None else usage,
    }
    events = run_of(0)
    return [*events[:2], {"type": "node_llm_call", "node_id": "draft", "llm_call": call}, *events[2:]]


# ---- watch ----


@pytest.mark.parametrize(
    ("ends", "code", "last", "status"),
    [
        ("run_completed", 0, "run completed", "succeeded"),
        ("run_failed", 1, "run failed: no luck", "failed"),
        ("run_canceled", 1, "run canceled: no luck", "canceled"),
    ],
)
def test_watch_prints_each_event_and_the_outcome(
    ends: str, code: int, last: str, status: str, rxruns: Rxruns, service: DevServer
) -> None:
    run_id = started(service, ends=ends)
    found = rxruns("watch", run_id)

    assert (code, "") == (found.code, found.err)
    assert ["draft started", "draft succeeded: piece 0 piece 1 ", last] == found.lines[:-1]
    assert f"run {run_id} {status}  0 ms, 0 calls, 0 + 0 tokens" == found.lines[-1]


def test_several_runs_are_watched_and_the_worst_counts(rxruns: Rxruns, service: DevServer) -> None:
    good, bad, none = started(service), started(service, ends="run_failed"), UUID(int=7)
    code, out, err = rxruns("watch", good, none, bad)

    assert 3 == code
    assert f"{str(good)[:8]} run completed" in out
    assert f"{str(bad)[:8]} run failed: no luck" in out
    assert f"rxruns: run {none}: 404 NOT_FOUND" in err
    assert 1 == rxruns("watch", good, bad).code


def test_watch_shows_one_node_and_the_run(rxruns: Rxruns, service: DevServer) -> None:
    events = run_of(1)
    other = [event | {"node_id": "other"} for event in events if "node_id" in event]
    run_id = service.add_run(events=[*events[:-1], *other, events[-1]]).run_id

    _, out, _ = rxruns("watch", run_id, "--node", "other")
    assert ["other started", "other succeeded: piece 0 ", "run completed"] == out.splitlines()[:3]
    _, out, _ = rxruns("watch", run_id, "--type", "node_started")
    assert ["draft started", "other started", "run completed"] == out.splitlines()[:3]


def test_a_run_that_is_open_after_the_timeout_exits_with_3(rxruns: Rxruns, service: DevServer) -> None:
    script = unfinished(service, run_of(1)[:3])
    code, _, err = rxruns("watch", script.run_id, "--timeout", "0.5")

    assert 3 == code
    assert f"run {script.run_id}: stopped following after 0.5 s, it was running; resume with --after 3" in err
    _, _, err = rxruns("events", script.run_id, "--tail", "0", "--timeout", "0.1")
    assert f"rxruns: run {script.run_id}: stopped following after 0.1 s, no event was received\n" == err


@pytest.mark.parametrize("command", ["watch", "events"])
@pytest.mark.parametrize(
    ("ends", "status", "expected"),
    [("run_completed", "succeeded", 0), ("run_failed", "failed", 1), ("run_canceled", "canceled", 1)],
)
def test_after_the_last_event_of_a_run_the_service_reports_its_status(
    rxruns: Rxruns, service: DevServer, command: str, ends: str, status: str, expected: int
) -> None:
    run_id = started(service, ends=ends)
    code, out, err = rxruns(command, run_id, "--after", 6)

    says = f"rxruns: run {run_id}: no events after seq 6; the service reports it as {status}"
    assert (expected, says) == (code, err.splitlines()[-1])
    assert "connecting" not in out
    code, _, err = rxruns(command, run_id, "--after", 6, "--tail", 3)
    assert (expected, says) == (code, err.splitlines()[-1])


@pytest.mark.parametrize("command", ["watch", "events"])
def test_a_run_without_its_end_exits_with_3_if_the_service_does_not_respond(
    rxruns: Rxruns, service: DevServer, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(client: RunsClient, run_id: UUID) -> None:
        raise TransportError(f"GET /runs/{run_id}: connection reset")

    monkeypatch.setattr(RunsClient, "get", get)
    run_id = started(service)
    code, _, err = rxruns(command, run_id, "--after", 6)
    assert (3, f"rxruns: run {run_id}: GET /runs/{run_id}: connection reset") == (code, err.splitlines()[-1])


def test_no_follow_stops_after_the_existing_events(rxruns: Rxruns, service: DevServer) -> None:
    script = unfinished(service, run_of(1)[:3])

    assert 0 == rxruns("watch", script.run_id, "--no-follow").code
    assert 3 == len(rxruns("events", script.run_id, "--no-follow").lines)


def test_reconnects_are_reported_and_lose_no_event(rxruns: Rxruns, service: DevServer) -> None:
    run_id = started(service, 20)
    service.use_faults(Faults([faults.CloseAfter(5)]))
    code, out, err = rxruns("watch", run_id)

    assert 0 == code
    assert "".join(f"piece {number} " for number in range(20)) in out
    assert f"rxruns: run {run_id}: reconnecting in" in err


def test_text_of_a_run_cannot_control_the_terminal(rxruns: Rxruns, service: DevServer) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J[bold]x[/bold]\u202e\nrun completed"
    events = [
        {"type": "node_started", "node_id": hostile},
        {"type": "node_output_delta", "node_id": hostile, "delta": {"kind": "d", "text_delta": hostile}},
        {"type": "node_failed", "node_id": hostile, "error": {"message": hostile}},
        {"type": "run_failed", "plan_hash": PLAN, "error": {"message": hostile}},
    ]
    run_id = service.add_run(events=events).run_id
    watched, written = rxruns("watch", run_id), rxruns("events", run_id)

    for out in (watched.out, written.out):
        assert out.replace("\n", "").isprintable()
    assert 4 == len(watched.lines)
    assert "[bold]x[/bold]" in watched.out
    assert hostile == written.events[0]["node_id"]


# ---- events ----


def test_events_are_written_as_on_the_wire(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    run_id, log = started(service), tmp_path / "run.ndjson"
    code, *_ = live = rxruns("events", run_id, "--record", log)

    assert 0 == code
    assert list(range(1, 7)) == [event["seq"] for event in live.events]
    assert live.out == rxruns("events", log).out


def test_events_are_selected_by_node_type_and_position(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    run_id = started(service)
    log = recorded(service, tmp_path / "log", run_id)

    for source in (run_id, log):

        def seqs(*flags: object, source: object = source) -> list[int]:
            return [event["seq"] for event in rxruns("events", source, *flags).events]

        assert [2, 3, 4, 5] == seqs("--node", "draft")
        assert [3, 4] == seqs("--type", "node_output_delta")
        assert [2, 6] == seqs("--type", "run_completed", "--type", "node_started")
        assert [5, 6] == seqs("--after", 4)
        assert [5, 6] == seqs("--tail", 2)
        assert [6] == seqs("--tail", 2, "--after", 5)
        assert [] == seqs("--tail", 0)
        assert [1, 2, 3, 4, 5, 6] == seqs("--tail", 100)


def test_the_tail_of_an_open_run_continues_to_its_end(rxruns: Rxruns, service: DevServer) -> None:
    events = run_of(3)
    script = unfinished(service, events[:4])

    def finish() -> None:
        assert service.wait_for(lambda server: len(server.requests) == 2)
        for event in events[4:]:
            script.append(event)

    finishing = threading.Thread(target=finish)
    finishing.start()
    written = rxruns("events", script.run_id, "--tail", 1)
    finishing.join()

    assert ["0", None] == [request.query.get("wait") for request in service.requests]
    assert [4, 5, 6, 7] == [event["seq"] for event in written.events]
    assert 0 == written.code


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["events", UUID(int=7), "--type", "node_faild"], "did you mean node_failed"),
        (["events", UUID(int=7), "--type", "???"], "the types are run_compiled, run_started"),
        (["wach"], "No such command 'wach': did you mean watch?\n"),
        (["unheard"], "No such command 'unheard'.\n"),
    ],
)
def test_an_unknown_type_or_command_is_a_usage_error_with_a_hint(
    arguments: list[object], hint: str, rxruns: Rxruns
) -> None:
    code, _, err = rxruns(*arguments)
    assert (2, True) == (code, hint in err)


def test_a_missing_node_is_reported_with_the_existing_ones(
    rxruns: Rxruns, service: DevServer, spec: Path
) -> None:
    run_id = rxruns("start", spec, "--input", "city=Rome", "--input", "days:=3").out.strip()
    known = "has no node paln: its nodes are plan\n"

    assert (0, "", f"rxruns: {run_id} {known}") == rxruns("events", run_id, "--node", "paln")
    assert (0, f"rxruns: run {run_id} {known}") == rxruns("watch", run_id, "--node", "paln")[::2]
    assert "" == rxruns("watch", run_id, "--node", "plan", "--node", "plan[3]").err


def test_a_log_is_not_recorded_into_itself(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    before = log.read_bytes()

    code, _, err = rxruns("events", log, "--record", tmp_path / "." / "log")
    assert 2 == code
    assert "must be another file than the log that is read" in err
    assert before == log.read_bytes()


def test_a_log_without_events_has_neither_a_cost_nor_an_end(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    assert (3, "", f"rxruns: {log}: no events after seq 99\n") == rxruns("events", log, "--after", 99)
    log.write_bytes(b"")
    for command in ("cost", "events"):
        assert (3, "", f"rxruns: {log}: no events\n") == rxruns(command, log)


def test_watch_replays_a_recorded_log(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    run_id = started(service, ends="run_failed")
    log = recorded(service, tmp_path / "log", run_id)

    assert rxruns("replay", log) == rxruns("watch", log)
    code, out, _ = rxruns("watch", log, log, "--type", "node_started")
    assert (1, "draft started") == (code, out.splitlines()[0])
    assert (1, "") == rxruns("watch", log, "--tail", 2, "--node", "none")[::2]
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    assert [3, 0] == [rxruns("watch", log, *flags).code for flags in ([], ["--no-follow"])]
    code, _, err = rxruns("watch", log, run_id)
    assert (2, True) == (code, "must be runs or recorded logs, not both" in err)
    assert (
        "must be the id of a run (a UUID) or an existing file, got 'nothing'"
        in rxruns("watch", "nothing").err
    )


def test_a_broken_stream_is_reported_with_the_way_to_resume(rxruns: Rxruns, service: DevServer) -> None:
    run_id = started(service)
    service.use_faults(Faults([faults.InvalidLine(3)]))
    code, out, err = rxruns("events", run_id)

    assert (3, 3) == (code, len(out.splitlines()))
    assert "resume with --after 3" in err


# ---- cost ----


def test_cost_counts_each_run_once(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    first = service.add_run(events=calling()).run_id
    second, empty = service.add_run(events=calling({})).run_id, started(service)
    log = recorded(service, tmp_path / "log", first)
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(PRICES))
    code, out, _ = rxruns("cost", first, log, second, empty, "--prices", prices)

    assert 0 == code
    assert [
        "run model requests input output tokens cost",
        f"{first} anthropic/claude-sonnet-4-5 1 1,000 200 1,200 $0.006000",
        f"{second} anthropic/claude-sonnet-4-5 1 0 0 0 $0.00",
        f"{empty} no calls",
        "total 3 runs 2 1,000 200 1,200 $0.006000",
    ] == [" ".join(line.split()) for line in out.splitlines()]


def test_cost_as_json_has_exact_money_and_null_without_a_price(
    rxruns: Rxruns, service: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = service.add_run(events=calling()).run_id
    found = json.loads(rxruns("cost", run_id, "--json").out)
    assert None is found["total"]["usd"]
    assert (str(run_id), 1200) == (found["runs"][0]["run_id"], found["runs"][0]["total_tokens"])

    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(PRICES))
    monkeypatch.setenv("RXRUNS_PRICES", str(prices))
    assert '"usd":0.006000' in rxruns("cost", run_id, "--json").out


def test_cost_counts_every_event_that_can_be_read(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    run_id = service.add_run(events=calling()).run_id
    code, out, err = rxruns("cost", UUID(int=7), run_id)
    assert (3, True) == (code, str(run_id) in out)
    assert f"rxruns: {UUID(int=7)}: 404 NOT_FOUND" in err

    log = recorded(service, tmp_path / "log", run_id)
    *before, last = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*before, b"{broken\n", last]))
    code, out, err = rxruns("cost", log, "--json", "--every-line")
    assert (3, 1200) == (code, json.loads(out)["total"]["total_tokens"])
    assert "line 5: not JSON" in err and err.endswith("; the events before it are counted\n")


def test_invalid_lines_are_skipped_with_skip_invalid(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    log = recorded(service, tmp_path / "log", service.add_run(events=calling()).run_id)
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first, *[b"{broken\n"] * 12, *rest]))

    place = {"cost": f"{log}, byte {len(first)}"}
    for command in (["cost", "--every-line"], ["events", "--tail", "1"], ["replay", "--speed", "inf"]):
        assert 3 == rxruns(*command, log).code
        code, out, err = rxruns(*command, log, "--skip-invalid")
        *skipped, last = err.splitlines()
        assert (0, 10) == (code, len(skipped))
        assert skipped[0].startswith(f"rxruns: skipped: {place.get(command[0], 'line 2')}: not JSON")
        assert "rxruns: further invalid lines are skipped silently" == last
        assert "run_completed" in out or "1,200" in out


# ---- start ----


def test_start_prints_the_id_of_the_run_and_watches_on_standard_error(
    rxruns: Rxruns, service: DevServer, spec: Path
) -> None:
    code, out, err = rxruns("start", spec, "--input", "city=Lisbon", "-i", "days:=3")
    assert (0, "", 0) == (code, err, rxruns("watch", out.strip()).code)

    spec.with_suffix(".json").write_text(json.dumps(yaml.safe_load(SPEC)))
    code, out, err = rxruns(
        "start", spec.with_suffix(".json"), "-i", "city=Lisbon", "-i", "days=3", "--watch"
    )
    assert (0, str(UUID(out.strip()))) == (code, out.strip())
    assert "plan started" in err
    assert f"run {out.strip()} succeeded" in err


def test_start_takes_inputs_that_a_spec_uses_and_does_not_declare(
    rxruns: Rxruns, service: DevServer, spec: Path
) -> None:
    spec.write_text(SPEC.replace("{name: days", "{name: nights").replace("{{days}}", "{{days}} {{task}}"))
    inputs = ["-i", "city=Lisbon", "-i", "days:=3", "-i", "task=x"]
    code, _, err = rxruns("start", spec, *inputs)
    unused = rxruns("start", spec, *inputs, "-i", "tsak=x")

    assert (0, "") == (code, err)
    assert {"city": "Lisbon", "days": 3, "task": "x"} == service.requests[0].body["input"]
    assert (2, 1) == (unused.code, len(service.requests))
    assert "input must be declared by the spec (city, nights, days, task), got 'tsak'" in unused.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "trip.yaml",
            "kind: workflow\nnodes:\n  - id: plan\n    type: lmm\noutputs: []\n",
            "line 4, column 5: nodes[0].type: Invalid value 'lmm'",
        ),
        (
            "trip.json",
            '{"kind": "workflow",\n "nodes": [{"id": "a", "type": "llm",\n  "usr": "x"}],\n "outputs": []}',
            "line 3, column 3: nodes[0]: Object contains unknown field `usr`",
        ),
        (
            "trip.yaml",
            "kind: workflow\nnodes:\n- {id: a, type: llm, user: x}\noutputs:\n  - name: text\n    from: b\n",
            "line 6, column 5: outputs[0].from: output 'text' refers to 'b'",
        ),
        ("trip.yaml", "kind: workflow\nnodes: []\n", "line 2, column 1: nodes: a workflow needs"),
        ("trip.json", '{"nodes":\n []}', "line 1, column 1: kind must be 'workflow'"),
        ("trip.json", "[]", "a spec must be an object, got list"),
        ("trip.json", "null", "a spec must be an object, got nothing"),
    ],
)
def test_an_error_in_a_spec_is_a_usage_error_that_names_the_line_of_the_field(
    name: str, content: str, message: str, rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    code, out, err = rxruns("start", tmp_path / name)
    assert (2, "", [], 1) == (code, out, service.requests, err.count("\n"))
    assert f"rxruns: {tmp_path / name}: " in err and message in err


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["-i", "a=1", "-i", "a=2"], "--input a must be given once"),
        (["-i", "ctiy=Lisbon"], "input must be declared by the spec (city, days), got 'ctiy'"),
    ],
)
def test_a_wrong_input_is_a_usage_error(
    inputs: list[str], message: str, rxruns: Rxruns, service: DevServer, spec: Path
) -> None:
    code, _, err = rxruns("start", spec, *inputs)
    assert (2, True, []) == (code, message in err, service.requests)


@pytest.mark.parametrize("name", ["trip.yaml", "trip.json"])
def test_tool_execution_has_a_short_form_in_a_file(
    name: str, rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    node = {"id": "a", "type": "llm", "model": "gpt-5", "user": "x", "tool_execution": "client"}
    fanout = {"id": "each", "type": "map.fanout", "items_from_input": "i", "subnode": {**node, "id": "one"}}
    spec = {"kind": "workflow", "inputs": [{"name": "i"}], "nodes": [node, fanout]}
    spec["outputs"] = [{"name": "text", "from": "a"}]
    (tmp_path / name).write_text(yaml.safe_dump(spec) if name.endswith("yaml") else json.dumps(spec))
    assert 0 == rxruns("start", tmp_path / name, "--input", "i:=[]").code
    sent: Any = next(request.body for request in service.requests if request.method == "POST")["spec"]
    assert {"mode": "client"} == sent["nodes"][0]["tool_execution"]
    assert {"mode": "client"} == sent["nodes"][1]["subnode"]["tool_execution"]


def test_a_spec_that_the_service_refuses_is_a_usage_error(
    rxruns: Rxruns, service: DevServer, spec: Path
) -> None:
    spec.write_text(SPEC.replace("model: claude-sonnet-4-5, ", ""))
    code, _, err = rxruns("start", spec, "-i", "city=Lisbon", "-i", "days=3")

    assert (2, 1) == (code, len(service.requests))
    assert "\n    $.nodes[0].model: " in err


# ---- replay ----


def test_a_log_of_several_runs_is_replayed(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for ends in ("run_completed", "run_failed"):
        recorded(service, log, started(service, ends=ends))
    code, out, _ = rxruns("replay", log, "--speed", "inf")

    assert 1 == code
    assert ["succeeded", "failed"] == [line.split()[2] for line in out.splitlines()[-2:]]


@pytest.mark.parametrize(
    ("flags", "speed"), [([], 1.0), (["--speed", "2.5"], 2.5), (["--speed", "inf"], None)]
)
def test_a_log_is_replayed_at_the_given_speed(
    rxruns: Rxruns,
    service: DevServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    speed: float | None,
) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    speeds = []

    def at_once(log: Path, *, speed: float | None, on_invalid: OnInvalid) -> Observable[RunEvent]:
        speeds.append(speed)
        return recorded_events(log, on_invalid=on_invalid)

    monkeypatch.setattr("rxruns.cli._replay.recorded_events", at_once)
    assert (0, [speed]) == (rxruns("replay", log, *flags).code, speeds)


def test_a_log_is_replayed_from_standard_input(service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    with log.open("rb") as source, process("replay", "-", stdin=source, stdout=subprocess.PIPE) as replaying:
        out, err = replaying.communicate(timeout=60)

    assert (0, "") == (replaying.returncode, err)
    assert " succeeded " in out.splitlines()[-1]


# ---- pipes, signals, keys ----


@pytest.mark.parametrize("command", ["watch", "events"])
def test_a_closed_pipe_ends_quietly(command: str, service: DevServer) -> None:
    script = unfinished(service, run_of(1)[:2])
    with process(command, script.run_id, stdout=subprocess.PIPE) as writing:
        assert writing.stdout is not None and writing.stderr is not None
        writing.stdout.readline()
        writing.stdout.close()
        for event in run_of(1)[2:]:
            script.append(event)
        assert "" == writing.stderr.read()
    assert 141 == writing.returncode


@pytest.mark.parametrize("command", ["events", "cost"])
def test_a_full_disk_is_an_error_without_a_traceback(command: str, service: DevServer) -> None:
    with Path("/dev/full").open("wb") as full, process(command, started(service), stdout=full) as writing:
        assert writing.stderr is not None
        assert "rxruns: stdout could not be written: No space left on device\n" == writing.stderr.read()
    assert 3 == writing.returncode


def test_ctrl_c_ends_with_130_even_if_the_pipe_is_not_read(service: DevServer) -> None:
    run_id = started(service, 20_000)
    with process("events", run_id, stdout=subprocess.PIPE) as writing:
        assert writing.stdout is not None and writing.stderr is not None
        writing.stdout.readline()  # it is running, and soon blocks on a full pipe
        assert service.wait_for(lambda server: server.streams == 1)
        writing.send_signal(signal.SIGINT)
        writing.wait(60)
        assert (130, "") == (writing.returncode, writing.stderr.read().strip())


def test_completion_names_commands_types_and_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def completed(*words: str) -> list[str]:
        monkeypatch.setenv("_RXRUNS_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as exit:
            run([])
        assert 0 == exit.value.code
        return capsys.readouterr().out.split()

    assert ["plain,watch"] == completed("rxruns", "wa")
    assert ["plain,node_started", "plain,node_succeeded"] == completed("rxruns", "watch", "--type", "node_s")
    assert ["plain,--type", "plain,--tail", "plain,--timeout"] == completed("rxruns", "watch", "--t")
    assert ["file,run"] == completed("rxruns", "cost", "run")


def test_each_event_of_a_tool_or_a_question_has_its_line() -> None:
    panel = Panel()
    events = [waiting(1), tool_call(2), tool_result(3), user_ask(4), user_answer(5)]
    lines = []
    for event in events:
        panel.update(event)
        lines.append(line(event, panel))

    assert [
        "draft waits: tool_results",
        "draft asks for add({})",
        "draft got 3",
        f"draft asks: {user_ask(4).user_ask.question}",
        "draft was answered: yes",
    ] == lines
