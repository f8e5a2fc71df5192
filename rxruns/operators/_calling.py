"""The options of `execute_tools` that decide how a call is answered, each by a function of the user's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from rxruns._display._text import visible
from rxruns._errors import must_be
from rxruns.events import UserAsk
from rxruns.models import RunsToolCall
from rxruns.tools import Answer, Approved, Decision, Denied, PendingCall, Tools, user_answer
from rxruns.tools._approval import denied_output
from rxruns.tools._outputs import as_output
from rxruns.tools._questions import ASK

__all__ = ["AnswerQuestion", "ApproveCall", "ToolRunner"]

AnswerQuestion: TypeAlias = Callable[[UserAsk], Answer | str | None]
ApproveCall: TypeAlias = Callable[[PendingCall], Decision]

logger = logging.getLogger("rxruns")


class ToolRunner(msgspec.Struct, frozen=True):
    """The options that decide how calls are answered."""

    tools: Tools
    timeout: float | None
    answer: AnswerQuestion | None
    approve: ApproveCall | None

    def accepts(self, call: RunsToolCall) -> bool:
        """Return False for a question that neither `answer` nor a tool would answer."""
        return call.name != ASK or self.answer is not None or ASK in self.tools

    def answer_to(self, question: UserAsk) -> str | None:
        """The output of a question's call; None leaves it to others."""
        if self.answer is not None:
            given = self.answer(question)
            return None if given is None else user_answer(question, given)
        output = self.tools.call(ASK, question.tool_call.arguments)
        if output.startswith("Error: "):
            return output
        try:
            return user_answer(question, msgspec.json.decode(output, type=Answer))
        except msgspec.MsgspecError:  # text
            return user_answer(question, output)

    def approved(self, call: PendingCall) -> RunsToolCall | str | None:
        """The call to run, or the output of a denied one; None leaves it to others.

        Raises:
            InvalidArgumentError: `approve` returned a value that isn't a decision.
            Exception: of `approve`, or of encoding its arguments.
        """
        decision = True if self.approve is None else self.approve(call)
        match decision:
            case None:
                return None
            case Denied():
                logger.info(
                    "run %s, node %s: %s was denied: %s",
                    call.run_id,
                    visible(call.node_id),
                    visible(call.tool_call.name),
                    visible(decision.reason),
                )
                return denied_output(decision)
            case True | Approved(arguments=None):
                return call.tool_call
            case Approved(arguments=arguments):
                return msgspec.structs.replace(call.tool_call, arguments=as_output(arguments))
            case _:
                expectation = "True, tools.Approved(...), tools.Denied(reason) or None"
                raise must_be("the result of approve", expectation, decision)
