"""Functions as tools: names, arguments checked against signatures, outputs."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
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


class TestNames:
    def test_a_decorated_function_stays_what_it_is(self) -> None:
        assert 3 == add(1, 2)
        assert {"add": add, "files.read": read} == dict(tools)
        assert "Tools(add, files.read)" == repr(tools)

    def test_with_empty_parentheses_it_keeps_its_name(self) -> None:
        mine = Tools()
        assert add is mine.tool()(add)
        assert ["add"] == list(mine)

    @pytest.mark.parametrize("name", ["", "  "])
    def test_a_blank_name_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match="name"):
            Tools().tool(name)(add)

    def test_a_name_without_one_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="a name"):
            Tools().tool(type("Nameless", (), {"__call__": lambda self: 1})())

    def test_a_taken_name_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="add already"):
            Tools({"add": add}).tool(add)

    @pytest.mark.parametrize("function", [3, "add me"])
    def test_only_functions_are_tools(self, function: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="has to be a function"):
            Tools({"x": function})

    def test_a_coroutine_function_is_refused(self) -> None:
        async def later() -> None: ...

        with pytest.raises(InvalidArgumentError, match=r"asyncio\.run"):
            Tools().tool(later)

    def test_a_function_that_hides_its_parameters_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="wrap it"):
            Tools({"vars": vars})

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
        ("add", "[1, 2]", "Error: add: the arguments have to be a JSON object"),
        ("subtract", "{}", "Error: there is no tool subtract; known: add, files.read"),
    ],
)
def test_a_call_gives_its_output_or_names_what_is_wrong(
    name: str, arguments: str | None, output: str
) -> None:
    assert output == tools.call(name, arguments)


@pytest.mark.parametrize("arguments", ["{", "a = 1", '{"a":' + "[" * 200_000, '{"a": \ud800}'])
def test_arguments_that_are_no_json_are_an_error(arguments: str) -> None:
    assert tools.call("add", arguments).startswith("Error: add: the arguments are no JSON")


def test_without_tools_none_is_known() -> None:
    assert "Error: there is no tool add; known: none" == Tools().call("add")


class TestArguments:
    def call(self, function: Any, **arguments: Any) -> str:
        return Tools({"it": function}).call("it", json.dumps(arguments))

    def test_annotations_convert(self) -> None:
        def it(at: datetime, points: list[Point], share: float) -> str:
            return f"{at.year} {points[1].x} {share}"

        points = [{"x": 1}, {"x": 2, "y": 3}]
        assert "2026 2 1.0" == self.call(it, at="2026-01-31T12:00:00Z", points=points, share=1)

    def test_what_is_wrong_inside_is_located(self) -> None:
        def it(points: list[Point]) -> str: ...  # type: ignore[empty-body]

        assert "Error: it: points: Expected `int`, got `str` - at `$[0].x`" == self.call(
            it, points=[{"x": "1"}]
        )

    def test_bounds_hold(self) -> None:
        def it(count: Annotated[int, msgspec.Meta(ge=1)]) -> int:
            return count

        assert "Error: it: count: Expected `int` >= 1" == self.call(it, count=0)

    def test_what_is_not_annotated_is_passed_on(self) -> None:
        assert '[1,{"a":null}]' == self.call(lambda one, other: [one, other], one=1, other={"a": None})

    def test_a_function_may_take_whatever_comes(self) -> None:
        assert '{"a":1,"b":2}' == self.call(lambda a, **more: {"a": a, **more}, a=1, b=2)

    def test_arguments_by_position_alone_are_filled_by_name(self) -> None:
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
        ],
    )
    def test_text_is_sent_as_it_is_and_all_else_as_json(self, returned: object, output: str) -> None:
        assert output == Tools({"it": lambda: returned}).call("it")

    def test_what_is_no_json_is_an_error(self) -> None:
        assert Tools({"it": object}).call("it").startswith("Error: Encoding objects of type object")

    def test_paths_and_models_are_outputs_as_they_are_arguments(self) -> None:
        class Found(pydantic.BaseModel):
            path: Path

        output = Tools({"it": lambda: {"one": Path("a"), "other": [Found(path=Path("b"))]}}).call("it")
        assert '{"one":"a","other":[{"path":"b"}]}' == output

    def test_an_output_may_have_as_many_bytes_as_are_documented(self) -> None:
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
        ],
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

    def test_exit_by_a_tool_is_a_result(self) -> None:
        assert "Error: SystemExit" == Tools({"it": lambda: sys.exit()}).call("it")


class TestWarnings:
    """Each `Error:` is one warning in the log, and no more than lines of text."""

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
            ("it", "[]", "tool it: wrong arguments: the arguments have to be a JSON object"),
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

    def test_what_works_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        assert "3" == tools.call("add", '{"a": 2}')
        assert [] == caplog.records

    def test_an_error_without_words_is_logged_by_its_name(self, caplog: pytest.LogCaptureFixture) -> None:
        class Speechless(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        def it() -> None:
            raise Speechless

        assert "Error: Speechless" == Tools({"it": it}).call("it")
        assert "tool it failed: Speechless" in caplog.text


class TestAnswers:
    @pytest.mark.parametrize(
        ("given", "is_freeform"),
        [("yes", False), ("perhaps", True), (Answer("yes", True), True), (Answer("no", False), False)],
    )
    def test_text_is_freeform_unless_it_is_an_option(self, given: Answer | str, is_freeform: bool) -> None:
        answer = given if isinstance(given, str) else given.answer
        expected = {"answer": answer, "is_freeform": is_freeform}
        assert expected == json.loads(user_answer(user_ask(1).user_ask, given))

    @pytest.mark.parametrize("given", [" yes\n", Answer("\tyes ", False)])
    def test_blanks_around_it_are_removed(self, given: Answer | str) -> None:
        assert '{"answer":"yes","is_freeform":false}' == user_answer(user_ask(1).user_ask, given)

    @pytest.mark.parametrize("given", ["", " ", Answer(" ", True), 3, Answer(3, True)])  # type: ignore[arg-type]
    def test_a_blank_answer_is_refused(self, given: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="answer"):
            user_answer(user_ask(1).user_ask, given)

    def test_where_only_options_are_allowed_others_are_refused(self) -> None:
        asked = user_ask(1, allow_freeform=False).user_ask
        with pytest.raises(InvalidArgumentError, match="none of the options: yes, no"):
            user_answer(asked, "perhaps")
        assert '{"answer":"yes","is_freeform":false}' == user_answer(asked, "yes")
