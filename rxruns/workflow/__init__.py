"""Workflow specs, which runs execute: types, and a builder.

>>> spec = (
...     workflow("summarize", model="claude-sonnet-4-5")
...     .input("article", required=True)
...     .llm("draft", user="Summarize: {{article}}")
...     .llm("edit", user="Make it shorter: {{draft}}")
...     .edge("draft", "edit")
...     .output("text", from_="edit")
...     .build()
... )
>>> spec.nodes[1].depends_on, spec.nodes[1].model
(('draft',), 'claude-sonnet-4-5')

A :class:`WorkflowSpec` is checked when it is made: duplicate ids, edges to unknown nodes, cycles, missing
outputs and unknown placeholders are an :class:`~rxruns.errors.InvalidArgumentError` with the place in
``.field``. You can pass a plain dict wherever a spec is accepted. It is checked in the same way before it is
sent, but its unknown fields are sent for the service to judge; :meth:`WorkflowSpec.from_dict` refuses them.
"""

from rxruns.workflow._builder import WorkflowBuilder, llm, workflow
from rxruns.workflow._nodes import (
    AnyNode,
    Input,
    JoinAllNode,
    JoinAnyNode,
    JoinCollectNode,
    LLMNode,
    LLMRetry,
    MapFanoutNode,
    Node,
    Output,
    OutputFormat,
    Predicate,
    Source,
    ToolExecution,
    TransformJSONNode,
)
from rxruns.workflow._shapes import chain, parallel
from rxruns.workflow._spec import WorkflowSpec
from rxruns.workflow._tools import ToolDefinitions

__all__ = [
    "AnyNode",
    "Input",
    "JoinAllNode",
    "JoinAnyNode",
    "JoinCollectNode",
    "LLMNode",
    "LLMRetry",
    "MapFanoutNode",
    "Node",
    "Output",
    "OutputFormat",
    "Predicate",
    "Source",
    "ToolDefinitions",
    "ToolExecution",
    "TransformJSONNode",
    "WorkflowBuilder",
    "WorkflowSpec",
    "chain",
    "llm",
    "parallel",
    "workflow",
]
