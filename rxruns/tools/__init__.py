"""Python functions as the tools of a run: by name, their arguments checked against their signatures.

>>> tools = Tools()
>>> @tools.tool
... def add(a: int, b: int = 1) -> int:
...     return a + b
>>> tools.call("add", '{"a": 2}')
'3'
>>> tools.call("add", '{"b": "x"}')
'Error: add: a is missing; b: Expected `int`, got `str`'

Nothing of Rx is needed for it; ``ops.execute_tools(tools)`` runs the calls that a run waits for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, overload

import msgspec
from msgspec import Struct

from rxruns._display._text import clipped, visible
from rxruns.errors import InvalidArgumentError
from rxruns.events import UserAsk
from rxruns.tools._function import BadArguments, ToolFunction
from rxruns.tools._outputs import LONGEST_ERROR, MAX_OUTPUT_BYTES, as_output, error_output, failed_output
from rxruns.workflow._tools import tool_problem

__all__ = ["MAX_OUTPUT_BYTES", "USER_ASK", "Answer", "Tools", "user_answer"]

_F = TypeVar("_F", bound=Callable[..., Any])

USER_ASK: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "user_ask",
        "description": "Ask the user a question, and wait for the answer.",
        "parameters": {
            "type": "object",
            "properties": {
                "question": {"type": "string", "minLength": 1, "description": "What to ask."},
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
                    "description": "Whether another answer than the options is allowed.",
                },
            },
            "required": ["question"],
        },
    },
}
"""The tool object of ``user_ask``, whose calls are questions to a person: for the `tools` of a node.

>>> from rxruns import workflow
>>> node = workflow.llm("plan", user="Plan a trip.", tools=[USER_ASK], tool_execution="client")
"""

logger: logging.Logger = logging.getLogger("rxruns")


class Answer(Struct, frozen=True):
    """A person's answer: ``is_freeform`` says that it is none of the options."""

    answer: str
    is_freeform: bool


