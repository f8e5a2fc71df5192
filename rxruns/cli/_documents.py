"""JSON and YAML files written by hand: errors name the file, line and column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from rxruns.cli import _json, _yaml
from rxruns.cli._files import FileError, read
from rxruns.cli._values import Locate, Problem, Step

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class Document(NamedTuple):
    """The content of a file.

    Attributes:
        path: of the file.
        value: plain data, as in JSON.
    """

    path: Path
    value: Any
    text: str
    locate: Locate

    def refused(self, reason: str, *path: Step) -> FileError:
        """Return the error of the value at a path: it names the file and the line."""
        return FileError(self.path, f"{_where(self.text, self.locate(path))}: {reason}")

    def refused_field(self, reason: str, field: str | None) -> FileError:
        """Return the error of a field that is named as in ``nodes[2].id``."""
        steps = [int(index) if index else name for index, name in _STEP.findall(field or "")]
        return self.refused(reason, *steps)


def load(path: Path) -> Document:
    """Load a file: YAML with the suffixes ``.yaml`` and ``.yml``, else JSON.

    ``-`` is standard input, JSON if it begins with a brace.

    Raises:
        FileError: it can't be read, is not well formed, has a duplicate key, or exceeds a limit.
    """
    try:
        text = read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(path, f"is not text in UTF-8 (byte {error.start + 1})") from error
    is_yaml = path.suffix.lower() in (".yaml", ".yml") or (str(path) == "-" and text.lstrip()[:1] != "{")
    try:
        value, locate = _yaml.load(text) if is_yaml else _json.load(text)
    except Problem as problem:
        raise FileError(path, f"{_where(text, problem.place)}: {problem.what}") from problem
    return Document(path, value, text, locate)


def _where(text: str, place: int) -> str:
    return f"line {text.count(chr(10), 0, place) + 1}, column {place - text.rfind(chr(10), 0, place)}"
