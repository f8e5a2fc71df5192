"""Python functions as the tools of a run, with arguments checked against their signatures.

>>> tools = Tools()
>>> @tools.tool
... def add(a: int, b: int = 1) -> int:
...     return a + b
>>> tools.call("add", '{"a": 2}')
'3'
>>> tools.call("add", '{"b": "x"}')
'Error: add: a is missing; b: Expected `int`, got `str`'

It works without Rx; ``ops.execute_tools(tools)`` runs the calls that a run waits for. :func:`pending` lists
these calls, and :func:`answer` answers one of them from any process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

import msgspec

from rxruns._display._text import clipped, visible
from rxruns._errors import must_be
from rxruns.errors import InvalidArgumentError
from rxruns.tools._answer import answer
from rxruns.tools._approval import Approved, Decision, Denied
from rxruns.tools._function import BadArguments, ToolFunction
from rxruns.tools._outputs import LONGEST_ERROR, MAX_OUTPUT_BYTES, as_output, error_output, failed_output
from rxruns.tools._pending import PendingCall, pending
from rxruns.tools._questions import ASK, USER_ASK, Answer, user_answer
from rxruns.workflow._tools import tool_problem

__all__ = [
    "MAX_OUTPUT_BYTES",
    "USER_ASK",
    "Answer",
    "Approved",
    "Decision",
    "Denied",
    "PendingCall",
    "Tools",
    "answer",
    "pending",
    "user_answer",
]

_F = TypeVar("_F", bound=Callable[..., Any])

logger: logging.Logger = logging.getLogger("rxruns")


class Tools(Mapping[str, Callable[..., Any]]):
    """Functions by the names that models call them by.

    Args:
        functions: the first functions, by name.

    A call's arguments, a JSON object, become keyword arguments. Annotated parameters are converted and
    checked strictly: ``"5"`` is not an ``int``. pydantic converts its own types, msgspec the others and
    paths. Parameters without an annotation, or with one that can't be resolved, receive the decoded JSON. A
    returned text is sent as it is, any other value as JSON, up to `MAX_OUTPUT_BYTES`. Calls may come from
    several threads at once.

    Raises:
        InvalidArgumentError: as in :meth:`tool`, for one of the functions.
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
        """Add a function under its own name or a given one, and return it unchanged.

        A parameter whose type can't be made from JSON keeps its default.

        Args:
            function: the function, or the name for the decorated one.

        Raises:
            InvalidArgumentError: the name is blank or taken, the function is asynchronous or can't be called,
                or the type of a parameter without default can't be made from JSON.

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
        """Call a tool and return its output: the function's result, or ``Error:`` and the reason.

        Raises nothing but ``KeyboardInterrupt``. A warning is logged for each ``Error:``.

        Args:
            name: the tool's name. The error for an unknown name lists the known ones.
            arguments: a JSON object as text; None or blank for no arguments.
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
        except BaseException as error:  # the run waits for a result whatever happens
            return failed_output(f"tool {name}", error)

    def definitions(self) -> list[dict[str, Any]]:
        """Return the tools as the service's tool objects, for the `tools` of an llm node.

        Each has the function's name, the text of its docstring and the JSON Schema of its parameters, made
        from annotations, defaults and the docstring's ``Args:``. ``workflow.llm(..., tools=tools)`` calls
        this.

        Raises:
            InvalidArgumentError: the service doesn't allow a name, or two parameter types have the same name.

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
            raise must_be("name", "text that isn't blank", name)
        if name in self._tools:
            raise must_be("name", "a name that no other tool has", name)
        self._tools[name] = ToolFunction(name, function)
        return function

    def _definition(self, tool: ToolFunction) -> dict[str, Any]:
        if tool.name == ASK:
            return msgspec.to_builtins(USER_ASK)  # type: ignore[no-any-return]
        definition = tool.definition()
        if problem := tool_problem(definition):
            raise InvalidArgumentError(
                f'{problem}; give the function another one with @tools.tool("...")', field="name"
            )
        return definition
