"""One function as a tool: checks and describes its parameters."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from inspect import Parameter
from typing import Any

import msgspec

from rxruns._display._text import visible
from rxruns._errors import must_be
from rxruns.errors import InvalidArgumentError
from rxruns.tools._annotations import UNCHECKED, BadValue, Conversion, NotFromJSON, conversion, resolved
from rxruns.tools._docstrings import described

__all__ = ["BadArguments", "ToolFunction"]

logger = logging.getLogger("rxruns")


class BadArguments(Exception):
    """The arguments of a call don't fit the function."""


class ToolFunction:
    """A function, and the conversions of a call's arguments.

    Raises:
        InvalidArgumentError: the function is asynchronous, has no signature, or needs a parameter whose type
            can't be made from JSON.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        _check_callable(function)
        self.name = name
        self.function = function
        self._parameters: dict[str, Parameter] = {}
        self._conversions: dict[str, Conversion] = {}
        self._more: Conversion | None = None  # of `**more`
        namespace = _namespace(function)
        for parameter in _parameters(function):
            if parameter.kind is Parameter.VAR_POSITIONAL:
                continue
            converted = self._conversion(parameter, namespace)
            if parameter.kind is Parameter.VAR_KEYWORD:
                self._more = converted
            elif converted is not None:
                self._parameters[parameter.name] = parameter
                self._conversions[parameter.name] = converted

    def checked(self, arguments: str | None) -> dict[str, Any]:
        """Return the converted arguments by name.

        Raises:
            BadArguments: they aren't a JSON object, or one is missing, unknown or doesn't fit.
        """
        given = _decoded(arguments)
        wrong = [
            f"{name} is missing"
            for name, parameter in self._parameters.items()
            if name not in given and parameter.default is Parameter.empty
        ]
        values: dict[str, Any] = {}
        for name, data in given.items():
            converted = self._conversions.get(name, self._more)
            if converted is None:
                wrong.append(f"{name} is unknown (known: {', '.join(self._parameters) or 'none'})")
                continue
            try:
                values[name] = converted.load(bytes(data))
            except BadValue as error:
                wrong.append(f"{name}: {error}")
        if wrong:
            raise BadArguments("; ".join(wrong))
        return values

    def run(self, given: dict[str, Any]) -> object:
        """Call the function with checked arguments."""
        by_position = [
            given.pop(name)
            for name, parameter in self._parameters.items()
            if parameter.kind is Parameter.POSITIONAL_ONLY and name in given
        ]
        return self.function(*by_position, **given)

    def definition(self) -> dict[str, Any]:
        """Return the function as a tool object of the service, with its parameters as JSON Schema."""
        text, arguments = described(self.function)
        properties: dict[str, Any] = {}
        definitions: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            one = self._conversions[name]
            properties[name] = _property(one.schema, parameter, arguments.get(name))
            for called, schema in one.definitions.items():
                if definitions.setdefault(called, schema) != schema:
                    raise InvalidArgumentError(
                        f"tool {self.name}: parameter {name}: two types have the name {called}; rename one",
                        field="function",
                    )
        required = [name for name, one in self._parameters.items() if one.default is Parameter.empty]
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            parameters["required"] = required
        parameters["additionalProperties"] = False if self._more is None else self._more.schema or True
        if definitions:
            parameters["$defs"] = definitions
        description = {"description": text} if text else {}
        return {"type": "function", "function": {"name": self.name, **description, "parameters": parameters}}

    def _conversion(self, parameter: Parameter, namespace: Mapping[str, Any]) -> Conversion | None:
        """The conversion of a parameter; None for one with a default whose type can't be made from JSON."""
        try:
            return conversion(resolved(parameter.annotation, namespace))
        except NotFromJSON as error:
            if parameter.default is not Parameter.empty:
                return None
            kind = getattr(error.kind, "__name__", error.kind)
            raise InvalidArgumentError(
                f"tool {self.name}: parameter {parameter.name} must have a type that can be made from JSON, "
                f"got {kind}; use a dataclass, a TypedDict or a plain type, or give it a default",
                field="function",
            ) from error
        except Exception as error:  # such as a name that only type checkers import
            logger.warning(
                "tool %s: parameter %s is passed on unchecked: its annotation can't be resolved: %s",
                visible(self.name),
                parameter.name,
                visible(str(error)),
            )
            return UNCHECKED


def _check_callable(function: Any) -> None:
    if not callable(function):
        raise must_be("function", "callable", function)
    called = function
    while isinstance(called, functools.partial):
        called = called.func
    for one in (called, type(called).__call__):
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise must_be("function", "synchronous", function, "wrap a coroutine function with asyncio.run")


def _parameters(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    try:
        return tuple(inspect.signature(function).parameters.values())
    except ValueError as error:  # some functions in C
        remedy = "wrap it in a function of your own"
        raise must_be("function", "a function with a signature", function, remedy) from error


def _namespace(function: Any) -> Mapping[str, Any]:
    """The names that annotations of a function may use."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not isinstance(function, type) and not hasattr(function, "__globals__"):
        function = type(function).__call__
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    found: Mapping[str, Any] = getattr(function, "__globals__", None) or vars(module or object)
    return found


def _decoded(arguments: str | None) -> dict[str, msgspec.Raw]:
    if arguments is None or not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise BadArguments("the arguments must be a JSON object") from error
    except (ValueError, RecursionError) as error:
        raise BadArguments(f"the arguments aren't valid JSON: {error}") from error


def _property(schema: Mapping[str, Any], parameter: Parameter, description: str | None) -> dict[str, Any]:
    """The schema of one parameter, with its default, and the docstring's description unless it has one."""
    found = {"description": description, **schema} if description else dict(schema)
    if parameter.default is not Parameter.empty:
        with suppress(msgspec.MsgspecError, TypeError, ValueError, RecursionError):  # not JSON: omitted
            found["default"] = msgspec.json.decode(msgspec.json.encode(parameter.default))
    return found
