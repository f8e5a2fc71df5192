"""Annotations of tools' parameters: conversion of arguments, errors, and definitions for models."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from jsonschema import Draft202012Validator

from rxruns import RunsClient, block_on, ops, start_run, workflow
from rxruns.devserver import DevServer
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeToolResult
from rxruns.tools import USER_ASK, Tools

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)


class Box(msgspec.Struct):
    corner: Point
    path: Path | None = None


class Options(TypedDict, total=False):
    depth: int


class Pair(NamedTuple):
    first: int
    second: str


class User(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)
    friends: list[User] = []


@pydantic.dataclasses.dataclass
class Size:
    width: pydantic.PositiveInt


@dataclass
class Owned:
    owner: User


class Session:
    """A class that can't be made from JSON."""


def taking(annotation: Any) -> Tools:
    """A tool ``it`` whose parameter has the annotation; its output is the argument's representation."""

    def it(value: Any) -> str:
        return repr(value)

    it.__annotations__ = {"value": annotation}
    return Tools({"it": it})


def called(annotation: Any, argument: str) -> str:
    return taking(annotation).call("it", f'{{"value": {argument}}}')


GOOD: list[tuple[Any, str, object]] = [
    (Any, '{"a": [1]}', {"a": [1]}),
    (object, '"x"', "x"),
    (T, "1", 1),
    (None, "null", None),
    (bool, "true", True),
    (float, "1", 1.0),
    (bytes, '"aGk="', b"hi"),
    (UserId, "7", 7),
    (Literal["a", 1], "1", 1),
    (
        Optional[int],  # noqa: UP045
        "null",
        None,
    ),
    (int | str | None, '"x"', "x"),
    (list[int] | None, "[1]", [1]),
    (Sequence[int], "[1]", [1]),
    (Iterable[str], '["x"]', ["x"]),
    (Mapping[str, int], '{"a": 1}', {"a": 1}),
    (dict[int, str], '{"1": "x"}', {1: "x"}),
    (set[int], "[1]", {1}),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (tuple[int, str], '[1, "x"]', (1, "x")),
    (Decimal, '"0.10"', Decimal("0.10")),
    (UUID, '"00000000-0000-0000-0000-000000000001"', UUID(int=1)),
    (date, '"2026-01-31"', date(2026, 1, 31)),
    (datetime, '"2026-01-31T12:00:00"', datetime(2026, 1, 31, 12)),
    (list[datetime], '["2026-01-31T12:00:00"]', [datetime(2026, 1, 31, 12)]),
    (time | None, '"12:30:00"', time(12, 30)),
    (timedelta, '"PT5M"', timedelta(minutes=5)),
    (Color, '"red"', Color.RED),
    (Level, "1", Level.LOW),
    (Path, '"a/b.txt"', Path("a/b.txt")),
    (PurePosixPath, '"a"', PurePosixPath("a")),
    (list[Path], '["a", "b"]', [Path("a"), Path("b")]),
    (Path | None, "null", None),
    (dict[str, Path], '{"a": "b"}', {"a": Path("b")}),
    (Point, '{"x": 1}', Point(1)),
    (list[Point], '[{"x": 1, "y": 2}]', [Point(1, 2)]),
    (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree("a", [Tree("b")])),
    (Box, '{"corner": {"x": 1}, "path": "a"}', Box(Point(1), Path("a"))),
    (Options, '{"depth": 1}', {"depth": 1}),
    (Pair, '[1, "x"]', Pair(1, "x")),
    (Annotated[int, msgspec.Meta(ge=1)], "1", 1),
    (Annotated[int, pydantic.Field(ge=1)], "1", 1),
    (pydantic.PositiveInt, "1", 1),
    (User, '{"name": "Ada", "age": 36}', User(name="Ada", age=36)),
    (User | None, "null", None),
    (list[User], '[{"name": "Ada", "age": 36}]', [User(name="Ada", age=36)]),
    (int | User, '{"name": "Ada", "age": 36}', User(name="Ada", age=36)),
    (dict[str, list[User]], '{"a": []}', {"a": []}),
    (Size, '{"width": 3}', Size(3)),
    (Owned, '{"owner": {"name": "Ada", "age": 36}}', Owned(User(name="Ada", age=36))),
    (str | Path, '"x"', "x"),
    (int | Path, '"x"', Path("x")),
    (list[int] | set[str], '["x"]', {"x"}),
    (Point | User, '{"name": "Ada", "age": 36}', User(name="Ada", age=36)),
    (str | Session, '"x"', "x"),
    (list[str | Path], '["x"]', ["x"]),
    (3, "1", 1),
]


