"""Uses of specs that have to pass the type checkers; never run."""

from __future__ import annotations

from typing import Any, assert_type

from rxruns import RunsClient, workflow
from rxruns.tools import Tools
from rxruns.workflow import LLMNode, Source, WorkflowBuilder, WorkflowSpec


def built() -> WorkflowSpec:
    builder = workflow.workflow("x", model="m").llm("a", user="Hi", tools=["t", {"type": "web"}, Tools()])
    assert_type(builder, WorkflowBuilder)
    builder.transform_json("c", object={"x": "a", "y": Source(from_="a")})
    builder.map_fanout("f", items_from="c", subnode=workflow.llm("one", tool_execution="client"))
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
