"""What the design promises about the code as a whole: import direction, borders, the tree of errors."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

import rxruns
from rxruns import errors, schemas
from tests.conftest import ROOT

PACKAGE = ROOT / "rxruns"

# Each module or package imports from those before it only; those on one line are strangers.
ORDER = """
_version
errors
_display
events
models
workflow
structschema
schemas
_ndjson
_arguments
_policies
_transport
costs
state
_requests
tools folds
_logs
client
lifecycle cursors
_threading
_streams
operators
aio dask page charts
devserver
testing
__init__
cli
__main__
"""
LAYERS = {name: layer for layer, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}

# Where an import inside a function is meant, and of what: extras that may be missing.
LATE_IMPORTS = {
    "__main__": {"rxruns.cli"},
    "cli": {"rxruns.charts"},
    "costs": {"genai_prices"},
    "_list_prices": {"genai_prices"},
    "_transport": {"rxruns._transport._socks"},
}

# Builtin exceptions that are raised on purpose, and where: protocols of Python, and bugs of who calls.
MEANT = {
    "aio": {"StopAsyncIteration"},
    "charts": {"ModuleNotFoundError"},
    "_prices": {"KeyError"},
    "costs": {"AttributeError", "KeyError"},
    "dask": {"ImportError"},
    "client": {"TypeError"},  # as pickle's own for what is not to be pickled
    "_streams": {"TypeError"},  # as Python's own for what is not iterable
    "devserver": {"LookupError", "TypeError"},
    "_growing": {"KeyError"},
    "state": {"KeyError"},  # as a mapping's own
    "_threading": {"RuntimeError", "StopIteration"},
    "_polymorphic": {"ValueError"},
    "_observable": {"TypeError"},
    "structschema": {"TypeError", "ValueError"},  # the latter as marshmallow's own
    "testing": {"AssertionError"},
}

FOREIGN = {"requests", "socks", "urllib3"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The top-level module or package of a file: ``operators`` for ``operators/_buffer.py``."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names that are imported when the code runs."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for node in tree.orelse:
            yield from imports(node)
    elif isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        assert 0 == tree.level, "imports are absolute"
        module = tree.module or ""
        yield from (f"rxruns.{alias.name}" if module == "rxruns" else module for alias in tree.names)
    else:
        for child in ast.iter_child_nodes(tree):
            yield from imports(child)


def late_imports(tree: ast.AST) -> Iterator[str]:
    """The imports inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node)


def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def public_modules() -> Iterator[ModuleType]:
    """The modules that say what of them is public, but those whose extra is missing."""
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not any(part.startswith("_") for part in name.split(".")):
            with suppress(ImportError):
                module = importlib.import_module(name)
                if hasattr(module, "__all__"):
                    yield module


def relative(path: Path) -> str:
    """A name for the test report."""
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_imports_to_its_right(path: Path) -> None:
    part = part_of(path)
    late = set(late_imports(parsed(path)))
    named = {name.split(".")[1] for name in set(imports(parsed(path))) - late if name.startswith("rxruns.")}

    assert part in LAYERS, f"give {part} its place in ORDER"
    assert [] == sorted(name for name in named - {part} if LAYERS.get(name, -1) >= LAYERS[part])


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) != "_transport"], ids=relative)
def test_only_the_transport_imports_an_http_library(path: Path) -> None:
    # What is imported for types alone has no exceptions to leak.
    assert set() == {name.partition(".")[0] for name in imports(parsed(path))} & FOREIGN


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_import_nothing_but_optional_extras(path: Path) -> None:
    allowed = LATE_IMPORTS.get(part_of(path), set())

    assert set() == set(late_imports(parsed(path))) - allowed


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, set[str]] = {}
    parents: list[str] = []
    for indent, name, extra in re.findall(r"^( +)(\w+)(?:\((\w+)\))?(?:  .*)?$", errors.__doc__ or "", re.M):
        depth = (len(indent) - 4) // 2
        parents[depth:] = [name]
        drawn[name] = {*([parents[depth - 1]] if depth else ["Exception"]), *([extra] if extra else [])}

    classes = {
        name: {base.__name__ for base in value.__bases__}
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert drawn == classes
    assert {*classes, "FieldError"} == set(errors.__all__)


def test_the_public_face_is_small_and_there() -> None:
    assert len(rxruns.__all__) <= 30
    assert [] == [name for name in rxruns.__all__ if not hasattr(rxruns, name)]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_what_goes_wrong_has_a_type_of_ours(path: Path) -> None:
    raised = {
        name.id
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Raise) and node.exc is not None
        for name in ast.walk(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        if isinstance(name, ast.Name) and inspect.isclass(getattr(builtins, name.id, None))
    }
    assert set() == raised - MEANT.get(part_of(path), set())


@pytest.mark.parametrize("module", [rxruns.events, rxruns.models, schemas])
def test_a_star_import_of_declarations_gives_all_of_them_and_nothing_else(module: ModuleType) -> None:
    bound = {
        name.id if isinstance(name, ast.Name) else name.name
        for statement in parsed(Path(module.__file__ or "")).body
        for name in (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [getattr(statement, "target", statement)]
        )
        if isinstance(name, ast.Name | ast.ClassDef | ast.FunctionDef)
    }
    assert sorted(name for name in bound if name[0] != "_") == sorted(module.__all__)


def test_each_public_name_is_there_and_says_what_it_is() -> None:
    silent = [
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name in module.__all__
        if inspect.isroutine(getattr(module, name)) or inspect.isclass(getattr(module, name))
        if not getattr(module, name).__doc__
    ]
    assert [] == silent


def test_modules_fit_in_a_head() -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}

    assert {} == {name: length for name, length in lengths.items() if length > 600}


def test_nothing_names_a_machine() -> None:
    found = re.compile("/" + r"(?:root|home|Users)/\w")

    assert [] == [relative(path) for path in MODULES if found.search(path.read_text("utf-8"))]
