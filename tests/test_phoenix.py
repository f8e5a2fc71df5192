"""Spans in a real backend, Phoenix, as its own API returns them. Run by ``tox -e phoenix``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("opentelemetry.sdk", reason="pip install 'rxruns[otel]'")

from rxruns import block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.events import NodeLLMCall
from rxruns.tools import Tools
from rxruns.workflow import WorkflowSpec, llm, workflow
from tests.commands import Rxruns
from tests.phoenix import Phoenix, running

pytestmark = pytest.mark.timeout(600)

tools = Tools()


@tools.tool
def population(city: str) -> int:
    return len(city) * 100_000


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    with running(tmp_path_factory.mktemp("phoenix")) as phoenix:
        yield phoenix


def spec() -> WorkflowSpec:
    return (
        workflow("praise", model="gpt-4o-mini")
        .llm("cities", user='[[say: ["Lisbon", "Porto"]]]')
        .map_fanout("each", items_from="cities", subnode=llm("one", user="Praise {{item}}"))
        .llm("count", user="How many?", tools=tools, tool_execution="client", depends_on=["each"])
        .llm("judge", user="[[fail: no opinion]]", depends_on=["count"])
        .output("text", from_="judge")
        .build()
    )


def finished(service: DevServer) -> list[Any]:
    """The events of a run with a fan-out, a tool, token counts and a failure."""
    with service.client() as client:
        events = start_run(spec(), client=client).pipe(ops.execute_tools(tools, client=client), ops.to_list())
        return block_on(events) or []


EACH = "invoke_workflow > each"
TREE = {
    "invoke_workflow": ("CHAIN", "ERROR", "no opinion"),
    "invoke_workflow > cities": ("CHAIN", "UNSET", ""),
    "invoke_workflow > cities > chat gpt-4o-mini": ("LLM", "UNSET", ""),
    f"{EACH}": ("CHAIN", "UNSET", ""),
    f"{EACH} > each_one_0": ("CHAIN", "UNSET", ""),
    f"{EACH} > each_one_0 > chat gpt-4o-mini": ("LLM", "UNSET", ""),
    f"{EACH} > each_one_1": ("CHAIN", "UNSET", ""),
    f"{EACH} > each_one_1 > chat gpt-4o-mini": ("LLM", "UNSET", ""),
    "invoke_workflow > count": ("CHAIN", "UNSET", ""),
    "invoke_workflow > count > chat gpt-4o-mini": ("LLM", "UNSET", ""),
    "invoke_workflow > count > execute_tool population": ("TOOL", "UNSET", ""),
    "invoke_workflow > judge": ("CHAIN", "ERROR", "no opinion"),
}
CALLS = 5
"""Of models: the node that calls the tool calls its model twice, so two spans have the same path."""


def tree(spans: list[dict[str, Any]]) -> dict[str, tuple[str, str, str]]:
    """The kind, the status and the message of each span, by its path from the root."""
    by_id = {span["context"]["span_id"]: span for span in spans}

    def path(span: dict[str, Any]) -> str:
        parent = span["parent_id"]
        return span["name"] if parent is None else f"{path(by_id[parent])} > {span['name']}"

    return {path(span): (span["span_kind"], span["status_code"], span["status_message"]) for span in spans}


def tokens(spans: list[dict[str, Any]], kind: str) -> list[int]:
    """The token counts that Phoenix shows, in order."""
    return sorted(
        span["attributes"][name]
        for span in spans
        if (name := f"llm.token_count.{kind}") in span["attributes"]
    )


def test_phoenix_has_each_span_of_a_run_once_with_its_kind_tokens_and_error(
    service: DevServer, rxruns: Rxruns, phoenix: Phoenix
) -> None:
    events = finished(service)
    calls = [event.llm_call for event in events if isinstance(event, NodeLLMCall)]
    run_id: UUID = events[0].run_id
    for _ in range(2):
        outcome = rxruns("export", run_id, "--otlp", phoenix.url)
        assert (0, f"exported {len(TREE) + 1} spans of 1 run to {phoenix.url}\n") == (
            outcome.code,
            outcome.err,
        )
    spans = phoenix.spans(len(TREE) + 1)

    assert len(TREE) + 1 == len({span["context"]["span_id"] for span in spans}) == len(spans)
    assert {run_id.hex} == {span["context"]["trace_id"] for span in spans}
    assert TREE == tree(spans)
    assert CALLS == len(calls)
    assert sorted(call.usage.input_tokens or 0 for call in calls if call.usage) == tokens(spans, "prompt")
    assert sorted(call.usage.output_tokens or 0 for call in calls if call.usage) == tokens(
        spans, "completion"
    )
