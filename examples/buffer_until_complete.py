"""Emit all events of a node when it ends, and then all events of the run."""

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.workflow import llm, parallel

spec = parallel(
    [
        llm("pro", user="What are the arguments for it?", model="gpt-4o"),
        llm("contra", user="What are the arguments against it?", model="gpt-4o-mini"),
    ]
)


def show_node(node: ops.NodeEvents) -> None:
    print(f"{node.node_id}: {len(node.events)} events, from {node.events[0].type} to {node.events[-1].type}")


def main(client: RunsClient) -> None:
    events = start_run(spec, client=client).pipe(ops.share())
    nodes = events.pipe(ops.buffer_nodes(), ops.tap(show_node), ops.ignore_elements())
    run = block_on(nodes.pipe(ops.merge(events.pipe(ops.buffer_until_complete()))))
    assert run is not None
    print(f"the run: {len(run)} events, the last is {run[-1].type}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
