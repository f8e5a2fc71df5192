"""Each example runs as a script and prints what it should; some promise more, which is tested below."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from reactivex.testing import ReactiveTest, TestScheduler
from starlette.requests import ClientDisconnect

from rxruns import RunsClient, ops
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Delay
from tests.conftest import HANG, ROOT
from tests.making import OTHER_RUN, RUN, node_succeeded, run_completed, run_started
from tests.observing import run_of
from tests.otlp import OtlpReceiver, tree
from tests.waiting import call, tool_result, waiting

EXAMPLES = ROOT / "examples"

EXPECTED = {
    "alert_on_waiting": ["node ask has been waiting for ask_boss for 0.1 s"],
    "approve_tools": [
        "support asks for a refund of $7\n",
        "find_order: an order of trust\nrefund: refunded $5\nclose_account: Error: the call was denied: only",
    ],
    "budget_guard": ["run_completed", "the limit is 0.05; 4 calls of 8"],
    "buffer_until_complete": ["pro: 24 events, from node_started", "the last is run_completed"],
    "checkpointed_consumer": ["first process\n1 run_compiled", "second process\n5 ", "14 run_completed"],
    "compare_models": ["."],
    "compare_prompts": ["within all limits", "run: total tokens 66 → 86 (+20, +30.3%), limit +25%"],
    "cost_of_several_runs": [
        "anthropic/claude-sonnet-4-5: 5 calls",
        "total: 10",
        "the service, in whole cents: $0.",
    ],
    "cost_on_a_cluster": ["from the service: 80 calls, ", "from four logs: 80 calls, "],
    "dead_letters": [
        "stored: 43\n",
        '{"error":{"type":"ValueError","message":"7 characters are more than 6"\n',
        "stored: 49\n",
    ],
    "export_spans": [
        "each_one_1\n",
        "chat claude-sonnet-4-5, $0.",
        "invoke_workflow praise\n",
        "20 spans exported",
    ],
    "errors_handled": ["reads {{topci}}", "$.nodes[0].model", "NOT_FOUND", "out of ideas", "any of them"],
    "follow_a_fleet": ["claude-sonnet-4-5: 20 calls, ", "gpt-4o: 20 calls, "],
    "filter_one_node": ["Because every a find"],
    "live_text_of_two_nodes": ["dge an advice keep fast advice a keep.\n", "to near notes grow of then. | "],
    "logs_to_parquet": ["claude-sonnet-4-5: 10 calls, 9000 tokens written\ngpt-4o: 10 calls, "],
    "relay_asyncio": ["id: 1\nevent: run_compiled\ndata: {", "event: run_completed\ndata: {"],
    "run_from_plan": ["succeeded: Hello, Ada!", "succeeded: Hello, Grace!"],
    "share_runs": ["12 runs, 348 events, repeated: "],
    "slowest_nodes": ["  long  ", "50 runs, the slowest node of all took "],
    "tools_by_hand": ['asks for {"a": 6, "b": 6}: 12', "run_completed"],
    "tools_with_retries": ["attempt 1: no route\nattempt 2: reset by peer\nthe model gets: fair in "],
}

NEEDS = {
    "cost_on_a_cluster": "distributed",
    "export_spans": "opentelemetry.exporter.otlp.proto.http",
    "logs_to_parquet": "duckdb",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_prints_the_expected_lines(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"pip install {NEEDS[name]}, or the extra dev")
    monkeypatch.setattr("sys.argv", [name])
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    names_of(name, run_name="__main__")
    printed = capsys.readouterr().out
    assert [] == [words for words in EXPECTED[name] if words not in printed]


def test_no_example_is_left_out_and_none_is_long() -> None:
    # Those that are tests are run by pytest: see test_testing/test_plugin.py.
    lengths = {path.stem: len(path.read_text("utf-8").splitlines()) for path in EXAMPLES.glob("*.py")}
    assert set(EXPECTED) == {name for name in lengths if not name.startswith("test_")}
    assert [] == [name for name, lines in lengths.items() if lines > 60]


def names_of(example: str, run_name: str = "example") -> dict[str, Any]:
    """Run an example and return the names that it defines."""
    return runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name=run_name)


def environment_of(server: DevServer) -> dict[str, str]:
    """The environment of a process that uses the service."""
    names = {"MODELRELAY_API_KEY": server.api_key, "MODELRELAY_API_BASE_URL": server.url}
    return os.environ | names | {"PYTHONPATH": str(ROOT)}


# ---- alert_on_waiting ----

Events = list[tuple[float, Any]]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([(5, run_started()), (10, waiting(3))], [(70, "draft")], id="after a minute, once"),
        pytest.param([(10, waiting(3)), (69, tool_result(4))], [], id="not if it is answered in time"),
        pytest.param(
            [(10, waiting(3, call(), call(id="call_2"))), (40, tool_result(4))],
            [(100, "draft")],
            id="a minute after one of two calls was answered",
        ),
        pytest.param(
            [(10, waiting(3)), (75, tool_result(4)), (80, waiting(5, step=1))],
            [(70, "draft"), (140, "draft")],
            id="for each wait of a node",
        ),
        pytest.param(
            [(10, waiting(3, node_id="a")), (30, waiting(4, node_id="b")), (65, tool_result(5, node_id="a"))],
            [(90, "b")],
            id="for each node alone",
        ),
        pytest.param([(10, waiting(3)), (20, run_completed())], [], id="not after the end of the run"),
        pytest.param([(10, waiting(3)), (20, node_succeeded("draft"))], [], id="not after its end"),
        pytest.param(
            [(10, waiting(3)), (11, waiting(3, run_id=OTHER_RUN)), (20, run_completed(run_id=OTHER_RUN))],
            [(70, "draft")],
            id="although another run ended",
        ),
    ],
)
def test_a_waiting_node_is_reported(events: Events, expected: Events) -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable([ReactiveTest.on_next(at, event) for at, event in events])
    pipeline = names_of("alert_on_waiting")["waiting_too_long"](60.0)
    nodes = source.pipe(pipeline, ops.map(lambda alert: alert.node_id))
    observed = scheduler.start(lambda: nodes, created=1.0, subscribed=2.0, disposed=1000.0)
    assert [ReactiveTest.on_next(at, node) for at, node in expected] == observed.messages


# ---- export_spans ----


def test_a_backend_gets_the_tree_of_each_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        names_of("export_spans", run_name="__main__")
        run = [
            "invoke_workflow praise",
            *("  cities", "    chat gpt-4o-mini"),
            "  each",
            *("    each_one_0", "      chat gpt-4o-mini"),
            *("    each_one_1", "      chat gpt-4o-mini"),
            *("  best", "    chat claude-sonnet-4-5"),
        ]
        assert sorted(run * 2) == sorted(tree(receiver.spans))
    assert "20 spans exported\n" == capsys.readouterr().out


# ---- checkpointed_consumer ----


def killed(command: list[str], environment: dict[str, str], kill_at: int) -> list[str]:
    """The output of a consumer that is killed after `kill_at` lines."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = list(islice(process.stdout, kill_at))
        process.send_signal(signal.SIGKILL)
        return output + process.stdout.readlines()


