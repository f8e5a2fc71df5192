"""Describe a tool and answer its calls yourself; `Tools` and `ops.execute_tools` do the same for you."""

import json

from rxruns import RunsClient, block_on, ops, run_events
from rxruns.devserver import DevServer
from rxruns.events import NodeWaiting
from rxruns.models import RunsToolResultItem, RunsToolResultsRequest
from rxruns.workflow import chain, llm

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
}
spec = chain([llm("sum", user="Add them.", model="gpt-4o", tools=[ADD], tool_execution="client")])


def add(arguments: str) -> str:
    numbers = json.loads(arguments)
    return str(numbers["a"] + numbers["b"])


def main(client: RunsClient) -> None:
    run_id = client.create(spec).run_id

    def answer(event: NodeWaiting) -> None:
        for node in client.pending_tools(run_id).pending:
            results = tuple(
                RunsToolResultItem(tool_call=call.tool_call, output=add(call.tool_call.arguments or "{}"))
                for call in node.tool_calls
            )
            print(f"{node.node_id} asks for {results[0].tool_call.arguments}: {results[0].output}")
            client.submit_tool_results(
                run_id,
                RunsToolResultsRequest(
                    node_id=node.node_id, step=node.step, request_id=node.request_id, results=results
                ),
            )

    events = run_events(run_id, client=client).pipe(ops.share())
    answered = events.pipe(ops.of_type(NodeWaiting), ops.tap(answer), ops.ignore_elements())
    last = block_on(answered.pipe(ops.merge(events)))
    print(last.type if last else "nothing")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
