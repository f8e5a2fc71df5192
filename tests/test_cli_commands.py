"""The commands that follow, write, count, start and replay runs, against a service on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import yaml
from reactivex import Observable

from rxruns import RunsClient, block_on, ops, recorded_events, run_events
from rxruns._streams._following import OnInvalid
from rxruns.cli import run
from rxruns.cli._lines import line
from rxruns.cli._panel import Panel
from rxruns.devserver import DevServer, Faults, faults
from rxruns.errors import TransportError
from rxruns.events import RunEvent
from tests.observing import PLAN, run_of
from tests.waiting import tool_call, tool_result, user_answer, user_ask, waiting

PYTHON = [sys.executable, "-W", "error", "-m", "rxruns"]
PRICES = {"anthropic/claude-sonnet-4-5": {"input_usd_per_million": 3, "output_usd_per_million": 15}}
SPEC = """
kind: workflow
inputs: [{name: city}, {name: days}]
nodes:
  - {id: plan, type: llm, model: claude-sonnet-4-5, user: "{{days}} days in {{city}}"}
outputs: [{name: text, from: plan}]
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


Rxruns = Callable[..., Outcome]


@pytest.fixture
def service(runs_environment: DevServer, monkeypatch: pytest.MonkeyPatch) -> DevServer:
    """A service that the environment names, and no prices."""
    monkeypatch.delenv("RXRUNS_PRICES", raising=False)
    return runs_environment


