"""The pages in docs are complete, their links work, and each test that they name exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rxruns import operators
from tests import test_schemas_contract
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted((DOCS / "howto").glob("*.md"))]
WRITTEN = [*sorted(ROOT.glob("*.md")), ROOT / "benchmarks/README.md", *PAGES]


OPERATORS = [
    name
    for name in sorted(operators.__all__)
    if name.islower() and getattr(operators, name).__module__.startswith("rxruns.operators.")
]


def test_the_package_of_operators_lists_each_of_ours() -> None:
    listed = re.findall(r":func:`(\w+)`", operators.__doc__ or "")

    assert OPERATORS == sorted(listed)


def test_each_test_that_a_page_names_exists() -> None:
    named = [
        (page.name, file, test)
        for page in PAGES
        for file, test in re.findall(r"`(?:tests/)?(test_\w+\.py)(?:::(test_\w+))?`", page.read_text("utf-8"))
    ]

    assert [] == [(page, file, test) for page, file, test in named if test not in _tests_of(file)]


def _tests_of(file: str) -> set[str]:
    """The tests of a module, and the empty name for the module itself; an empty set if it doesn't exist."""
    paths = list((ROOT / "tests").rglob(file))
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    return {"" for _ in paths} | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_each_row_about_msgspec_and_marshmallow_names_its_test() -> None:
    table = (
        (DOCS / "schemas.md").read_text("utf-8").partition("## Where the two differ")[2].partition("\n## ")[0]
    )
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]

    assert len(rows) > 30
    assert [] == [row for row in rows if not re.search(r"`test_\w+\.py::test_\w+` \|$", row)]


def test_the_deliberate_differences_are_those_that_are_tested() -> None:
    page = (DOCS / "schemas.md").read_text("utf-8")
    listed = re.findall(r"^- (.*)$", page.partition("JSON Schema, on purpose")[2], re.MULTILINE)

    assert list(test_schemas_contract.DELIBERATE) == listed


def test_the_index_links_every_page_and_they_every_example() -> None:
    index, examples = ((DOCS / name).read_text("utf-8") for name in ("index.md", "examples.md"))
    pages = [str(page.relative_to(DOCS)) for page in PAGES if page.name != "index.md"]
    programs = [path.name for path in (ROOT / "examples").glob("*.py")]

    assert [] == [page for page in pages if f"]({page})" not in index]
    assert [] == [name for name in programs if not re.search(rf"^- \[{name}\]\(.*\): \w", examples, re.M)]


def test_every_link_leads_to_a_file_and_one_of_its_headings() -> None:
    links = [(page, link) for page in WRITTEN for link in links_of(page)]

    assert [] == [(page.name, link) for page, link in links if not leads_somewhere(page, link)]


def links_of(page: Path) -> list[str]:
    """The targets of a page's links and pictures, except those in code."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", prose)
    return [in_markdown or in_html for in_markdown, in_html in found]


def leads_somewhere(page: Path, link: str) -> bool:
    """Return True if the file and its heading exist. For other hosts only the form is checked."""
    parts = urlsplit(link)
    if parts.scheme:
        return parts.scheme == "https" and "." in parts.netloc
    target = page.parent / parts.path if parts.path else page
    if not target.exists():
        return False
    return not parts.fragment or parts.fragment in anchors_of(target)


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("concepts.md#which-thread-calls-what", True),
        ("#start", True),
        ("../rxruns", True),
        ("https://rxpy.readthedocs.io/", True),
        ("concepts.md#which-thread", False),
        ("concept.md", False),
        ("http://rxpy.readthedocs.io/", False),
        ("https:rxpy", False),
    ],
)
def test_a_dead_link_is_found(link: str, leads: bool) -> None:
    assert leads == leads_somewhere(DOCS / "index.md", link)
