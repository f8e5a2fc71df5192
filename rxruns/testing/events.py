"""Build the events of a run for tests: the input of a pipeline, or the stream of a fake service.

>>> from rxruns.testing import events
>>> log = events.run().node("draft").text("Hi ", "there").succeeds()
>>> [event.type for event in log[2:]]
['node_started', 'node_output_delta', 'node_output_delta', 'node_succeeded', 'run_completed']

Each step returns a new log and leaves the old one unchanged, so one beginning can have several ends:

>>> started = events.run().node("draft").text("Hi")
>>> good, bad = started.succeeds(), started.fails("no luck")
>>> len(started), good[-1].type, bad[-1].type
(4, 'run_completed', 'run_failed')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, overload
from uuid import UUID, uuid5

import msgspec

from rxruns._arguments import check_run_id
from rxruns._errors import must_be
from rxruns._ndjson._decoding import RecordError, decode_event, encode_event
from rxruns.devserver._log import artifact
from rxruns.errors import InvalidArgumentError
from rxruns.events import (
    LLMCall,
    NodeError,
    NodeEvent,
    NodeFailed,
    NodeLLMCall,
    NodeOutput,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    NodeToolCall,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    NodeWaiting,
    OutputDelta,
    PayloadArtifact,
    PendingToolCall,
    PlanEvent,
    RunCanceled,
    RunCompiled,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunStarted,
    TerminalEvent,
    TokenUsage,
    ToolCall,
    ToolCallRequest,
    ToolCallResult,
    ToolCallWithArguments,
    UnknownEvent,
    UserAnswer,
    UserAsk,
    UserAskOption,
    Waiting,
)
from rxruns.testing._sofar import llm_calls, open_nodes, tool_calls, unanswered

__all__ = ["RUN_ID", "START", "RunLog", "run"]

RUN_ID = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
"""The default run id."""

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""The default time of the first event."""

_USER_ASK = "user_ask"


def run(run_id: UUID | str = RUN_ID, *, start: datetime = START, every: float = 0.1) -> RunLog:
    """Begin a log: a run that was compiled and has started.

    Args:
        run_id: one for each run of a test that merges several.
        start: the ``ts`` of the first event, with an offset.
        every: seconds between two events.

    Raises:
        InvalidArgumentError: `run_id` is not a UUID, or a time is invalid.

    >>> [(event.seq, event.type) for event in run()]
    [(1, 'run_compiled'), (2, 'run_started')]
    """
    known = check_run_id(run_id)
    plan_hash = sha256(known.bytes).hexdigest()
    log = RunLog(known, plan_hash, start, _time(every, "every"))
    return log.event(RunCompiled).event(RunStarted)


