"""The public names are those of `public_names.txt`, so a change of the API is a change of that file.

The file has a line for each public module, and for each public class except structs, schemas and errors.
After a change on purpose, write it anew with ``python -m tests.test_public_surface``.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import marshmallow
import msgspec

from rxruns import RunsClient
from tests.conftest import ROOT
from tests.test_architecture import public_modules

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("examples/*.py"))]
LIST = ROOT / "tests/public_names.txt"
VALUES = (msgspec.Struct, marshmallow.Schema, BaseException)


def surface() -> dict[str, list[str]]:
    """Find the names of each public module, and the attributes of their classes."""
    names = {module.__name__: sorted(module.__all__) for module in public_modules()}
    classes: dict[type[Any], str] = {}
    for owner, name in [(module, name) for module in names for name in names[module]]:
        value = getattr(sys.modules[owner], name)
        if inspect.isclass(value) and value.__module__.startswith("rxruns") and not issubclass(value, VALUES):
            classes.setdefault(value, f"{owner}.{name}")
    return names | {name: attributes(value) for value, name in classes.items()}


def listed() -> list[str]:
    """Return the lines of the list."""
    return [f"{owner}: {' '.join(names)}".rstrip() for owner, names in sorted(surface().items())]


def attributes(value: type[Any]) -> list[str]:
    """Find the public attributes that a class of rxruns or one of its bases there defines."""
    classes = [base for base in value.__mro__ if base.__module__.startswith("rxruns")]
    names = {name for base in classes for name in [*vars(base), *vars(base).get("__annotations__", ())]}
    return sorted(name for name in names if not name.startswith("_"))


def documented_imports() -> Iterator[tuple[str, str]]:
    """Find the names that documents and examples import from rxruns, with their modules."""
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        blocks = [text] if path.suffix == ".py" else re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
        for block in blocks:
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rxruns":
                    yield from ((node.module or "", alias.name) for alias in node.names)


def is_public(module: str, name: str) -> bool:
    """Return True for a public module, and for a public name of one."""
    names = surface()
    return f"{module}.{name}" in names or name in names.get(module, ())


def test_the_public_names_are_those_of_the_list() -> None:
    assert LIST.read_text("utf-8").splitlines() == listed()


def test_every_import_in_the_documents_and_examples_is_of_a_public_name() -> None:
    assert [] == sorted({pair for pair in documented_imports() if not is_public(*pair)})


def test_the_methods_of_a_client_are_those_of_its_page() -> None:
    page = (ROOT / "docs/howto/client.md").read_text("utf-8")
    rows = [line.partition(": ")[0] for line in page.splitlines() if line.startswith("- `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)\(", row)}
    assert documented | {"close", "from_env"} == set(attributes(RunsClient))


if __name__ == "__main__":
    LIST.write_text("\n".join(listed()) + "\n", "utf-8")
