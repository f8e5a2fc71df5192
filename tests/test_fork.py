"""A client that was used before ``fork`` is used in children and in the parent at once (R32)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

import pytest

from rxruns.testing import Request
from rxruns.testing._loopback import Loopback
from tests.conftest import HANG
from tests.observing import PLAN
from tests.wire import KEY, NDJSON, Wire, head

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

CHILDREN, CALLS = 4, 400 // 5
"""Children, and calls of each of them and of the parent."""

PROGRAM = """
import json, os, sys, threading, uuid
import requests
from rxruns import ResumePolicy, RunsClient, block_on, ops, run_events
from rxruns.errors import RunsError

url, children, calls, users_own = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True"
session = requests.Session() if users_own else None
client = RunsClient(api_key=sys.argv[5], base_url=url, session=session)
SPEC = {"kind": "workflow", "nodes": [{"id": "a", "type": "llm", "model": "m", "user": "Hi"}],
        "outputs": [{"name": "a", "from": "a"}]}

def one(name):
    # The run id is derived from the key, so a response to another call is detected.
    run = client.create(SPEC, idempotency_key=name)
    assert str(uuid.uuid5(uuid.NAMESPACE_URL, name)) == str(run.run_id), "another call's response"
    assert run.run_id == client.get(run.run_id).run_id
    events = block_on(run_events(run.run_id, client=client, resume=None).pipe(ops.to_list()))
    assert [(run.run_id, seq) for seq in (1, 2, 3)] == [(event.run_id, event.seq) for event in events]

def many(who):
    wrong = []
    for number in range(calls):
        try:
            one(f"{who}-{number}")
        except (RunsError, AssertionError) as error:
            wrong.append(f"{who}-{number}: {error!r}")
    return wrong

one("before")
threads = [threading.Thread(target=client.get, args=(uuid.uuid4(),)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()  # now there are idle connections, and all processes would use the last
waiting = client.stream_events(uuid.UUID(int=5), after_seq=0)  # kept open by the parent, read at the end
pipes = []
for child in range(children):
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "w") as result:
            json.dump(many(f"child {child}"), result)
        waiting.close()  # the parent's connection is not affected
        os._exit(0)
    os.close(writing)
    pipes.append(reading)
wrong = many("parent")
for reading in pipes:
    with os.fdopen(reading) as result:
        wrong += json.load(result)
assert 3 == len(list(waiting))
print(json.dumps(wrong))
"""


class Mirror(Loopback):
    """Answers each call with values of its own request.

    The first calls of the processes are answered together, so each has its own connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self._all_there = threading.Barrier(CHILDREN + 1, timeout=HANG)

    def _answer(self, request: Request, wire: Wire) -> bool:
        if request.method == "POST":
            key = request.json["options"]["idempotency_key"]
            if key.endswith("-0"):
                self._all_there.wait()
            run_id = str(uuid5(NAMESPACE_URL, key))
            content = {"run_id": run_id, "status": "running", "plan_hash": PLAN}
        else:
            run_id = request.path.split("/")[4]
            if request.path.endswith("/events"):
                body = b"".join(lines_of(run_id))
                wire.send(head(200, {"Content-Type": NDJSON, "Content-Length": str(len(body))}) + body)
                return True
            content = {"run_id": run_id, "status": "running", "plan_hash": PLAN, "nodes": [], "outputs": {}}
            content["cost_summary"] = {"total_usd_cents": 0, "line_items": []}
        body = json.dumps(content).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        wire.send(head(200, fields) + body)
        return True


def lines_of(run_id: str) -> Iterator[bytes]:
    envelope = {"run_id": run_id, "ts": "2026-01-31T12:00:00Z"}
    for seq, rest in enumerate(
        (
            {"type": "run_started", "plan_hash": PLAN},
            {"type": "node_started", "node_id": "a"},
            {"type": "run_canceled", "plan_hash": PLAN, "error": {"message": "enough"}},
        ),
        1,
    ):
        yield json.dumps({**envelope, "seq": seq, **rest}).encode() + b"\n"


@pytest.mark.parametrize("users_own", [False, True], ids=["our session", "the user's session"])
def test_R32_no_response_reaches_another_process(users_own: bool) -> None:
    with Mirror() as service:
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, service.url]
        command += [str(CHILDREN), str(CALLS), str(users_own), KEY]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=4 * HANG, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert [] == json.loads(ended.stdout)
