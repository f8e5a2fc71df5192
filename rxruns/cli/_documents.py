"""JSON and YAML files that people write: what is wrong is said with its line and column."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml

__all__ = ["load"]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|-?\w+')


class _Problem(Exception):
    """What is wrong, and where: `place` counts characters from 0."""

    def __init__(self, what: str, place: int) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


def load(path: Path) -> Any:
    """What a file holds: YAML with the suffixes ``.yaml`` and ``.yml``, else JSON. ``-`` is standard input,
    JSON if it begins with a brace.

    Raises:
        click.UsageError: it can not be read, is not well formed, or has a key twice.
    """
    try:
        text = (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise click.UsageError(f"{path} can not be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is no text in UTF-8 (byte {error.start + 1})") from error
    is_yaml = path.suffix.lower() in (".yaml", ".yml") or (str(path) == "-" and text.lstrip()[:1] != "{")
    try:
        return _load_yaml(text) if is_yaml else _load_json(text)
    except _Problem as problem:
        before = text[: problem.place].split("\n")
        where = f"line {len(before)}, column {len(before[-1]) + 1}"
        raise click.UsageError(f"{path}: {where}: {problem.what}") from problem


def _load_json(text: str) -> Any:
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise _Problem(error.msg, error.pos) from error
    except RecursionError as error:
        raise _Problem("it is nested too deep", 0) from error
    _check_tokens(text)
    return loaded


class _Token(NamedTuple):
    text: str
    place: int


def _check_tokens(text: str) -> None:
    """What Python's decoder lets pass: a key that comes twice, and numbers that are none.

    The text is known to be JSON, so a string before a colon is a key of the object that was opened last.
    """
    objects: list[dict[str, int]] = []
    before = _Token("", 0)
    for token in _tokens(text):
        if token.text in ("{", "["):
            objects.append({})
        elif token.text in ("}", "]"):
            objects.pop()
        elif token.text == ":":
            key = json.loads(before.text)
            if key in objects[-1]:
                raise _twice(key, text, objects[-1][key], before.place)
            objects[-1][key] = before.place
        elif token.text in ("NaN", "Infinity", "-Infinity"):
            raise _Problem(f"{token.text} is no number in JSON", token.place)
        before = token


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        yield _Token(found[0], found.start())


def _twice(key: object, text: str, first: int, again: int) -> _Problem:
    line = text.count("\n", 0, first) + 1
    return _Problem(f"the key {key!r} comes twice in one object, first in line {line}", again)


class _Loader(yaml.SafeLoader):
    """Plain data alone. Keys are text, and come once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, place = key_node.value, key_node.start_mark.index
            if key_node.tag != "tag:yaml.org,2002:str":
                raise _Problem("a key has to be text: put it in quotes", place)
            if key in seen:
                raise _twice(key, node.start_mark.buffer or "", seen[key], place)
            seen[key] = place
        return super().construct_mapping(node, deep)


def _load_yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Problem(error.problem or "this is no YAML", mark.index if mark else 0) from error
    except yaml.reader.ReaderError as error:
        raise _Problem(f"{error.reason}: U+{int(error.character):04X}", error.position) from error
    except RecursionError as error:
        raise _Problem("it is nested too deep", 0) from error
