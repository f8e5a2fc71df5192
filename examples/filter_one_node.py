"""Show the text of one node while it is written.

Against the real service: `client = RunsClient.from_env()`, or leave `client=` out.
"""

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.events import NodeOutputDelta
from rxruns.workflow import workflow

spec = (
    workflow("article", model="claude-sonnet-4-5")
    .llm("draft", user="Write about {{topic}}")
    .llm("summarize", user="Summarize: {{draft}}")
    .input("topic")
    .output("summary", from_="summarize")
    .build()
)


def show(event: NodeOutputDelta) -> None:
    print(event.delta.text_delta or "", end="", flush=True)


def main(client: RunsClient) -> None:
    events = start_run(spec, client=client, input={"topic": "reactive streams"})
    block_on(events.pipe(ops.for_node("summarize"), ops.of_type(NodeOutputDelta), ops.tap(show)))
    print()


if __name__ == "__main__":
    with DevServer(delay=0.01) as server, server.client() as client:
        main(client)
