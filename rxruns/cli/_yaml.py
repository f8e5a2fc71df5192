"""YAML written by hand: values of JSON, limited, and with the position of each value."""

# PyYAML is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from rxruns._display._text import clipped
from rxruns.cli._values import (
    MAX_DEPTH,
    TOO_DEEP,
    Locate,
    Problem,
    Step,
    check_length,
    check_number,
    twice,
)

MAX_VALUES = 20_000
"""Values in a document; an alias counts as its values each time that it is used."""

_TOO_MANY = f"it has more than {MAX_VALUES:,} values"
_TAG = "tag:yaml.org,2002:"
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")
_SHOWN = 40


class _Loader(yaml.SafeLoader):
    """Loads plain data. Keys are text and unique; dates are text.

    A short document of nested aliases can stand for billions of values, so values are counted, with aliases
    replaced, before any of them is made.
    """

    yaml_constructors = {
        None: yaml.SafeLoader.yaml_constructors[None],
        **{_TAG + tag: yaml.SafeLoader.yaml_constructors[_TAG + tag] for tag in _TAGS},
    }
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TAG + "timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text
        self._composed = 0
        self._extents: dict[int, tuple[int, int]] = {}  # values and depth of a node, by its id

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        place: int = self.peek_event().start_mark.index  # type: ignore[no-untyped-call]
        self._composed += 1
        if self._composed > MAX_VALUES:
            raise Problem(_TOO_MANY, place)
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if id(node) not in self._extents:
            if is_alias:
                raise Problem("an alias must not refer to a value that contains it", place)
            self._extents[id(node)] = self._extent(node)
        values, depth = self._extents[id(node)]
        if values > MAX_VALUES:
            raise Problem(f"{_TOO_MANY} once its aliases are replaced", place)
        if depth > MAX_DEPTH:
            raise Problem(TOO_DEEP, place)
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1, 0
        inner = node.value
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        extents = [self._extents[id(part)] for part in inner]
        return 1 + sum(values for values, _ in extents), 1 + max((depth for _, depth in extents), default=0)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        place = node.start_mark.index
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode) and kind in ("int", "float"):
            check_length(node.value, place)
        try:
            value: Any = super().construct_object(node, deep)
        except (ValueError, LookupError) as error:
            raise Problem(
                f"{clipped(str(node.value), _SHOWN)!r} is not of the type !!{kind}", place
            ) from error
        if isinstance(value, int | float):
            check_number(value, str(node.value), place)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == _TAG + "merge":
                continue
            place = key_node.start_mark.index
            if key_node.tag != _TAG + "str" or not isinstance(key_node, yaml.ScalarNode):
                raise Problem("a key must be text, got a value of another type; quote it", place)
            if key_node.value in seen:
                raise twice(key_node.value, self._text, seen[key_node.value], place)
            seen[key_node.value] = place
        return super().construct_mapping(node, deep)


def load(text: str) -> tuple[Any, Locate]:
    """Return the value of a document, and a function that finds the position of a path in it.

    Raises:
        Problem: it is not YAML, has values that JSON lacks, has a duplicate key, or exceeds a limit.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Problem(error.problem or "not YAML", mark.index if mark else 0) from error
    except yaml.reader.ReaderError as error:
        raise Problem(f"{error.reason}: U+{int(error.character):04X}", error.position) from error
    except RecursionError as error:
        raise Problem(TOO_DEEP, 0) from error
    return value, lambda path: _locate(node, path)


def _locate(node: yaml.Node | None, path: Sequence[Step]) -> int:
    place = 0
    for step in path:
        if isinstance(node, yaml.MappingNode):
            # Merged keys come before the node's own, which take precedence.
            found = [(key.start_mark.index, value) for key, value in node.value if key.value == step]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = [(item.start_mark.index, item) for item in node.value[step : step + 1]]
        else:
            break
        if not found:
            break
        place, node = found[-1]
    return place