@pytest.mark.parametrize(("annotation", "argument", "value"), GOOD)
def test_an_argument_is_converted_to_its_annotation(annotation: Any, argument: str, value: object) -> None:
    assert repr(value) == called(annotation, argument)


def test_a_number_becomes_a_decimal_with_its_own_digits() -> None:
    assert repr(Decimal("0.10")) == called(Decimal, "0.10")


BAD: list[tuple[Any, str, str]] = [
    (int, '"5"', "Expected `int`, got `str`"),
    (int, "true", "Expected `int`, got `bool`"),
    (int, "1e400", "Number out of range"),
    (Any, "1e400", "Number out of range"),
    (Any, "[-1e400]", "Number out of range - at `$[0]`"),
    (int, "1" * 5_000, "Integer value out of range"),
    (Path, "1", "Expected `str`, got `int`"),
    (list[Path], '["a", null]', "Expected `str`, got `NoneType` - at `$[1]`"),
    (Box, '{"corner": {"x": 1}, "path": 1}', "Expected `str`, got `int` - at `$.path`"),
    (Color, '"green"', "Invalid enum value 'green'"),
    (Literal["a"], '"b"', "Invalid enum value 'b'"),
    (UUID, '"x"', "Invalid UUID"),
    (date, '"yesterday"', "Invalid RFC3339"),
    (Options, '{"depth": "x"}', "Expected `int`, got `str` - at `$.depth`"),
    (Pair, "[1]", "Expected `array` of length 2"),
    (Iterable[str], "1", "Expected `Iterable`, got `int`"),
    (Annotated[int, msgspec.Meta(ge=1)], "0", "Expected `int` >= 1"),
    (Annotated[int, pydantic.Field(ge=1)], "0", "Input should be greater than or equal to 1"),
    (User, '{"name": "Ada", "age": -1}', "age: Input should be greater than or equal to 0"),
    (
        User,
        '{"name": 1, "age": "1"}',
        "name: Input should be a valid string; age: Input should be a valid integer",
    ),
    (list[User], '[{"name": "Ada"}]', "0: age: Field required"),
    (Size, '{"width": 0}', "width: Input should be greater than 0"),
    (Owned, '{"owner": {"name": "Ada", "age": -1}}', "age: Input should be greater than or equal to 0"),
    (str | Path, "1", "Expected `str`, got `int`"),
    (list[int] | set[str], '"x"', "Expected `array`, got `str`"),
    (int | Path, "[]", "Expected `int`, got `array`, or Expected `str`, got `list`"),
]


@pytest.mark.parametrize(("annotation", "argument", "problem"), BAD)
def test_an_argument_that_does_not_fit_is_named(annotation: Any, argument: str, problem: str) -> None:
    assert called(annotation, argument).startswith(f"Error: it: value: {problem}")


@pytest.mark.parametrize("annotation", [one[0] for one in GOOD])
def test_the_schema_in_a_definition_accepts_the_arguments_that_fit(annotation: Any) -> None:
    parameters = taking(annotation).definitions()[0]["function"]["parameters"]
    Draft202012Validator.check_schema(parameters)
    validator = Draft202012Validator(parameters)
    fitting = [argument for known, argument, _ in GOOD if known is annotation]
    assert [] == [one for text in fitting for one in validator.iter_errors({"value": json.loads(text)})]
    assert not validator.is_valid({}) and not validator.is_valid({"value": None, "other": 1})


@pytest.fixture(scope="module")
def client() -> Iterator[RunsClient]:
    with DevServer() as server, server.client() as client:
        yield client


