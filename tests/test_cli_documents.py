"""What is wrong with a file that somebody wrote is said with its line and column."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.cli import _documents
from rxruns.cli._documents import load
from rxruns.cli._prices import prices
from rxruns.cli._start import key_value
from rxruns.costs import Price


def written(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


WRONG: list[tuple[str, str | bytes, str]] = [
    ("a.json", '{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
    (
        "a.json",
        '{"a": 1,\n  "a": 2}',
        "line 2, column 3: the key 'a' comes twice in one object, first in line 1",
    ),
    (
        "a.json",
        '[{"n": {"a": 1}},\n {"a": "{\\"a\\":", "\\u0061": 0}]',
        "line 2, column 19: the key 'a' comes",
    ),
    ("a.json", '{"a":\n NaN}', "line 2, column 2: NaN is no number in JSON"),
    ("a.json", "", "line 1, column 1: Expecting value"),
    ("a.json", "[" * 100_000, "nested too deep"),
    ("a.json", b'{"a": "\xff"}', "no text in UTF-8 (byte 8)"),
    ("a.yaml", "a: 1\nb: [1, 2\nc: 3\n", "line 3, column 2: expected ',' or ']'"),
    (
        "a.yaml",
        "a: 1\nb:\n  c: 1\n  c: 2\n",
        "line 4, column 3: the key 'c' comes twice in one object, first",
    ),
    ("a.yml", "a: 1\nyes: 2\n", "line 2, column 1: a key has to be text: put it in quotes"),
    ("a.yaml", "a: !!python/object:os.system x\n", "line 1, column 4: could not determine a constructor"),
    ("a.yaml", "a: \x07\n", "line 1, column 4: special characters are not allowed: U+0007"),
    ("a.yaml", "[" * 3_000, "nested too deep"),
]


@pytest.mark.parametrize(("name", "text", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_place(
    name: str, text: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(click.UsageError) as refused:
        load(written(tmp_path, name, text))
    assert said in refused.value.message
    assert name in refused.value.message


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="can not be read: No such file"):
        load(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_without_a_fault_is_what_json_says(value: Any) -> None:
    assert value == _documents._load_json(json.dumps(value, indent=1, ensure_ascii=False))


def test_yaml_anchors_and_merges_work(tmp_path: Path) -> None:
    text = "base: &base {model: a, user: x}\nnode:\n  <<: *base\n  model: b\n"
    assert {"model": "b", "user": "x"} == load(written(tmp_path, "a.yaml", text))["node"]


@pytest.mark.parametrize("text", ['{"a": [1]}', "a:\n  - 1\n"])
def test_standard_input_is_json_or_yaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))

    assert {"a": [1]} == load(Path("-"))


def test_prices_are_read_from_a_file(tmp_path: Path) -> None:
    text = "openai/gpt-5: {input_usd_per_million: 1.25, output_usd_per_million: '10'}\n"
    read = prices(str(written(tmp_path, "prices.yaml", text)))

    assert {("openai", "gpt-5"): Price("1.25", 10)} == read


def test_a_list_of_prices_comes_with_an_extra() -> None:
    assert prices("list")[("anthropic", "claude-sonnet-4-5")].input_usd_per_million > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "prices look like"),
        ('{"gpt-5": {}}', "'gpt-5' has to be provider/model"),
        ('{"openai/gpt-5": {"input_usd_per_million": 1}}', "openai/gpt-5: give input_usd_per_million and"),
        (
            '{"openai/gpt-5": {"input_usd_per_million": -1, "output_usd_per_million": 1}}',
            "openai/gpt-5: input_usd_per_million has to be US dollars",
        ),
    ],
)
def test_prices_that_can_not_be_used_are_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError) as refused:
        prices(str(written(tmp_path, "prices.json", text)))
    assert said in refused.value.message


@pytest.mark.parametrize("text", ["city", "=Lisbon", ":=3", "days:=three", ""])
def test_an_input_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        key_value(text)


def test_an_input_may_hold_equals_signs_and_json() -> None:
    assert ("query", "a=b:=c") == key_value("query=a=b:=c")
    assert ("days", {"from": 1}) == key_value('days:={"from": 1}')
