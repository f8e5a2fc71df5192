"""Follow an endless queue of runs and print the cost of each model every minute; Ctrl-C stops it.

``tail -f ids | python examples/follow_a_fleet.py -`` reads the ids from standard input, one per line; the
environment names the service. Without ``-``, it follows runs of the embedded service, one of them unknown.
"""

import sys
from collections.abc import Iterable, Iterator
from uuid import UUID

from rxruns import CostTotals, RunNotFollowed, RunsClient, block_on, merge_runs, ops
from rxruns.devserver import PRICES, DevServer
from rxruns.events import RunEvent
from rxruns.workflow import chain, llm

spec = chain(
    [llm("draft", user="[[tokens: 900]]"), llm("polish", user="Polish: {{draft}}", model="gpt-4o")],
    model="claude-sonnet-4-5",
)


def print_failure(value: RunEvent | RunNotFollowed) -> None:
    if isinstance(value, RunNotFollowed):
        print(f"{value.run_id} after event {value.last_seq}: {value.error}", file=sys.stderr)


def print_costs(totals: CostTotals) -> None:
    for item in totals.line_items:
        print(f"{item.model}: {item.requests} calls, {item.total_tokens} tokens, ${item.usd}", flush=True)


def follow(run_ids: Iterable[UUID | str], client: RunsClient, seconds: float = 60.0) -> None:
    values = merge_runs(run_ids, max_concurrent=200, on_run_error="emit", client=client)
    totals = values.pipe(ops.tap(print_failure), ops.of_type(RunEvent), ops.cost_totals(PRICES))
    try:
        block_on(totals.pipe(ops.sample(seconds), ops.tap(print_costs)))
    except KeyboardInterrupt:
        print("stopped following; the runs continue")


def started(client: RunsClient) -> Iterator[UUID | str]:
    """A small queue: the next id is taken when another run can be followed."""
    for _ in range(20):
        yield client.create(spec).run_id
    yield UUID(int=404)


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        # Not sys.stdin, which Python would close at exit while a thread is reading.
        lines = open(0, closefd=False)  # noqa: SIM115
        with RunsClient.from_env() as client:
            follow((line.strip() for line in lines), client)
    else:
        with DevServer() as server, server.client() as client:
            follow(started(client), client, seconds=0.2)
