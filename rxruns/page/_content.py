"""The page's data apart from the events: the run, its nodes and its costs, as plain JSON values.

Times are milliseconds from the run's first event. Money is formatted text, beside the number to sort by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rxruns._display._text import MARKS, money
from rxruns.costs import CostLineItem, CostTotals
from rxruns.events import NodeError
from rxruns.page._columns import milliseconds
from rxruns.state import NodeState
from rxruns.state._nodes import summary
from rxruns.state._spans import Attempt, RunHistory


def content(run: RunHistory, names: Iterable[str], began: datetime, now: datetime) -> dict[str, Any]:
    """Return the run as the page shows it, from ``began`` to ``now``.

    ``names`` are all nodes, in the order in which the event columns number them.
    """
    state, attempts = run.state, run.attempts()
    return {
        "marks": MARKS,
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
            _node(
                state.nodes.find(name) or NodeState(id=name), run.costs(name), attempts.get(name, ()), began
            )
            for name in names
        ],
        "costs": _costs(state.costs),
    }


def _passed(at: datetime | None, began: datetime) -> float | None:
    return None if at is None else milliseconds(at, began)


def _error(error: NodeError | None) -> dict[str, str | None] | None:
    return None if error is None else {"message": error.message, "code": error.code}


def _node(node: NodeState, costs: CostTotals, attempts: Sequence[Attempt], began: datetime) -> dict[str, Any]:
    return {
        "id": node.id,
        "status": node.status,
        "error": _error(node.error),
        "calls": costs.requests,
        "tokens": costs.total_tokens,
        "cost": money(costs.usd) if costs.requests else "",
        "usd": _number(costs.usd) if costs.requests else -1,
        "attempts": [_attempt(attempt, began) for attempt in attempts],
        "summary": summary(node),
        "pending": [[tool.tool_call.name, tool.tool_call.arguments] for tool in node.pending_tools],
        "questions": [question.user_ask.question for question in node.questions],
    }


def _attempt(attempt: Attempt, began: datetime) -> dict[str, Any]:
    node = attempt.node
    return {
        "number": node.attempt,
        "start": _passed(node.started_at, began),
        "seen": milliseconds(attempt.seen_at, began),
        "end": _passed(node.ended_at, began),
        "status": node.status,
        "error": _error(node.error),
        "tokens": attempt.tokens,
        "waits": [[milliseconds(start, began), _passed(end, began)] for start, end in attempt.waits],
    }


def _costs(costs: CostTotals) -> dict[str, Any]:
    return _figures(costs) | {
        "known": costs.usd is not None,
        "lines": [
            _figures(item) | {"provider": item.provider, "model": item.model, "usd": _number(item.usd)}
            for item in costs.line_items
        ],
    }


def _figures(costs: CostTotals | CostLineItem) -> dict[str, Any]:
    return {
        "calls": costs.requests,
        "input": costs.input_tokens,
        "output": costs.output_tokens,
        "tokens": costs.total_tokens,
        "unmetered": costs.unmetered,
        "cost": money(costs.usd),
    }


def _number(usd: Decimal | None) -> float:
    return -1 if usd is None else float(usd)
