"""The spans of model calls and of tool calls, as attributes of their events."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from rxruns.costs import CostTotals
from rxruns.events import MAX_INTEGER, LLMCall, NodeLLMCall
from rxruns.otel import _names as names
from rxruns.otel._content import content, messages
from rxruns.otel._ids import span_context
from rxruns.otel._making import UNSET, Attributes, Maker, nanoseconds, short
from rxruns.otel._sdk import ReadableSpan, SpanContext, SpanKind, Status, StatusCode

__all__ = ["Options", "Owner", "PendingCall", "chat_span", "tool_span"]


class Options(Struct, frozen=True):
    """The options of ``otel.spans``, and the maker of its spans."""

    maker: Maker
    costs: CostTotals
    content: bool
    name: str | None


class Owner(Struct, frozen=True):
    """The attempt of a node that calls belong to.

    Attributes:
        run_id: its run.
        node_id: its node.
        number: of the attempt, from 1.
        context: the ids of its span.
    """

    run_id: UUID
    node_id: str
    number: int
    context: SpanContext

    def attributes(self, seq: int) -> Attributes:
        """Return the identifying attributes of a span of this attempt, and the ``seq`` of its last event."""
        return {
            names.RUN_ID: str(self.run_id),
            names.NODE_ID: short(self.node_id),
            names.ATTEMPT: self.number,
            names.SEQ: seq,
        }

    def context_of(self, kind: str, id: object, seq: int) -> SpanContext:
        """Return the ids of a call's span. Its ``seq`` keeps calls apart whose id the log repeats."""
        return span_context(self.run_id, kind, self.node_id, self.number, id, seq)


def chat_span(owner: Owner, event: NodeLLMCall, started: int, answer: str, options: Options) -> ReadableSpan:
    """Return the span of a model call. Its log has only its end, so `started` is an estimate."""
    call, end = event.llm_call, nanoseconds(event.ts)
    attributes = owner.attributes(event.seq) | {
        names.OPERATION: names.CHAT,
        names.STEP: call.step,
        names.REQUEST_ID: str(call.request_id),
        names.START_ESTIMATED: True,
        **_described(call),
        **_usage(call, options.costs.step(event)),
    }
    if answer:
        attributes[names.OUTPUT_MESSAGES] = messages(answer, call.stop_reason)
    return options.maker.span(
        owner.context_of(names.CHAT, call.request_id, event.seq),
        owner.context,
        f"{names.CHAT} {call.model}" if call.model else names.CHAT,
        (min(started, end), end),
        attributes,
        kind=SpanKind.CLIENT,
    )


def _described(call: LLMCall) -> Attributes:
    named = {
        names.PROVIDER: call.provider,
        names.REQUEST_MODEL: call.model,
        names.RESPONSE_ID: call.response_id,
    }
    found: Attributes = {name: short(text) for name, text in named.items() if text}
    if call.stop_reason:
        found[names.FINISH_REASONS] = (short(call.stop_reason),)
    return found


def _usage(call: LLMCall, totals: CostTotals) -> Attributes:
    """Return the tokens of a metered call, and its cost if it has a price."""
    if call.usage is None or totals.unmetered:
        return {}
    found: Attributes = {names.TOTAL_TOKENS: min(totals.total_tokens, MAX_INTEGER)}
    if call.usage.input_tokens is not None:
        found[names.INPUT_TOKENS] = call.usage.input_tokens
    if call.usage.output_tokens is not None:
        found[names.OUTPUT_TOKENS] = call.usage.output_tokens
    if totals.usd is not None:
        found[names.COST] = float(totals.usd)
    return found


class PendingCall(Struct, frozen=True):
    """A tool call without a result so far. A question to a person is one, too.

    Attributes:
        id: of the call.
        name: of the tool.
        arguments: JSON text, if it is exported.
        step: of its node.
        request_id: of its model call.
        seq: of its event.
        started: nanoseconds; None if its event was not seen.
        is_question: True if its event was a ``node_user_ask``.
    """

    id: str
    name: str
    arguments: str | None
    step: int
    request_id: UUID
    seq: int
    started: int | None
    is_question: bool


def tool_span(
    owner: Owner,
    call: PendingCall,
    end: int,
    seq: int,
    options: Options,
    *,
    output: str | None,
    error: str | None = None,
) -> ReadableSpan:
    """Return the span of a tool call.

    Args:
        owner: the attempt of its node.
        call: the call.
        end: nanoseconds.
        seq: of the event that ended it.
        options: those of the operator.
        output: None if there was no result.
        error: the tool's.
    """
    attributes = owner.attributes(seq) | {
        names.OPERATION: names.EXECUTE_TOOL,
        names.STEP: call.step,
        names.REQUEST_ID: str(call.request_id),
        names.TOOL_NAME: call.name,
        names.TOOL_TYPE: "function",
        names.TOOL_CALL_ID: short(call.id),
    }
    status = UNSET
    if call.started is None:
        attributes[names.START_ESTIMATED] = True
    if output is None:
        attributes[names.RESULT_MISSING] = True
    if error is not None:
        status, attributes[names.ERROR_TYPE] = Status(StatusCode.ERROR, short(error)), names.OTHER_ERROR
    if call.arguments is not None:
        attributes[names.TOOL_ARGUMENTS] = call.arguments
    if options.content and output is not None:
        attributes[names.TOOL_RESULT] = content(output)
    return options.maker.span(
        owner.context_of(names.EXECUTE_TOOL, call.id, call.seq),
        owner.context,
        f"{names.EXECUTE_TOOL} {call.name}",
        (end if call.started is None else call.started, end),
        attributes,
        status=status,
    )
