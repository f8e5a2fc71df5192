"""The errors of rxruns and their classes: each is a RunsError."""

from uuid import uuid4

from rxruns import RunsClient, block_on, ops, run_events, start_run
from rxruns.devserver import DevServer
from rxruns.errors import APIError, InvalidArgumentError, RunFailedError, RunsError, WorkflowValidationError
from rxruns.workflow import chain, llm


def main(client: RunsClient) -> None:
    try:
        chain([llm("draft", user="About {{topci}}", model="gpt-4o")])
    except InvalidArgumentError as error:
        print(f"before anything is sent: {error}")

    try:
        client.create(
            {
                "kind": "workflow",
                "nodes": [{"id": "a", "type": "llm"}],
                "outputs": [{"name": "text", "from": "a"}],
            }
        )
    except WorkflowValidationError as error:
        print(f"by the service: {error.issues[0].path}: {error.issues[0].message}")

    try:
        block_on(run_events(uuid4(), client=client))
    except APIError as error:
        print(
            f"by its code: {error.code}, not found: {error.is_not_found}, request id: {error.request_id!s:.4}"
        )

    failing = chain([llm("draft", user="[[fail: out of ideas]]", model="gpt-4o")])
    events = start_run(failing, client=client)
    last = block_on(events)  # a run that fails is data
    print(f"as data: {last.type if last else None}")
    try:
        block_on(events.pipe(ops.raise_on_failure()))
    except RunFailedError as error:
        print(f"as an error: {error.event.error.message}")

    try:
        block_on(run_events(uuid4(), client=client))
    except RunsError as error:
        print(f"any of them: {type(error).__name__}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
