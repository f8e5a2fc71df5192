"""Find words that this project doesn't use: ``python .ci/words.py [FILE ...]`` exits with 1 and names each.

The list, with what to write instead, is ``words.toml``. Python files are read token by token: comments,
strings, names. Of all other files the whole text is searched.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LISTS = tomllib.loads((ROOT / ".ci/words.toml").read_text("utf-8"))
OTHER_FILES = {".cfg", ".css", ".html", ".ini", ".js", ".md", ".pyi", ".toml"}
EXEMPT = "words: ok"
FOLDERS = (".ci", "benchmarks", "docs", "examples", "rxruns", "tests")


class Text(NamedTuple):
    """A piece of a file to search, with the list of patterns and the line that it starts at."""

    patterns: str
    line: int
    text: str


def main(arguments: list[str]) -> int:
    """Print each word that was found; return the exit code."""
    files = [Path(argument).resolve() for argument in arguments] or project()
    found = sorted({line for file in files for line in findings(file)})
    for path, line, reason in found:
        print(f"{path}:{line}: {reason}")
    return 1 if found else 0


def project() -> list[Path]:
    """The files of the project that people read, except those that the site's build writes."""
    files = [*ROOT.glob("*"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*"))]
    generated = {ROOT / "docs/api", ROOT / "docs/project", ROOT / ".ci/words.toml"}
    return [
        file
        for file in files
        if file.suffix in OTHER_FILES | {".py"} and file.is_file() and not generated & {file, *file.parents}
    ]


def findings(file: Path) -> Iterator[tuple[str, int, str]]:
    """The path, the line and the reason of each word of a file."""
    source = file.read_text("utf-8")
    lines = source.splitlines()
    for patterns, first, text in pieces(file, source):
        for pattern, remedy in LISTS[patterns].items():
            for match in matches(patterns, pattern, text):
                number = first + text.count("\n", 0, match.start())
                if EXEMPT not in lines[number - 1]:
                    word = " ".join(match[0].split())
                    yield str(file.relative_to(ROOT)), number, f"“{word}”: write {remedy}"


def matches(patterns: str, pattern: str, text: str) -> Iterator[re.Match[str]]:
    """Search anywhere, at the start of a docstring, or in the whole of a name."""
    regex = pattern.replace(" ", r"\s+")
    if patterns == "anywhere":
        yield from re.finditer(regex, text, re.IGNORECASE)
    elif match := (re.fullmatch if patterns == "names" else re.match)(regex, text):
        yield match


def pieces(file: Path, source: str) -> Iterator[Text]:
    """The parts of a file to search."""
    if file.suffix != ".py":
        yield Text("anywhere", 1, source)
        return
    yield from docstrings(source)
    comments: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        follows = token.type in (tokenize.NL, tokenize.COMMENT)
        if comments and not (follows and line - comments[-1].start[0] < 2):
            yield joined(comments)
            comments = []
        if token.type == tokenize.COMMENT:
            comments.append(token)
        elif token.type == tokenize.NAME:
            yield Text("names", line, token.string)
            if token.string.startswith("test_"):
                yield Text("anywhere", line, token.string.replace("_", " "))
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            yield Text("anywhere", line, token.string)


def joined(comments: list[tokenize.TokenInfo]) -> Text:
    """Comments on consecutive lines as one text."""
    return Text("anywhere", comments[0].start[0], "\n".join(c.string.lstrip("# ") for c in comments))


def docstrings(source: str) -> Iterator[Text]:
    """Each docstring of a module, its classes and functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield Text("docstrings", node.body[0].lineno, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
