"""The calls that a run waits for. :mod:`rxruns.tools` makes them public."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from rxruns._arguments import check_kind, check_run_id
from rxruns._display._text import clipped, visible
from rxruns._errors import InvalidArgumentError
from rxruns.client import RunsClient
from rxruns.events import UserAsk
from rxruns.models import RunsPendingToolsNode, RunsToolCall
from rxruns.tools._questions import ASK, question_of

__all__ = ["PendingCall", "listed", "named", "pending", "selected", "using"]

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
    >>> call.node_id, call.question.question, [option.label for option in call.question.options]
    ('ask', 'Go?', ['yes', 'no'])
    """
    run = check_run_id(run_id)
    with using(client) as used:
        response = used.pending_tools(run)
    return tuple(
        _pending_call(run, node, item.tool_call) for node in response.pending for item in node.tool_calls
    )


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
    names = [named(call, f" ({visible(clipped(call.tool_call.name, _SHOWN))})") for call in calls[:_LISTED]]
    return ", ".join(names) + (f" and {len(calls) - _LISTED:,} more" if len(calls) > _LISTED else "")


def named(call: PendingCall, kind: str = "") -> str:
    """Name a call in a message, by its id and its node."""
    return f"{clipped(call.tool_call.id, _SHOWN)!r}{kind} of node {clipped(call.node_id, _SHOWN)!r}"


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


@contextmanager
def using(client: RunsClient | None) -> Generator[RunsClient]:
    """The client, or one from the environment that is closed after the block."""
    if client is not None:
        check_kind("client", client, RunsClient, "a RunsClient, or None for the environment's")
        yield client
        return
    with RunsClient.from_env() as own:
        yield own
