"""``rxruns demo``: a run of the embedded service, from its start to its cost."""

from __future__ import annotations

from typing import Literal

import click

from rxruns import operators as ops
from rxruns._streams._run_events import block_on, start_run
from rxruns.cli._following import report
from rxruns.cli._panel import Exit
from rxruns.cli._view import RunView
from rxruns.devserver import PRICES, DevServer
from rxruns.tools import Tools
from rxruns.workflow import WorkflowSpec, workflow

tools = Tools()


@tools.tool
def get_weather(city: Literal["Lisbon"]) -> str:
    """Return the weather of a city."""  # a client-side tool: the service waits for its result
    return f"sunny in {city}, 24 degrees"


def trip() -> WorkflowSpec:
    """Return a workflow: three parallel nodes, one of them with a client-side tool, a join, and two nodes."""
    return (
        workflow("trip", model="claude-sonnet-4-5")
        .input("city")
        .llm("weather", user="How is the weather in {{city}}?", tools=tools, tool_execution="client")
        .llm("sights", user="What is there to see in {{city}}?", model="gpt-4o")
        .llm("food", user="Where to eat in {{city}}?", model="gpt-4o-mini")
        .join_all("facts")
        .llm("plan", user="Make a plan of these: {{facts}}")
        .llm("translation", user="Translate: {{plan}}", model="gemini-2.5-flash")
        .edge("weather", "facts")
        .edge("sights", "facts")
        .edge("food", "facts")
        .edge("facts", "plan")
        .edge("plan", "translation")
        .output("plan", from_="translation")
        .build()
    )


@click.command(
    short_help="Start and follow a run of an embedded service.",
    epilog="Example: rxruns demo --delay 0    (as fast as possible)",
)
@click.option("--delay", default=0.04, show_default=True, help="Seconds between two tokens.")
@click.option("--seed", default=7, show_default=True, help="Seed of the simulated model's texts.")
def demo(delay: float, seed: int) -> Exit:
    """Start an embedded service and a run, follow it, answer its tool call and show its cost."""
    with DevServer(delay=delay, seed=seed) as server, server.client() as client, RunView(PRICES) as view:
        events = start_run(trip(), client=client, input={"city": "Lisbon"})
        block_on(events.pipe(ops.execute_tools(tools, client=client), ops.tap(view.update)))
    return report(view.panels)
