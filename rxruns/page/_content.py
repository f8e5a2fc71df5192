"""What the page tells beside the events: the run, its nodes, its costs, as plain JSON values.

Times are milliseconds from the run's first event; money is text as people read it, beside the number that it
is sorted by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from rxruns._display._text import money
from rxruns.costs import CostTotals
from rxruns.events import NodeError
from rxruns.page._columns import milliseconds
from rxruns.state import NodeState, RunState
from rxruns.state._tracks import Attempt, Track


def content(
    state: RunState, tracks: Mapping[str, Track], names: Iterable[str], began: datetime, now: datetime
) -> dict[str, Any]:
    """The run as the page has it, drawn from ``began`` to ``now``; ``names`` are all nodes, in the order in
    which the events number them.
    """
    return {
        "run": {
            "id": None if state.run_id is None else str(state.run_id),
            "status": state.status,
            "plan": state.plan_hash,
            "open": state.final_status is None,
            "began": began.timestamp() * 1000,
            "started": _passed(state.started_at, began),
            "ended": _passed(state.ended_at, began),
            "now": milliseconds(now, began),
            "error": _error(state.error),
            "lastSeq": state.last_seq,
        },
        "nodes": [
            _node(state.nodes.find(name) or NodeState(id=name), tracks.get(name), began) for name in names
        ],
        "costs": _costs(state.costs),
    }


def _passed(at: datetime | None, began: datetime) -> float | None:
    return None if at is None else milliseconds(at, began)


def _error(error: NodeError | None) -> dict[str, str | None] | None:
    return None if error is None else {"message": error.message, "code": error.code}


def _node(node: NodeState, track: Track | None, began: datetime) -> dict[str, Any]:
    costs = track.costs if track is not None else CostTotals()
    return {
        "id": node.id,
        "status": node.status,
        "error": _error(node.error),
        "calls": costs.requests,
        "tokens": costs.total_tokens,
        "cost": money(costs.usd) if costs.requests else "",
        "usd": _number(costs.usd) if costs.requests else -1,
        "attempts": [] if track is None else [_attempt(attempt, began) for attempt in track.attempts],
        "pending": [[tool.tool_call.name, tool.tool_call.arguments] for tool in node.pending_tools],
        "questions": [asked.user_ask.question for asked in node.questions],
    }


def _attempt(attempt: Attempt, began: datetime) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "start": _passed(attempt.started_at, began),
        "seen": milliseconds(attempt.seen_at, began),
        "end": _passed(attempt.ended_at, began),
        "status": attempt.status,
        "error": _error(attempt.error),
        "tokens": attempt.tokens,
        "waits": [[milliseconds(start, began), _passed(end, began)] for start, end in attempt.waits],
    }


def _costs(costs: CostTotals) -> dict[str, Any]:
    return {
        "calls": costs.requests,
        "input": costs.input_tokens,
        "output": costs.output_tokens,
        "tokens": costs.total_tokens,
        "unmetered": costs.unmetered,
        "cost": money(costs.usd),
        "known": costs.usd is not None,
        "lines": [
            {
                "provider": item.provider,
                "model": item.model,
                "calls": item.requests,
                "input": item.input_tokens,
                "output": item.output_tokens,
                "tokens": item.total_tokens,
                "unmetered": item.unmetered,
                "cost": money(item.usd),
                "usd": _number(item.usd),
            }
            for item in costs.line_items
        ],
    }


def _number(usd: Decimal | None) -> float:
    return -1 if usd is None else float(usd)
