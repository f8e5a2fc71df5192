"""One attempt of a node: its calls in progress, the events of its span, and its span."""

from __future__ import annotations

from rxruns.events import (
    NodeEvent,
    NodeLLMCall,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    NodeWaiting,
    ToolCallRequest,
    ToolCallResult,
    UserAnswer,
    UserAsk,
)
from rxruns.models import NodeStatus
from rxruns.otel import _names as names
from rxruns.otel._calls import Options, Owner, PendingCall, chat_span, tool_span
from rxruns.otel._content import BoundedText, content
from rxruns.otel._ids import span_context
from rxruns.otel._making import (
    UNSET,
    Attributes,
    SpanEvents,
    brief,
    failure,
    nanoseconds,
    no_events,
    short,
    span_event,
)
from rxruns.otel._sdk import ReadableSpan, SpanContext
from rxruns.state._spans import Attempt

__all__ = ["OpenAttempt"]

_LISTED = 16
"""Names of tools, or options of a question, that a span event lists. It has up to 4 KiB, and a span 128."""


class OpenAttempt:
    """An attempt of a node, kept until the next one begins or the run ends: calls may follow its end.

    Attributes:
        owner: its ids.
        is_busy: True if it had text or a call of its own, so it isn't a fan-out.
    """

    def __init__(self, attempt: Attempt, parent: SpanContext, options: Options) -> None:
        node = attempt.node
        context = span_context(attempt.run_id, "node", node.id, node.attempt)
        self.owner = Owner(attempt.run_id, node.id, node.attempt, context)
        self.is_busy = False
        self._parent = parent
        self._options = options
        self._last_end = nanoseconds(attempt.seen_at)  # of the attempt's last step: where a model call begins
        self._events: SpanEvents | None = None
        self._calls: dict[str, PendingCall] = {}
        self._text = BoundedText()
        self._answer = BoundedText()

    def add_text(self, piece: str | None) -> None:
        """Take in a piece of its text."""
        self.is_busy = True
        if piece and self._options.content:
            self._text.add(piece)
            self._answer.add(piece)

    def step(self, event: NodeEvent) -> list[ReadableSpan]:
        """Take in another event; return the spans that end with it."""
        match event:
            case NodeLLMCall():
                return [self._chat(event)]
            case NodeToolCall():
                return self._call(event, event.tool_call)
            case NodeToolResult():
                return [
                    self._result(event, event.tool_result, event.tool_result.output, event.tool_result.error)
                ]
            case NodeUserAsk():
                self._note(event)
                return self._call(event, event.user_ask)
            case NodeUserAnswer():
                self._note(event)
                return [self._result(event, event.user_answer, event.user_answer.answer)]
            case NodeWaiting():
                self._note(event)
            case _:
                pass
        return []

    def end(self, attempt: Attempt, seq: int) -> list[ReadableSpan]:
        """Return the spans of its unanswered calls, and its own."""
        node = attempt.node
        start, end = nanoseconds(attempt.seen_at), nanoseconds(node.ended_at or attempt.seen_at)
        attributes, status = self.owner.attributes(seq), UNSET
        attributes |= {names.KIND: names.CHAIN, names.STATUS: str(node.status)}
        if node.started_at is None:
            attributes[names.START_ESTIMATED] = True
        if node.status == NodeStatus.FAILED and node.error is not None:
            status, attributes[names.ERROR_TYPE] = failure(node.error)
        if text := str(self._text):
            attributes[names.TEXT] = text
        own = self._options.maker.span(
            self.owner.context,
            self._parent,
            node.id,
            (start, end),
            attributes,
            status=status,
            events=self._events or (),
        )
        self._events, self._text = None, BoundedText()
        return [*self.abandon(end, seq), own]

    def abandon(self, end: int, seq: int) -> list[ReadableSpan]:
        """Return the spans of its tool calls without a result."""
        calls, self._calls = self._calls, {}
        return [tool_span(self.owner, call, end, seq, self._options, output=None) for call in calls.values()]

    def _chat(self, event: NodeLLMCall) -> ReadableSpan:
        self.is_busy = True
        answer, self._answer = str(self._answer), BoundedText()
        span = chat_span(self.owner, event, self._last_end, answer, self._options)
        self._ended(nanoseconds(event.ts))
        return span

    def _call(self, event: NodeEvent, request: ToolCallRequest | UserAsk) -> list[ReadableSpan]:
        """Begin a call. One with the same id that is pending is the same, or else it gets no result."""
        self.is_busy = True
        id, now, is_question = request.tool_call.id, nanoseconds(event.ts), isinstance(request, UserAsk)
        known = self._calls.get(id)
        if known is not None and is_question != known.is_question:
            return []  # the log has the question as a call, too
        self._calls[id] = self._pending(event, request, now)
        if known is None:
            return []
        return [tool_span(self.owner, known, now, event.seq, self._options, output=None)]

    def _result(
        self, event: NodeEvent, result: ToolCallResult | UserAnswer, output: str, error: str | None = None
    ) -> ReadableSpan:
        end, known = nanoseconds(event.ts), self._calls.pop(result.tool_call.id, None)
        call = known or self._pending(event, result, None)
        self._ended(end)
        return tool_span(self.owner, call, end, event.seq, self._options, output=output, error=error)

    def _pending(
        self, event: NodeEvent, step: ToolCallRequest | UserAsk | ToolCallResult | UserAnswer, at: int | None
    ) -> PendingCall:
        call, arguments = step.tool_call, None
        if self._options.content and call.arguments is not None:
            arguments = content(call.arguments)
        return PendingCall(
            call.id,
            short(call.name),
            arguments,
            step.step,
            step.request_id,
            event.seq,
            at,
            isinstance(step, UserAsk),
        )

    def _ended(self, end: int) -> None:
        self._last_end = max(self._last_end, end)

    def _note(self, event: NodeWaiting | NodeUserAsk | NodeUserAnswer) -> None:
        """Add an event to the span."""
        name, attributes = _noted(event, self._options.content)
        if self._events is None:
            self._events = no_events()
        self._events.append(span_event(name, event.ts, attributes))


def _noted(event: NodeWaiting | NodeUserAsk | NodeUserAnswer, with_content: bool) -> tuple[str, Attributes]:
    match event:
        case NodeWaiting(waiting=waiting):
            tools = tuple(brief(call.tool_call.name) for call in waiting.pending_tool_calls[:_LISTED])
            return names.WAITING, {names.REASON: short(waiting.reason), names.TOOLS: tools}
        case NodeUserAsk(user_ask=ask):
            question: Attributes = {names.TOOL_CALL_ID: short(ask.tool_call.id)}
            if with_content:
                options = tuple(brief(option.label) for option in (ask.options or ())[:_LISTED])
                question |= {names.QUESTION: short(ask.question), names.OPTIONS: options}
            return names.USER_ASK, question
        case NodeUserAnswer(user_answer=answer):
            answered: Attributes = {names.TOOL_CALL_ID: short(answer.tool_call.id)}
            if with_content:
                answered[names.ANSWER] = short(answer.answer)
            return names.USER_ANSWER, answered
