"""Compile a workflow once, then start runs of its plan with different inputs."""

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.state import RunState
from rxruns.workflow import workflow

spec = (
    workflow("greeting", model="gpt-4o-mini")
    .input("name")
    .llm("greet", user="[[say: Hello, {{name}}!]]")
    .output("greeting", from_="greet")
    .build()
)


def main(client: RunsClient) -> None:
    plan = client.compile(spec)
    print(f"plan {plan.plan_hash[:12]}")
    for name in ("Ada", "Grace"):
        events = start_run(plan.plan_hash, client=client, input={"name": name})
        state = block_on(events.pipe(ops.run_state()), default=RunState())
        print(f"{state.status}: {state.nodes['greet'].text}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
