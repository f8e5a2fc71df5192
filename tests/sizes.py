"""Print the long modules and functions, as information only: ``python -m tests.sizes``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
MODULE, FUNCTION = 250, 30
"""The most lines that a module, and nine in ten functions, should have."""


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of each function, without its docstring, and its place."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or 0) - first.lineno + 1
            yield length, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def main() -> None:
    """Print what exceeds the limits, longest first."""
    paths = sorted((ROOT / "rxruns").rglob("*.py"))
    modules = {path: len(path.read_text("utf-8").splitlines()) for path in paths}
    found = sorted((each for path in paths for each in functions(path)), reverse=True)
    big = sorted(((size, path) for path, size in modules.items() if size > MODULE), reverse=True)
    long = [each for each in found if each[0] > FUNCTION]
    print(f"{len(modules)} modules, median {median(modules.values()):.0f} lines; over {MODULE}:")
    for size, path in big:
        print(f"  {size:4} {path.relative_to(ROOT)}")
    print(f"{len(found)} functions, {1 - len(long) / len(found):.1%} within {FUNCTION} lines; over that:")
    for size, where in long:
        print(f"  {size:4} {where}")


if __name__ == "__main__":
    main()
