"""A sink that fails, in processes that are killed: nothing is lost, and what it refused is kept (R41)."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

from rxruns import block_on, ops, recorded_events
from rxruns.cursors import SqliteCursors
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CutRandomly, Delay
from tests.killing import killed
from tests.observing import run_of
from tests.soak import both_sizes, measured

WORKER = """
import logging, os, random, sys
from rxruns import RetryPolicy, RunsClient, block_on, ops, run_events
from rxruns.cursors import SqliteCursors

url, key, run_id, cursors, dead, seed = sys.argv[1:]
logging.disable()  # a dead letter is a warning
dice = random.Random(int(seed))

def sink(event):
    os.write(1, b"try %d\\n" % event.seq)
    if event.seq % 20 == 7 or dice.random() < 0.05:
        raise ConnectionError("the sink is down")
    os.write(1, b"done %d\\n" % event.seq)

twice = RetryPolicy(max_attempts=2, base_backoff=0.0)
with RunsClient(api_key=key, base_url=url) as client, SqliteCursors(cursors) as store:
    os.write(1, b"after %d\\n" % store.get(run_id))
    source = run_events(run_id, client=client, after_seq=store.get(run_id))
    block_on(source.pipe(ops.handle(sink, retry=twice, dead_letter=dead), ops.checkpoint(store)))
os.write(1, b"end\\n")
"""
"""Follows a run. Its sink always refuses each 20th event, and fails at 5 % of the other attempts."""


class Process:
    """The lines of a worker: where it began, what it tried, and what its sink took."""

    def __init__(self, lines: list[bytes]) -> None:
        words = [line.decode().split() for line in lines]
        numbers = [(word, int(seq)) for word, seq in (words[:-1] if words[-1] == ["end"] else words)]
        self.has_ended = words[-1] == ["end"]
        self.after = numbers[0][1]
        self.tried = sorted({seq for word, seq in numbers if word == "try"})
        self.done = [seq for word, seq in numbers if word == "done"]


@both_sizes
def test_R41_a_failing_sink_and_killed_processes_lose_nothing(tmp_path: Path, soaking: bool) -> None:
    dice = random.Random(41)
    count, kills = (20_000, 10) if soaking else (700, 4)
    dead, cursors = tmp_path / "dead.ndjson", tmp_path / "cursors.db"
    processes: list[Process] = []
    confirmed = [0]
    with DevServer() as server:
        run_id = server.add_run(events=run_of(count - 4)).run_id
        server.use_faults(
            Faults(otherwise=[Delay(per_event=0.0002), CutRandomly(50_000, 1_000_000)], seed=41)
        )
        while not processes or not processes[-1].has_ended:
            # Each event takes two lines, about.
            lines = dice.randint(1, 2 * count // kills) if len(processes) < kills else 10 * count
            names = map(str, (run_id, cursors, dead, len(processes)))
            arguments = [server.url, server.api_key, *names]
            processes.append(Process(killed(WORKER, arguments, lines)))
            with SqliteCursors(cursors) as store:
                confirmed.append(store.get(run_id))
        server.use_faults(Faults())
        with server.client() as client:
            events = {event.seq: event for event in client.list_events(run_id)}

    assert kills + 1 == len(processes)
    assert confirmed[:-1] == [process.after for process in processes]
    # Repeats: each process continues after the last confirmed event, and tries each event in turn.
    for process in processes:
        assert list(range(process.after + 1, process.after + 1 + len(process.tried))) == process.tried
    for before, after in pairwise(processes):
        assert not before.tried or after.after in (before.tried[-1] - 1, before.tried[-1])
    letters = block_on(recorded_events(dead).pipe(ops.to_list())) or []
    refused = {event.seq for event in letters}
    done = {seq for process in processes for seq in process.done}
    lost = set(range(1, count + 1)) - done - refused
    what = f"events lost of {count:,}, {len(refused):,} dead letters, {kills} kills"
    assert 0 == measured("R41", what, len(lost), 0, "")
    assert set(range(7, count + 1, 20)) <= refused
    assert [events[event.seq] for event in letters] == letters
    # A dead letter that the sink took after all is one whose process was killed before its confirmation.
    assert refused & done <= {process.after + 1 for process in processes}
    assert dead.read_bytes().count(b"\n") <= len(letters) + kills
