"""Names in docstrings, as short as people like to read them, become links; a wrong one fails the build."""

from __future__ import annotations

import ast
import builtins
import importlib
import pydoc
import re
import sys

from docutils import nodes
from msgspec import inspect
from msgspec.inspect import type_info
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.nodes import make_refnode

from rxruns.events import Payload, RunEvent
from rxruns.models import Model
from rxruns.workflow._nodes import Part


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", without_bounds)
    app.connect("autodoc-process-docstring", add_bounds)
    # Else what stands before the first colon of an attribute's docstring were its type; ours are sentences.
    GoogleDocstring._parse_attribute_docstring = GoogleDocstring._consume_to_end
    return {"parallel_read_safe": True}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """The link for a name that Sphinx did not find; its text where it has no page; None where it is wrong."""
    if node.get("refdomain") != "py":
        return None
    target: str = re.sub(r"^ops\.", "operators.", node["reftarget"])
    place = documented(env, target, node["reftype"])
    if place is not None:
        return make_refnode(app.builder, node["refdoc"], *place, content)
    return content if in_signature(node) or is_real(target, node.get("py:module")) else None


def documented(env: BuildEnvironment, target: str, role: str) -> tuple[str, str] | None:
    """The page and the anchor of the one object with this name, in any module; None if there are several."""
    places = {
        (entry.docname, entry.node_id)
        for name, entry in env.domains.python_domain.objects.items()
        if f".{name}".endswith(f".{target.removeprefix('rxruns.')}")
        and (entry.objtype == "module") == (role == "mod")
        and (role != "func" or entry.objtype == "function")
    }
    return places.pop() if len(places) == 1 else None


def in_signature(node: nodes.Node) -> bool:
    """Return True for a name in a signature, which autodoc reads from the code."""
    return isinstance(node, addnodes.desc_signature) or (
        node.parent is not None and in_signature(node.parent)
    )


def is_real(target: str, module: str | None) -> bool:
    """Return True if the name can be resolved where it is written, although it has no page."""
    if target.startswith("'"):  # a Literal
        return True
    known = target.partition(".")[0] in sys.modules and pydoc.locate(target) is not None
    return known or hasattr(builtins, target) or (module is not None and is_in(module, target))


def is_in(module: str, name: str) -> bool:
    """Return True if the module has the dotted name."""
    value: object = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value is not None


def without_bounds(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Types without the bounds that msgspec checks: they would hide the names."""
    if signature is None or "Annotated[" not in signature:
        return signature, returned
    call = Plain().visit(ast.parse(f"def f{signature.replace('~', '').replace('<factory>', '...')}: ..."))
    return f"({ast.unparse(call.body[0].args)})", returned


class Plain(ast.NodeTransformer):
    """``Annotated[T, ...]`` becomes ``T``."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.value).endswith("Annotated") and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node


def add_bounds(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Append the checks of a wire type's own fields to its docstring."""
    if not (isinstance(value, type) and issubclass(value, RunEvent | Payload | Model | Part)):
        return
    own = value.__dict__.get("__annotations__", {})
    fields = {field.encode_name: bounds(field.type) for field in type_info(value).fields if field.name in own}
    rules = [f"``{field}`` is {bound}" for field, bound in fields.items() if bound]
    if rules:
        lines += ["", f"Checked: {'; '.join(rules)}.", ""]


def bounds(kind: inspect.Type) -> str:
    """The rule that a value of the type must satisfy, in words; empty if there is none."""
    match kind:
        case inspect.UnionType(types=types):
            return "".join(dict.fromkeys(map(bounds, types)))
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return (extra or {}).get("description") or bounds(inner)
        case inspect.IntType(ge=least) if least is not None:
            return f"at least {least}"
        case inspect.StrType(min_length=1):
            return "not empty"
        case inspect.StrType(pattern=str(pattern)):
            return f"what ``{pattern}`` matches"
        case inspect.DateTimeType(tz=True):
            return "with an offset from UTC"
        case _:
            return ""
