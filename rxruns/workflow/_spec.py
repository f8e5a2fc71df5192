"""The whole spec, which is checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import structs

from rxruns._errors import InvalidArgumentError, must_be
from rxruns.workflow._check import check_nodes, check_outputs, typed
from rxruns.workflow._nodes import AnyNode, Filled, Input, LLMNode, MapFanoutNode, Output, Part, Positive


class WorkflowSpec(Part, frozen=True, kw_only=True, tag_field="kind", tag="workflow"):
    """A workflow that the service can compile: checked when it is made, and unchangeable.

    Lists become tuples, and parts may be given as plain dicts. :func:`workflow`, :func:`chain` and
    :func:`parallel` build one.

    Args:
        name: what people call it.
        model: the default model of the llm nodes. It is written into each that has none, since the service
            does not look for it here.
        max_parallelism: the maximum number of nodes that run at once.
        inputs: the inputs of a run.
        nodes: at least one.
        outputs: at least one.

    Raises:
        InvalidArgumentError: names the node and the mistake; ``.field`` is the place, such as
            ``"nodes[2].depends_on"``.

    >>> WorkflowSpec(
    ...     nodes=[{"id": "draft", "type": "llm", "model": "claude-sonnet-4-5", "user": "Hello"}],
    ...     outputs=[Output(name="text", from_="edit")],
    ... )
    Traceback (most recent call last):
    rxruns.errors.InvalidArgumentError: outputs[0].from: output 'text' refers to 'edit', which isn't a node; \
the nodes are draft
    """

    name: Filled | None = None
    model: Filled | None = None
    max_parallelism: Positive | None = None
    inputs: tuple[Input, ...] = ()
    nodes: tuple[AnyNode, ...]
    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        for name, expected in _SCALARS.items():
            if (value := getattr(self, name)) is not None:
                structs.force_setattr(self, name, typed(value, expected, name))
        for name, part in _PARTS.items():
            members = typed(getattr(self, name), list[Any], name)
            parts = (typed(value, part, f"{name}[{place}]") for place, value in enumerate(members))
            structs.force_setattr(self, name, tuple(parts))
        if self.model is not None:
            structs.force_setattr(self, "nodes", tuple(_with_model(node, self.model) for node in self.nodes))
        check_nodes(self.nodes, self.inputs)
        check_outputs(self.outputs, [node.id for node in self.nodes])

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as the JSON object that is sent, without absent fields.

        >>> from rxruns.workflow import LLMNode
        >>> WorkflowSpec(
        ...     nodes=(LLMNode(id="draft", user="Hello"),), outputs=(Output(name="text", from_="draft"),)
        ... ).to_dict()["nodes"]
        [{'type': 'llm', 'id': 'draft', 'user': 'Hello'}]
        """
        plain: dict[str, Any] = _lists(msgspec.to_builtins(self))
        return plain

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> WorkflowSpec:
        """Make a checked spec of a plain dict, such as a file's; ``from_dict(spec.to_dict()) == spec``.

        Raises:
            InvalidArgumentError: a field is missing, unknown or of the wrong type, or the workflow is
                invalid.

        >>> WorkflowSpec.from_dict({"kind": "workflow", "nodes": [{"id": "a", "type": "lmm"}], "outputs": []})
        Traceback (most recent call last):
        rxruns.errors.InvalidArgumentError: nodes[0].type: Invalid value 'lmm'
        """
        if not isinstance(record, Mapping):
            raise must_be("spec", "an object", record)
        fields = dict(record)
        if (kind := fields.pop("kind", None)) != "workflow":
            raise must_be("kind", "'workflow'", kind)
        for name in fields.keys() - cls.__struct_fields__:
            raise InvalidArgumentError(f"{name}: a spec has no such field", field=name)
        # A missing list counts as empty: the checks name what to add.
        return cls(nodes=fields.pop("nodes", ()), outputs=fields.pop("outputs", ()), **fields)


_SCALARS: dict[str, Any] = {"name": Filled, "model": Filled, "max_parallelism": Positive}
_PARTS: dict[str, Any] = {"inputs": Input, "nodes": AnyNode, "outputs": Output}


def _with_model(node: AnyNode, model: str) -> AnyNode:
    match node:
        case LLMNode(model=None):
            return structs.replace(node, model=model)
        case MapFanoutNode():
            return structs.replace(node, subnode=_with_model(node.subnode, model))
        case _:
            return node


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(member) for key, member in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_lists(item) for item in cast("list[Any]", value)]
    return value
