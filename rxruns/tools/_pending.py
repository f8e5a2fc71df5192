"""The calls that a run waits for: list them, and answer one. :mod:`rxruns.tools` makes both public."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from rxruns._arguments import check_kind, check_run_id
from rxruns._display._text import clipped, visible
from rxruns._errors import InvalidArgumentError, must_be
from rxruns.client import RunsClient
from rxruns.errors import APIError
from rxruns.events import UserAsk
from rxruns.models import RunsPendingToolsNode, RunsToolCall, RunsToolResultItem, RunsToolResultsRequest
from rxruns.tools._approval import Denied, denied_output
from rxruns.tools._outputs import as_output
from rxruns.tools._questions import ASK, Answer, labels_of, one_of, question_of, user_answer

__all__ = ["ANSWERED", "REFUSED", "PendingCall", "answer", "listed", "pending", "selected"]

ANSWERED = frozenset({404, 409})
"""Statuses of a wait that is over: another process answered first, or the run has ended."""

REFUSED = frozenset({400, 413, 422})
"""Statuses of results that the service can't take, alone or together."""

_LISTED, _SHOWN = 20, 80
"""Calls in a message, and characters of each id in it."""


class PendingCall(Struct, frozen=True, kw_only=True):
    """A tool call or a question that a node waits for.

    Attributes:
        run_id: the run.
        node_id: the node that waits.
        step: the step of the node, from 0.
        request_id: the request of the model that made the call.
        tool_call: the call; its ``arguments`` are JSON text.
        question: the question of a ``user_ask`` call; None for any other call, and if it can't be read.
    """

    run_id: UUID
    node_id: str
    step: int
    request_id: UUID
    tool_call: RunsToolCall
    question: UserAsk | None = None

    @property
    def is_question(self) -> bool:
        """True for a call of ``user_ask``, which a person answers."""
        return self.tool_call.name == ASK

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, as the model wrote them.

        Raises:
            InvalidArgumentError: they aren't a JSON object.
        """
        text = self.tool_call.arguments
        try:
            return msgspec.json.decode(text, type=dict[str, Any]) if text and text.strip() else {}
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidArgumentError(
                f"the arguments aren't a JSON object: {error}", field="arguments"
            ) from error


def pending(run_id: UUID | str, *, client: RunsClient | None = None) -> tuple[PendingCall, ...]:
    """List the tool calls and questions that a run waits for, with one request.

    Args:
        run_id: the run.
        client: sends the request. None: one from the environment, closed afterwards.

    Raises:
        APIError, TransportError: as for every request.

    >>> from rxruns import block_on, ops, run_events, workflow
    >>> from rxruns.devserver import DevServer
    >>> from rxruns.events import NodeWaiting
    >>> from rxruns.tools import USER_ASK
    >>> node = workflow.llm("ask", model="gpt-4o", user="[[ask: Go?]]", tools=[USER_ASK],
    ...                     tool_execution="client")
    >>> with DevServer() as server, server.client() as client:
    ...     run_id = client.create(workflow.chain(node)).run_id
    ...     waits = block_on(run_events(run_id, client=client).pipe(ops.of_type(NodeWaiting), ops.take(1)))
    ...     [call] = pending(run_id, client=client)
    ...     answered = answer(run_id, "yes", client=client)
    ...     assert () == pending(run_id, client=client)
    >>> call.node_id, call.question.question, [option.label for option in call.question.options]
    ('ask', 'Go?', ['yes', 'no'])
    """
    run = check_run_id(run_id)
    with _using(client) as used:
        response = used.pending_tools(run)
    return tuple(
        _pending_call(run, node, item.tool_call) for node in response.pending for item in node.tool_calls
    )


def answer(
    target: UUID | str | PendingCall,
    text: Answer | str | None = None,
    *,
    option: str | None = None,
    output: Any = UNSET,
    deny: str | None = None,
    node_id: str | None = None,
    tool_call_id: str | None = None,
    client: RunsClient | None = None,
) -> PendingCall:
    """Answer one question or tool call that a run waits for, from any process, and return it.

    Pass exactly one of `text`, `option`, `output` and `deny`.

    Args:
        target: the run, whose pending calls are listed first; or the call, as :func:`pending` returned it.
        text: the answer to a question, as in :func:`user_answer`.
        option: the answer to a question: the label of one of its options.
        output: the result of a tool: text is sent as it is, any other value as JSON.
        deny: the reason to refuse; the model receives ``Error: the call was denied: <reason>``.
        node_id: only a call of this node.
        tool_call_id: only the call with this id.
        client: sends the requests. None: one from the environment, closed afterwards.

    Raises:
        InvalidArgumentError: several calls fit, and the message names them; or the answer doesn't fit the
            call. Nothing was sent.
        APIError: with status 404 or 409 if the call isn't pending any more, according to the list or to the
            service; with another status as for every request.
        TransportError: as for every request.

    >>> answer("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", deny=" ")
    Traceback (most recent call last):
    ...
    rxruns.errors.InvalidArgumentError: reason must be text that isn't blank, got ' '
    """
    given = _Given(text, option, output, deny)
    given.check()
    with _using(client) as used:
        if isinstance(target, PendingCall):
            calls, run = selected([target], node_id, tool_call_id), target.run_id
        else:
            run = check_run_id(target)
            calls = selected(pending(run, client=used), node_id, tool_call_id)
        if not calls:
            where = "" if node_id is None else f"node {node_id!r} of "
            raise APIError(f"{where}run {run} waits for no such call", status=404, code="NOT_FOUND")
        if len(calls) > 1:
            one = f"the id of one pending call: {listed(calls)}"
            raise must_be("tool_call_id", one, tool_call_id, "nodes may use the same id: pass node_id= too")
        _submit(used, calls[0], given.output_for(calls[0]))
    return calls[0]


def selected(
    calls: Iterable[PendingCall], node_id: str | None, tool_call_id: str | None
) -> list[PendingCall]:
    """The calls of this node and with this id; None for any."""
    return [
        call
        for call in calls
        if node_id in (None, call.node_id) and tool_call_id in (None, call.tool_call.id)
    ]


def listed(calls: Sequence[PendingCall]) -> str:
    """Name calls in an error message of bounded length."""
    names = [
        f"{clipped(call.tool_call.id, _SHOWN)!r} ({visible(clipped(call.tool_call.name, _SHOWN))}) "
        f"of node {clipped(call.node_id, _SHOWN)!r}"
        for call in calls[:_LISTED]
    ]
    return ", ".join(names) + (f" and {len(calls) - _LISTED:,} more" if len(calls) > _LISTED else "")


class _Given(NamedTuple):
    """The arguments of `answer` that an output is made from; one of them is given."""

    text: Answer | str | None
    option: str | None
    output: Any
    deny: str | None

    def check(self) -> None:
        """Require exactly one; check it as far as that needs no call."""
        absent = {"text": None, "option": None, "output": UNSET, "deny": None}
        names = [name for name, value in self._asdict().items() if value is not absent[name]]
        if len(names) != 1:
            raise must_be("answer", "exactly one of text, option, output and deny", names)
        if self.deny is not None:
            Denied(self.deny)
        check_kind("option", self.option, str | None, "a str")
        check_kind("text", self.text, Answer | str | None, "a str or an Answer")

    def output_for(self, call: PendingCall) -> str:
        """Return the output to send.

        Raises:
            InvalidArgumentError: it doesn't fit the call.
        """
        if self.deny is not None:
            return denied_output(Denied(self.deny))
        try:
            return self._answer_to(call) if call.is_question else self._result_of(call)
        except InvalidArgumentError:
            raise
        except Exception as error:  # of encoding it
            field = "output" if self.output is not UNSET else "text"
            raise InvalidArgumentError(f"{field} can't be sent: {error}", field=field) from error

    def _result_of(self, call: PendingCall) -> str:
        if self.output is UNSET:
            what = f"output or deny for a call of the tool {clipped(call.tool_call.name, _SHOWN)!r}"
            raise must_be("answer", what, "option" if self.text is None else "text")
        return as_output(self.output)

    def _answer_to(self, call: PendingCall) -> str:
        if self.output is not UNSET:
            raise must_be("answer", "text, option or deny for a question", "output")
        labels = labels_of(call.question) if call.question is not None else {}
        if self.option is not None and self.option.strip() not in labels:
            raise must_be("option", one_of(labels), self.option)
        given = self.text if self.option is None else Answer(self.option, False)
        text = given.answer if isinstance(given, Answer) else given
        if not text or not text.strip():
            raise must_be("text", "text that isn't blank", text)
        if call.question is not None:
            return user_answer(call.question, given or text)
        return as_output(Answer(text.strip(), True))


def _pending_call(run_id: UUID, node: RunsPendingToolsNode, call: RunsToolCall) -> PendingCall:
    question = None
    if call.name == ASK:
        with suppress(InvalidArgumentError):
            question = question_of(call, node.step, node.request_id)
    return PendingCall(
        run_id=run_id,
        node_id=node.node_id,
        step=node.step,
        request_id=node.request_id,
        tool_call=call,
        question=question,
    )


def _submit(client: RunsClient, call: PendingCall, output: str) -> None:
    """Send the output of a call.

    Raises:
        APIError: with status 404 or 409 if the call isn't pending any more.
    """
    result = RunsToolResultItem(RunsToolCall(call.tool_call.id, call.tool_call.name), output)
    request = RunsToolResultsRequest(call.node_id, call.step, call.request_id, (result,))
    try:
        client.submit_tool_results(call.run_id, request)
    except APIError as error:
        if error.status in ANSWERED and error.retries and _has_output(client, call, output):
            return  # the response to an earlier attempt was lost
        status = error.status
        if status in REFUSED and call not in pending(call.run_id, client=client):
            status = 409  # another result of the same step was accepted
        if status not in ANSWERED:
            raise
        what = f"{clipped(call.tool_call.id, _SHOWN)!r} of node {clipped(call.node_id, _SHOWN)!r}"
        raise APIError(
            f"{what} isn't pending any more: {error.message}",
            status=status,
            code=error.code if status == error.status else "CONFLICT",
            request_id=error.request_id,
            retries=error.retries,
        ) from error


def _has_output(client: RunsClient, call: PendingCall, output: str) -> bool:
    """Return True if the service has this output for the call."""
    try:
        found = client.tool_call(call.run_id, call.step, call.tool_call.id)
    except APIError:
        return False
    result = found.tool_result
    return found.node_id == call.node_id and result is not None and result.output == output


@contextmanager
def _using(client: RunsClient | None) -> Generator[RunsClient]:
    """The client, or one from the environment that is closed after the block."""
    if client is not None:
        check_kind("client", client, RunsClient, "a RunsClient, or None for the environment's")
        yield client
        return
    with RunsClient.from_env() as own:
        yield own
