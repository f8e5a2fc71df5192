"""Follow 50 runs, eight at a time, and name the slowest node of each."""

from uuid import UUID

from rxruns import RunsClient, block_on, merge_runs, ops
from rxruns.devserver import DevServer
from rxruns.state import NodeSpan
from rxruns.workflow import llm, parallel

RUNS = 50
spec = parallel(
    [
        llm("short", user="[[tokens: 3]] In three words, please.", model="gpt-4o-mini"),
        llm("long", user="[[tokens: 60]] In detail, please.", model="gpt-4o"),
    ],
    then=llm("sum", user="[[tokens: 6]] Sum up: {{join}}", model="gpt-4o-mini"),
)


def seconds(span: NodeSpan) -> float:
    return span.duration or 0.0  # None without a start or an end


Slowest = dict[UUID, NodeSpan]
"""By run."""


def slower(slowest: Slowest, span: NodeSpan) -> Slowest:
    known = slowest.get(span.run_id, span)
    return {**slowest, span.run_id: max(known, span, key=seconds)}


def main(client: RunsClient) -> None:
    run_ids = [client.create(spec).run_id for _ in range(RUNS)]
    spans = merge_runs(run_ids, max_concurrent=8, client=client).pipe(ops.node_spans())
    slowest = block_on(spans.pipe(ops.reduce(slower, Slowest())), default=Slowest())
    ranked = sorted(slowest.values(), key=seconds, reverse=True)
    for span in ranked:
        print(f"{span.run_id}  {span.node_id:8} {seconds(span) * 1000:6.1f} ms  {span.status}")
    print(f"{len(ranked)} runs, the slowest node of all took {seconds(ranked[0]) * 1000:.1f} ms")


if __name__ == "__main__":
    with DevServer(delay=0.001) as server, server.client() as client:
        main(client)
