"""The answer to one call that a run waits for. :mod:`rxruns.tools` makes it public."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from msgspec import UNSET

from rxruns._arguments import check_kind, check_run_id
from rxruns._display._text import clipped
from rxruns._errors import InvalidArgumentError, must_be
from rxruns.client import RunsClient
from rxruns.errors import APIError
from rxruns.models import RunsToolCall, RunsToolResultItem, RunsToolResultsRequest
from rxruns.tools._approval import Denied, denied_output
from rxruns.tools._outputs import as_output
from rxruns.tools._pending import PendingCall, listed, named, pending, selected, using
from rxruns.tools._questions import Answer, labels_of, one_of, user_answer

__all__ = ["ANSWERED", "REFUSED", "answer"]

ANSWERED = frozenset({404, 409})
"""Statuses of a wait that is over: another process answered first, or the run has ended."""

REFUSED = frozenset({400, 413, 422})
"""Statuses of results that the service can't take, alone or together."""

_SHOWN = 80
"""Characters of a tool's name in a message."""


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

    >>> from rxruns import block_on, ops, run_events, workflow
    >>> from rxruns.devserver import DevServer
    >>> from rxruns.events import NodeWaiting
    >>> from rxruns.tools import USER_ASK
    >>> node = workflow.llm("ask", model="gpt-4o", user="[[ask: Go?]]", tools=[USER_ASK],
    ...                     tool_execution="client")
    >>> with DevServer() as server, server.client() as client:
    ...     run_id = client.create(workflow.chain(node)).run_id
    ...     waits = block_on(run_events(run_id, client=client).pipe(ops.of_type(NodeWaiting), ops.take(1)))
    ...     answer(run_id, option="yes", client=client).question.question, pending(run_id, client=client)
    ('Go?', ())
    """
    given = _Given(text, option, output, deny)
    given.check()
    run = target.run_id if isinstance(target, PendingCall) else check_run_id(target)
    with using(client) as used:
        waiting = [target] if isinstance(target, PendingCall) else pending(run, client=used)
        calls = selected(waiting, node_id, tool_call_id)
        if not calls:
            where = "" if node_id is None else f"node {node_id!r} of "
            raise APIError(f"{where}run {run} waits for no such call", status=404, code="NOT_FOUND")
        if len(calls) > 1:
            one = f"the id of one pending call: {listed(calls)}"
            raise must_be("tool_call_id", one, tool_call_id, "nodes may use the same id: pass node_id= too")
        _submit(used, calls[0], given.output_for(calls[0]))
    return calls[0]


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
        raise APIError(
            f"{named(call)} isn't pending any more: {error.message}",
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
