"""Check a new prompt against the old one before it ships: ``python examples/compare_prompts.py``.

It needs no key: it uses the embedded service, whose models invent their answers. With a key in
``MODELRELAY_API_KEY``, leave ``client=`` out.
"""

from __future__ import annotations

from rxruns import Price, RunsClient, block_on, ops, start_run, workflow
from rxruns.devserver import DevServer
from rxruns.events import RunEvent
from rxruns.testing import RunComparison, compare_runs

PRICES = {("openai", "gpt-5"): Price(input_usd_per_million="1.25", output_usd_per_million=10)}
QUESTIONS = ["Is tea better than coffee?", "Why is the sky blue?"]

OLD = "Answer in two sentences: {{question}}"
NEW = "Answer in two sentences, for a child of ten, and name one thing to try at home: {{question}}"


def answered(prompt: str, question: str, client: RunsClient) -> list[RunEvent]:
    """The events of a run with this prompt."""
    spec = workflow.chain(
        workflow.llm("answer", model="gpt-5", user=prompt),
        workflow.llm("title", model="gpt-5", user="A title for this text: {{answer}}"),
        inputs=["question"],
    )
    started = start_run(spec, input={"question": question}, client=client)
    return block_on(started.pipe(ops.to_list())) or []


def compared(question: str, client: RunsClient) -> RunComparison:
    """The run with the old prompt and the one with the new."""
    runs = [answered(prompt, question, client) for prompt in (OLD, NEW)]
    return compare_runs(*runs, prices=PRICES)


def main() -> None:
    """Print both runs for each question, and the limits that the new prompt exceeds."""
    with DevServer(seed=7) as server, server.client() as client:
        for question in QUESTIONS:
            comparison = compared(question, client)
            exceeded = comparison.exceeding(tokens="+25%", cost="+0.01", nodes=True, tools=True)
            print(question, comparison.before, comparison.after, sep="\n  ")
            print("  within all limits" if not exceeded else "  exceeded: " + "; ".join(map(str, exceeded)))


if __name__ == "__main__":
    main()