def test_a_killed_consumer_loses_no_event_and_handles_one_twice_at_most(tmp_path: Path) -> None:
    outputs: list[list[int]] = []
    with DevServer(faults=Faults(otherwise=[Delay(per_event=0.01)])) as server:
        run = server.add_run(events=run_of(56))
        script = str(EXAMPLES / "checkpointed_consumer.py")
        command = [sys.executable, script, str(run.run_id), str(tmp_path / "cursors.db")]
        while not outputs or outputs[-1][-1] < 60:
            lines = killed(command, environment_of(server), kill_at=25)
            outputs.append([int(line.split()[0]) for line in lines])
    assert len(outputs) > 1
    assert [list(range(seqs[0], seqs[0] + len(seqs))) for seqs in outputs] == outputs
    assert {after[0] - before[-1] for before, after in pairwise(outputs)} <= {0, 1}


# ---- relay_asyncio ----


class Visitor:
    """A browser behind an ASGI server, which disconnects after some bytes."""

    def __init__(self, run_id: Any, *, leaves_after: int, spec_version: str, last_event_id: str = "") -> None:
        self.body = b""
        self.status = 0
        self._messages_left = leaves_after
        self._raises = spec_version >= "2.4"
        self._left = asyncio.Event()
        headers = [(b"last-event-id", last_event_id.encode())] if last_event_id else []
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": f"/runs/{run_id}/events",
            "headers": headers,
            "asgi": {"spec_version": spec_version},
        }

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self._left.is_set() and self._raises:
            raise OSError("the visitor has left")
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        if message.get("body"):
            self._messages_left -= 1
            if self._messages_left == 0:
                self._left.set()


def visit(client: RunsClient, run_id: Any, **options: Any) -> Visitor:
    async def call() -> Visitor:
        visitor = Visitor(run_id, **options)
        application = names_of("relay_asyncio")["application"](client)
        try:
            await asyncio.wait_for(application(visitor.scope, visitor.receive, visitor.send), HANG)
        except ClientDisconnect:
            assert options["spec_version"] >= "2.4"
        return visitor

    return asyncio.run(call())


@pytest.fixture
def server(no_leaks: None) -> Iterator[DevServer]:
    with DevServer() as server:
        yield server


@pytest.fixture
def client(server: DevServer) -> Iterator[RunsClient]:
    with server.client() as client:
        yield client


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_a_visitor_who_leaves_frees_thread_and_socket(
    server: DevServer, client: RunsClient, spec_version: str
) -> None:
    run = server.add_run(events=run_of(5_000))
    visitor = visit(client, run.run_id, leaves_after=3, spec_version=spec_version)
    assert visitor.body.startswith(b"id: 1\nevent: run_started\n")
    assert visitor.body.count(b"\n\n") < 500


def test_a_visitor_who_leaves_an_idle_run_frees_thread_and_socket(
    server: DevServer, client: RunsClient
) -> None:
    run = server.add_run(events=run_of(1)[:3], finish=False)
    visitor = visit(client, run.run_id, leaves_after=3, spec_version="2.3")
    assert 3 == visitor.body.count(b"\n\n")


def test_a_visitor_who_returns_gets_the_events_after_the_last_one(
    server: DevServer, client: RunsClient
) -> None:
    run = server.add_run(RUN, run_of(2))
    visitor = visit(client, run.run_id, leaves_after=100, spec_version="2.3", last_event_id="4")
    assert visitor.body.startswith(b"id: 5\n")
    assert 2 == visitor.body.count(b"\n\n")


def test_an_invalid_run_id_is_not_found(client: RunsClient) -> None:
    assert 404 == visit(client, "no-uuid", leaves_after=1, spec_version="2.3").status


# ---- follow_a_fleet ----


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's here")
def test_a_fleet_is_followed_from_standard_input_until_ctrl_c(server: DevServer) -> None:
    run = server.add_run(events=run_of(1)[:2], finish=False)
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "follow_a_fleet.py"), "-"],
        env=environment_of(server),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(f"{run.run_id}\nnot an id\n")
        process.stdin.flush()
        assert "run_ids[1]" in process.stderr.readline()
        assert server.wait_for(lambda server: server.streams == 1)
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(10)
        assert "stopped following; the runs continue\n" == process.stdout.read()
        assert "" == process.stderr.read()
    assert server.wait_for(lambda server: server.streams == 0)
