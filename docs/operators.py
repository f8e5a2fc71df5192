"""Write docs/operators.md from the operators' docstrings: ``python docs/operators.py``.

A test fails when the page is stale.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rxruns import ops

PAGE = Path(__file__).with_name("operators.md")
HEAD = """\
# Operators

What rxruns adds to RxPY's operators. All of them are in `rxruns.ops`, beside all of RxPY's own; what those
say in a line is in [recipes.md](recipes.md). In the drawings time runs from left to right: `|` is completion,
`#` an error.

This page is written by `python docs/operators.py` from the docstrings; each example runs as a test.
"""

GROUPS: dict[str, list[str]] = {
    title.strip(): re.findall(r":func:`(\w+)`", row)
    for title, row in re.findall(r"^(\w[\w ]+?)  +(:func:.*)$", ops.__doc__ or "", re.MULTILINE)
}
"""The operators by what they do: the table in the package's docstring."""

OURS = [name for names in GROUPS.values() for name in names]


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title[0].upper()}{title[1:]}\n")
        parts += [section(name) for name in names]
    return "\n".join(parts)


def section(name: str) -> str:
    """One operator: its signature, then its docstring."""
    operator = getattr(ops, name)
    blocks = re.split(r"\n{2,}", inspect.getdoc(operator) or "")
    told = [markdown(block, operator) for block in blocks if block != "::"]
    return "\n".join([f"### {name}\n", fence("text", signature(operator)), *told])


def signature(operator: Callable[..., Any]) -> str:
    """How it is called, with one parameter a line where it would be too long."""
    parameters = inspect.signature(operator).replace(return_annotation=inspect.Signature.empty)
    call = re.sub(r": '([^']+)'", r": \1", f"ops.{operator.__name__}{parameters}")
    if len(call) <= 96:
        return call
    starred = re.split(r", (?=\w+: |\*, )", call[:-1].partition("(")[2])
    return "\n".join([call.partition("(")[0] + "(", *(f"    {parameter}," for parameter in starred), ")"])


def markdown(block: str, operator: Callable[..., Any]) -> str:
    """One block of a docstring: a drawing, arguments, an example or a paragraph."""
    if block.startswith("    "):
        return fence("text", textwrap.dedent(block).replace("``", ""))
    if block.startswith(">>>"):
        return fence("python", example(block, operator))
    title, _, rest = block.partition("\n")
    if title in ("Args:", "Raises:"):
        items = re.split(r"\n(?=\S)", textwrap.dedent(rest))
        return f"{title}\n\n" + "".join(wrapped(item, "- ") for item in items)
    return wrapped(block)


def wrapped(text: str, bullet: str = "") -> str:
    """A paragraph, or an item of a list whose name stands before the first colon."""
    text = " ".join(text.split())
    if bullet:
        text = re.sub(r"^(\*?\w+): ", r"`\1`: ", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    lines = textwrap.fill(
        text, 110, initial_indent=bullet, subsequent_indent="  " if bullet else "", break_on_hyphens=False
    )
    return lines + "\n"


def fence(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```\n"


def example(block: str, operator: Callable[..., Any]) -> str:
    """A doctest as a script, what it shows as comments, with the imports that it takes from its module."""
    lines: list[str] = []
    imports = {("rxruns", "ops")}
    for step in doctest.DocTestParser().get_examples(block):
        if step.source.startswith(("from ", "import ")):
            imports |= set(imported(step.source))
        else:
            lines += step.source.splitlines() + [f"# {line}" for line in step.want.splitlines()]
    code = re.sub(rf"(?<![\w.])(?=({'|'.join(OURS)})\()", "ops.", "\n".join(lines))
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    known = {name for _, name in imports}
    module = inspect.getsource(sys.modules[operator.__module__])
    imports |= {(origin, name) for origin, name in imported(module) if name in used - known}
    return f"{import_lines(imports - {('rxruns', 'operators')})}\n\n{code}"


def imported(source: str) -> Iterator[tuple[str, str]]:
    """The module and the name of each import; of ``import reactivex`` the module is empty."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (
                (node.module or "" if isinstance(node, ast.ImportFrom) else "", alias.name)
                for alias in node.names
            )


def import_lines(imports: Iterable[tuple[str, str]]) -> str:
    """Imports as lines: the standard library first, then others, then ours."""
    modules: dict[str, list[str]] = {}
    lines: list[str] = []
    for module, name in sorted(imports):
        modules.setdefault(module or name, []).extend([name] if module else [])
    for module, names in sorted(modules.items(), key=lambda item: (_place(item[0]), not item[1], item[0])):
        lines.append(f"from {module} import {', '.join(names)}" if names else f"import {module}")
    return "\n".join(lines)


def _place(module: str) -> int:
    root = module.partition(".")[0]
    return 0 if root in sys.stdlib_module_names else 2 if root == "rxruns" else 1


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
