"""The parts of a workflow spec: frozen structs, named as on the wire. None means absent.

>>> LLMNode(id="draft", model="claude-sonnet-4-5", user="Write about {{topic}}.").id
'draft'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from msgspec import UNSET, Meta, Struct, UnsetType, field

Positive = Annotated[int, Meta(ge=1)]
Millis = Annotated[int, Meta(ge=0)]
Filled = Annotated[str, Meta(pattern=r"\S", description="text that isn't blank")]
Tool = str | dict[str, Any]

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


class Part(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of everything in a spec."""


class Input(Part, frozen=True, kw_only=True):
    """An input of a run: texts refer to it as ``{{name}}``.

    Attributes:
        default: used if the run has no value for it; UNSET for no default, because null is a value.
    """

    name: Filled
    type: str | None = None
    required: bool | None = None
    description: str | None = None
    default: Any | UnsetType = UNSET


class Source(Part, frozen=True, kw_only=True):
    """The source of a value: a node's output (wire ``from``), or the place in it that `pointer` names."""

    from_: str = field(name="from")
    pointer: str | None = None


class Output(Part, frozen=True, kw_only=True):
    """A named result of the run: a node's output (wire ``from``), or the place in it that `pointer` names."""

    name: Filled
    from_: str = field(name="from")
    pointer: str | None = None


class Predicate(Part, frozen=True, kw_only=True):
    """The condition on a node's output or status for a join to accept it.

    Attributes:
        path: a JSONPath, starting ``$``.
        value: compared by ``equals``, or the pattern of ``matches``; UNSET for none, because null is a value.
    """

    source: Literal["node_output", "node_status"]
    op: Literal["equals", "matches", "exists"]
    path: str | None = None
    value: Any | UnsetType = UNSET


class ToolExecution(Part, frozen=True, kw_only=True):
    """The party that runs a node's tools: the service, you (``ops.execute_tools``), or its agent loop."""

    mode: Literal["server", "client", "agentic"]


class OutputFormat(Part, frozen=True, kw_only=True):
    """The form of a node's text (wire ``output_format``).

    Attributes:
        type: ``"text"`` or ``"json_schema"``, or another that the service knows.
        json_schema: the service's object around the schema: ``{"name": …, "schema": …, "strict": …}``.

    >>> OutputFormat(type="json_schema", json_schema={"name": "cities", "schema": {"type": "array"}}).type
    'json_schema'
    """

    type: Filled
    json_schema: dict[str, Any] | None = None


class LLMRetry(Part, frozen=True, kw_only=True):
    """The service's retry policy for a node's model call (wire ``retry``).

    Attributes:
        max_attempts: calls in all, the first one included.
        retryable_errors: the errors to retry; none leaves the choice to the service.
        backoff_ms: milliseconds between two attempts.
    """

    max_attempts: Positive
    retryable_errors: tuple[Literal["invalid_json", "truncated", "rate_limit", "timeout"], ...] = ()
    backoff_ms: Millis | None = None


class Node(Part, frozen=True, kw_only=True, tag_field="type"):
    """The base of all nodes.

    Attributes:
        id: ``^[a-z][a-z0-9_]*$``, at most 64 characters.
        depends_on: the nodes that must end before it.
    """

    id: str
    depends_on: tuple[str, ...] = ()


class LLMNode(Node, frozen=True, kw_only=True, tag="llm"):
    """One conversation with a model, with a step for each round of tool calls.

    The texts (``system``, ``user``, ``input``) may have placeholders: ``{{input_name}}``, ``{{node_id}}`` for
    a node's text, ``{{join_id}}`` for a join's collected outputs as JSON, ``{{item}}`` inside a fan-out.

    Attributes:
        max_output_tokens: the longest text, in tokens.
        stop: texts that end the output.
    """

    model: Filled | None = None
    system: str | None = None
    user: str | None = None
    input: Any = None
    stream: bool | None = None
    tools: tuple[Tool, ...] = ()
    tool_execution: ToolExecution | None = None
    max_output_tokens: Positive | None = None
    stop: tuple[str, ...] = ()
    output_format: OutputFormat | None = None
    retry: LLMRetry | None = None


class JoinAllNode(Node, frozen=True, kw_only=True, tag="join.all"):
    """Waits for all that it depends on, and collects their outputs."""


class JoinAnyNode(Node, frozen=True, kw_only=True, tag="join.any"):
    """Continues with the first of its nodes, or the first that fulfils the predicate."""

    predicate: Predicate | None = None


class JoinCollectNode(Node, frozen=True, kw_only=True, tag="join.collect"):
    """Collects outputs until it has `limit` of them, or until `timeout_ms` milliseconds have passed."""

    limit: Positive | None = None
    timeout_ms: Positive | None = None
    predicate: Predicate | None = None


class TransformJSONNode(Node, frozen=True, kw_only=True, tag="transform.json"):
    """A new JSON object: by key from sources (`object`), or merged from several objects (`merge`)."""

    object: dict[str, Source] | None = None
    merge: tuple[Source, ...] | None = None


class MapFanoutNode(Node, frozen=True, kw_only=True, tag="map.fanout"):
    """Runs `subnode` once for each item of a list: of a node's output, or of an input.

    Attributes:
        items_pointer: JSON Pointer to the list, or to the text that holds it.
        items_path: JSON Pointer into the text's JSON: ``""`` for the whole, or ``"/questions"``.
        max_parallelism: the maximum number of items at once.
    """

    items_from: str | None = None
    items_from_input: str | None = None
    items_pointer: str | None = None
    items_path: str | None = None
    subnode: AnyNode
    max_parallelism: Positive | None = None


AnyNode = LLMNode | JoinAllNode | JoinAnyNode | JoinCollectNode | TransformJSONNode | MapFanoutNode
"""Any of the six nodes, which ``type`` on the wire distinguishes."""


def sources(node: AnyNode) -> Iterator[tuple[str, Source]]:
    """Find the sources of a node, with their fields."""
    if isinstance(node, TransformJSONNode):
        for key, source in (node.object or {}).items():
            yield f"object.{key}", source
        for place, source in enumerate(node.merge or ()):
            yield f"merge[{place}]", source


def placeholders(node: AnyNode) -> Iterator[tuple[str, str]]:
    """Find the placeholders in a node's own texts, as ``(field, name)``."""
    if isinstance(node, LLMNode):
        for name, value in (("system", node.system), ("user", node.user), ("input", node.input)):
            for text in _texts(value):
                for found in PLACEHOLDER.findall(text):
                    yield name, found


def _texts(value: Any) -> Iterator[str]:
    pending: list[Any] = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            pending += reversed(list(cast("Mapping[str, Any]", value).values()))
        elif isinstance(value, list | tuple):
            pending += reversed(cast("Sequence[Any]", value))


def reads(node: AnyNode) -> Iterator[tuple[str, str]]:
    """Find the names that a node or its subnode reads, as ``(field, name)``: sources, items, placeholders."""
    for place, source in sources(node):
        yield f"{place}.from", source.from_
    yield from placeholders(node)
    if isinstance(node, MapFanoutNode):
        if node.items_from is not None:
            yield "items_from", node.items_from
        for place, name in reads(node.subnode):
            if name != "item":
                yield f"subnode.{place}", name
