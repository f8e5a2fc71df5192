"""The order of nodes: each waits for the nodes that it depends on, and for those that it reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import structs

from rxruns.workflow._nodes import AnyNode, reads


def waits_for(node: AnyNode, ids: Collection[str]) -> list[str]:
    """Return the nodes that must end before this one: those it depends on, then those it only reads."""
    return list(dict.fromkeys([*node.depends_on, *(name for _, name in reads(node) if name in ids)]))


def with_implied_edges(nodes: Sequence[AnyNode]) -> tuple[AnyNode, ...]:
    """Add an edge from each node that a node reads, unless it waits for that already through others.

    So a node that reads a branch behind a ``join.any`` waits only for the join.
    """
    edges = {node.id: node.depends_on for node in nodes}
    whole: list[AnyNode] = []
    for node in nodes:
        earlier = _ancestors(node.id, edges)
        more = [name for name in waits_for(node, edges) if name not in earlier and name != node.id]
        whole.append(structs.replace(node, depends_on=(*node.depends_on, *more)))
    return tuple(whole)


def _ancestors(name: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(edges[name])
    while pending:
        if (earlier := pending.pop()) not in found:
            found.add(earlier)
            pending += edges.get(earlier, ())
    return found
