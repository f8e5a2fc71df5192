"""The two frequent shapes of a workflow: nodes in sequence, and nodes in parallel with a join."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import structs

from rxruns._errors import must_be
from rxruns.workflow._builder import WorkflowBuilder, workflow
from rxruns.workflow._check import typed
from rxruns.workflow._nodes import AnyNode, Input, JoinAllNode, JoinAnyNode, JoinCollectNode
from rxruns.workflow._spec import WorkflowSpec

Join = Literal["join_all", "join_any", "join_collect"]
_JOINS: dict[str, type[JoinAllNode | JoinAnyNode | JoinCollectNode]] = {
    "join_all": JoinAllNode,
    "join_any": JoinAnyNode,
    "join_collect": JoinCollectNode,
}


def chain(
    *nodes: AnyNode | Sequence[AnyNode],
    name: str | None = None,
    model: str | None = None,
    inputs: Iterable[Input | str] = (),
    outputs: Mapping[str, str] | None = None,
) -> WorkflowSpec:
    """Run nodes in sequence: each waits for the one before. Placeholders pass texts on.

    Args:
        nodes: in their order; or one sequence of them.
        name: the name of the workflow.
        model: written into each llm node that has none.
        inputs: the inputs of a run; a str is the name of one.
        outputs: node id by output name; None makes the last node's output the result, under the node's id.

    Raises:
        InvalidArgumentError: as of :class:`WorkflowSpec`.

    >>> from rxruns.workflow import llm
    >>> spec = chain(
    ...     llm("draft", user="Write about {{topic}}."),
    ...     llm("edit", user="Improve this: {{draft}}"),
    ...     model="claude-sonnet-4-5",
    ...     inputs=["topic"],
    ... )
    >>> [(node.id, node.depends_on) for node in spec.nodes], spec.outputs[0].name
    ([('draft', ()), ('edit', ('draft',))], 'edit')
    """
    builder = _begun(nodes, name, model, inputs)
    for before, after in itertools.pairwise(builder.node_ids):
        builder.edge(before, after)
    return _with_outputs(builder, outputs).build()


def parallel(
    *nodes: AnyNode | Sequence[AnyNode],
    join: Join = "join_all",
    join_id: str = "join",
    then: AnyNode | None = None,
    name: str | None = None,
    model: str | None = None,
    inputs: Iterable[Input | str] = (),
    outputs: Mapping[str, str] | None = None,
    max_parallelism: int | None = None,
) -> WorkflowSpec:
    """Run nodes in parallel and join them; `then` may follow and read the join by its placeholder.

    Args:
        nodes: in any order; or one sequence of them.
        join: the kind of join.
        join_id: its id.
        then: a node that waits for the join.
        name: the name of the workflow.
        model: written into each llm node that has none.
        inputs: the inputs of a run; a str is the name of one.
        outputs: node id by output name; None makes the last node's output the result, under the node's id.
        max_parallelism: the maximum number of nodes that run at once.

    Raises:
        InvalidArgumentError: as of :class:`WorkflowSpec`, or ``join`` is not one of the three.

    >>> from rxruns.workflow import llm
    >>> spec = parallel(
    ...     llm("pro", user="Argue for {{claim}}"),
    ...     llm("contra", user="Argue against {{claim}}"),
    ...     then=llm("verdict", user="Decide: {{join}}"),
    ...     model="claude-sonnet-4-5",
    ...     inputs=["claim"],
    ... )
    >>> [(node.id, node.depends_on) for node in spec.nodes[2:]]
    [('join', ('pro', 'contra')), ('verdict', ('join',))]
    """
    if join not in _JOINS:
        raise must_be("join", f"one of {', '.join(_JOINS)}", join)
    builder = _begun(nodes, name, model, inputs, max_parallelism)
    builder.node(_JOINS[join](id=join_id, depends_on=builder.node_ids))
    if then is not None:
        builder.node(then).edge(join_id, builder.node_ids[-1])
    return _with_outputs(builder, outputs).build()


def _begun(
    nodes: Iterable[AnyNode | Sequence[AnyNode]],
    name: str | None,
    model: str | None,
    inputs: Iterable[Input | str],
    max_parallelism: int | None = None,
) -> WorkflowBuilder:
    builder = workflow(name, model=model, max_parallelism=max_parallelism)
    for place, declared in enumerate((inputs,) if isinstance(inputs, str) else inputs):
        named = Input(name=declared) if isinstance(declared, str) else declared
        builder.input(**structs.asdict(typed(named, Input, f"inputs[{place}]")))
    return builder.node(*_flat(nodes))


def _with_outputs(builder: WorkflowBuilder, outputs: Mapping[str, str] | None) -> WorkflowBuilder:
    last = builder.node_ids[-1:]
    for name, from_ in (dict(zip(last, last, strict=True)) if outputs is None else outputs).items():
        builder.output(name, from_)
    return builder


def _flat(nodes: Iterable[AnyNode | Sequence[AnyNode]]) -> list[AnyNode]:
    flat: list[AnyNode] = []
    for node in nodes:
        flat += node if isinstance(node, Sequence) else (node,)
    return flat
