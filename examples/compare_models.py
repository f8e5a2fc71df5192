"""Ask two models a question and let a third decide: ``python examples/compare_models.py "Is tea better?"``.

It needs no key: it uses the embedded service, whose models invent their answers. With a key in
``MODELRELAY_API_KEY``, leave ``client=`` out.
"""

from __future__ import annotations

import sys

from rxruns import block_on, ops, start_run, workflow
from rxruns.devserver import DevServer
from rxruns.events import NodeOutputDelta


def comparison() -> workflow.WorkflowSpec:
    """Two answers, and a verdict on both."""
    return workflow.parallel(
        workflow.llm("first", model="claude-sonnet-4-5", user="{{question}}"),
        workflow.llm("second", model="gpt-5", user="{{question}}"),
        then=workflow.llm("verdict", model="claude-sonnet-4-5", user="Which is better? {{join}}"),
        inputs=["question"],
        name="compare",
    )


def main(question: str) -> None:
    """Print the verdict while it is written."""
    with DevServer() as server, server.client() as client:
        block_on(
            start_run(comparison(), input={"question": question}, client=client).pipe(
                ops.raise_on_failure(),
                ops.for_node("verdict"),
                ops.of_type(NodeOutputDelta),
                ops.tap(lambda event: print(event.delta.text_delta or "", end="", flush=True)),
            )
        )
    print()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Is tea better than coffee?")
