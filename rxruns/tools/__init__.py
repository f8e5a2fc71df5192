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

import inspect
import logging
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

import msgspec
from msgspec import Struct

from rxruns.errors import InvalidArgumentError
from rxruns.events import UserAsk

__all__ = ["Answer", "Tools", "user_answer"]

_F = TypeVar("_F", bound=Callable[..., Any])

USER_ASK = "user_ask"
"""The tool whose calls are questions to a person."""

logger: logging.Logger = logging.getLogger("rxruns")
_encode = msgspec.json.encode


class Answer(Struct, frozen=True):
    """A person's answer: ``is_freeform`` says that it is none of the options."""

    answer: str
    is_freeform: bool


class Tools(Mapping[str, Callable[..., Any]]):
    """Functions by the names under which models call them.

    Args:
        functions: by name, to begin with.

    A call's arguments, a JSON object, become keyword arguments. Parameters that are annotated are converted
    and checked as :func:`msgspec.convert` does, strictly: ``"5"`` is no ``int``. What a function returns is
    sent as it is if it is text, else as JSON. Calls may come from several threads at once.

    Raises:
        InvalidArgumentError: as of :meth:`tool`, for one of the functions.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._tools: dict[str, _Tool] = {}
        for name, function in (functions or {}).items():
            self._add(name, function)

    @overload
    def tool(self, function: _F, /) -> _F: ...
    @overload
    def tool(self, name: str | None = None, /) -> Callable[[_F], _F]: ...
    def tool(self, function: Any = None, /) -> Any:
        """Add a function, under its own name or a given one; the function stays what it is.

        Args:
            function: the function, or the name for the one that is decorated.

        Raises:
            InvalidArgumentError: for a name that is blank or taken, or something that can not be called so.

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

        It does not raise.

        Args:
            name: of the tool. An unknown one is an error that names the known ones.
            arguments: a JSON object as text; None or blank for none.
        """
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            return f"Error: there is no tool {name}; known: {known}"
        try:
            return _as_text(tool.run(tool.checked(arguments)))
        except _BadArguments as error:
            return f"Error: {name}: {error}"
        except (Exception, SystemExit) as error:  # the run waits for a result in any case
            logger.warning("tool %s failed", name, exc_info=True)
            return f"Error: {str(error) or type(error).__name__}"

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
        tool = _Tool(function)
        name = getattr(function, "__name__", "") if name is None else name
        if not isinstance(name, str) or not name.strip():
            raise InvalidArgumentError(f"a tool needs a name that is not blank, not {name!r}", field="name")
        if name in self._tools:
            raise InvalidArgumentError(
                f"there is a tool {name} already: give this one another name", field="name"
            )
        self._tools[name] = tool
        return function


def user_answer(asked: UserAsk, given: Answer | str) -> str:
    """An answer as the output that a ``user_ask`` call wants: JSON with ``answer`` and ``is_freeform``.

    Args:
        asked: the question.
        given: plain text is freeform unless it is the label of an option.

    Raises:
        InvalidArgumentError: for a blank answer, or one of one's own where only the options are allowed.

    >>> from rxruns.testing import events
    >>> asked = events.run().node("plan").asks("Where to?", "Lisbon", "Porto")[-1].user_ask
    >>> user_answer(asked, "Porto"), user_answer(asked, "Faro")
    ('{"answer":"Porto","is_freeform":false}', '{"answer":"Faro","is_freeform":true}')
    """
    labels = [option.label for option in asked.options or ()]
    answer = Answer(given, given not in labels) if isinstance(given, str) else given
    if not isinstance(answer, Answer) or not answer.answer.strip():
        raise InvalidArgumentError(f"answer: expected text that is not blank, not {given!r}", field="answer")
    if answer.answer not in labels and not asked.allow_freeform:
        raise InvalidArgumentError(
            f"answer: {answer.answer!r} is none of the options: {', '.join(labels)}", field="answer"
        )
    return _encode(answer).decode()


class _BadArguments(Exception):
    """What is wrong with a call's arguments."""


class _Tool:
    """One function, and how its parameters are checked."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise InvalidArgumentError(f"a tool has to be a function, not {function!r}", field="function")
        if inspect.iscoroutinefunction(function):
            raise InvalidArgumentError(
                "a tool is called on a thread: wrap a coroutine function with asyncio.run", field="function"
            )
        self.function = function
        parameters = _parameters(function)
        kinds = {parameter.name: parameter.kind for parameter in parameters}
        self._open = inspect.Parameter.VAR_KEYWORD in kinds.values()
        variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        self._parameters = {one.name: one for one in parameters if one.kind not in variable}
        self._types = _checkable_types(function)
        self._positional = [name for name, kind in kinds.items() if kind is inspect.Parameter.POSITIONAL_ONLY]

    def checked(self, arguments: str | None) -> dict[str, Any]:
        """The arguments by name, as the function wants them."""
        given = _decoded(arguments)
        wrong = [
            f"{name} is missing"
            for name, parameter in self._parameters.items()
            if name not in given and parameter.default is parameter.empty
        ]
        for name, value in given.items():
            if name in self._parameters:
                try:
                    given[name] = msgspec.convert(value, self._types.get(name, Any))
                except msgspec.ValidationError as error:
                    wrong.append(f"{name}: {error}")
            elif not self._open:
                wrong.append(f"{name} is unknown (known: {', '.join(self._parameters) or 'none'})")
        if wrong:
            raise _BadArguments("; ".join(wrong))
        return given

    def run(self, given: dict[str, Any]) -> object:
        """Call the function with checked arguments."""
        by_position = [given.pop(name) for name in self._positional if name in given]
        return self.function(*by_position, **given)


def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    try:
        return tuple(inspect.signature(function).parameters.values())
    except ValueError as error:  # some of those that are written in C
        raise InvalidArgumentError(
            f"{function!r} does not tell its parameters: wrap it in a function of your own", field="function"
        ) from error


def _checkable_types(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations that can be checked: those that resolve, and that msgspec knows."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name that exists for type checkers alone, say
        return {}
    found: dict[str, Any] = {}
    for name, hint in hints.items():
        try:
            msgspec.json.Decoder(hint)
        except Exception:  # unsupported: left to the function itself
            continue
        found[name] = hint
    return found


def _decoded(arguments: str | None) -> dict[str, Any]:
    if arguments is None or not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise _BadArguments("the arguments have to be a JSON object") from error
    except (ValueError, RecursionError) as error:
        raise _BadArguments(f"the arguments are no JSON: {error}") from error


def _as_text(returned: object) -> str:
    return returned if isinstance(returned, str) else _encode(returned).decode()