@pytest.fixture
def rxruns(service: DevServer, capsys: pytest.CaptureFixture[str], no_leaks: None) -> Rxruns:
    """Run a command line in this process."""

    def outcome(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert service.api_key not in out + err
        return Outcome(code, out, err)

    return outcome


def started(service: DevServer, deltas: int = 2, **options: Any) -> UUID:
    return service.add_run(events=run_of(deltas, **options)).run_id


def recorded(service: DevServer, path: Path, run_id: UUID) -> Path:
    with service.client() as client:
        block_on(run_events(run_id, client=client).pipe(ops.record(path)))
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


def test_watch_prints_what_happens_and_how_it_ended(rxruns: Rxruns, service: DevServer) -> None:
    run_id = started(service)
    code, out, err = rxruns("watch", run_id)

    said = "draft started\ndraft succeeded: piece 0 piece 1 \nrun completed\n"
    assert (0, f"{said}run {run_id} succeeded  0 ms, 0 calls, 0 + 0 tokens\n", "") == (code, out, err)


@pytest.mark.parametrize("ends", ["run_failed", "run_canceled"])
def test_a_run_that_did_not_succeed_is_1(ends: str, rxruns: Rxruns, service: DevServer) -> None:
    code, out, _ = rxruns("watch", started(service, ends=ends))

    assert 1 == code
    assert f"{ends.replace('_', ' ')}: no luck" in out


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


def test_a_run_that_goes_on_past_the_timeout_is_3(rxruns: Rxruns, service: DevServer) -> None:
    script = service.script()
    for event in run_of(1)[:3]:
        script.append(event)
    code, _, err = rxruns("watch", script.run_id, "--timeout", "2")

    assert 3 == code
    assert f"run {script.run_id}: stopped following after 2 s, it was running; go on with --after 3" in err
    _, _, err = rxruns("events", script.run_id, "--tail", "0", "--timeout", "0.1")
    assert f"rxruns: run {script.run_id}: stopped following after 0.1 s, no event had come\n" == err


@pytest.mark.parametrize("command", ["watch", "events"])
@pytest.mark.parametrize(
    ("ends", "told", "expected"),
    [
        ("run_completed", "succeeded", 0),
        ("run_failed", "failed", 1),
        ("run_canceled", "been canceled", 1),
    ],
)
def test_after_the_last_event_of_a_run_the_service_says_how_it_ended(
    rxruns: Rxruns, service: DevServer, command: str, ends: str, told: str, expected: int
) -> None:
    run_id = started(service, ends=ends)
    code, out, err = rxruns(command, run_id, "--after", 6)

    says = f"rxruns: run {run_id}: no event came after seq 6; the service says that it had {told}"
    assert (expected, says) == (code, err.splitlines()[-1])
    assert "connecting" not in out
    code, _, err = rxruns(command, run_id, "--after", 6, "--tail", 3)
    assert (expected, says) == (code, err.splitlines()[-1])


@pytest.mark.parametrize("command", ["watch", "events"])
def test_a_run_of_which_the_service_says_nothing_is_3(
    rxruns: Rxruns, service: DevServer, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(client: RunsClient, run_id: UUID) -> None:
        raise TransportError(f"GET /runs/{run_id}: connection reset")

    monkeypatch.setattr(RunsClient, "get", get)
    run_id = started(service)
    code, _, err = rxruns(command, run_id, "--after", 6)

    says = f"rxruns: run {run_id}: GET /runs/{run_id}: connection reset"
    assert (3, says) == (code, err.splitlines()[-1])


def test_no_follow_ends_with_what_is_there(rxruns: Rxruns, service: DevServer) -> None:
    script = service.script()
    for event in run_of(1)[:3]:
        script.append(event)

    assert 0 == rxruns("watch", script.run_id, "--no-follow").code
    assert 3 == len(rxruns("events", script.run_id, "--no-follow").lines)


def test_reconnects_are_told_and_lose_nothing(rxruns: Rxruns, service: DevServer) -> None:
    run_id = started(service, 20)
    service.use_faults(Faults([faults.CloseAfter(5)]))
    code, out, err = rxruns("watch", run_id)

    assert 0 == code
    assert "".join(f"piece {number} " for number in range(20)) in out
    assert f"rxruns: run {run_id}: reconnecting in" in err


def test_what_a_node_says_is_not_obeyed(rxruns: Rxruns, service: DevServer) -> None:
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


def test_events_are_chosen_by_node_type_and_place(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
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


def test_the_tail_of_a_run_at_work_goes_on(rxruns: Rxruns, service: DevServer) -> None:
    events = run_of(3)
    script = service.script()
    for event in events[:4]:
        script.append(event)

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


def test_a_log_that_was_cut_is_3_and_says_so(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    code, _, err = rxruns("events", log)

    assert (3, True) == (code, "the events end before the run, with seq 5" in err)
    assert 3 == rxruns("replay", log, "--speed", "inf").code


def test_a_type_that_is_none_is_a_usage_error_with_a_hint(rxruns: Rxruns) -> None:
    code, _, err = rxruns("events", UUID(int=7), "--type", "node_faild")
    assert (2, True) == (code, "did you mean node_failed" in err)
    code, _, err = rxruns("events", UUID(int=7), "--type", "???")
    assert (2, True) == (code, "the types are run_compiled, run_started" in err)


def test_a_node_that_is_not_there_is_said_with_those_that_are(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    run_id = rxruns("start", spec, "--input", "city=Rome", "--input", "days:=3").out.strip()
    known = "has no node paln: its nodes are plan\n"

    code, out, err = rxruns("events", run_id, "--node", "paln")
    assert (0, "", f"rxruns: what was read {known}") == (code, out, err)
    code, _, err = rxruns("watch", run_id, "--node", "paln")
    assert (0, f"rxruns: run {run_id} {known}") == (code, err)
    assert "" == rxruns("watch", run_id, "--node", "plan", "--node", "plan[3]").err


def test_a_log_is_not_recorded_into_itself(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    before = log.read_bytes()

    code, _, err = rxruns("events", log, "--record", tmp_path / "." / "log")
    assert 2 == code
    assert "is the log that is read" in err
    assert before == log.read_bytes()


def test_after_the_end_of_a_log_there_is_nothing(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", started(service))

    assert (3, f"rxruns: {log}: there is no event in it after seq 99\n") == rxruns(
        "events", log, "--after", 99
    )[::2]


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
    assert (2, True) == (code, "watch runs or recorded logs, not both at once" in err)
    assert "neither the id of a run (a UUID) nor a file that is there" in rxruns("watch", "nothing").err


def test_a_command_that_is_none_is_a_usage_error_with_a_hint(rxruns: Rxruns) -> None:
    code, _, err = rxruns("wach")

    assert 2 == code
    assert err.endswith("No such command 'wach': did you mean watch?\n")
    assert "did you mean" not in rxruns("unheard").err


def test_a_stream_that_broke_says_how_to_go_on(rxruns: Rxruns, service: DevServer) -> None:
    run_id = started(service)
    service.use_faults(Faults([faults.InvalidLine(3)]))
    code, out, err = rxruns("events", run_id)

    assert (3, 3) == (code, len(out.splitlines()))
    assert "go on with --after 3" in err


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


def test_a_source_that_can_not_be_read_leaves_the_others(rxruns: Rxruns, service: DevServer) -> None:
    run_id = service.add_run(events=calling()).run_id
    code, out, err = rxruns("cost", UUID(int=7), run_id)

    assert 3 == code
    assert f"{run_id}" in out
    assert f"rxruns: {UUID(int=7)}: 404 NOT_FOUND" in err


def test_what_comes_before_a_bad_line_is_counted(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", service.add_run(events=calling()).run_id)
    *before, last = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*before, b"{broken\n", last]))
    code, out, err = rxruns("cost", log, "--json")

    assert 3 == code
    assert 1200 == json.loads(out)["total"]["total_tokens"]
    assert "line 5: not JSON" in err and err.endswith("; what came before is counted\n")


def test_lines_that_are_no_events_are_left_out_where_that_is_asked_for(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    log = recorded(service, tmp_path / "log", service.add_run(events=calling()).run_id)
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first, *[b"{broken\n"] * 12, *rest]))

    for command in (["cost"], ["events", "--tail", "1"], ["replay", "--speed", "inf"]):
        assert 3 == rxruns(*command, log).code
        code, out, err = rxruns(*command, log, "--skip-invalid")
        *told, last = err.splitlines()
        assert (0, 10) == (code, len(told))
        assert told[0].startswith("rxruns: left out: line 2: not JSON")
        assert "rxruns: further lines that are no valid events are left out without a word" == last
        assert "run_completed" in out or "1,200" in out


def test_a_log_without_events_is_no_run_that_costs_nothing(rxruns: Rxruns, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")

    assert (3, f"rxruns: {log}: there is no event in it\n") == rxruns("cost", log)[::2]
    assert (3, "", f"rxruns: {log}: there is no event in it\n") == rxruns("events", log)


# ---- start ----


def test_start_prints_the_id_of_the_run(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    spec = tmp_path / "trip.yaml"
    spec.write_text(SPEC)
    code, out, err = rxruns("start", spec, "--input", "city=Lisbon", "-i", "days:=3")

    assert (0, "") == (code, err)
    assert 0 == rxruns("watch", out.strip()).code


def test_start_takes_inputs_that_a_spec_uses_and_does_not_declare(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    spec = tmp_path / "trip.yaml"
    spec.write_text(SPEC.replace("{name: days", "{name: nights").replace("{{days}}", "{{days}} {{task}}"))
    code, _, err = rxruns("start", spec, "-i", "city=Lisbon", "-i", "days:=3", "-i", "task=x")
    unused = rxruns("start", spec, "-i", "city=Lisbon", "-i", "days:=3", "-i", "task=x", "-i", "tsak=x")

    assert (0, "") == (code, err)
    assert {"city": "Lisbon", "days": 3, "task": "x"} == service.requests[0].body["input"]
    assert (2, 1) == (unused.code, len(service.requests))
    assert "input must be declared by the spec (city, nights, days, task), got 'tsak'" in unused.err


@pytest.mark.parametrize(
    ("name", "spec", "said"),
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
    ],
)
def test_an_error_in_a_spec_names_the_line_of_the_field(
    name: str, spec: str, said: str, rxruns: Rxruns, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(spec)
    outcome = rxruns("start", tmp_path / name)
    assert (2, "") == (outcome.code, outcome.out)
    assert f"rxruns: {tmp_path / name}: {said}" in outcome.err
    assert 1 == outcome.err.count("\n")


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


def test_start_watches_on_standard_error(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    spec = tmp_path / "trip.json"
    spec.write_text(json.dumps(yaml.safe_load(SPEC)))
    code, out, err = rxruns("start", spec, "-i", "city=Lisbon", "-i", "days=3", "--watch")

    assert (0, str(UUID(out.strip()))) == (code, out.strip())
    assert "plan started" in err
    assert f"run {out.strip()} succeeded" in err


@pytest.mark.parametrize(
    ("spec", "arguments", "said"),
    [
        ("[]", [], "a spec is an object, not list"),
        ("null", [], "a spec is an object, not nothing"),
        ('{"kind": "workflow", "nodes": [], "outputs": []}', [], "nodes"),
        (
            json.dumps(yaml.safe_load(SPEC)),
            ["-i", "ctiy=Lisbon"],
            "input must be declared by the spec (city, days), got 'ctiy'",
        ),
        ('{"kind": "workflow", "nodes": [{"id": "a", "type": "lmm"}], "outputs": []}', [], "nodes[0].type"),
        ("{}", ["-i", "a=1", "-i", "a=2"], "--input a is given twice"),
    ],
)
def test_a_spec_that_can_not_be_sent_is_a_usage_error(
    spec: str, arguments: list[str], said: str, rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(spec)
    code, out, err = rxruns("start", path, *arguments)

    assert (2, "", []) == (code, out, service.requests)
    assert said in err


def test_a_spec_that_the_service_refuses_is_a_usage_error(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    spec = tmp_path / "trip.yaml"
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
def test_a_log_is_replayed_as_fast_as_is_asked_for(
    rxruns: Rxruns,
    service: DevServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    speed: float | None,
) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    asked = []

    def at_once(log: Path, *, speed: float | None, on_invalid: OnInvalid) -> Observable[RunEvent]:
        asked.append(speed)
        return recorded_events(log, on_invalid=on_invalid)

    monkeypatch.setattr("rxruns.cli._replay.recorded_events", at_once)

    assert (0, [speed]) == (rxruns("replay", log, *flags).code, asked)


def test_a_log_is_replayed_from_standard_input(service: DevServer, tmp_path: Path) -> None:
    log = recorded(service, tmp_path / "log", started(service))
    with log.open("rb") as source, process("replay", "-", stdin=source, stdout=subprocess.PIPE) as replaying:
        out, err = replaying.communicate(timeout=60)

    assert (0, "") == (replaying.returncode, err)
    assert " succeeded " in out.splitlines()[-1]


# ---- pipes, signals, keys ----


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [*PYTHON, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("command", ["watch", "events"])
def test_a_closed_pipe_ends_quietly(command: str, service: DevServer) -> None:
    script = service.script()
    for event in run_of(1)[:2]:
        script.append(event)
    with process(command, script.run_id, stdout=subprocess.PIPE) as writing:
        assert writing.stdout is not None and writing.stderr is not None
        writing.stdout.readline()
        writing.stdout.close()
        for event in run_of(1)[2:]:
            script.append(event)
        assert "" == writing.stderr.read()
    assert 141 == writing.returncode


def test_a_full_disk_is_said_without_a_traceback(service: DevServer) -> None:
    with Path("/dev/full").open("wb") as full, process("events", started(service), stdout=full) as writing:
        assert writing.stderr is not None
        assert "rxruns: the output can not be written: No space left on device\n" == writing.stderr.read()
    assert 3 == writing.returncode


def test_a_table_that_can_not_be_written_is_said_in_the_same_words(service: DevServer) -> None:
    with Path("/dev/full").open("wb") as full, process("cost", started(service), stdout=full) as writing:
        assert writing.stderr is not None
        assert "rxruns: the output can not be written: No space left on device\n" == writing.stderr.read()
    assert 3 == writing.returncode


def test_ctrl_c_ends_with_130_also_in_a_pipe_that_nobody_reads(service: DevServer) -> None:
    run_id = started(service, 20_000)
    with process("events", run_id, stdout=subprocess.PIPE) as writing:
        assert writing.stdout is not None and writing.stderr is not None
        writing.stdout.readline()  # it is at work, and will soon wait for us
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


def test_each_kind_of_event_that_tells_something_has_its_line() -> None:
    panel = Panel()
    asked = [waiting(1), tool_call(2), tool_result(3), user_ask(4), user_answer(5)]
    lines = []
    for event in asked:
        panel.update(event)
        lines.append(line(event, panel))

    assert [
        "draft waits: tool_results",
        "draft asks for add({})",
        "draft got 3",
        "draft asks: Go on?",
        "draft was answered: yes",
    ] == lines
