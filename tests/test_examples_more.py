"""What examples promise beyond what they print: in virtual time, after kill -9, for a visitor who leaves."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from reactivex.testing import ReactiveTest, TestScheduler
from starlette.requests import ClientDisconnect

from rxruns import RunsClient
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Delay
from tests.conftest import HANG, ROOT
from tests.making import OTHER_RUN, RUN, node_succeeded, run_completed, run_started
from tests.observing import run_of
from tests.waiting import call, tool_result, waiting

EXAMPLES = ROOT / "examples"
on_next = ReactiveTest.on_next


def names_of(example: str) -> dict[str, Any]:
    """What an example defines."""
    return runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name=example)


# ---- alert_on_waiting ----


def alerts(*events: tuple[float, Any], seconds: float = 60.0) -> list[tuple[float, str]]:
    """The alerts and their seconds, for events at their seconds."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable([on_next(second, event) for second, event in events])
    pipeline = names_of("alert_on_waiting")["waiting_too_long"](seconds, scheduler)
    observed = scheduler.start(
        lambda: source.pipe(pipeline), created=1.0, subscribed=2.0, disposed=1000.0
    ).messages
    return [(message.time, message.value.value) for message in observed if message.value.kind == "N"]


def test_a_node_that_waits_for_a_minute_is_told_once() -> None:
    assert [(70.0, "draft")] == alerts((5, run_started()), (10, waiting(3)))


def test_a_node_that_was_answered_in_time_is_not_told() -> None:
    assert [] == alerts((10, waiting(3)), (69, tool_result(4)))


def test_an_answer_to_one_of_two_calls_does_not_end_the_wait() -> None:
    two = waiting(3, call(), call(id="call_2"))
    assert [(70.0, "draft")] == alerts((10, two), (40, tool_result(4)))


def test_each_wait_of_a_node_has_a_minute_of_its_own() -> None:
    again = (80, waiting(5, step=1))
    assert [(70.0, "draft"), (140.0, "draft")] == alerts((10, waiting(3)), (75, tool_result(4)), again)


def test_nodes_wait_for_themselves() -> None:
    waits = [(10, waiting(3, node_id="a")), (30, waiting(4, node_id="b"))]
    answered = (65, tool_result(5, node_id="a"))
    assert [(90.0, "b")] == alerts(*waits, answered)


@pytest.mark.parametrize("end", [run_completed(), node_succeeded("draft")])
def test_what_has_ended_waits_no_longer(end: Any) -> None:
    assert [] == alerts((10, waiting(3)), (20, end))


def test_the_end_of_another_run_changes_nothing() -> None:
    events = [(10, waiting(3)), (11, waiting(3, run_id=OTHER_RUN)), (20, run_completed(run_id=OTHER_RUN))]
    assert [(70.0, "draft")] == alerts(*events)


# ---- checkpointed_consumer ----


def life(command: list[str], environment: dict[str, str], kill_at: int) -> list[str]:
    """The lines of a consumer that is killed when it has written so many."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written = list(islice(process.stdout, kill_at))
        process.send_signal(signal.SIGKILL)
        return written + process.stdout.readlines()


def test_a_killed_consumer_loses_no_event_and_handles_one_twice_at_most(tmp_path: Path) -> None:
    lives: list[list[int]] = []
    with DevServer(faults=Faults(otherwise=[Delay(per_event=0.01)])) as server:
        run = server.add_run(events=run_of(56))
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "MODELRELAY_API_KEY": server.api_key,
            "MODELRELAY_API_BASE_URL": server.url,
        }
        script = str(EXAMPLES / "checkpointed_consumer.py")
        command = [sys.executable, script, str(run.run_id), str(tmp_path / "cursors.db")]
        ended = False
        while not ended:
            written = life(command, environment, kill_at=25)
            lives.append([int(line.split()[0]) for line in written])
            ended = "run_completed" in written[-1]
    assert 60 == lives[-1][-1]
    assert len(lives) > 1
    for seen in lives:
        assert list(range(seen[0], seen[0] + len(seen))) == seen
    for before, after in pairwise(lives):
        assert after[0] in (before[-1], before[-1] + 1)


# ---- relay_asyncio ----


class Visitor:
    """A browser and the ASGI server between it and the application: it leaves after some bytes."""

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
            raise OSError("nobody is there")
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


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_a_visitor_who_leaves_frees_thread_and_socket(spec_version: str, no_leaks: None) -> None:
    with DevServer() as server, server.client() as client:
        run = server.add_run(events=run_of(5_000))
        visitor = visit(client, run.run_id, leaves_after=3, spec_version=spec_version)
    assert visitor.body.startswith(b"id: 1\nevent: run_started\n")
    assert visitor.body.count(b"\n\n") < 500


def test_a_visitor_who_leaves_an_idle_run_frees_thread_and_socket(no_leaks: None) -> None:
    with DevServer() as server, server.client() as client:
        run = server.add_run(events=run_of(1)[:3], finish=False)
        visitor = visit(client, run.run_id, leaves_after=3, spec_version="2.3")
    assert 3 == visitor.body.count(b"\n\n")


def test_a_visitor_who_comes_back_gets_what_follows() -> None:
    with DevServer() as server, server.client() as client:
        run = server.add_run(RUN, run_of(2))
        visitor = visit(client, run.run_id, leaves_after=100, spec_version="2.3", last_event_id="4")
    assert visitor.body.startswith(b"id: 5\n")
    assert 2 == visitor.body.count(b"\n\n")


def test_what_is_no_run_id_is_not_found() -> None:
    with DevServer() as server, server.client() as client:
        assert 404 == visit(client, "no-uuid", leaves_after=1, spec_version="2.3").status
