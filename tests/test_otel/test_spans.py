"""``otel.spans``: the tree, times, attributes and status of each span, and what hostile events can't do."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import opentelemetry.semconv._incubating.attributes.gen_ai_attributes as conventions
import pytest
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, StatusCode
from reactivex.subject import Subject

from rxruns import Price, errors, otel
from rxruns.events import NodeToolCall, RunEvent, ToolCallRequest
from rxruns.otel import _names as names
from rxruns.otel._content import CONTENT_LENGTH
from rxruns.otel._making import nanoseconds
from rxruns.otel._run import OpenRun
from rxruns.testing import events
from tests.exporting import named, spans_of, texts
from tests.making import (
    NOON,
    delta,
    in_turn,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_completed,
    run_started,
    tokens,
    unknown,
)
from tests.waiting import tool_call, tool_result, waiting

SECOND = 1_000_000_000
PRICES = {("openai", "gpt-5"): Price(1, 10)}
LONG = "x" * 2_000_000


def at(seconds: float) -> int:
    """The nanoseconds of an event of a log that starts at its default time."""
    return nanoseconds(events.START + timedelta(seconds=seconds))


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def tree(spans: list[ReadableSpan]) -> list[str]:
    """The names of spans, indented below their parents; a span without its parent is missing."""

    def below(parent: int | None, depth: int) -> list[str]:
        return [
            line
            for span in spans
            if (span.parent.span_id if span.parent else None) == parent
            for line in ["  " * depth + span.name, *below(span.context.span_id, depth + 1)]
        ]

    return below(None, 0)


class TestTree:
    def test_calls_are_under_their_node_and_nodes_under_the_run(self) -> None:
        log = events.run().node("draft").llm_call("gpt-5").tool_call("add").tool_result("3").llm_call("gpt-4")
        found = spans_of(log.node("edit").llm_call("claude", "anthropic").succeeds(), name="report")

        assert [
            "invoke_workflow report",
            "  draft",
            "    chat gpt-5",
            "    execute_tool add",
            "    chat gpt-4",
            "  edit",
            "    chat claude",
        ] == tree(found)

    def test_the_trace_id_is_the_id_of_the_run(self) -> None:
        found = spans_of(events.run().node("draft").llm_call().succeeds())

        assert {events.RUN_ID.int} == {span.context.trace_id for span in found}
        assert all(span.context.is_valid and span.context.trace_flags.sampled for span in found)

    def test_a_node_that_starts_again_has_a_span_for_each_attempt(self) -> None:
        log = events.run().node("draft").llm_call().node_fails().node("draft").llm_call().succeeds()
        found = spans_of(log)

        attempts = [
            (attributes_of(span)[names.ATTEMPT], attributes_of(span)[names.STATUS])
            for span in found
            if span.name == "draft"
        ]
        assert [(1, "failed"), (2, "succeeded")] == attempts
        assert ["invoke_workflow", "  draft", "    chat gpt-5", "  draft", "    chat gpt-5"] == tree(found)

    def test_a_start_while_the_node_is_open_cancels_its_attempt(self) -> None:
        found = spans_of(
            in_turn(run_started(), node_started(), tool_call(3), node_started(), run_completed())
        )

        assert ["canceled", "canceled"] == [
            attributes_of(span)[names.STATUS] for span in found if span.name == "draft"
        ]
        assert named(found, "execute_tool add").end_time == named(found[:2], "draft").end_time

    @pytest.mark.parametrize("child", ["each_one_0", "each_one_17", "each[0]", "each.one.3", "each/one"])
    def test_children_of_a_fan_out_are_under_it(self, child: str) -> None:
        started = in_turn(
            run_started(), node_started("each"), node_started(child), node_succeeded(child),
            node_succeeded("each"), run_completed(),
        )  # fmt: skip

        assert ["invoke_workflow", "  each", f"    {child}"] == tree(spans_of(started))

    def test_a_node_that_calls_models_writes_or_has_ended_has_no_children(self) -> None:
        log = events.run().node("draft").llm_call().node("draft_v_2").node("text").text("Hi").node("text_v_2")
        log = log.node("plan").node_succeeds().node("plan_b_1").node("other").node("other_2")

        nodes = ["draft", "draft_v_2", "text", "text_v_2", "plan_b_1", "other", "other_2", "plan"]
        assert {f"  {node}" for node in nodes} == {
            line for line in tree(spans_of(log.succeeds())) if "chat" not in line and "invoke" not in line
        }

    def test_fan_outs_nest(self) -> None:
        log = events.run().node("a").node("a_b_0").node("a_b_0_c_1").llm_call().succeeds()

        assert ["invoke_workflow", "  a", "    a_b_0", "      a_b_0_c_1", "        chat gpt-5"] == tree(
            spans_of(log)
        )

    def test_the_children_of_a_span_are_emitted_before_it(self) -> None:
        log = events.run().node("draft").tool_call("add").is_canceled()

        assert ["execute_tool add", "draft", "invoke_workflow"] == [span.name for span in spans_of(log)]


class TestTimes:
    def test_times_are_those_of_the_events_to_the_nanosecond(self) -> None:
        log = events.run(every=0.000001).node("draft").tool_call("add").tool_result("3").succeeds()
        found = spans_of(log)

        assert [
            ("execute_tool add", at(0.000003), at(0.000004)),
            ("draft", at(0.000002), at(0.000005)),
            ("invoke_workflow", at(0), at(0.000006)),
        ] == [(span.name, span.start_time, span.end_time) for span in found]

    def test_a_model_call_starts_at_the_end_of_the_step_before_and_says_that_it_is_an_estimate(self) -> None:
        log = events.run(every=1).node("draft").llm_call("first").tool_call("add").waits().tool_result("3")
        log = log.llm_call("second").llm_call("third").succeeds()
        found = spans_of(log)

        assert [("first", 2, 3), ("second", 6, 7), ("third", 7, 8)] == [
            (
                span.name.removeprefix("chat "),
                *((int(t or 0) - at(0)) // SECOND for t in (span.start_time, span.end_time)),
            )
            for span in found
            if span.kind is SpanKind.CLIENT
        ]
        estimated = {span.name for span in found if attributes_of(span).get(names.START_ESTIMATED)}
        assert {"chat first", "chat second", "chat third"} == estimated

    def test_an_answer_of_a_person_is_a_step_too(self) -> None:
        log = events.run(every=1).node("draft").asks("ok?").waits().answers("yes").llm_call().succeeds()

        assert at(5) == named(spans_of(log), "chat gpt-5").start_time

    def test_time_zones_make_no_difference(self) -> None:
        log = events.run(start=datetime.fromisoformat("2026-01-31T14:00:00+02:00")).node("draft").succeeds()

        assert texts(spans_of(events.run().node("draft").succeeds())) == texts(spans_of(log))

    def test_a_span_never_ends_before_its_start(self) -> None:
        log = in_turn(
            run_started(), node_started(), tool_call(3), tool_result(4), llm_call(), node_succeeded(),
            run_completed(),
        )  # fmt: skip
        backwards = [replace(event, ts=NOON - timedelta(hours=event.seq)) for event in log]

        assert [] == [
            span.name for span in spans_of(backwards) if (span.start_time or 0) > (span.end_time or 0)
        ]

    @pytest.mark.parametrize(
        "ts",
        [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
        ids=["year 1", "year 9999"],
    )
    def test_times_that_otlp_has_no_number_for_are_moved_to_its_first_or_last(self, ts: datetime) -> None:
        log = [replace(event, ts=ts) for event in events.run().node("draft").llm_call().succeeds()]

        assert encode_spans(spans_of(log)).ByteSize()

    @pytest.mark.parametrize("first", [delta(), llm_call(), waiting(3)])
    def test_a_node_whose_start_is_missing_starts_at_its_first_event_as_an_estimate(
        self, first: RunEvent
    ) -> None:
        found = spans_of(in_turn(run_started(), first, llm_call(), node_succeeded(), run_completed()))

        draft = named(found, "draft")
        assert (nanoseconds(NOON) + SECOND, True) == (
            draft.start_time,
            attributes_of(draft)[names.START_ESTIMATED],
        )


class TestAttributes:
    def test_a_model_call_has_the_attributes_of_the_conventions(self) -> None:
        log = events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=1000, output_tokens=200)
        chat = named(spans_of(log.succeeds(), prices=PRICES), "chat gpt-5")

        assert SpanKind.CLIENT is chat.kind
        assert {
            conventions.GEN_AI_OPERATION_NAME: "chat",
            conventions.GEN_AI_PROVIDER_NAME: "openai",
            conventions.GEN_AI_REQUEST_MODEL: "gpt-5",
            conventions.GEN_AI_USAGE_INPUT_TOKENS: 1000,
            conventions.GEN_AI_USAGE_OUTPUT_TOKENS: 200,
            "gen_ai.usage.cost": 0.003,
            "rxruns.total_tokens": 1200,
            "rxruns.run_id": str(events.RUN_ID),
            "rxruns.node_id": "draft",
            "rxruns.attempt": 1,
            "rxruns.seq": 4,
            "rxruns.step": 0,
            "rxruns.request_id": str(log[3].llm_call.request_id),  # type: ignore[attr-defined]
            "rxruns.start_estimated": True,
        } == attributes_of(chat)

    def test_the_response_of_a_model_call_is_named(self) -> None:
        call = replace(llm_call().llm_call, response_id="resp_1", stop_reason="stop", provider=None)
        log = in_turn(run_started(), node_started(), replace(llm_call(), llm_call=call), run_completed())
        found = attributes_of(named(spans_of(log), "chat gpt-5"))

        assert ("resp_1", ("stop",)) == (
            found[conventions.GEN_AI_RESPONSE_ID],
            found[conventions.GEN_AI_RESPONSE_FINISH_REASONS],
        )
        assert conventions.GEN_AI_PROVIDER_NAME not in found

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            (None, {}),
            (tokens(), {}),
            (tokens(5), {names.INPUT_TOKENS: 5, names.TOTAL_TOKENS: 5, names.COST: 0.000005}),
            (tokens(total=9), {names.TOTAL_TOKENS: 9}),
            (
                tokens(0, 0),
                {names.INPUT_TOKENS: 0, names.OUTPUT_TOKENS: 0, names.TOTAL_TOKENS: 0, names.COST: 0},
            ),
        ],
    )
    def test_tokens_and_cost_are_exported_as_far_as_they_are_known(
        self, usage: Any, expected: dict[str, Any]
    ) -> None:
        log = in_turn(run_started(), node_started(), llm_call(usage=usage), run_completed())
        found = attributes_of(named(spans_of(log, prices=PRICES), "chat gpt-5"))

        metered = (names.INPUT_TOKENS, names.OUTPUT_TOKENS, names.TOTAL_TOKENS, names.COST)
        assert expected == {name: found[name] for name in metered if name in found}

    def test_a_model_without_a_price_or_a_name_has_no_cost(self) -> None:
        calls = [llm_call(model="gpt-9", usage=tokens(5)), llm_call(None, None, usage=tokens(5))]
        found = spans_of(in_turn(run_started(), node_started(), *calls, run_completed()), prices=PRICES)

        assert ["chat gpt-9", "chat"] == [
            span.name for span in found if names.COST not in attributes_of(span)
        ][:2]

    def test_tokens_are_on_model_calls_alone_so_that_sums_count_them_once(self) -> None:
        found = spans_of(events.run().node("draft").llm_call(input_tokens=7).succeeds())

        assert ["chat gpt-5"] == [span.name for span in found if names.INPUT_TOKENS in attributes_of(span)]

    def test_a_tool_call_has_the_attributes_of_the_conventions(self) -> None:
        log = events.run().node("draft").llm_call().tool_call("add", {"a": 1}).tool_result("3").succeeds()
        tool = named(spans_of(log), "execute_tool add")

        assert SpanKind.INTERNAL is tool.kind
        assert {
            conventions.GEN_AI_OPERATION_NAME: "execute_tool",
            conventions.GEN_AI_TOOL_NAME: "add",
            conventions.GEN_AI_TOOL_TYPE: "function",
            conventions.GEN_AI_TOOL_CALL_ID: "call_1",
            "rxruns.run_id": str(events.RUN_ID),
            "rxruns.node_id": "draft",
            "rxruns.attempt": 1,
            "rxruns.seq": 6,
            "rxruns.step": 0,
            "rxruns.request_id": str(log[4].tool_call.request_id),  # type: ignore[attr-defined]
        } == attributes_of(tool)

    def test_the_root_names_run_plan_and_workflow(self) -> None:
        root = named(spans_of(events.run().succeeds(), name="report"), "invoke_workflow report")

        assert {
            conventions.GEN_AI_OPERATION_NAME: "invoke_workflow",
            conventions.GEN_AI_WORKFLOW_NAME: "report",
            "openinference.span.kind": "CHAIN",
            "rxruns.run_id": str(events.RUN_ID),
            "rxruns.plan_hash": events.run().plan_hash,
            "rxruns.status": "succeeded",
            "rxruns.seq": 3,
        } == attributes_of(root)

    def test_each_span_of_a_node_names_run_node_and_attempt(self) -> None:
        log = events.run().node("draft").llm_call().tool_call("add").tool_result("3").succeeds()

        for span in spans_of(log)[:-1]:
            found = attributes_of(span)
            assert (str(log.run_id), "draft", 1) == tuple(
                found[name] for name in (names.RUN_ID, names.NODE_ID, names.ATTEMPT)
            )

    def test_names_that_look_like_the_conventions_are_those_of_the_conventions(self) -> None:
        known = {value for name, value in vars(conventions).items() if name.startswith("GEN_AI_")}
        ours = {
            value for value in vars(names).values() if isinstance(value, str) and value.startswith("gen_ai.")
        }

        assert {names.COST} == ours - known
        assert ERROR_TYPE == names.ERROR_TYPE

    def test_waits_and_questions_are_events_of_the_node(self) -> None:
        log = events.run(every=1).node("draft").asks("Which one?", "a", "b").waits().answers("a").succeeds()
        draft = named(spans_of(log), "draft")

        assert [
            ("rxruns.user_ask", at(3), {"gen_ai.tool.call.id": "call_1"}),
            ("rxruns.waiting", at(4), {"rxruns.reason": "tool_results", "rxruns.tools": ("user_ask",)}),
            ("rxruns.user_answer", at(5), {"gen_ai.tool.call.id": "call_1"}),
        ] == [(event.name, event.timestamp, dict(event.attributes or {})) for event in draft.events]

    def test_the_service_is_rxruns_unless_the_environment_names_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = events.run().succeeds()
        (ours,) = spans_of(log)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "reports")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        (theirs,) = spans_of(log)

        assert {"service.name": "rxruns"} == dict(ours.resource.attributes)
        assert {"service.name": "reports", "deployment.environment.name": "test"} == dict(
            theirs.resource.attributes
        )

    def test_the_scope_names_the_version_of_the_conventions(self) -> None:
        (root,) = spans_of(events.run().succeeds())

        assert root.instrumentation_scope is not None
        assert ("rxruns", "https://opentelemetry.io/schemas/1.41.0") == (
            root.instrumentation_scope.name,
            root.instrumentation_scope.schema_url,
        )


class TestStatus:
    def test_a_failure_has_its_type_and_message(self) -> None:
        found = spans_of(events.run().node("draft").fails("no model", code="MODEL_GONE"))

        for span in (named(found, "draft"), named(found, "invoke_workflow")):
            assert (StatusCode.ERROR, "no model") == (span.status.status_code, span.status.description)
            assert "MODEL_GONE" == attributes_of(span)[ERROR_TYPE]

    def test_a_failure_without_a_code_is_of_another_type(self) -> None:
        found = spans_of(in_turn(run_started(), node_started(), node_failed(), run_completed()))

        assert "_OTHER" == attributes_of(named(found, "draft"))[ERROR_TYPE]

    def test_a_canceled_run_is_an_error_and_its_open_nodes_are_canceled(self) -> None:
        found = spans_of(events.run().node("draft").is_canceled("by its owner"))
        draft, root = named(found, "draft"), named(found, "invoke_workflow")

        assert ("canceled", StatusCode.UNSET) == (
            attributes_of(draft)[names.STATUS],
            draft.status.status_code,
        )
        assert ("canceled", StatusCode.ERROR, "by its owner") == (
            attributes_of(root)[ERROR_TYPE],
            root.status.status_code,
            root.status.description,
        )

    def test_a_success_leaves_the_status_unset_as_the_conventions_ask_for(self) -> None:
        found = spans_of(events.run().node("draft").llm_call().succeeds())

        assert {StatusCode.UNSET} == {span.status.status_code for span in found}

    def test_a_tool_that_fails_is_an_error(self) -> None:
        log = events.run().node("draft").tool_call("add").tool_result("", error="no numbers").succeeds()
        tool = named(spans_of(log), "execute_tool add")

        assert (StatusCode.ERROR, "no numbers") == (tool.status.status_code, tool.status.description)
        assert "_OTHER" == attributes_of(tool)[ERROR_TYPE]


class TestContent:
    LOG = (
        events.run().node("draft").text("Let me ", "see").llm_call().tool_call("add", {"secret": 1})
        .tool_result("secret 3").asks("secret?", "secret yes").waits().answers("secret no").text("secret end")
        .llm_call().succeeds()
    )  # fmt: skip

    def test_no_text_of_a_model_a_tool_or_a_person_is_exported_by_default(self) -> None:
        assert [] == [text for text in texts(spans_of(self.LOG)) if "secret" in text or "Let me" in text]

    def test_texts_are_exported_on_request(self) -> None:
        found = spans_of(self.LOG, content=True)

        tool = attributes_of(named(found, "execute_tool add"))
        assert ('{"secret":1}', "secret 3") == (tool[names.TOOL_ARGUMENTS], tool[names.TOOL_RESULT])
        draft = named(found, "draft")
        assert "Let me seesecret end" == attributes_of(draft)[names.TEXT]
        ask, _, answer = [dict(event.attributes or {}) for event in draft.events]
        assert ("secret?", ("secret yes",)) == (ask[names.QUESTION], ask[names.OPTIONS])
        assert "secret no" == answer[names.ANSWER]

    def test_each_model_call_has_the_text_since_the_one_before(self) -> None:
        found = [span for span in spans_of(self.LOG, content=True) if span.kind is SpanKind.CLIENT]

        answers = [json.loads(str(attributes_of(span)[names.OUTPUT_MESSAGES])) for span in found]
        assert ["Let me see", "secret end"] == [answer[0]["parts"][0]["content"] for answer in answers]


class TestBounds:
    def test_texts_of_any_length_are_cut(self) -> None:
        log = (
            events.run().node("draft").text(*[LONG[:5_000]] * 9).llm_call(LONG, LONG).tool_call(LONG, LONG)
            .tool_result(LONG, error=LONG).asks(LONG, LONG).waits(LONG).answers(LONG).fails(LONG, code=LONG)
        )  # fmt: skip
        found = spans_of(log, content=True, name=LONG)

        assert [] == [span.name[:50] for span in found if len(span.to_json()) > 4 * CONTENT_LENGTH]
        assert "…" == str(attributes_of(named(found, "draft"))[names.TEXT])[-1]
        assert CONTENT_LENGTH == len(str(attributes_of(named(found, "draft"))[names.TEXT]))

    def test_a_node_keeps_its_last_128_events(self) -> None:
        log = in_turn(run_started(), node_started(), *[waiting(3)] * 500, run_completed())
        draft = named(spans_of(log), "draft")

        assert (128, 372) == (len(draft.events), draft.dropped_events)

    def test_an_id_of_any_length_and_shape_is_exported(self) -> None:
        ids = ["a_" * 500_000, "a" * 2_000_000 + "_b_0", "\x1b[2J\u202e", "[" * 300, "\x00"]
        log = [event for id in ids for event in (node_started(id), node_succeeded(id))]
        found = spans_of(in_turn(run_started(), *log, run_completed()))

        assert len(ids) + 1 == len({span.context.span_id for span in found})
        assert [] == [span.name for span in found if not span.name.isprintable() or len(span.name) > 128]
        assert encode_spans(found).ByteSize() < 20_000

    def test_the_nil_run_has_a_valid_trace(self) -> None:
        nil = [replace(event, run_id=UUID(int=0)) for event in events.run().node("draft").succeeds()]

        assert {True} == {span.context.is_valid for span in spans_of(nil)}

    def test_tokens_of_any_size_are_exported(self) -> None:
        most = 2**63 - 1
        log = in_turn(run_started(), node_started(), llm_call(usage=tokens(most, most)), run_completed())

        assert encode_spans(spans_of(log, prices=PRICES)).ByteSize()

    def test_runs_that_have_ended_leave_nothing_behind(self) -> None:
        source: Subject[RunEvent] = Subject()
        subscription = source.pipe(otel.spans()).subscribe()
        for number in range(1, 50):
            for event in events.run(UUID(int=number)).node("draft").llm_call().succeeds():
                source.on_next(event)
        source.on_next(run_started())

        assert 1 == sum(isinstance(kept, OpenRun) for kept in gc.get_objects())
        subscription.dispose()

    def test_a_run_that_has_ended_is_forgotten(self) -> None:
        source: Subject[RunEvent] = Subject()
        found: list[ReadableSpan] = []
        source.pipe(otel.spans()).subscribe(found.append)
        log = events.run().node("draft").llm_call().succeeds()
        for _ in range(3):
            for event in log:
                source.on_next(event)

        once = texts(spans_of(log))
        assert [once] * 3 == [texts(found[start : start + 3]) for start in (0, 3, 6)]


class TestStreams:
    def test_an_event_that_comes_twice_changes_nothing(self) -> None:
        log = events.run().node("draft").llm_call().tool_call("add").tool_result("3").succeeds()
        twice = [again for event in log[:-1] for again in (event, event)] + [*log[:4], log[-1]]

        assert texts(spans_of(log)) == texts(spans_of(twice))

    def test_what_has_not_ended_at_completion_is_not_emitted(self) -> None:
        log = events.run().node("draft").llm_call().tool_call("add").node("edit").node_succeeds()

        assert ["chat gpt-5", "edit"] == [span.name for span in spans_of(log)]

    def test_an_error_of_the_source_passes(self) -> None:
        source: Subject[RunEvent] = Subject()
        failed: list[Exception] = []
        source.pipe(otel.spans()).subscribe(on_error=failed.append)
        source.on_error(error := RuntimeError("cut"))

        assert [error] == failed

    @pytest.mark.parametrize("first", [node_started(seq=3), run_completed(seq=9), delta(seq=2)])
    def test_a_run_without_its_first_events_is_an_error(self, first: RunEvent) -> None:
        with pytest.raises(errors.InvalidArgumentError, match="from its first event, got seq"):
            spans_of([first])

    def test_a_first_line_that_was_skipped_does_no_harm(self) -> None:
        assert ["invoke_workflow"] == [span.name for span in spans_of(events.run().succeeds()[1:])]

    def test_a_call_after_the_end_of_its_node_is_under_it(self) -> None:
        late = in_turn(
            run_started(), node_started(), node_succeeded(), llm_call(), tool_call(5), run_completed()
        )

        assert ["invoke_workflow", "  draft", "    chat gpt-5", "    execute_tool add"] == tree(
            spans_of(late)
        )

    def test_calls_that_have_the_same_id_have_different_spans(self) -> None:
        log = in_turn(
            run_started(), node_started(), tool_call(3), tool_call(4), tool_result(5), tool_result(6),
            llm_call(), llm_call(), run_completed(),
        )  # fmt: skip
        found = spans_of(log)

        assert 7 == len(found) == len({span.context.span_id for span in found})
        assert [True, None, None] == [
            attributes_of(span).get(names.RESULT_MISSING) for span in found if "add" in span.name
        ]

    def test_a_result_without_its_call_is_a_span_without_duration(self) -> None:
        found = spans_of(in_turn(run_started(), node_started(), tool_result(3), run_completed()))
        tool = named(found, "execute_tool add")

        assert (tool.start_time, True) == (tool.end_time, attributes_of(tool)[names.START_ESTIMATED])

    def test_a_question_that_the_log_has_as_a_call_too_is_one_span(self) -> None:
        questioned = events.run(every=1).node("draft").asks("ok?")
        request = questioned[-1].user_ask  # type: ignore[attr-defined]
        call = ToolCallRequest(step=0, request_id=request.request_id, tool_call=request.tool_call)
        log = questioned.event(NodeToolCall, tool_call=call).waits().answers("yes").succeeds()
        tool = named(spans_of(log, content=True), "execute_tool user_ask")

        assert ("yes", at(3), at(6)) == (
            attributes_of(tool)[names.TOOL_RESULT],
            tool.start_time,
            tool.end_time,
        )

    def test_unknown_events_are_skipped(self) -> None:
        log = in_turn(run_started(), unknown(node_id="draft"), run_completed())

        assert ["invoke_workflow"] == [span.name for span in spans_of(log)]

    def test_subscriptions_share_nothing(self) -> None:
        source: Subject[RunEvent] = Subject()
        spans = source.pipe(otel.spans())
        found: tuple[list[ReadableSpan], list[ReadableSpan]] = ([], [])
        spans.subscribe(found[0].append)
        spans.subscribe(found[1].append)
        for event in events.run().node("draft").succeeds():
            source.on_next(event)

        assert 2 == len(found[0])
        assert texts(found[0]) == texts(found[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"content": 1}, "content must be a bool, got 1"),
        ({"name": 1}, "name must be a str, got 1"),
        ({"prices": 1}, "prices must be a mapping of (provider, model) to Price, got 1"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        otel.spans(**options)

    assert message == str(caught.value)


def test_without_the_extra_the_import_names_it() -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "import rxruns\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.')][1:]\n"
        "try:\n    import rxruns.otel\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "rxruns.otel needs the OpenTelemetry SDK: pip install 'rxruns[otel]'\n" in done.stdout