@dataclass(frozen=True)
class RunLog(Sequence[RunEvent]):
    """The events of one run so far, valid and in order: an immutable sequence of events.

    Envelopes are filled in: ``run_id``, ``seq`` from 1 without gaps, ``ts``, ``plan_hash``. So are the ids of
    model calls and tool calls, which follow from the run, the node and the step. A step that doesn't
    fit (text without a node, an event after the end) is an :class:`~rxruns.errors.InvalidArgumentError`.

    Attributes:
        run_id: the run's id.
        plan_hash: of its plan.
        now: the ``ts`` of the next event.
        every: the time between two events.
        events: the events so far.
        node_id: the node of the next steps; None before the first :meth:`node`.
    """

    run_id: UUID
    plan_hash: str
    now: datetime
    every: timedelta
    events: tuple[RunEvent, ...] = ()
    node_id: str | None = None

    def __len__(self) -> int:
        return len(self.events)

    @overload
    def __getitem__(self, index: int) -> RunEvent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RunEvent, ...]: ...
    def __getitem__(self, index: int | slice) -> RunEvent | tuple[RunEvent, ...]:
        return self.events[index]

    def __repr__(self) -> str:
        return f"<RunLog of {len(self)} events: {', '.join(event.type for event in self.events)}>"

    def ndjson(self) -> bytes:
        """Encode the log as on the wire and in log files.

        >>> run().ndjson().count(b"\\n")
        2
        """
        return b"".join(encode_event(event) + b"\n" for event in self.events)

    def after(self, seconds: float) -> RunLog:
        """Let time pass before the next event."""
        return replace(self, now=self.now + _time(seconds, "seconds"))

    def event(self, kind: type[RunEvent], **fields: Any) -> RunLog:
        """Append an event of any type; missing fields of its envelope are filled in, ``node_id`` too.

        It must be valid by itself. Its place isn't checked, so that a ``seq`` can jump.

        >>> from rxruns.events import NodeStarted
        >>> run().event(NodeStarted, node_id="draft")[-1].node_id
        'draft'
        """
        if self.events and isinstance(self.events[-1], TerminalEvent):
            raise InvalidArgumentError(f"nothing follows {self.events[-1].type}", field=kind.__name__)
        known: dict[str, Any] = {"run_id": self.run_id, "seq": self._next(), "ts": self.now}
        if issubclass(kind, PlanEvent):
            known["plan_hash"] = self.plan_hash
        if issubclass(kind, NodeEvent) and "node_id" not in fields:
            known["node_id"] = self._node()
        event = _valid(kind, known | fields)
        return replace(self, events=(*self.events, event), now=self.now + self.every)

    def unknown(self, type: str, **fields: Any) -> RunLog:
        """Append an event of a type that this version of rxruns doesn't know.

        >>> run().unknown("node_dreamt", node_id="draft")[-1].type
        'node_dreamt'
        """
        envelope = {"type": type, "run_id": str(self.run_id), "seq": self._next()}
        envelope |= {"ts": self.now.isoformat()}
        return self.event(UnknownEvent, record=envelope | fields)

    def node(self, node_id: str) -> RunLog:
        """Switch to a node, and start it unless it is running: nodes can take turns."""
        turned = replace(self, node_id=node_id)
        return turned if node_id in open_nodes(self.events) else turned.event(NodeStarted, node_id=node_id)

    def text(self, *pieces: str) -> RunLog:
        """Emit text of the node, one ``node_output_delta`` for each piece."""
        log = self
        for piece in pieces:
            log = log.event(NodeOutputDelta, delta=OutputDelta(kind="message_delta", text_delta=piece))
        return log

    def llm_call(
        self,
        model: str | None = "gpt-5",
        provider: str | None = "openai",
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> RunLog:
        """Record a model call, which begins the next step of the node. Without tokens it is unmetered.

        >>> log = run().node("draft").llm_call(input_tokens=10, output_tokens=3)
        >>> log[-1].llm_call.usage.input_tokens
        10
        """
        metered = input_tokens is not None or output_tokens is not None
        usage = TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens) if metered else None
        step = llm_calls(self.events, self._node())
        call = LLMCall(
            step=step, request_id=self._request_id(step), provider=provider, model=model, usage=usage
        )
        return self.event(NodeLLMCall, llm_call=call)

    def tool_call(self, name: str, arguments: Mapping[str, Any] | str = "{}") -> RunLog:
        """Call a tool; `arguments` is an object, or JSON text as the model wrote it.

        >>> run().node("sum").tool_call("add", {"a": 1})[-1].tool_call.tool_call.arguments
        '{"a":1}'
        """
        call = self._call(name, arguments)
        return self.event(NodeToolCall, tool_call=ToolCallRequest(**self._ids(), tool_call=call))

    def waits(self, reason: str = "tool_results") -> RunLog:
        """Let the node wait for the results of all unanswered calls.

        >>> log = run().node("sum").tool_call("add").waits()
        >>> log[-1].waiting.pending_tool_calls[0].tool_call.name
        'add'
        """
        pending = tuple(PendingToolCall(tool_call=call) for call in unanswered(self.events, self._node()))
        return self.event(
            NodeWaiting, waiting=Waiting(**self._ids(), pending_tool_calls=pending, reason=reason)
        )

    def tool_result(self, output: str, *, error: str | None = None, call_id: str | None = None) -> RunLog:
        """Record the result of a tool. None for `call_id`: of the oldest unanswered call."""
        call = self._answered(call_id)
        return self.event(
            NodeToolResult,
            tool_result=ToolCallResult(**self._ids(), tool_call=call, output=output, error=error),
        )

    def asks(self, question: str, *options: str, allow_freeform: bool = True) -> RunLog:
        """Ask the user a question; add :meth:`waits` to wait for the answer."""
        request = UserAsk(
            **self._ids(),
            tool_call=self._call(_USER_ASK, {"question": question}),
            question=question,
            allow_freeform=allow_freeform,
            options=tuple(UserAskOption(label=option) for option in options) or None,
        )
        return self.event(NodeUserAsk, user_ask=request)

    def answers(self, answer: str, *, is_freeform: bool = False, call_id: str | None = None) -> RunLog:
        """Record the answer of the user. None for `call_id`: to the oldest unanswered call."""
        call = self._answered(call_id)
        given = UserAnswer(**self._ids(), tool_call=call, answer=answer, is_freeform=is_freeform)
        return self.event(NodeUserAnswer, user_answer=given)

    def output(self, content: Any = "", *, included: bool = False) -> RunLog:
        """Record the output of the node, with its content if `included`, as for ``include_output``."""
        return self.event(NodeOutput, output=_artifact("node_output.v0", content, included))

    def node_succeeds(self) -> RunLog:
        """End the node with success; the run continues."""
        return self.event(NodeSucceeded)

    def node_fails(self, message: str = "no luck", *, code: str | None = None) -> RunLog:
        """End the node with an error; the run continues until :meth:`fails`, which does both."""
        return self.event(NodeFailed, error=NodeError(message=message, code=code))

    def succeeds(self, outputs: Any = None, *, included: bool = False) -> RunLog:
        """End the run with success: first all running nodes, then ``run_completed``."""
        log = self
        for node_id in open_nodes(self.events):
            log = log.event(NodeSucceeded, node_id=node_id)
        return log.event(RunCompleted, outputs=_artifact("run_outputs.v0", outputs, included))

    def fails(self, message: str = "no luck", *, code: str | None = None) -> RunLog:
        """End the run with an error: first the current node if it is running, then ``run_failed``."""
        log = self.node_fails(message, code=code) if self.node_id in open_nodes(self.events) else self
        return log.event(RunFailed, error=NodeError(message=message, code=code))

    def is_canceled(self, message: str = "canceled by its owner") -> RunLog:
        """Cancel the run."""
        return self.event(RunCanceled, error=NodeError(message=message))

    def _next(self) -> int:
        return self.events[-1].seq + 1 if self.events else 1

    def _node(self) -> str:
        if self.node_id is None:
            raise InvalidArgumentError('there is no node yet: begin with .node("name")', field="node_id")
        if self.node_id not in open_nodes(self.events):
            raise InvalidArgumentError(f"node {self.node_id!r} has ended", field="node_id")
        return self.node_id

    def _ids(self) -> dict[str, Any]:
        """Return the ids of the current step, the one of the last model call."""
        step = max(llm_calls(self.events, self._node()) - 1, 0)
        return {"step": step, "request_id": self._request_id(step)}

    def _request_id(self, step: int) -> UUID:
        return uuid5(self.run_id, f"{self._node()}.{step}")

    def _call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolCallWithArguments:
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return ToolCallWithArguments(id=f"call_{tool_calls(self.events) + 1}", name=name, arguments=text)

    def _answered(self, call_id: str | None) -> ToolCall:
        waiting = unanswered(self.events, self._node())
        for call in waiting:
            if call_id in (None, call.id):
                return ToolCall(id=call.id, name=call.name)
        known = ", ".join(call.id for call in waiting) or "none"
        message = f"node {self.node_id!r} has no call {call_id or 'at all'} to answer; unanswered: {known}"
        raise InvalidArgumentError(message, field="call_id")


def _time(seconds: object, field: str) -> timedelta:
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        raise must_be(field, "a number of seconds, 0 or more", seconds)
    return timedelta(seconds=seconds)


def _artifact(key: str, content: Any, included: bool) -> PayloadArtifact:
    whole = msgspec.convert(artifact(key, content), PayloadArtifact)
    if included:
        return whole
    info = msgspec.structs.replace(whole.info, included=False)
    return PayloadArtifact(artifact_key=key, info=info)


def _valid(kind: type[RunEvent], fields: Mapping[str, Any]) -> RunEvent:
    """The event as it comes over the wire, so that nothing is built that no service could send."""
    try:
        event = decode_event(encode_event(kind(**fields)))
    except (TypeError, RecordError, msgspec.MsgspecError) as error:
        raise InvalidArgumentError(f"no valid {kind.__name__}: {error}", field=kind.__name__) from error
    assert event is not None
    return event
