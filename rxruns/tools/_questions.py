"""Questions to a person (calls of ``user_ask``) and their answers. :mod:`rxruns.tools` makes them public."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from rxruns._display._text import clipped
from rxruns._errors import InvalidArgumentError, must_be
from rxruns.events import UserAsk
from rxruns.models import RunsToolCall
from rxruns.tools._outputs import as_output

__all__ = ["ASK", "USER_ASK", "Answer", "labels_of", "one_of", "question_of", "user_answer"]

USER_ASK: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "user_ask",
        "description": "Ask the user a question, and wait for the answer.",
        "parameters": {
            "type": "object",
            "properties": {
                "question": {"type": "string", "minLength": 1, "description": "The question."},
                "options": {
                    "type": "array",
                    "description": "Answers to choose from.",
                    "items": {
                        "type": "object",
                        "properties": {"label": {"type": "string"}, "description": {"type": "string"}},
                        "required": ["label"],
                    },
                },
                "allow_freeform": {
                    "type": "boolean",
                    "default": True,
                    "description": "Allow an answer that is not among the options.",
                },
            },
            "required": ["question"],
        },
    },
}
"""The tool object of ``user_ask``, for the `tools` of a node; its calls are questions to a person.

>>> from rxruns import workflow
>>> node = workflow.llm("plan", user="Plan a trip.", tools=[USER_ASK], tool_execution="client")
"""

ASK: Final[str] = USER_ASK["function"]["name"]

_LISTED, _LABEL = 20, 80
"""Options in a message, and characters of each: a model may make any number of any length."""


class Answer(Struct, frozen=True):
    """A person's answer; ``is_freeform`` is True for an answer that isn't one of the options."""

    answer: str
    is_freeform: bool


def user_answer(asked: UserAsk, given: Answer | str) -> str:  # words: ok, the name of 0.1
    """Return an answer as the output of a ``user_ask`` call: JSON with ``answer`` and ``is_freeform``.

    Args:
        asked: the question.
        given: plain text is freeform unless it is the label of an option. Surrounding blanks are removed.

    Raises:
        InvalidArgumentError: the answer is blank, or isn't one of the options where only these are allowed.

    >>> from rxruns.testing import events
    >>> question = events.run().node("plan").asks("Where to?", "Lisbon", "Porto")[-1].user_ask
    >>> user_answer(question, "Porto"), user_answer(question, " Faro ")
    ('{"answer":"Porto","is_freeform":false}', '{"answer":"Faro","is_freeform":true}')
    """
    question = asked  # words: ok
    labels = labels_of(question)
    if isinstance(given, str):
        given = Answer(given, given.strip() not in labels)
    if not isinstance(given, Answer) or not isinstance(given.answer, str) or not given.answer.strip():
        raise must_be("answer", "text that isn't blank", given)
    text = given.answer.strip()
    if text not in labels and not question.allow_freeform:
        raise must_be("answer", one_of(labels), text)
    return as_output(Answer(labels.get(text, text), given.is_freeform))


def labels_of(question: UserAsk) -> dict[str, str]:
    """The labels of a question's options, by the labels without the blanks around them."""
    return {option.label.strip(): option.label for option in question.options or ()}


def one_of(labels: dict[str, str]) -> str:
    """The expectation of one of these labels, for an error message."""
    if not labels:
        return "an option of the question, which has none"
    listed = [repr(clipped(label, _LABEL)) for label in list(labels)[:_LISTED]]
    return f"one of the options {', '.join(listed)}{', …' if len(labels) > _LISTED else ''}"


def question_of(call: RunsToolCall, step: int, request_id: UUID) -> UserAsk:
    """The question in the arguments of a ``user_ask`` call, which waits at this step with this request id.

    Raises:
        InvalidArgumentError: the arguments don't have the form of a question.
    """
    envelope = {"step": step, "request_id": request_id, "allow_freeform": True}
    tool_call = {"id": call.id, "name": call.name, "arguments": call.arguments or ""}
    try:
        fields = msgspec.json.decode(call.arguments or "", type=dict[str, Any])
        return msgspec.convert({**envelope, **fields, "tool_call": tool_call}, UserAsk)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"its question can't be read: {error}", field="arguments") from error
