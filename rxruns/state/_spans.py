"""The spans of a run's nodes while it goes on: what ``ops.node_spans`` and a fold of spans have in common."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from rxruns.events import (
    NodeEvent,
    NodeFailed,
    NodeLLMCall,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
)
from rxruns.state import NodeSpan, NodeState

__all__ = ["OpenSpans"]


class OpenSpans:
    """The spans of one run that have no end yet, and how often each node has started."""

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id
        self._open: dict[str, tuple[NodeState, int]] = {}
        self._attempts: dict[str, int] = {}

    def copy(self) -> OpenSpans:
        """Another one that goes on by itself."""
        spans = OpenSpans(self._run_id)
        spans._open, spans._attempts = self._open.copy(), self._attempts.copy()
        return spans

    def ignores(self, event: NodeEvent) -> bool:
        """Whether the event neither begins, ends nor changes a span."""
        started = event.node_id in self._attempts
        if isinstance(event, NodeOutputDelta):
            return started  # the most frequent of all, and of no use here
        # What comes after a node's end belongs to no span.
        return started and event.node_id not in self._open and not isinstance(event, NodeStarted)

    def step(self, event: NodeEvent) -> tuple[NodeSpan, ...]:
        """What begins or ends with this event."""
        node_id = event.node_id
        if isinstance(event, NodeStarted):
            return self._start(event)
        if self.ignores(event):
            return ()
        node, tokens = self._open.get(node_id) or (NodeState(id=node_id, attempt=1), 0)
        self._attempts[node_id] = node.attempt
        node = node.step_to(event)
        tokens += _tokens(event) if isinstance(event, NodeLLMCall) else 0
        if not isinstance(event, (NodeSucceeded, NodeFailed)):
            self._open[node_id] = node, tokens
            return ()
        self._open.pop(node_id, None)
        return (self._span(node, tokens),)

    def end(self, ts: datetime | None = None) -> list[NodeSpan]:
        """What is open: as it is, or as the end of the run at ``ts`` leaves it."""
        return [
            self._span(node if ts is None else node.at_run_end(ts), tokens)
            for node, tokens in self._open.values()
        ]

    def _start(self, event: NodeStarted) -> tuple[NodeSpan, ...]:
        node_id = event.node_id
        cut = self._open.pop(node_id, None)
        attempt = self._attempts[node_id] = self._attempts.get(node_id, 0) + 1
        node = NodeState(id=node_id, attempt=attempt, started_at=event.ts)
        self._open[node_id] = node, 0
        begun = self._span(node, 0)
        return (begun,) if cut is None else (self._span(cut[0].at_run_end(event.ts), cut[1]), begun)

    def _span(self, node: NodeState, tokens: int) -> NodeSpan:
        return NodeSpan(
            run_id=self._run_id,
            node_id=node.id,
            attempt=node.attempt,
            started_at=node.started_at,
            ended_at=node.ended_at,
            status=node.status,
            error=node.error,
            tokens=tokens,
        )


def _tokens(event: NodeLLMCall) -> int:
    usage = event.llm_call.usage
    if usage is None:
        return 0
    if usage.total_tokens is not None:
        return usage.total_tokens
    return (usage.input_tokens or 0) + (usage.output_tokens or 0)
