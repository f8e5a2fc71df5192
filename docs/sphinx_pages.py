"""Pages of the site that aren't files of this folder, and links to them.

The pages here are written to be read on a code host: links lead to files, and ``index.md`` is the one list of
pages. On the site, the headings and lists of ``index.md`` become the navigation, each public module has a
page, and the source of each example follows their list.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import rxruns

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROJECT = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "benchmarks/README.md": "benchmarks",
}
"""Pages for contributors, by their files, which keep their places in the repository."""

API = """\
Made from the docstrings: each states its promise first, then the arguments with their units, then the errors.
The operators are in :mod:`rxruns.operators`, each with a marble drawing and an example; in the drawings time
runs from left to right, ``|`` is completion and ``#`` an error.
"""

INSIDE = """\
For contributors: the private modules, which may change in any release. Data flows one way, from transport
through framing, decoding and reader to operators, and nothing imports to its right.
"""

FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)="(?:https?:)?//|url\(["']?(?:https?:)?//|@import"""
)
"""Markup that makes a browser send a request to another host."""

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", adapt)
    app.connect("build-finished", refuse_other_hosts)
    return {"parallel_read_safe": True}


def write_pages(app: Sphinx) -> None:
    """Write the pages of the modules and of the project, which git ignores; remove outdated ones."""
    pages = dict(generated())
    for folder in ("api", "project"):
        (DOCS / folder).mkdir(exist_ok=True)
        for path in (DOCS / folder).iterdir():
            if str(path.relative_to(DOCS)) not in pages:
                path.unlink()
    for name, text in pages.items():
        path = DOCS / name
        if not path.exists() or path.read_text("utf-8") != text:  # Sphinx rebuilds pages with a newer date
            path.write_text(text, "utf-8")


def generated() -> Iterator[tuple[str, str]]:
    """Each page that isn't a file of this folder, as its name and text."""
    for file, name in PROJECT.items():
        if (ROOT / file).exists():
            path = ROOT / file
            yield f"project/{name}.md", rewritten(path.read_text("utf-8"), path.parent, DOCS / "project")
    modules = public_modules()
    for module in modules:
        yield f"api/{module.__name__}.rst", module_page(module, modules)
    yield "api/index.rst", api_index(modules)


