"""Functions as tools: names, arguments checked against signatures, outputs."""

from __future__ import annotations

import asyncio
import json
import pickle
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from rxruns.errors import InvalidArgumentError
from rxruns.tools import MAX_OUTPUT_BYTES, Answer, Tools, user_answer
from tests.waiting import user_ask

tools = Tools()


@tools.tool
def add(a: int, b: int = 1) -> int:
    return a + b


@tools.tool("files.read")
def read(path: str, *, mode: Literal["text", "bytes"] = "text") -> str:
    return f"{path} as {mode}"


@dataclass
class Point:
    x: int
    y: int = 0


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class TestNames:
    def test_a_decorated_function_stays_unchanged(self) -> None:
        assert 3 == add(1, 2)
        assert {"add": add, "files.read": read} == dict(tools)
        assert "Tools(add, files.read)" == repr(tools)
        mine = Tools()
        assert add is mine.tool()(add)
        assert ["add"] == list(mine)

    @pytest.mark.parametrize(
        ("name", "function", "problem"),
        [
            ("", add, "name must be text that isn't blank, got ''"),
            ("  ", add, "name must be text that isn't blank, got '  '"),
            (None, type("Nameless", (), {"__call__": int})(), "name must be text that isn't blank"),
            ("add", add, "name must be a name that no other tool has, got 'add'"),
            ("x", 3, "function must be callable, got 3"),
            ("x", "add me", "function must be callable, got 'add me'"),
            ("vars", vars, "function must be a function with a signature.*; wrap it"),
        ],
    )
    def test_what_cannot_be_a_tool_is_refused(self, name: Any, function: Any, problem: str) -> None:
        with pytest.raises(InvalidArgumentError, match=problem):
            Tools({"add": add}).tool(name)(function)

    def test_they_pickle(self) -> None:
        assert "3" == pickle.loads(pickle.dumps(Tools({"add": add}))).call("add", '{"a": 2}')


@pytest.mark.parametrize(
    ("name", "arguments", "output"),
    [
        ("add", '{"a": 2, "b": 3}', "5"),
        ("add", '{"a": 2}', "3"),
        ("files.read", '{"path": "x", "mode": "bytes"}', "x as bytes"),
        ("add", "{}", "Error: add: a is missing"),
        ("add", None, "Error: add: a is missing"),
        ("add", " ", "Error: add: a is missing"),
        ("add", '{"a": "2"}', "Error: add: a: Expected `int`, got `str`"),
        ("add", '{"a": true}', "Error: add: a: Expected `int`, got `bool`"),
        (
            "add",
            '{"a": 1, "c": 2, "d": 3}',
            "Error: add: c is unknown (known: a, b); d is unknown (known: a, b)",
        ),
        ("add", '{"b": null}', "Error: add: a is missing; b: Expected `int`, got `null`"),
        ("files.read", '{"path": "x", "mode": "hex"}', "Error: files.read: mode: Invalid enum value 'hex'"),
        ("add", "[1, 2]", "Error: add: the arguments must be a JSON object"),
        ("subtract", "{}", "Error: there is no tool subtract; known: add, files.read"),
    ],
)
def test_a_call_returns_its_output_or_the_reason(name: str, arguments: str | None, output: str) -> None:
    assert output == tools.call(name, arguments)


@pytest.mark.parametrize("arguments", ["{", "a = 1", '{"a":' + "[" * 200_000, '{"a": \ud800}'])
def test_arguments_that_are_not_json_are_an_error(arguments: str) -> None:
    assert tools.call("add", arguments).startswith("Error: add: the arguments aren't valid JSON")


def test_an_empty_registry_knows_no_tool() -> None:
    assert "Error: there is no tool add; known: none" == Tools().call("add")


class TestArguments:
    def call(self, function: Any, **arguments: Any) -> str:
        return Tools({"it": function}).call("it", json.dumps(arguments))

    def test_annotations_convert(self) -> None:
        def it(at: datetime, points: list[Point], share: float) -> str:
            return f"{at.year} {points[1].x} {share}"

        points = [{"x": 1}, {"x": 2, "y": 3}]
        assert "2026 2 1.0" == self.call(it, at="2026-01-31T12:00:00Z", points=points, share=1)

    def test_arguments_without_an_annotation_are_passed_on(self) -> None:
        assert '[1,{"a":null}]' == self.call(lambda one, other: [one, other], one=1, other={"a": None})

    def test_a_function_may_accept_any_arguments(self) -> None:
        assert '{"a":1,"b":2}' == self.call(lambda a, **more: {"a": a, **more}, a=1, b=2)

    def test_positional_only_arguments_are_passed_by_name(self) -> None:
        def it(a: int, b: int = 2, /, *rest: int, c: int = 3) -> str:
            return f"{a} {b} {c} {rest}"

        assert ["1 2 3 ()", "1 5 4 ()"] == [self.call(it, a=1), self.call(it, a=1, b=5, c=4)]


