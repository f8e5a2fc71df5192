"""The promises of the design about the code as a whole: import direction, borders, the tree of errors."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import rxruns
from rxruns import errors, schemas
from tests.conftest import ROOT

PACKAGE = ROOT / "rxruns"

# Each module or package imports from those before it only, for types too; those on one line are strangers.
ORDER = """
_version
_errors
_display
events
models
workflow
structschema
schemas
costs
errors
_ndjson
_arguments
_policies
_transport
state
_requests
_fold
_logs
folds
client
_threading
tools lifecycle cursors
_streams
operators
aio dask otel page charts
_loopback
devserver
testing
ops
__init__
cli
__main__
"""
LAYERS = {name: layer for layer, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}

# Imports inside a function: of extras that may be missing, and of what takes long and is rarely needed.
LATE_IMPORTS = {
    "__main__": {"rxruns.cli"},
    "_ndjson": {"rxruns._ndjson._judging"},
    "cli": {"rxruns.charts", "rxruns.cli._cost_following", "rxruns.otel"},
    "costs": {"genai_prices"},
    "_transport": {"rxruns._transport._socks"},
    "cursors": {"rxruns.cursors._postgres_connection"},
}

# Builtin exceptions that are raised on purpose, and where: protocols of Python, and bugs of the caller.
BUILTIN_ERRORS = {
    "__init__": {"AttributeError"},  # like a module's own
    "aio": {"StopAsyncIteration"},
    "charts": {"ModuleNotFoundError"},
    "client": {"TypeError"},  # like pickle's own
    "costs": {"AttributeError", "KeyError"},
    "cursors": {"ModuleNotFoundError"},
    "dask": {"ImportError"},
    "devserver": {"LookupError", "TypeError"},
    "events": {"AttributeError"},  # like a module's own
    "folds": {"AttributeError"},
    "otel": {"ModuleNotFoundError"},
    "state": {"KeyError"},  # like a mapping's own
    "structschema": {"TypeError", "ValueError"},  # the latter like marshmallow's own
    "testing": {"AssertionError", "AttributeError"},  # the latter like a module's own
    "_streams": {"TypeError"},  # like Python's own for an object that isn't iterable
    "_threading": {"RuntimeError", "StopIteration"},
}

FOREIGN = {"requests", "socks", "urllib3"}
AT_THE_TOP = 19
LINES = 600


def module_of(path: Path) -> str:
    """Return the dotted name of a module's file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {path: ast.parse(path.read_text("utf-8"), str(path)) for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {module_of(path) for path in TREES}


def part_of(path: Path) -> str:
    """Return the top-level module or package of a file: ``operators`` for ``operators/_buffer.py``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, *, typing: bool = False) -> Iterator[str]:
    """Find the dotted names that a module imports; with `typing`, those for the type checker too."""
    if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test) and not typing:
        for node in tree.orelse:
            yield from imports(node)
    elif isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        assert tree.level == 0, "imports are absolute"
        for alias in tree.names:
            whole = f"{tree.module}.{alias.name}"
            yield whole if whole in MODULES else tree.module or ""
    else:
        for child in ast.iter_child_nodes(tree):
            yield from imports(child, typing=typing)


def late_imports(tree: ast.AST) -> set[str]:
    """Find the imports inside functions."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {name for function in functions for name in imports(function)}


def builtin_errors(tree: ast.AST) -> set[str]:
    """Find the builtin exceptions that a module raises."""
    return {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc is not None
        for name in ast.walk(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        if isinstance(name, ast.Name) and inspect.isclass(getattr(builtins, name.id, None))
    }


def public_modules() -> Iterator[ModuleType]:
    """Import the public modules, except those whose extra is missing."""
    for name in sorted(MODULES):
        if not any(part.startswith("_") for part in name.split(".")):
            with suppress(ImportError):
                module = importlib.import_module(name)
                if hasattr(module, "__all__"):
                    yield module


def relative(path: Path) -> str:
    """Return a short name for a report."""
    return str(path.relative_to(PACKAGE))


def test_no_module_imports_to_its_right_or_http_or_inside_a_function() -> None:
    wrong: list[str] = []
    for path, tree in TREES.items():
        part, late = part_of(path), late_imports(tree)
        named = set(imports(tree, typing=True)) - late
        parts = {name.split(".")[1] for name in named if name.startswith("rxruns.")} - {part}
        wrong += [
            f"{relative(path)} imports {name}"
            for name in [
                *(name for name in parts if LAYERS[name] >= LAYERS[part]),
                *(
                    {name.partition(".")[0] for name in imports(tree)} & FOREIGN
                    if part != "_transport"
                    else ()
                ),
                *(late - LATE_IMPORTS.get(part, set())),
            ]
        ]
    assert [] == wrong


def test_no_import_goes_in_a_circle() -> None:
    graph = {
        module_of(path): MODULES.intersection(imports(tree, typing=True)) for path, tree in TREES.items()
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_errors_of_ours_are_raised() -> None:
    found = {(part_of(path), name) for path, tree in TREES.items() for name in builtin_errors(tree)}

    assert set() == found - {(part, name) for part, names in BUILTIN_ERRORS.items() for name in names}


def test_a_module_is_short_names_no_machine_and_few_are_at_the_top() -> None:
    machine = re.compile("/" + r"(?:root|home|Users)/\w")
    texts = {relative(path): path.read_text("utf-8") for path in TREES}

    assert [] == [name for name, text in texts.items() if text.count("\n") > LINES or machine.search(text)]
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= AT_THE_TOP


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


@pytest.mark.parametrize("module", [rxruns.events, rxruns.models, schemas])
def test_a_star_import_of_declarations_gives_all_of_them_and_nothing_else(module: ModuleType) -> None:
    bound = {
        name.id if isinstance(name, ast.Name) else name.name
        for statement in TREES[Path(module.__file__ or "")].body
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