@pytest.mark.parametrize("annotation", [one[0] for one in GOOD if one[0] not in (None, bytes)])
def test_the_embedded_service_calls_tools_with_arguments_that_fit(
    annotation: Any, client: RunsClient
) -> None:
    tools = taking(annotation)
    node = workflow.llm("a", model="gpt-4o", user="x", tools=tools, tool_execution="client")
    results = start_run(workflow.chain(node), client=client).pipe(
        ops.execute_tools(tools), ops.of_type(NodeToolResult)
    )
    result = block_on(results)
    assert result is not None and not result.tool_result.output.startswith("Error")


@pytest.mark.parametrize(
    "annotation",
    [Session, list[Session], Session | None, dict[str, Session], Callable[[int], int], type, complex],
)
def test_a_parameter_that_cannot_be_made_from_json_is_refused_by_name(annotation: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match="tool it: parameter value must have a type that can be made"
    ) as no:
        taking(annotation)
    assert "function" == no.value.field


def test_a_parameter_that_cannot_be_made_from_json_keeps_its_default() -> None:
    def it(count: int, session: Session | None = None, color: Color = Color.RED) -> str:
        return f"{count} {session} {color.name}"

    tools = Tools({"it": it})
    assert ["count", "color"] == list(tools.definitions()[0]["function"]["parameters"]["properties"])
    assert "1 None BLUE" == tools.call("it", '{"count": 1, "color": "blue"}')
    assert "Error: it: session is unknown (known: count, color)" == tools.call(
        "it", '{"count": 1, "session": null}'
    )


def test_an_annotation_that_cannot_be_resolved_affects_only_its_parameter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def it(share: Fraction, where: Path, count: int = 1) -> str:
        return f"{share!r} {where!r} {count}"

    tools = Tools({"it": it})
    assert f"'1/2' {Path('a')!r} 2" == tools.call("it", '{"share": "1/2", "where": "a", "count": 2}')
    assert "Error: it: count: Expected `int`, got `str`" == tools.call(
        "it", '{"share": 1, "where": "a", "count": "2"}'
    )
    assert {} == tools.definitions()[0]["function"]["parameters"]["properties"]["share"]
    assert "tool it: parameter share is passed on unchecked: its annotation can't be resolved" in caplog.text
    taking("\x1b[31m")
    assert "\x1b" not in caplog.text


class Counter:
    """A callable object, whose annotations are text."""

    def __call__(self, by: Path) -> str:
        return repr(by)

    def method(self, by: Path) -> str:
        return repr(by)


def by_name(by: Path, other: int = 0) -> str:
    return repr(by)


@functools.wraps(by_name)
def wrapped(*args: Any, **kwargs: Any) -> str:
    return by_name(*args, **kwargs)


class Made:
    """A class as a tool: it is called."""

    def __init__(self, by: Path) -> None:
        self.by = by

    def model_dump(self, mode: str) -> object:
        return repr(self.by)


@pytest.mark.parametrize(
    "function",
    [Counter(), Counter().method, wrapped, functools.partial(by_name, other=1), functools.partial(Counter())],
)
def test_the_annotations_of_any_callable_are_resolved(function: Callable[..., Any]) -> None:
    assert repr(Path("a")) == Tools({"it": function}).call("it", '{"by": "a"}')


def test_a_class_may_be_a_tool() -> None:
    assert f'"{Path("a")!r}"' == Tools({"it": Made}).call("it", '{"by": "a"}')


def test_additional_keyword_arguments_are_converted_too() -> None:
    def it(count: int, **more: Path) -> str:
        return repr(more)

    tools = Tools({"it": it})
    assert repr({"a": Path("b")}) == tools.call("it", '{"count": 1, "a": "b"}')
    assert "Error: it: a: Expected `str`, got `int`" == tools.call("it", '{"count": 1, "a": 2}')
    parameters = tools.definitions()[0]["function"]["parameters"]
    assert {"type": "string", "format": "path"} == parameters["additionalProperties"]


async def later(a: int) -> None: ...


async def generated() -> Any:
    yield 1


class Later:
    async def __call__(self) -> None: ...


class Generated:
    async def __call__(self) -> Any:
        yield 1


@pytest.mark.parametrize(
    "function",
    [
        later,
        generated,
        Later(),
        Generated(),
        Later().__call__,
        functools.partial(later, 1),
        functools.partial(functools.partial(later), 1),
        functools.partial(Later()),
    ],
)
def test_an_asynchronous_function_in_any_form_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"asyncio\.run"):
        Tools({"it": function})


