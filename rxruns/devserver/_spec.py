"""Check a workflow spec and collect all issues, each with its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rxruns.devserver._json import is_array, is_object
from rxruns.devserver._predicate import predicate_problems
from rxruns.devserver._shaping import format_problems, retry_problems
from rxruns.workflow._tools import tool_problem

__all__ = ["PLACEHOLDER", "Issue", "check", "needs", "overriding", "placeholders", "tools_of"]

Issue = dict[str, str]

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_NODE_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SPEC = {"kind", "name", "model", "max_parallelism", "inputs", "nodes", "outputs"}
_NODE = {"id", "type", "depends_on"}
_OUTPUT = {"max_output_tokens", "stop", "output_format", "retry"}
_LLM = _NODE | _OUTPUT | {"model", "system", "user", "input", "stream", "tools", "tool_execution"}
_FIELDS = {
    "llm": _LLM,
    "join.all": _NODE,
    "join.any": _NODE | {"predicate"},
    "join.collect": _NODE | {"limit", "timeout_ms", "predicate"},
    "transform.json": _NODE | {"object", "merge"},
    "map.fanout": _NODE
    | {"items_from", "items_from_input", "items_pointer", "items_path", "subnode", "max_parallelism"},
}
_MODES = ("server", "client", "agentic")


def check(spec: object, overrides: Mapping[str, Any] | None = None) -> list[Issue]:
    """Return all issues of a spec; none if it can be executed with these model overrides.

    >>> [issue["path"] for issue in check({"kind": "workflow", "nodes": [], "outputs": []})]
    ['$.nodes', '$.outputs']
    """
    checker = _Checker(overrides or {})
    if is_object(spec):
        checker.spec(spec)
    else:
        checker.add("INVALID_TYPE", "$", "a spec is an object")
    return checker.issues


def overriding(overrides: Mapping[str, Any], name: str, parent: str | None = None) -> str | None:
    """Return the model that a request names for a node, or for all; `parent` is the fan-out of a subnode."""
    per_node: Mapping[str, Any] = overrides.get("model_overrides") or {}
    if parent is None:
        nodes: Mapping[str, Any] = per_node.get("nodes") or {}
        named: object = nodes.get(name)
    else:
        subnodes: Iterable[Any] = per_node.get("fanout_subnodes") or ()
        pairs = (
            (item.get("parent_id"), item.get("subnode_id"), item) for item in subnodes if is_object(item)
        )
        named = next((item.get("model") for *ids, item in pairs if ids == [parent, name]), None)
    texts = (model.strip() for model in (named, overrides.get("model_override")) if isinstance(model, str))
    return next(filter(None, texts), None)


def placeholders(value: Any) -> set[str]:
    """Return the names between double braces in a text, or in all texts of a JSON value."""
    if isinstance(value, str):
        return set(PLACEHOLDER.findall(value))
    inner: Iterable[Any] = value.values() if is_object(value) else value if is_array(value) else ()
    return {name for item in inner for name in placeholders(item)}


def tools_of(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a node that need a call, as ``{"name", "parameters"}``; not the built-in ones."""
    tools: Iterable[Any] = node.get("tools") or ()
    functions: list[dict[str, Any]] = [
        {"name": tool} if isinstance(tool, str) else tool["function"]
        for tool in tools
        if isinstance(tool, str) or tool["type"] == "function"
    ]
    return [{"parameters": {}, **function} for function in functions]


def needs(node: Mapping[str, Any], ids: set[str]) -> set[str]:
    """Return the dependencies of a node: from `depends_on`, from placeholders and from sources."""
    texts = [node.get(name) for name in ("system", "user", "input")]
    subnode = node.get("subnode")
    if is_object(subnode):
        texts += [subnode.get(name) for name in ("system", "user", "input")]
    sources = [node.get("items_from"), *(source.get("from") for _, source in _sources(node))]
    depends: Iterable[str] = node.get("depends_on") or ()
    return (placeholders(texts) | {str(source) for source in sources}) & ids | set(depends)


