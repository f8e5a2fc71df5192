"""An error in a hand-written file is reported with its line and column."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.cli import _json, _yaml
from rxruns.cli._documents import load
from rxruns.cli._files import FileError
from rxruns.cli._prices import prices
from rxruns.cli._start import key_value
from rxruns.cli._values import Step
from rxruns.costs import Price
from tests.records import examples


def written(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
"""Twelve lines of aliases that expand to 9^12 values."""
MERGE_BOMB = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n" for level in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 2_000))

JSON_ERRORS: list[tuple[str | bytes, str]] = [
    ('{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
    ('{"a": 1,\n  "a": 2}', "line 2, column 3: the key 'a' is duplicate, first in line 1"),
    ('[{"n": {"a": 1}},\n {"a": "{\\"a\\":", "\\u0061": 0}]', "line 2, column 19: the key 'a' is duplicate"),
    ('{"a":\n NaN}', "line 2, column 2: NaN is not a number in JSON"),
    ('{"a":\n [1, 1e400]}', "line 2, column 6: a number must be finite, got 1e400"),
    ('{"a":\n -9223372036854775809}', "line 2, column 2: an integer must fit into 64 bits"),
    ('{"a":\n ' + "9" * 5_000 + "}", "line 2, column 2: a number must have at most 400 digits, got 5,000"),
    ("[" * 101 + "]" * 101, "line 1, column 101: objects and arrays are nested more than 100 deep"),
    ("", "line 1, column 1: Expecting value"),
    ("[" * 100_000, "nested more than 100 deep"),
    (b'{"a": "\xff"}', "is not text in UTF-8 (byte 8)"),
]
YAML_ERRORS = [
    ("a: 1\nb: [1, 2\nc: 3\n", "line 3, column 2: expected ',' or ']'"),
    ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4, column 3: the key 'c' is duplicate, first"),
    ("a: 1\nyes: 2\n", "line 2, column 1: a key must be text, got a value of another type; quote it"),
    ("a: !!python/object:os.system x\n", "line 1, column 4: could not determine a constructor"),
    ("a:\n  - 2026-01-31\n  - !!timestamp 2026-02-30\n", "line 3, column 5: could not determine"),
    ("a: !!binary aGk=\n", "line 1, column 4: could not determine a constructor"),
    ("a: !!set {b, c}\n", "line 1, column 4: could not determine a constructor"),
    ("a: !!int 'three'\n", "line 1, column 4: 'three' is not of the type !!int"),
    ("a: !!int ''\n", "line 1, column 4: '' is not of the type !!int"),
    ("a: !!float 'three'\n", "line 1, column 4: 'three' is not of the type !!float"),
    ("a: !!bool 'maybe'\n", "line 1, column 4: 'maybe' is not of the type !!bool"),
    ("a: !!map [b]\n", "line 1, column 4: expected a mapping node"),
    ("a:\n  b: .inf\n", "line 2, column 6: a number must be finite, got .inf"),
    ("a:\n  b: -1.0e+400\n", "line 2, column 6: a number must be finite, got -1.0e+400"),
    ("a: 18446744073709551616\n", "line 1, column 4: an integer must fit into 64 bits"),
    ("a: 0x" + "f" * 390 + "\n", "line 1, column 4: an integer must fit into 64 bits, got 0xfff"),
    ("a: " + "9" * 5_000 + "\n", "line 1, column 4: a number must have at most 400 digits, got 5,000"),
    ("a: 1" + ":1" * 100_000 + "\n", "line 1, column 4: a number must have at most 400 digits"),
    ("a: &a\n  - *a\n", "line 2, column 5: an alias must not refer to a value that contains it"),
    ("a: &a\n  <<: *a\n", "line 2, column 7: an alias must not refer to a value that contains it"),
    ("? [a]\n: 1\n", "line 1, column 3: a key must be text"),
    ("? !!str [a]\n: 1\n", "line 1, column 3: a key must be text"),
    ("a: 1\n--- \nb: 2\n", "line 2, column 1: but found another document"),
    (BOMB, "line 5, column 5: it has more than 20,000 values once its aliases are replaced"),
    (MERGE_BOMB, "it has more than 20,000 values once its aliases are replaced"),
    ("[" + "[]," * 60_000 + "[]]", "line 1, column 59999: it has more than 20,000 values"),
    (CHAIN, "objects and arrays are nested more than 100 deep"),
    ("[" * 101 + "]" * 101, "objects and arrays are nested more than 100 deep"),
    ("a: \x07\n", "line 1, column 4: special characters are not allowed: U+0007"),
    ("[" * 3_000, "nested more than 100 deep"),
]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        *(("a.json", *error) for error in JSON_ERRORS),
        *(("a.yaml", *error) for error in YAML_ERRORS),
        ("a.yml", *YAML_ERRORS[0]),
    ],
)
def test_an_error_in_a_file_is_reported_with_its_position(
    name: str, text: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(FileError) as refused:
        load(written(tmp_path, name, text))
    assert message in refused.value.message
    assert refused.value.message.startswith(f"{tmp_path / name}: ")
    assert len(refused.value.message) < 500


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    # YAML takes 1,024 characters of a key at most, and an escaped one may be twelve.
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=80), inner),
)


@examples(60)
@given(JSON)
def test_valid_json_is_parsed_as_the_json_module_does(value: Any) -> None:
    assert value == _json.load(json.dumps(value, indent=1, ensure_ascii=False))[0]


def paths(value: Any, at: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Yield the path of each nested value, in the order of the text."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield (*at, step)
        yield from paths(item, (*at, step))


@examples(60)
@given(JSON)
def test_each_value_of_json_has_its_line(value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)  # each value begins a line
    _, locate = _json.load(text)
    lines = [text.count("\n", 0, locate(path)) for path in paths(value)]
    closing = [
        number for number, line in enumerate(text.split("\n")) if line.strip() in ("]", "],", "}", "},")
    ]
    assert sorted({*range(text.count("\n") + 1)} - {*closing} - {0}) == lines


@examples(60)
@given(JSON)
def test_each_value_of_yaml_has_its_place(value: Any) -> None:
    """JSON is YAML, so both must report the same positions."""
    text = json.dumps(value, indent=1)
    in_json, in_yaml = _json.load(text), _yaml.load(text)
    if in_json[0] == in_yaml[0]:  # but for numbers that YAML 1.1 takes for text, such as 1e5
        assert [in_json[1](path) for path in paths(value)] == [in_yaml[1](path) for path in paths(value)]


def test_yaml_has_anchors_and_merges_and_dates_are_text(tmp_path: Path) -> None:
    text = "base: &base {model: a, user: x}\nnode:\n  <<: *base\n  model: b\n"
    document = load(written(tmp_path, "a.yaml", text))
    assert {"model": "b", "user": "x"} == document.value["node"]
    assert "line 4, column 3: no" in document.refused("no", "node", "model").message
    assert "line 1, column 24: no" in document.refused("no", "node", "user").message
    dates = ["2026-01-31", "2026-02-30", "2026-01-31T12:00:00Z"]
    assert dates == load(written(tmp_path, "b.yaml", f"[{', '.join(dates)}]")).value


def test_a_missing_file_is_reported_and_a_large_one_not_read_whole(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="can't be read: No such file"):
        load(tmp_path / "none.json")
    with written(tmp_path, "a.json", "").open("r+b") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(FileError, match="is larger than 2,097,152 bytes"):
        load(tmp_path / "a.json")


def test_a_fifo_is_read_if_something_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    os.mkfifo(path)
    with pytest.raises(FileError, match="is a FIFO that nothing writes to"):
        load(path)
    kept = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # so that what is written stays
    path.write_text('{"a": 1}')
    assert {"a": 1} == load(path).value
    os.close(kept)


@pytest.mark.parametrize("text", ['{"a": [1]}', "a:\n  - 1\n"])
def test_standard_input_is_json_or_yaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))

    assert {"a": [1]} == load(Path("-")).value


def test_prices_are_read_from_a_file_or_from_an_extra(tmp_path: Path) -> None:
    text = "openai/gpt-5: {input_usd_per_million: 1.25, output_usd_per_million: '10'}\n"
    read = prices(str(written(tmp_path, "prices.yaml", text)))

    assert {("openai", "gpt-5"): Price("1.25", 10)} == read
    assert prices("list")[("anthropic", "claude-sonnet-4-5")].input_usd_per_million > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "line 1, column 1: prices must be an object like"),
        ('{\n"gpt-5": {}}', "line 2, column 1: a model must be named provider/model, got 'gpt-5'"),
        (
            '{\n"openai/gpt-5": {"input_usd_per_million": 1}}',
            "line 2, column 1: openai/gpt-5 must have input_usd_per_million and",
        ),
        (
            '{"openai/gpt-5":\n {"output_usd_per_million": 1,\n "input_usd_per_million": -1}}',
            "line 3, column 2: openai/gpt-5: input_usd_per_million must be US dollars",
        ),
    ],
)
def test_invalid_prices_are_reported_with_their_position(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError) as refused:
        prices(str(written(tmp_path, "prices.json", text)))
    assert message in refused.value.message


@pytest.mark.parametrize(
    "text", ["city", "=Lisbon", ":=3", "days:=three", "", "a:=NaN", "a:=" + "9" * 5_000, "a:=" + "[" * 5_000]
)
def test_an_invalid_input_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        key_value(text)


def test_an_input_may_hold_equals_signs_and_json() -> None:
    assert ("query", "a=b:=c") == key_value("query=a=b:=c")
    assert ("days", {"from": 1}) == key_value('days:={"from": 1}')