@pytest.mark.parametrize("function", [lambda: later(1), lambda: generated()])
def test_a_function_that_returns_a_coroutine_is_an_error(function: Callable[..., Any]) -> None:
    assert Tools({"it": function}).call("it").startswith("Error: the tool returned a coroutine")


class TestDefinitions:
    def test_a_definition_has_the_docstring(self) -> None:
        def find(
            query: str,
            limit: Annotated[int, msgspec.Meta(ge=1, description="how many at most")] = 10,
            where: Path = Path(),
        ) -> list[str]:
            """Find files by name.

            It searches all folders.

            Args:
                query: the name, or
                    a part of it
                limit: ignored, since the annotation has words
                where (Path): the folder to begin with: any

            Returns:
                The paths.
            """
            return []

        words = "how many at most"
        folder = {"type": "string", "format": "path", "description": "the folder to begin with: any"}
        parameters = {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "the name, or a part of it"},
                "limit": {"type": "integer", "minimum": 1, "description": words, "default": 10},
                "where": folder,
            },
            "required": ["query"],
            "additionalProperties": False,
        }
        text = "Find files by name.\n\nIt searches all folders."
        expected = {"name": "files.find", "description": text, "parameters": parameters}
        (definition,) = Tools({"files.find": find}).definitions()
        assert {"type": "function", "function": expected} == definition

    def test_types_that_are_used_twice_are_defined_once(self) -> None:
        def it(one: Point, other: list[Point], user: User, tree: Tree) -> None: ...

        parameters = Tools({"it": it}).definitions()[0]["function"]["parameters"]
        assert ["Point", "Tree", "User"] == sorted(parameters["$defs"])
        Draft202012Validator(parameters).validate(
            {
                "one": {"x": 1},
                "other": [{"x": 1}],
                "user": {"name": "Ada", "age": 1, "friends": [{"name": "Bob", "age": 2}]},
                "tree": {"name": "a", "children": [{"name": "b"}]},
            }
        )

    def test_two_types_of_one_name_are_refused(self) -> None:
        def it(one: Point, other: Any) -> None: ...

        it.__annotations__ = {
            "one": Point,
            "other": dataclass(type("Point", (), {"__annotations__": {"z": int}})),
        }
        with pytest.raises(InvalidArgumentError, match="parameter other: two types have the name Point"):
            Tools({"it": it}).definitions()

    def test_without_a_docstring_there_is_no_description(self) -> None:
        parameters = {"type": "object", "properties": {}, "additionalProperties": False}
        expected = {"type": "function", "function": {"name": "it", "parameters": parameters}}
        assert [expected] == Tools({"it": lambda: 1}).definitions()

    def test_a_name_that_the_service_refuses_is_refused_when_it_is_sent(self) -> None:
        def getWeather() -> None: ...

        tools = Tools({"getWeather": getWeather})
        assert "null" == tools.call("getWeather")
        with pytest.raises(InvalidArgumentError, match=r"got 'getWeather'; .*@tools\.tool") as refused:
            workflow.llm("a", tools=tools)
        assert "name" == refused.value.field

    def test_a_question_has_a_fixed_definition(self) -> None:
        def ask(question: str) -> str:
            return "yes"

        assert [USER_ASK] == Tools({"user_ask": ask}).definitions()
        spec = workflow.chain(workflow.llm("a", tools=[USER_ASK, "search"]))
        assert [USER_ASK, "search"] == spec.to_dict()["nodes"][0]["tools"]
        Draft202012Validator(USER_ASK["function"]["parameters"]).validate(
            {"question": "Where to?", "options": [{"label": "Faro"}], "allow_freeform": False}
        )

    def test_a_node_accepts_tools(self, client: RunsClient) -> None:
        tools = Tools()

        @tools.tool
        def add(a: int, b: int = 1) -> int:
            """Add two numbers."""
            return a + b

        node = workflow.llm("sum", user="Add them.", model="gpt-4o", tools=tools, tool_execution="client")
        spec = workflow.chain(node)
        assert tools.definitions() == spec.to_dict()["nodes"][0]["tools"]
        client.compile(spec)


def test_pydantic_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    assert repr(Point(1)) == called(Point, '{"x": 1}')
