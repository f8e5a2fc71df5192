"""Conversions of JSON values to the annotated types of parameters, and their JSON Schema."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, time
from functools import partial
from pathlib import PurePath
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Struct

__all__ = ["UNCHECKED", "BadValue", "Conversion", "NotFromJSON", "conversion", "resolved"]

Schema: TypeAlias = dict[str, Any]
_JSON: dict[str, Any] = {
    "array": [],
    "object": {},
    "string": "",
    "number": 0.5,
    "integer": 0,
    "boolean": True,
    "null": None,
}
_FORMATS = {datetime: "date-time", time: "time"}
_REFERENCE = "#/$defs/{name}"


class BadValue(ValueError):
    """A value doesn't fit its annotation."""


class NotFromJSON(Exception):
    """No JSON value can become an instance of `kind`."""

    def __init__(self, kind: object) -> None:
        super().__init__(kind)
        self.kind = kind


class Conversion(Struct, frozen=True):
    """The function that converts the JSON text of an argument, and the JSON Schema of that text.

    Attributes:
        load: converts the text; raises BadValue if it doesn't fit.
        schema: may refer to `definitions`, by name under ``#/$defs/``.
    """

    load: Callable[[bytes], Any]
    schema: Schema
    definitions: Schema


def conversion(hint: Any) -> Conversion:
    """Return the conversion for an annotation.

    pydantic converts its own types (models, dataclasses, ``Annotated`` with a ``Field``), msgspec the rest,
    both strictly. A union that msgspec doesn't support becomes the first member that fits. For any other
    unsupported annotation the value is the decoded JSON.

    Raises:
        NotFromJSON: the annotation is, or contains, a class that can't be made from JSON.
        NameError: it refers to a name that isn't defined.

    >>> from pathlib import Path
    >>> conversion(list[Path]).load(b'["a.txt"]'), conversion(list[Path]).schema
    ([PosixPath('a.txt')], {'type': 'array', 'items': {'type': 'string', 'format': 'path'}})
    """
    if (adapter := _pydantic(hint)) is not None:
        schema = _pydantic_schema(adapter)
        return Conversion(partial(_validated, adapter), schema, schema.pop("$defs", {}))
    definitions: Schema = {}
    try:
        (schema,), components = msgspec.json.schema_components(
            [_with_format(hint)], schema_hook=partial(_custom_schema, definitions), ref_template=_REFERENCE
        )
    except TypeError:  # msgspec doesn't support it
        return _union(hint) if _is_union(hint) else UNCHECKED
    return Conversion(partial(_decoded, hint), schema, components | definitions)


def resolved(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Return the type of an annotation: names in a text annotation are looked up in `namespace`.

    Raises:
        NameError: a name isn't defined, for example because only type checkers import it.

    >>> resolved("list[int]", {})
    list[int]
    """
    if annotation is inspect.Parameter.empty:
        return Any

    def annotated() -> None: ...

    annotated.__annotations__ = {"it": annotation}
    return typing.get_type_hints(annotated, dict(namespace), include_extras=True)["it"]


def _decoded(hint: Any, data: bytes) -> Any:
    try:
        return msgspec.json.decode(data, type=hint, dec_hook=_custom)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadValue(str(error)) from error


UNCHECKED = Conversion(partial(_decoded, Any), {}, {})
"""Passes the decoded JSON on."""


# ---- classes that msgspec doesn't know ----


def _custom(kind: Any, value: Any) -> Any:
    if _is_path(kind):
        if isinstance(value, str):
            return kind(value)
        raise BadValue(f"Expected `str`, got `{type(value).__name__}`")
    if (adapter := _pydantic(kind)) is not None:
        return _validated(adapter, msgspec.json.encode(value))
    if isinstance(value, typing.get_origin(kind) or kind):  # as of ``Iterable``
        return value
    raise BadValue(f"Expected `{_name(kind)}`, got `{type(value).__name__}`")


def _custom_schema(definitions: Schema, kind: Any) -> Schema:
    if _is_path(kind):
        return {"type": "string", "format": "path"}
    if (adapter := _pydantic(kind)) is not None:
        schema = _pydantic_schema(adapter)
        definitions |= schema.pop("$defs", {})
        return schema
    if not (found := _json_types(typing.get_origin(kind) or kind)):
        raise NotFromJSON(kind)
    return {"type": found}


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, PurePath)


def _json_types(kind: Any) -> list[str]:
    """The JSON types whose decoded values are instances, such as those of ``object`` or ``Iterable``."""
    try:
        return [name for name, value in _JSON.items() if isinstance(value, kind)]
    except TypeError:  # a protocol without instance checks
        return []


def _with_format(hint: Any) -> Any:
    """Times with their ``format``, which msgspec omits for those without a required zone."""
    if hint in (datetime, time):
        return Annotated[hint, msgspec.Meta(extra_json_schema={"format": _FORMATS[hint]})]
    parts = tuple(map(_with_format, typing.get_args(hint)))
    if _is_union(hint):
        return typing.Union[parts]  # noqa: UP007  # of types that are known at run time
    return list[parts] if typing.get_origin(hint) is list else hint  # type: ignore[valid-type]


# ---- unions that msgspec doesn't support ----


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _union(hint: Any) -> Conversion:
    members: list[Conversion] = []
    for member in typing.get_args(hint):
        try:
            members.append(conversion(member))
        except NotFromJSON:
            continue  # the other members can be used
    if not members:
        raise NotFromJSON(hint)
    definitions = {name: schema for one in members for name, schema in one.definitions.items()}
    loads = tuple(one.load for one in members)
    return Conversion(partial(_first, loads), {"anyOf": [one.schema for one in members]}, definitions)


def _first(loads: tuple[Callable[[bytes], Any], ...], data: bytes) -> Any:
    problems: list[str] = []
    for load in loads:
        try:
            return load(data)
        except BadValue as error:
            problems.append(str(error))
    raise BadValue(", or ".join(dict.fromkeys(problems)))


# ---- pydantic ----


def _pydantic(hint: Any) -> Any:
    """pydantic's adapter for an annotation with a type of pydantic, which must be imported already."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not _names_pydantic(hint):
        return None
    try:
        return pydantic.TypeAdapter(hint)
    except pydantic.errors.PydanticSchemaGenerationError as error:
        raise NotFromJSON(hint) from error


def _names_pydantic(hint: Any) -> bool:
    parts = typing.get_args(hint)
    metadata = parts[1:] if typing.get_origin(hint) is typing.Annotated else ()
    if any(type(one).__module__.partition(".")[0] in ("pydantic", "annotated_types") for one in metadata):
        return True
    own = ("__pydantic_core_schema__", "__get_pydantic_core_schema__")
    return any(hasattr(hint, name) for name in own) or any(map(_names_pydantic, parts))


def _validated(adapter: Any, data: bytes) -> Any:
    try:
        return adapter.validate_json(data, strict=True)
    except ValueError as error:
        raise BadValue(_pydantic_problems(error)) from error


def _pydantic_problems(error: Any) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(": ".join([*map(str, one["loc"]), one["msg"]]) for one in problems)


def _pydantic_schema(adapter: Any) -> Schema:
    try:
        schema: Schema = adapter.json_schema(ref_template="#/$defs/{model}")
    except sys.modules["pydantic"].errors.PydanticInvalidForJsonSchema:
        return {}
    return schema