def adapt(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn a page of this folder into one of the site."""
    if page.startswith(("api/", "project/")):
        return
    source[0] = rewritten(source[0], (DOCS / page).parent)
    if page == "index":
        source[0] += navigation(source[0])
    if page == "examples":
        source[0] += "".join(listing(path) for path in sorted((ROOT / "examples").glob("*.py")))


def refuse_other_hosts(app: Sphinx, error: Exception | None) -> None:
    """Fail if a page would fetch something from another host."""
    files = [file for kind in ("html", "css", "svg") for file in Path(app.outdir).rglob(f"*.{kind}")]
    fetching = [file.name for file in files if FETCHED.search(file.read_text("utf-8"))]
    if fetching and error is None:
        raise ExtensionError(f"pages that fetch from other hosts: {', '.join(fetching)}")


def rewritten(text: str, folder: Path, page: Path | None = None) -> str:
    """The text with its links, which start in `folder`, leading to pages, or to files as seen from `page`."""

    def replace(link: re.Match[str]) -> str:
        file = PurePosixPath(os.path.relpath(folder / link[1], ROOT))
        place = on_site(file) or os.path.relpath(ROOT / file, page or folder)
        return f"]({place}{'' if '#' in place else link[2] or ''})"

    return LINK.sub(replace, text)


def on_site(file: PurePosixPath) -> str | None:
    """The page that shows a file; None for a file without a page."""
    if str(file) in PROJECT:
        return f"/project/{PROJECT[str(file)]}.md"
    if str(file) == "README.md":
        return "/index.md"
    if file.parts[0] == "examples":
        return f"/examples.md#{file.stem}" if file.suffix else "/examples.md"
    if file.parts[0] == "rxruns":
        module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        return "/api/index.rst" if module == "rxruns" else f"/api/{module}.rst"
    return f"/{file.relative_to('docs')}" if file.parts[0] == "docs" else None


def navigation(index: str) -> str:
    """A hidden list of pages for each heading of the index, from the links that its items start with."""
    trees = []
    for section in index.split("\n## ")[1:]:
        pages = re.findall(r"^- \[[^]]+\]\(([^)#]+)\)", section, re.MULTILINE)
        caption = section.partition("\n")[0]
        trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```\n"]))
    return "\n" + "\n".join(trees)


def listing(path: Path) -> str:
    """An example with its source."""
    return f"\n## {path.stem}\n\n```{{literalinclude}} ../examples/{path.name}\n:language: python\n```\n"


def public_modules() -> list[ModuleType]:
    """The package, its public modules and the modules in their ``__all__``, without the command line."""
    modules = [rxruns]
    for found in pkgutil.iter_modules(rxruns.__path__, "rxruns."):
        if not re.search(r"\._", found.name) and found.name != "rxruns.cli":
            module = importlib.import_module(found.name)
            parts = (getattr(module, name) for name in names_of(module))
            modules += [module, *(part for part in parts if isinstance(part, ModuleType))]
    return list(dict.fromkeys(modules))  # `rxruns.ops` is `rxruns.operators`


def names_of(module: ModuleType) -> list[str]:
    """The names in a module's ``__all__``, without RxPY's, or the public names that it defines."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not is_from_rxpy(getattr(module, name))]
    return [name for name, value in vars(module).items() if name[0] != "_" and is_defined_in(module, value)]


def is_defined_in(module: ModuleType, value: object) -> bool:
    """Return True if a class or function is the module's own."""
    return getattr(value, "__module__", None) == module.__name__


def is_from_rxpy(value: object) -> bool:
    """Return True if a class or function is RxPY's."""
    return str(getattr(value, "__module__", None)).startswith("reactivex.operators")


def module_page(module: ModuleType, modules: list[ModuleType]) -> str:
    """One module: its docstring, then its members; of the package itself, a table of its names."""
    homes = {name: home(module, name, modules) for name in names_of(module)}
    own = [name for name, owner in homes.items() if owner is module]
    lines = [*heading(module.__name__), f".. automodule:: {module.__name__}"]
    if module is rxruns:
        lines += ["", "All of its names:", "", *table(exported(homes))]
        lines += [f"\n.. autoclass:: rxruns.{name}\n   :members:" for name in own if name[0] != "_"]
    else:
        lines.append(f"   :members: {', '.join(own)}")
        if (object,) not in [getattr(getattr(module, name), "__bases__", None) for name in own]:
            lines.append("   :show-inheritance:")
    return "\n".join(lines) + "\n"


def home(module: ModuleType, name: str, modules: list[ModuleType]) -> ModuleType:
    """The module that documents a name: its own, else one that exports it, the package last."""
    value = getattr(module, name)
    if isinstance(value, ModuleType):
        return value
    showing = [other for other in modules if getattr(other, name, None) is value and name in names_of(other)]
    defining = [other for other in showing if is_defined_in(other, value)]
    return (defining or showing[1:] or showing)[0]


def exported(homes: dict[str, ModuleType]) -> dict[str, str]:
    """A reference and a first sentence for each name of the package."""
    rows = {}
    for name, owner in homes.items():
        value = getattr(rxruns, name)
        role, path = ("mod", owner.__name__) if value is owner else ("obj", f"{owner.__name__}.{name}")
        if callable(value) or value is owner:
            rows[f":{role}:`{name} <{path}>`"] = first_sentence(value)
    return rows


def api_index(modules: list[ModuleType]) -> str:
    """The list of modules, with the first sentence of each."""
    rows = {f":mod:`{module.__name__}`": first_sentence(module) for module in modules}
    tree = ["", ".. toctree::", "   :hidden:", "", *(f"   {module.__name__}" for module in modules)]
    inside = ["", "Inside", "------", "", INSIDE, *table(private_modules())]
    return "\n".join([*heading("API reference"), API, *table(rows), *inside, *tree]) + "\n"


def private_modules() -> dict[str, str]:
    """The first sentence of each private module, which is parsed and not imported."""
    rows = {}
    for path in sorted((ROOT / "rxruns").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if re.search(r"\._(?!_)", name):
            docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            rows[f"``{name.removeprefix('rxruns.')}``"] = first_paragraph(docstring)
    return rows


def first_sentence(value: object) -> str:
    """The first paragraph of a docstring."""
    return first_paragraph(value.__doc__ or "")


def first_paragraph(text: str) -> str:
    """The first paragraph on one line."""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(":")


def table(rows: dict[str, str]) -> list[str]:
    """A table of two columns in reStructuredText."""
    cells = [f"   * - {name}\n     - {text}" for name, text in rows.items()]
    return [".. list-table::", "   :widths: 30 70", "", *cells]


def heading(title: str) -> list[str]:
    """A title in reStructuredText."""
    return [title, "=" * len(title), ""]
