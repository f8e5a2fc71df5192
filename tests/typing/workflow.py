"""Typed uses of specs: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type
from uuid import UUID

from rxruns import RetryPolicy, RunsClient, workflow
from rxruns.client import CallOptions
from rxruns.events import RunEvent
from rxruns.models import RunsGetResponse, RunStepsResponse, RunTasksResponse, RunToolCallDetail
from rxruns.tools import Tools
from rxruns.workflow import LLMNode, OutputFormat, Source, WorkflowBuilder, WorkflowSpec


def built() -> WorkflowSpec:
    builder = workflow.workflow("x", model="m").llm("a", user="Hi", tools=["t", {"type": "web"}, Tools()])
    assert_type(builder, WorkflowBuilder)
    builder.transform_json("c", object={"x": "a", "y": Source(from_="a")})
    builder.map_fanout("f", items_from="c", subnode=workflow.llm("one", tool_execution="client"))
    builder.map_fanout("g", items_from="a", items_path="/questions", subnode=workflow.llm("one"))
    form = OutputFormat(type="json_schema", json_schema={"schema": {}})
    builder.llm("b", max_output_tokens=5, stop=["x"], output_format=form, retry={"max_attempts": 2})
    return builder.output("text", from_="c").build()


def shaped() -> None:
    assert_type(workflow.llm("a"), LLMNode)
    assert_type(workflow.llm("a", tools=Tools()), LLMNode)
    assert_type(workflow.chain(workflow.llm("a"), workflow.llm("b")), WorkflowSpec)
    assert_type(workflow.parallel([workflow.llm("a")], join="join_any"), WorkflowSpec)
    assert_type(built().to_dict(), dict[str, Any])


def sent(client: RunsClient) -> None:
    client.create(built())
    client.create(built().to_dict())
    client.compile({"kind": "workflow"})
    client.lint({"kind": "workflow"}, compile=False, timeout=5.0)


def called(client: RunsClient, run_id: UUID) -> None:
    once: CallOptions = {"retry": RetryPolicy(max_attempts=1), "timeout": None, "headers": {"X-A": "b"}}
    assert_type(client.get(run_id, include=("steps",), **once), RunsGetResponse)
    assert_type(client.steps(run_id, **once), RunStepsResponse)
    assert_type(client.tool_call(run_id, 0, "call_1", timeout=1), RunToolCallDetail)
    assert_type(client.tasks(run_id, retry=RetryPolicy()), RunTasksResponse)
    assert_type(client.list_events(run_id, headers=None), list[RunEvent])
    client.get(run_id, timeot=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
