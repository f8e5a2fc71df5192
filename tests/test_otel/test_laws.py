"""Laws of ``otel.spans``, for any run: each span once, equal however and whenever its events are read."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import reactivex
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from rxruns import CostTotals, costs, ops
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeToolCall, NodeUserAsk, RunEvent
from rxruns.otel import _names as names
from rxruns.otel._making import nanoseconds
from rxruns.state import NodeSpan
from rxruns.testing import RunLog, events
from tests.exporting import spans_of, texts

STEPS: list[Callable[[RunLog, int], RunLog]] = [
    lambda log, number: log.node("each"),
    lambda log, number: log.node(f"each_one_{number}"),
    lambda log, number: log.node("draft"),
    lambda log, number: log.text("piece"),
    lambda log, number: log.llm_call(input_tokens=number, output_tokens=7 * number),
    lambda log, number: log.llm_call(None, None),
    lambda log, number: log.tool_call("add"),
    lambda log, number: log.waits(),
    lambda log, number: log.tool_result("3"),
    lambda log, number: log.asks("Which one?"),
    lambda log, number: log.answers("this"),
    lambda log, number: log.node_succeeds(),
    lambda log, number: log.node_fails(),
]
ENDS: list[Callable[[RunLog], RunLog]] = [RunLog.succeeds, RunLog.fails, RunLog.is_canceled]


@st.composite
def runs(draw: st.DrawFn, number: int = 1) -> RunLog:
    """A run that has ended, with nodes that take turns, fail, start again and leave calls unanswered."""
    log = events.run(UUID(int=number)).node("draft")
    for step, of in draw(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=30)):
        try:
            log = step(log, of)
        except InvalidArgumentError:  # the step doesn't fit here
            continue
    return draw(st.sampled_from(ENDS))(log)


@st.composite
def merged_runs(draw: st.DrawFn) -> tuple[list[RunLog], list[RunEvent]]:
    """Some runs, and their events in any order that keeps each run's."""
    logs = [draw(runs(number)) for number in range(1, 4)]
    turns = draw(st.permutations([place for place, log in enumerate(logs) for _ in log]))
    left = [iter(log) for log in logs]
    return logs, [next(left[place]) for place in turns]


@given(merged_runs(), st.booleans())
def test_spans_of_merged_runs_are_those_of_each_run_alone(
    merged: tuple[list[RunLog], list[RunEvent]], content: bool
) -> None:
    logs, interleaved = merged
    alone = [span for log in logs for span in spans_of(log, content=content)]

    assert texts(alone) == texts(spans_of(interleaved, content=content))


@given(runs())
def test_each_span_has_an_id_of_its_own_and_a_parent_of_the_same_run(log: RunLog) -> None:
    found = spans_of(log)

    ids = [span.context.span_id for span in found]
    assert len(ids) == len({*ids})
    assert {log.run_id.int} == {span.context.trace_id for span in found}
    parents = {span.parent.span_id for span in found if span.parent is not None}
    assert set() == parents - {*ids}
    assert [found[-1]] == [span for span in found if span.parent is None]


@given(runs(), st.data())
def test_spans_of_an_unfinished_run_are_the_first_of_the_whole_run(log: RunLog, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    whole, part = spans_of(log), spans_of(log[:cut])

    assert [span.to_json() for span in whole[: len(part)]] == [span.to_json() for span in part]


@given(runs())
def test_each_attempt_of_a_node_has_one_span_with_its_times_and_status(log: RunLog) -> None:
    attempts: list[NodeSpan] = reactivex.from_iterable(log).pipe(ops.node_spans(), ops.to_list()).run()
    found = [
        (
            (span.attributes or {})[names.NODE_ID],
            (span.attributes or {})[names.ATTEMPT],
            (span.attributes or {})[names.STATUS],
            span.start_time,
            span.end_time,
        )
        for span in spans_of(log)[:-1]
        if names.OPERATION not in (span.attributes or {})
    ]

    assert [
        (one.node_id, one.attempt, one.status, nanoseconds(one.started_at), nanoseconds(one.ended_at))
        for one in attempts
        if one.started_at is not None and one.ended_at is not None
    ] == found


@given(runs())
def test_the_tokens_of_the_spans_are_those_of_the_run(log: RunLog) -> None:
    totals: CostTotals = costs.fold(log)
    calls = [span.attributes or {} for span in spans_of(log) if span.kind is SpanKind.CLIENT]

    def total(name: str) -> int:
        return sum(int(str(call.get(name, 0))) for call in calls)

    assert (totals.requests, totals.input_tokens, totals.output_tokens, totals.total_tokens) == (
        len(calls),
        total(names.INPUT_TOKENS),
        total(names.OUTPUT_TOKENS),
        total(names.TOTAL_TOKENS),
    )


@given(runs())
def test_each_tool_call_and_each_question_has_one_span(log: RunLog) -> None:
    calls = [event.tool_call for event in log if isinstance(event, NodeToolCall)]
    questions = [event.user_ask for event in log if isinstance(event, NodeUserAsk)]
    # A result without a call in its attempt has a span of its own, whose start is an estimate.
    tools = [span.attributes or {} for span in spans_of(log)]
    tools = [tool for tool in tools if names.START_ESTIMATED not in tool]

    assert sorted([call.tool_call.id for call in calls] + [ask.tool_call.id for ask in questions]) == sorted(
        str(tool[names.TOOL_CALL_ID]) for tool in tools if tool.get(names.OPERATION) == names.EXECUTE_TOOL
    )