class Tools(Mapping[str, Callable[..., Any]]):
    """Functions by the names under which models call them.

    Args:
        functions: by name, to begin with.

    A call's arguments, a JSON object, become keyword arguments. Parameters that are annotated are converted
    and checked, strictly: ``"5"`` is no ``int``. pydantic converts its own types, msgspec the others, paths
    too. What isn't annotated, or has an annotation that can't be resolved, is passed on as it is. What a
    function returns is sent as it is if it is text, else as JSON, up to `MAX_OUTPUT_BYTES`. Calls may come
    from several threads at once.

    Raises:
        InvalidArgumentError: as of :meth:`tool`, for one of the functions.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._tools: dict[str, ToolFunction] = {}
        for name, function in (functions or {}).items():
            self._add(name, function)

    @overload
    def tool(self, function: _F, /) -> _F: ...
    @overload
    def tool(self, name: str | None = None, /) -> Callable[[_F], _F]: ...
    def tool(self, function: Any = None, /) -> Any:
        """Add a function, under its own name or a given one; the function stays what it is.

        A parameter that JSON can't become is left to its default.

        Args:
            function: the function, or the name for the one that is decorated.

        Raises:
            InvalidArgumentError: for a name that is blank or taken, something that can't be called on a
                thread, or a parameter without default that JSON can't become.

        >>> tools = Tools()
        >>> @tools.tool("files.read")
        ... def read(path: str) -> str:
        ...     return f"contents of {path}"
        >>> list(tools)
        ['files.read']
        """
        if function is None or isinstance(function, str):

            def added(decorated: Callable[..., Any]) -> Callable[..., Any]:
                return self._add(function, decorated)

            return added
        return self._add(None, function)

    def call(self, name: str, arguments: str | None = None) -> str:
        """The output of a call: what the function returned, or ``Error:`` and what went wrong.

        It raises nothing but ``KeyboardInterrupt``. A warning is logged for each ``Error:``.

        Args:
            name: of the tool. An unknown one is an error that names the known ones.
            arguments: a JSON object as text; None or blank for none.
        """
        tool = self._tools.get(name)
        if tool is None:
            problem = f"there is no tool {name}; known: {', '.join(sorted(self._tools)) or 'none'}"
            logger.warning("%s", visible(clipped(problem, LONGEST_ERROR)))
            return error_output(problem)
        try:
            return as_output(tool.run(tool.checked(arguments)))
        except BadArguments as error:
            problem = clipped(str(error), LONGEST_ERROR)
            logger.warning("tool %s: wrong arguments: %s", visible(name), visible(problem))
            return error_output(f"{name}: {error}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the run waits for a result in any case
            return failed_output(f"tool {name}", error)

    def definitions(self) -> list[dict[str, Any]]:
        """The tools as the service's tool objects, for the `tools` of an llm node.

        Each has the function's name, the text of its docstring, and the JSON Schema of its parameters from
        annotations, defaults and the docstring's ``Args:``. ``workflow.llm(..., tools=tools)`` calls this.

        Raises:
            InvalidArgumentError: the service doesn't allow a name.

        >>> tools = Tools()
        >>> @tools.tool
        ... def add(a: int, b: int = 1) -> int:
        ...     '''Add two numbers.
        ...
        ...     Args:
        ...         a: the first.
        ...     '''
        ...     return a + b
        >>> function = tools.definitions()[0]["function"]
        >>> function["name"], function["description"]
        ('add', 'Add two numbers.')
        >>> function["parameters"]["properties"]
        {'a': {'description': 'the first.', 'type': 'integer'}, 'b': {'type': 'integer', 'default': 1}}
        """
        return [self._definition(tool) for tool in self._tools.values()]

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._tools[name].function

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tools, (dict(self),)

    def __repr__(self) -> str:
        return f"Tools({', '.join(self._tools)})"

    def _add(self, name: str | None, function: _F) -> _F:
        name = getattr(function, "__name__", "") if name is None else name
        if not isinstance(name, str) or not name.strip():
            raise InvalidArgumentError(f"a tool needs a name that is not blank, not {name!r}", field="name")
        if name in self._tools:
            raise InvalidArgumentError(
                f"there is a tool {name} already: give this one another name", field="name"
            )
        self._tools[name] = ToolFunction(name, function)
        return function

    def _definition(self, tool: ToolFunction) -> dict[str, Any]:
        if tool.name == USER_ASK["function"]["name"]:
            return msgspec.to_builtins(USER_ASK)  # type: ignore[no-any-return]
        definition = tool.definition()
        if problem := tool_problem(definition):
            raise InvalidArgumentError(
                f'{problem}; give the function another one with @tools.tool("...")', field="name"
            )
        return definition


def user_answer(asked: UserAsk, given: Answer | str) -> str:
    """An answer as the output that a ``user_ask`` call wants: JSON with ``answer`` and ``is_freeform``.

    Args:
        asked: the question.
        given: plain text is freeform unless it is the label of an option. Blanks around it are removed.

    Raises:
        InvalidArgumentError: for a blank answer, or one of one's own where only the options are allowed.

    >>> from rxruns.testing import events
    >>> asked = events.run().node("plan").asks("Where to?", "Lisbon", "Porto")[-1].user_ask
    >>> user_answer(asked, "Porto"), user_answer(asked, " Faro ")
    ('{"answer":"Porto","is_freeform":false}', '{"answer":"Faro","is_freeform":true}')
    """
    labels = {option.label.strip(): option.label for option in asked.options or ()}
    if isinstance(given, str):
        given = Answer(given, given.strip() not in labels)
    if not isinstance(given, Answer) or not isinstance(given.answer, str) or not given.answer.strip():
        raise InvalidArgumentError(f"answer: expected text that is not blank, not {given!r}", field="answer")
    text = given.answer.strip()
    if text not in labels and not asked.allow_freeform:
        raise InvalidArgumentError(
            f"answer: {text!r} is none of the options: {', '.join(labels)}", field="answer"
        )
    return as_output(Answer(labels.get(text, text), given.is_freeform))
