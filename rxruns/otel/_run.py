"""One run as spans: its attempts, the parents of fan-out children, and the root span."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rxruns.events import (
    NodeEvent,
    NodeOutputDelta,
    NodeStarted,
    RunCanceled,
    RunEvent,
    RunFailed,
    TerminalEvent,
)
from rxruns.models import RunStatus
from rxruns.otel import _names as names
from rxruns.otel._attempt import OpenAttempt
from rxruns.otel._calls import Options
from rxruns.otel._ids import span_context
from rxruns.otel._making import UNSET, Attributes, failure, nanoseconds, short
from rxruns.otel._sdk import ReadableSpan, SpanContext
from rxruns.state._spans import Attempt, SpanTracker

__all__ = ["OpenRun"]

_SEPARATOR = re.compile(r"[^a-z0-9]")
_REST = re.compile(r"_.+_[0-9]+|[^a-z0-9_].*", re.DOTALL)
"""The part of a child's id after its fan-out's: ``_one_0`` of ``each_one_0``, or another shape, ``[0]``."""

_LONGEST_ID = 256
"""Characters of the longest id that is searched for a fan-out's: the search is quadratic."""


class OpenRun:
    """A run from its first event to its last."""

    def __init__(self, first: RunEvent, options: Options) -> None:
        self._options = options
        self._context = span_context(first.run_id, "run")
        self._began = nanoseconds(first.ts)
        self._last_seq = 0
        self._tracker = SpanTracker(first.run_id)
        self._nodes: dict[str, OpenAttempt] = {}

    def step(self, event: RunEvent) -> list[ReadableSpan]:
        """Take in an event; return the spans that end with it, children first.

        An event that was seen before, by ``seq``, ends none.
        """
        if event.seq <= self._last_seq:
            return []
        self._last_seq = event.seq
        if isinstance(event, NodeEvent):
            return self._node_event(event)
        return self._end(event) if isinstance(event, TerminalEvent) else []

    def _node_event(self, event: NodeEvent) -> list[ReadableSpan]:
        node = self._nodes.get(event.node_id)
        if node is not None and isinstance(event, NodeOutputDelta):
            node.add_text(event.delta.text_delta)
            return []
        changed = self._tracker.step(event)
        if isinstance(event, NodeStarted):
            *cut, begun = changed
            spans = self._ended(cut, event)
            if node is not None:  # calls that followed its end
                spans += node.abandon(nanoseconds(event.ts), event.seq)
            self._begin(begun)
            return spans
        if node is None:  # its start is missing in the log
            node = self._begin(changed[0] if changed else self._open(event.node_id))
            if isinstance(event, NodeOutputDelta):
                node.add_text(event.delta.text_delta)
        return [*node.step(event), *self._ended(changed, event)]

    def _open(self, node_id: str) -> Attempt:
        attempt = self._tracker.open_attempt(node_id)
        assert attempt is not None, "an attempt begins with any event of its node"
        return attempt

    def _begin(self, attempt: Attempt) -> OpenAttempt:
        node_id = attempt.node.id
        node = self._nodes[node_id] = OpenAttempt(attempt, self._parent_of(node_id), self._options)
        return node

    def _parent_of(self, node_id: str) -> SpanContext:
        """Return the ids of the fan-out in progress that the node is a child of, or of the root.

        Events don't name the fan-out, but ids of children begin with its id.
        """
        if len(node_id) <= _LONGEST_ID:
            for separator in reversed([*_SEPARATOR.finditer(node_id)]):
                place = separator.start()
                fan_out = self._nodes.get(node_id[:place])
                if fan_out is None or fan_out.is_busy or not _REST.fullmatch(node_id, place):
                    continue
                if self._tracker.open_attempt(fan_out.owner.node_id) is not None:
                    return fan_out.owner.context
        return self._context

    def _ended(self, attempts: Iterable[Attempt], event: RunEvent) -> list[ReadableSpan]:
        return [
            span
            for attempt in attempts
            if attempt.node.ended_at is not None
            for span in self._nodes[attempt.node.id].end(attempt, event.seq)
        ]

    def _end(self, event: TerminalEvent) -> list[ReadableSpan]:
        end = nanoseconds(event.ts)
        spans = self._ended(self._tracker.end(event.ts), event)
        for node in self._nodes.values():
            spans += node.abandon(end, event.seq)
        return [*spans, self._root(event, end)]

    def _root(self, event: TerminalEvent, end: int) -> ReadableSpan:
        attributes: Attributes = {
            names.RUN_ID: str(event.run_id),
            names.SEQ: event.seq,
            names.OPERATION: names.INVOKE_WORKFLOW,
            names.KIND: names.CHAIN,
            names.PLAN_HASH: event.plan_hash,
            names.STATUS: RunStatus.SUCCEEDED.value,
        }
        workflow, status = self._options.name, UNSET
        if workflow:
            attributes[names.WORKFLOW] = short(workflow)
        if isinstance(event, RunFailed | RunCanceled):
            ended = RunStatus.FAILED if isinstance(event, RunFailed) else RunStatus.CANCELED
            attributes[names.STATUS] = ended.value
            status, attributes[names.ERROR_TYPE] = failure(event.error, ended.value)
        name = f"{names.INVOKE_WORKFLOW} {workflow}" if workflow else names.INVOKE_WORKFLOW
        return self._options.maker.span(
            self._context, None, name, (self._began, end), attributes, status=status
        )