def _sources(node: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    fields, merged = node.get("object"), node.get("merge")
    found = [(f".object.{key}", source) for key, source in fields.items()] if is_object(fields) else []
    if is_array(merged):
        found += [(f".merge[{place}]", source) for place, source in enumerate(merged)]
    return [(path, source if is_object(source) else {}) for path, source in found]


class _Checker:
    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self.overrides = overrides
        self.issues: list[Issue] = []
        self.ids: set[str] = set()
        self.inputs: set[str] = set()
        self.default_model: object = None

    def add(self, code: str, path: str, message: str) -> None:
        self.issues.append({"code": code, "path": path, "message": message})

    def spec(self, spec: dict[str, Any]) -> None:
        self._unknown(spec, _SPEC, "$")
        if spec.get("kind") != "workflow":
            self.add("INVALID_KIND", "$.kind", f'expected "workflow", got {spec.get("kind")!r}')
        self._whole(spec, "max_parallelism", "$", least=1)
        self.default_model = spec.get("model")
        self._inputs(spec.get("inputs"))
        nodes = self._objects(spec, "nodes", "$.nodes")
        for place, node in enumerate(nodes):
            self._id(node, f"$.nodes[{place}]")
        for place, node in enumerate(nodes):
            self._node(node, f"$.nodes[{place}]")
        for place, output in enumerate(self._objects(spec, "outputs", "$.outputs")):
            self._output(output, f"$.outputs[{place}]")
        if not self.issues:
            self._cycles(nodes)

    def _objects(self, spec: Mapping[str, Any], name: str, path: str) -> list[dict[str, Any]]:
        items = spec.get(name)
        if not is_array(items) or not items:
            self.add("REQUIRED", path, f"at least one of {name} is needed")
            return []
        for place, item in enumerate(items):
            if not is_object(item):
                self.add("INVALID_TYPE", f"{path}[{place}]", "expected an object")
        return [item if is_object(item) else {} for item in items]

    def _inputs(self, inputs: object) -> None:
        if inputs is None:
            return
        if not is_array(inputs):
            self.add("INVALID_TYPE", "$.inputs", "expected a list")
            return
        for place, declared in enumerate(inputs):
            name = declared.get("name") if is_object(declared) else None
            if not isinstance(name, str) or not name or name in self.inputs:
                self.add("INVALID_INPUT", f"$.inputs[{place}].name", "an input needs a name of its own")
            else:
                self.inputs.add(name)

    def _id(self, node: Mapping[str, Any], path: str) -> None:
        name = node.get("id")
        if not isinstance(name, str) or not _NODE_ID.fullmatch(name):
            self.add("INVALID_ID", f"{path}.id", f"{name!r} does not match ^[a-z][a-z0-9_]*$ (at most 64)")
        elif name in self.ids:
            self.add("DUPLICATE_ID", f"{path}.id", f"{name!r} is taken by an earlier node")
        else:
            self.ids.add(name)

    def _node(self, node: dict[str, Any], path: str) -> None:
        kind = node.get("type")
        if not isinstance(kind, str) or kind not in _FIELDS:
            self.add("UNSUPPORTED", f"{path}.type", f"node type {kind!r}: known are {', '.join(_FIELDS)}")
            return
        self._unknown(node, _FIELDS[kind], path)
        depends = node.get("depends_on", [])
        if not is_array(depends):
            self.add("INVALID_TYPE", f"{path}.depends_on", "expected a list of node ids")
            node = node | {"depends_on": []}
            depends = []
        for place, name in enumerate(depends):
            self._known(name, f"{path}.depends_on[{place}]")
        checks: dict[str, Callable[[dict[str, Any], str], None]] = {
            "llm": self._llm,
            "transform.json": self._transform,
            "map.fanout": self._fanout,
        }
        checks.get(kind, self._join)(node, path)

    def _llm(self, node: dict[str, Any], path: str, parent: str | None = None) -> None:
        override = overriding(self.overrides, str(node.get("id")), parent)
        model = override or node.get("model", self.default_model)
        if not isinstance(model, str) or not model.strip():
            self.add("MODEL_REQUIRED", f"{path}.model", "the service resolves no default model: name one")
        for name in ("system", "user"):
            if not isinstance(node.get(name, ""), str):
                self.add("INVALID_TYPE", f"{path}.{name}", "expected text")
        if not isinstance(node.get("stream", True), bool):
            self.add("INVALID_TYPE", f"{path}.stream", "expected true or false")
        if not is_array(node.get("tools", [])):
            self.add("INVALID_TYPE", f"{path}.tools", "expected a list")
        else:
            tools: list[Any] = node.get("tools", [])
            for place, tool in enumerate(tools):
                if problem := tool_problem(tool):
                    self.add("INVALID_TOOL", f"{path}.tools[{place}]", problem)
        execution = node.get("tool_execution", {"mode": "server"})
        if not is_object(execution) or execution.get("mode") not in _MODES:
            self.add("INVALID_MODE", f"{path}.tool_execution.mode", f"expected one of {', '.join(_MODES)}")
        self._output_of(node, path)

    def _output_of(self, node: dict[str, Any], path: str) -> None:
        self._whole(node, "max_output_tokens", path, least=1)
        stops: object = node.get("stop", [])
        if not is_array(stops) or not all(isinstance(stop, str) and stop for stop in stops):
            self.add("INVALID_TYPE", f"{path}.stop", "expected a list of texts that are not empty")
        self._part(node, "output_format", path, "INVALID_FORMAT", format_problems)
        self._part(node, "retry", path, "INVALID_RETRY", retry_problems)

    def _part(
        self,
        node: Mapping[str, Any],
        name: str,
        path: str,
        code: str,
        problems: Callable[[object], Mapping[str, str]],
    ) -> None:
        found = problems(node[name]) if name in node else dict[str, str]()
        for field, message in found.items():
            self.add(code, f"{path}.{name}.{field}".rstrip("."), message)

    def _join(self, node: dict[str, Any], path: str) -> None:
        self._part(node, "predicate", path, "INVALID_PREDICATE", predicate_problems)
        if not node.get("depends_on"):
            self.add("REQUIRED", f"{path}.depends_on", "a join needs nodes to wait for")
        self._whole(node, "limit", path, least=1)
        self._whole(node, "timeout_ms", path, least=1)

    def _transform(self, node: dict[str, Any], path: str) -> None:
        sources = _sources(node)
        if not sources or ("object" in node) == ("merge" in node):
            self.add("REQUIRED", path, "transform.json needs either object or merge, not empty")
        for place, source in sources:
            self._unknown(source, {"from", "pointer"}, path + place)
            self._known(source.get("from"), f"{path}{place}.from")
            self._pointer(source, "pointer", path + place)

    def _fanout(self, node: dict[str, Any], path: str) -> None:
        if ("items_from" in node) == ("items_from_input" in node):
            self.add("REQUIRED", path, "map.fanout needs either items_from or items_from_input")
        if "items_from" in node:
            self._known(node["items_from"], f"{path}.items_from")
        if not isinstance(node.get("items_from_input", ""), str):
            self.add("INVALID_TYPE", f"{path}.items_from_input", "expected the name of an input")
        self._pointer(node, "items_pointer", path)
        self._pointer(node, "items_path", path)
        self._whole(node, "max_parallelism", path, least=1)
        subnode = node.get("subnode")
        if not is_object(subnode) or subnode.get("type") != "llm":
            self.add("UNSUPPORTED", f"{path}.subnode.type", "this service fans out to llm nodes only")
            return
        name = subnode.get("id")
        if not isinstance(name, str) or not _NODE_ID.fullmatch(name):
            self.add("INVALID_ID", f"{path}.subnode.id", f"{name!r} does not match ^[a-z][a-z0-9_]*$")
        self._unknown(subnode, _LLM, f"{path}.subnode")
        self._llm(subnode, f"{path}.subnode", str(node.get("id")))
        if subnode.get("tools"):
            self.add("UNSUPPORTED", f"{path}.subnode.tools", "this service gives subnodes no tools")

    def _output(self, output: dict[str, Any], path: str) -> None:
        self._unknown(output, {"name", "from", "pointer"}, path)
        if not isinstance(output.get("name"), str) or not output["name"]:
            self.add("REQUIRED", f"{path}.name", "an output needs a name")
        self._known(output.get("from"), f"{path}.from")
        self._pointer(output, "pointer", path)

    def _known(self, name: object, path: str) -> None:
        if not isinstance(name, str) or name not in self.ids:
            self.add("UNKNOWN_NODE", path, f"there is no node {name!r}")

    def _pointer(self, node: Mapping[str, Any], name: str, path: str) -> None:
        pointer = node.get(name, "")
        if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
            self.add(
                "INVALID_POINTER", f"{path}.{name}", f"{pointer!r} is not a JSON Pointer with a leading /"
            )

    def _whole(self, node: Mapping[str, Any], name: str, path: str, *, least: int) -> None:
        value = node.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.add(
                "INVALID_NUMBER", f"{path}.{name}", f"expected a whole number from {least}, got {value!r}"
            )

    def _unknown(self, node: Mapping[str, Any], known: set[str], path: str) -> None:
        for name in sorted(node.keys() - known):
            self.add("UNKNOWN_FIELD", f"{path}.{name}", f"{name!r} is not known here")

    def _cycles(self, nodes: list[dict[str, Any]]) -> None:
        waiting = {node["id"]: needs(node, self.ids) for node in nodes}
        while ready := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
            for name in ready:
                del waiting[name]
        for place, node in enumerate(nodes):
            if node["id"] in waiting:
                self.add("CYCLE", f"$.nodes[{place}]", f"{node['id']!r} waits for itself")
