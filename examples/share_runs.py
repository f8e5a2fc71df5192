"""Share runs among processes: ``python examples/share_runs.py CURSORS RUN_ID...``, started several times.

Each run is followed by one process, and by another if that one dies. The environment names the service.
Without arguments, two processes follow runs of the embedded service, and the first is killed.
"""

import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from uuid import UUID

from rxruns import RunsClient, block_on, merge_runs, ops
from rxruns.cursors import SqliteCursors
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Delay
from rxruns.events import RunEvent
from rxruns.workflow import chain, llm

SLOW = Faults(otherwise=[Delay(per_event=0.02)])
spec = chain([llm("draft", user="[[tokens: 20]] Hello", model="gpt-4o")])


def handle(event: RunEvent) -> None:  # your code, which must accept an event twice
    print(event.run_id, event.seq, flush=True)


def follow(client: RunsClient, cursors: Path, run_ids: list[str]) -> None:
    with SqliteCursors(cursors, lease=2.0) as store:  # for several machines: PostgresCursors
        events = merge_runs(run_ids, claim=store, max_concurrent=5, client=client)
        block_on(events.pipe(ops.tap(handle), ops.checkpoint(store)))


def started(server: DevServer, cursors: Path, run_ids: list[UUID]) -> subprocess.Popen[str]:
    service = {"MODELRELAY_API_BASE_URL": server.url, "MODELRELAY_API_KEY": server.api_key}
    command = [sys.executable, __file__, str(cursors), *map(str, run_ids)]
    return subprocess.Popen(command, env=os.environ | service, stdout=subprocess.PIPE, text=True)


def main(server: DevServer, cursors: Path) -> None:
    with server.client() as client:
        run_ids = [client.create(spec).run_id for _ in range(12)]
    first, second = (started(server, cursors, run_ids) for _ in range(2))
    with first, second:
        assert first.stdout and second.stdout
        lines = list(islice(first.stdout, 40))
        first.kill()
        lines += [*first.stdout, *second.stdout]
    print(len(run_ids), "runs,", len(set(lines)), "events, repeated:", len(lines) - len(set(lines)))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        with RunsClient.from_env() as client:
            follow(client, Path(sys.argv[1]), sys.argv[2:])
    else:
        with DevServer(faults=SLOW) as server, tempfile.TemporaryDirectory() as folder:
            main(server, Path(folder, "cursors.db"))
