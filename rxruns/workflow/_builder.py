"""A builder of specs of any shape, :func:`workflow`, and :func:`llm` for a single node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from msgspec import UNSET, structs

from rxruns._errors import must_be
from rxruns.workflow._check import refuse, typed
from rxruns.workflow._edges import with_implied_edges
from rxruns.workflow._nodes import (
    AnyNode,
    Input,
    JoinAllNode,
    JoinAnyNode,
    JoinCollectNode,
    LLMNode,
    LLMRetry,
    MapFanoutNode,
    Output,
    OutputFormat,
    Predicate,
    Source,
    ToolExecution,
    TransformJSONNode,
)
from rxruns.workflow._spec import WorkflowSpec
from rxruns.workflow._tools import ToolDefinitions

T = TypeVar("T")
Tool = str | Mapping[str, Any] | ToolDefinitions
ToolsOption = Sequence[Tool] | ToolDefinitions
Mode = Literal["server", "client", "agentic"]


def workflow(
    name: str | None = None, *, model: str | None = None, max_parallelism: int | None = None
) -> WorkflowBuilder:
    """Start a builder: add nodes, edges and outputs to it, then call ``.build()``.

    Args:
        name: the name of the workflow.
        model: written into each llm node that has none.
        max_parallelism: the maximum number of nodes that run at once.

    >>> builder = workflow(model="claude-sonnet-4-5").llm("draft", user="Hello")
    >>> spec = builder.output("text", from_="draft").build()
    >>> spec.to_dict()["outputs"]
    [{'name': 'text', 'from': 'draft'}]
    """
    return WorkflowBuilder(name, model=model, max_parallelism=max_parallelism)


def llm(
    id: str,
    *,
    model: str | None = None,
    system: str | None = None,
    user: str | None = None,
    input: Any = None,
    stream: bool | None = None,
    tools: ToolsOption = (),
    tool_execution: Mode | None = None,
    max_output_tokens: int | None = None,
    stop: Sequence[str] = (),
    output_format: OutputFormat | Mapping[str, Any] | None = None,
    retry: LLMRetry | Mapping[str, Any] | None = None,
    depends_on: Sequence[str] = (),
) -> LLMNode:
    """Make a node that calls a model. Texts may have placeholders like ``{{draft}}``: see :class:`LLMNode`.

    Args:
        id: lower-case letters, digits and underscores.
        model: None takes the spec's.
        system: the system prompt.
        user: the user's message.
        input: messages or other JSON, instead of `user` or in addition.
        stream: True sends the text as deltas; None leaves it to the service.
        tools: a :class:`rxruns.tools.Tools` registry; or a list of names of tools that the service knows,
            the service's tool objects, and registries.
        tool_execution: the party that runs them; ``"client"`` is your program, see ``ops.execute_tools``.
        max_output_tokens: the longest text, in tokens.
        stop: texts that end the output.
        output_format: such as ``{"type": "json_schema", "json_schema": {"name": …, "schema": …}}``.
        retry: when the service repeats the model call, such as ``{"max_attempts": 3}``.
        depends_on: nodes to wait for, in addition to those that it reads.

    Raises:
        InvalidArgumentError: a tool, `output_format` or `retry` has the wrong type. The spec checks the rest.

    >>> llm("weather", user="How is it in {{city}}?", tools=["get_weather"], tool_execution="client").tools
    ('get_weather',)
    """
    return LLMNode(
        id=id,
        model=model,
        system=system,
        user=user,
        input=input,
        stream=stream,
        tools=tuple(_tools(tools)),
        tool_execution=None if tool_execution is None else ToolExecution(mode=tool_execution),
        max_output_tokens=max_output_tokens,
        stop=_many(stop),
        output_format=None if output_format is None else typed(output_format, OutputFormat, "output_format"),
        retry=None if retry is None else typed(retry, LLMRetry, "retry"),
        depends_on=_many(depends_on),
    )


class WorkflowBuilder:
    """The builder that :func:`workflow` returns. Its methods return it; :meth:`build` checks the whole spec.

    Nodes may be added in any order, because edges are checked when the spec is built.
    """

    def __init__(
        self, name: str | None = None, *, model: str | None = None, max_parallelism: int | None = None
    ) -> None:
        self._name = name
        self._model = model
        self._max_parallelism = max_parallelism
        self._inputs: list[Input] = []
        self._nodes: list[AnyNode] = []
        self._edges: list[tuple[str, str]] = []
        self._outputs: list[Output] = []

    def __repr__(self) -> str:
        return f"<WorkflowBuilder {self._name or 'without name'}: {len(self._nodes)} nodes>"

    @property
    def node_ids(self) -> tuple[str, ...]:
        """The ids of the nodes so far, in the order in which they were added."""
        return tuple(node.id for node in self._nodes)

    def input(
        self,
        name: str,
        *,
        type: str | None = None,
        required: bool | None = None,
        description: str | None = None,
        default: Any = UNSET,
    ) -> WorkflowBuilder:
        """Declare an input of a run; texts refer to it as ``{{name}}``."""
        self._inputs.append(
            Input(name=name, type=type, required=required, description=description, default=default)
        )
        return self

    def node(self, *nodes: AnyNode) -> WorkflowBuilder:
        """Add finished nodes, such as those of :func:`llm`."""
        for node in nodes:
            checked: AnyNode = typed(node, AnyNode, f"nodes[{len(self._nodes)}]")
            self._nodes.append(checked)
        return self

    def llm(
        self,
        id: str,
        *,
        model: str | None = None,
        system: str | None = None,
        user: str | None = None,
        input: Any = None,
        stream: bool | None = None,
        tools: ToolsOption = (),
        tool_execution: Mode | None = None,
        max_output_tokens: int | None = None,
        stop: Sequence[str] = (),
        output_format: OutputFormat | Mapping[str, Any] | None = None,
        retry: LLMRetry | Mapping[str, Any] | None = None,
        depends_on: Sequence[str] = (),
    ) -> WorkflowBuilder:
        """Add a node that calls a model: :func:`llm` describes the arguments."""
        return self.node(
            llm(
                id,
                model=model,
                system=system,
                user=user,
                input=input,
                stream=stream,
                tools=tools,
                tool_execution=tool_execution,
                max_output_tokens=max_output_tokens,
                stop=stop,
                output_format=output_format,
                retry=retry,
                depends_on=depends_on,
            )
        )

    def join_all(self, id: str, *, depends_on: Sequence[str] = ()) -> WorkflowBuilder:
        """Add a node that waits for all that it depends on."""
        return self.node(JoinAllNode(id=id, depends_on=_many(depends_on)))

    def join_any(
        self, id: str, *, predicate: Predicate | None = None, depends_on: Sequence[str] = ()
    ) -> WorkflowBuilder:
        """Add a node that continues with the first of its nodes, or the first that fulfils the predicate."""
        return self.node(JoinAnyNode(id=id, predicate=predicate, depends_on=_many(depends_on)))

    def join_collect(
        self,
        id: str,
        *,
        limit: int | None = None,
        timeout_ms: int | None = None,
        predicate: Predicate | None = None,
        depends_on: Sequence[str] = (),
    ) -> WorkflowBuilder:
        """Add a node that collects outputs up to `limit` of them, or for `timeout_ms` milliseconds."""
        return self.node(
            JoinCollectNode(
                id=id,
                limit=limit,
                timeout_ms=timeout_ms,
                predicate=predicate,
                depends_on=_many(depends_on),
            )
        )

    def transform_json(
        self,
        id: str,
        *,
        object: Mapping[str, Source | str] | None = None,
        merge: Sequence[Source | str] | None = None,
        depends_on: Sequence[str] = (),
    ) -> WorkflowBuilder:
        """Add a node that makes a JSON object of other nodes' outputs; a source may be just the node's id.

        >>> builder = workflow(model="claude-sonnet-4-5").llm("draft", user="Hello")
        >>> builder.transform_json("card", object={"text": "draft"}).output("card", from_="card")
        <WorkflowBuilder without name: 2 nodes>
        >>> builder.build().to_dict()["nodes"][1]["object"]
        {'text': {'from': 'draft'}}
        """
        return self.node(
            TransformJSONNode(
                id=id,
                object=None if object is None else {key: _source(value) for key, value in object.items()},
                merge=None if merge is None else tuple(_source(value) for value in merge),
                depends_on=_many(depends_on),
            )
        )

    def map_fanout(
        self,
        id: str,
        *,
        subnode: AnyNode,
        items_from: str | None = None,
        items_from_input: str | None = None,
        items_pointer: str | None = None,
        items_path: str | None = None,
        max_parallelism: int | None = None,
        depends_on: Sequence[str] = (),
    ) -> WorkflowBuilder:
        """Add a node that runs `subnode` for each item of a list; ``{{item}}`` in its texts is the item.

        Where the list is in a node's text, as JSON, `items_path` is the JSON Pointer to it: ``""`` for the
        whole text, or ``"/questions"``. :class:`MapFanoutNode` has the other arguments.

        >>> spec = (
        ...     workflow(model="claude-sonnet-4-5")
        ...     .input("cities")
        ...     .map_fanout("each", items_from_input="cities", subnode=llm("one", user="Praise {{item}}"))
        ...     .output("praise", from_="each")
        ...     .build()
        ... )
        """
        return self.node(
            MapFanoutNode(
                id=id,
                items_from=items_from,
                items_from_input=items_from_input,
                items_pointer=items_pointer,
                items_path=items_path,
                subnode=subnode,
                max_parallelism=max_parallelism,
                depends_on=_many(depends_on),
            )
        )

    def edge(self, from_: str, to: str) -> WorkflowBuilder:
        """Let the node `to` wait for the node `from_`. What a node reads it waits for without an edge."""
        place = f"edges[{len(self._edges)}]"
        self._edges.append((typed(from_, str, f"{place}.from"), typed(to, str, f"{place}.to")))
        return self

    def output(self, name: str, from_: str, *, pointer: str | None = None) -> WorkflowBuilder:
        """Name a node's output, or the place in it that a JSON Pointer names, a result of the workflow."""
        self._outputs.append(Output(name=name, from_=from_, pointer=pointer))
        return self

    def build(self) -> WorkflowSpec:
        """The checked spec; can be called again after more was added.

        Each edge, and each node that is read without one, is in ``depends_on``.

        Raises:
            InvalidArgumentError: duplicate ids, edges from or to unknown nodes, cycles, no outputs, unknown
                placeholders: names the node, and in ``.field`` the place.

        >>> workflow().llm("a", user="{{b}}").llm("b", user="{{a}}").output("text", from_="a").build()
        Traceback (most recent call last):
        rxruns.errors.InvalidArgumentError: nodes[0].depends_on: node 'a' waits for itself: a -> b -> a; \
remove one of these edges
        """
        for place, (_, to) in enumerate(self._edges):
            if to not in self.node_ids:
                raise refuse(f"an edge leads to {to!r}, which isn't a node", f"edges[{place}].to")
        nodes = [self._with_edges(node) for node in self._nodes]
        return WorkflowSpec(
            name=self._name,
            model=self._model,
            max_parallelism=self._max_parallelism,
            inputs=tuple(self._inputs),
            nodes=with_implied_edges(nodes),
            outputs=tuple(self._outputs),
        )

    def _with_edges(self, node: AnyNode) -> AnyNode:
        before = [from_ for from_, to in self._edges if to == node.id]
        return structs.replace(node, depends_on=tuple(dict.fromkeys([*node.depends_on, *before])))


def _many(names: Sequence[T]) -> tuple[T | str, ...]:
    # A text is a sequence of texts as well; nobody means its letters.
    return (names,) if isinstance(names, str) else tuple(names)


def _tools(tools: ToolsOption) -> Iterator[str | dict[str, Any]]:
    if isinstance(tools, ToolDefinitions):
        tools = [tools]
    if isinstance(tools, Mapping):
        raise must_be("tools", "a list of tools or rxruns.tools.Tools", tools)
    for place, tool in enumerate(_many(tools)):
        if isinstance(tool, ToolDefinitions):
            yield from map(dict, tool.definitions())
        elif isinstance(tool, str):
            yield tool
        elif isinstance(tool, Mapping):
            yield dict(tool)
        else:
            expectation = "a name, a tool object or rxruns.tools.Tools"
            raise must_be(f"tools[{place}]", expectation, tool, "put a function into Tools")


def _source(value: Source | str) -> Source:
    return Source(from_=value) if isinstance(value, str) else value
