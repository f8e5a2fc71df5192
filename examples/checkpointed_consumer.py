"""Follow a run so that it survives `kill -9`: ``python examples/checkpointed_consumer.py RUN_ID CURSORS``.

Started again with the same file, it continues after the last event that it handled: no event is lost, and
only the one in progress may be delivered twice. The environment names the service. Without arguments, it
runs twice against the embedded service.
"""

import sys
import tempfile
from pathlib import Path
from uuid import UUID

from rxruns import RunsClient, block_on, ops, run_events
from rxruns.cursors import SqliteCursors
from rxruns.devserver import DevServer
from rxruns.events import RunEvent
from rxruns.workflow import chain, llm


def handle(event: RunEvent) -> None:
    """Your code. It must accept an event twice; for instance, store its output by `run_id` and `seq`."""
    print(event.seq, event.type, flush=True)


def consume(client: RunsClient, run_id: UUID | str, cursors: Path, limit: int | None = None) -> None:
    with SqliteCursors(cursors) as store:
        events = run_events(run_id, client=client, after_seq=store.get(run_id), limit=limit)
        block_on(events.pipe(ops.tap(handle), ops.checkpoint(store)))  # the cursor is stored last


def main(client: RunsClient) -> None:
    run_id = client.create(chain([llm("draft", user="[[tokens: 5]] Hello", model="gpt-4o")])).run_id
    with tempfile.TemporaryDirectory() as folder:
        print("first process")
        consume(client, run_id, Path(folder, "cursors.db"), limit=4)
        print("second process")
        consume(client, run_id, Path(folder, "cursors.db"))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        with RunsClient.from_env() as client:
            consume(client, sys.argv[1], Path(sys.argv[2]))
    else:
        with DevServer() as server, server.client() as client:
            main(client)
