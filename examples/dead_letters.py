"""Store events in a database that refuses some, keep those as dead letters, and repeat them later.

An event is confirmed when the database or the file of dead letters has it. If the process is killed, the
next one continues with the first event that neither has.
"""

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from rxruns import RetryPolicy, RunsClient, block_on, ops, recorded_events, run_events
from rxruns.cursors import SqliteCursors
from rxruns.devserver import DevServer
from rxruns.events import NodeOutputDelta, RunEvent
from rxruns.workflow import chain, llm


def sink(database: sqlite3.Connection, largest: int) -> Callable[[RunEvent], None]:
    """Return your function. It accepts an event twice, because a killed process repeats its last one."""

    def store(event: RunEvent) -> None:
        text = (event.delta.text_delta or "") if isinstance(event, NodeOutputDelta) else ""
        if len(text) > largest:
            raise ValueError(f"{len(text)} characters are more than {largest}")
        with database:
            row = str(event.run_id), event.seq, event.type, text
            database.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)", row)

    return store


def consume(client: RunsClient, run_id: UUID, database: sqlite3.Connection, folder: Path) -> None:
    retry = RetryPolicy(max_attempts=2, base_backoff=0.01)
    handle = ops.handle(sink(database, largest=6), retry=retry, dead_letter=folder / "dead.ndjson")
    with SqliteCursors(folder / "cursors.db") as store:
        events = run_events(run_id, client=client, after_seq=store.get(run_id))
        block_on(events.pipe(handle, ops.checkpoint(store)))


def main(client: RunsClient, folder: Path) -> None:
    database = sqlite3.connect(folder / "events.db", check_same_thread=False)
    database.execute("CREATE TABLE events (run, seq, type, text, PRIMARY KEY (run, seq))")
    run_id = client.create(chain([llm("draft", user="[[tokens: 40]] Hello", model="gpt-4o")])).run_id
    count = "SELECT count(*) FROM events"
    consume(client, run_id, database, folder)
    print("stored:", *database.execute(count).fetchone())
    print((folder / "dead.ndjson").read_text("utf-8").partition(',"attempts"')[0])
    # After the column was widened:
    block_on(recorded_events(folder / "dead.ndjson").pipe(ops.handle(sink(database, largest=1_000))))
    print("stored:", *database.execute(count).fetchone())
    database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, DevServer() as server, server.client() as client:
        main(client, Path(directory))