class TestOutputs:
    @pytest.mark.parametrize(
        ("returned", "output"),
        [
            ("text", "text"),
            ("", ""),
            (None, "null"),
            ({"a": [1.5]}, '{"a":[1.5]}'),
            (Point(1), '{"x":1,"y":0}'),
            (object(), "Error: Encoding objects of type object is unsupported"),
            ("caf\udce9", "Error: the output can't be sent as UTF-8: it has '\\udce9' at position 3"),
        ],
    )
    def test_text_is_sent_as_it_is_and_any_other_value_as_json(self, returned: object, output: str) -> None:
        assert output == Tools({"it": lambda: returned}).call("it")

    def test_paths_and_models_are_outputs_as_they_are_arguments(self) -> None:
        class Found(pydantic.BaseModel):
            path: Path

        output = Tools({"it": lambda: {"one": Path("a"), "other": [Found(path=Path("b"))]}}).call("it")
        assert '{"one":"a","other":[{"path":"b"}]}' == output

    def test_an_output_may_have_the_documented_number_of_bytes(self) -> None:
        tools = Tools({"it": lambda more: "é" * (MAX_OUTPUT_BYTES // 2) + "x" * more})
        assert MAX_OUTPUT_BYTES == len(tools.call("it", '{"more": 0}').encode())
        expected = (
            f"Error: the output of {MAX_OUTPUT_BYTES + 1:,} bytes is larger than {MAX_OUTPUT_BYTES:,} bytes"
        )
        assert expected == tools.call("it", '{"more": 1}')

    @pytest.mark.parametrize(
        ("error", "output"),
        [
            (ValueError("too much"), "Error: too much"),
            (KeyError(), "Error: KeyError"),
            (SystemExit(3), "Error: 3"),
            (asyncio.CancelledError(), "Error: CancelledError"),
            (GeneratorExit(), "Error: GeneratorExit"),
            (pytest.fail.Exception("no"), "Error: no"),
            (ExceptionGroup("both", [ValueError("a")]), "Error: both (1 sub-exception)"),
            (Speechless(), "Error: Speechless"),
            (ValueError("x" * 20 * 10**6), "Error: " + "x" * 2000 + "…" + "x" * 1999),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_an_exception_is_the_result(self, error: BaseException, output: str) -> None:
        def it() -> None:
            raise error

        assert output == Tools({"it": it}).call("it")

    def test_ctrl_c_is_not_a_result(self) -> None:
        def it() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Tools({"it": it}).call("it")


class TestWarnings:
    """Each `Error:` is one warning in the log, in printable lines."""

    def it(self, count: int) -> None:
        raise ValueError("it \x1b[31mbroke\r\nINFO all is well")

    @pytest.mark.parametrize(
        ("name", "arguments", "logged"),
        [
            ("they", "{}", "there is no tool they; known: it"),
            ("th\x1bey", "{}", "there is no tool th␛ey; known: it"),
            ("it", "{}", "tool it: wrong arguments: count is missing"),
            ("it", '{"count": "1"}', "tool it: wrong arguments: count: Expected `int`, got `str`"),
            ("it", '{"count": 1, "a\\nb": 1}', "tool it: wrong arguments: a␊b is unknown (known: count)"),
            ("it", "[]", "tool it: wrong arguments: the arguments must be a JSON object"),
            ("it", '{"count": 1}', "tool it failed: it ␛[31mbroke␍␊INFO all is well"),
        ],
    )
    def test_each_kind_of_error_is_logged(
        self, caplog: pytest.LogCaptureFixture, name: str, arguments: str, logged: str
    ) -> None:
        assert Tools({"it": self.it}).call(name, arguments).startswith("Error: ")
        (record,) = caplog.records
        first, *traceback = record.getMessage().split("\n")
        assert ("rxruns", "WARNING", logged) == (record.name, record.levelname, first)
        assert all(line.startswith("  ") and line.isprintable() for line in traceback)
        assert ("failed" in logged) == ("in it" in record.getMessage())

    def test_a_successful_call_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        assert "3" == tools.call("add", '{"a": 2}')
        assert [] == caplog.records


class TestAnswers:
    @pytest.mark.parametrize(
        ("given", "is_freeform"),
        [
            ("yes", False),
            (" yes\n", False),
            ("perhaps", True),
            (Answer("yes", True), True),
            (Answer("\tno ", False), False),
        ],
    )
    def test_text_without_its_blanks_is_freeform_unless_it_is_an_option(
        self, given: Answer | str, is_freeform: bool
    ) -> None:
        answer = given if isinstance(given, str) else given.answer
        expected = {"answer": answer.strip(), "is_freeform": is_freeform}
        assert expected == json.loads(user_answer(user_ask(1).user_ask, given))

    @pytest.mark.parametrize("given", ["", " ", Answer(" ", True), 3, Answer(3, True)])  # type: ignore[arg-type]
    def test_a_blank_answer_is_refused(self, given: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="^answer must be text that isn't blank"):
            user_answer(user_ask(1).user_ask, given)

    def test_other_answers_than_the_options_are_refused_where_only_these_are_allowed(self) -> None:
        question = user_ask(1, allow_freeform=False).user_ask
        with pytest.raises(
            InvalidArgumentError, match="^answer must be one of the options 'yes', 'no', got 'perhaps'$"
        ):
            user_answer(question, "perhaps")
        assert '{"answer":"yes","is_freeform":false}' == user_answer(question, "yes")
