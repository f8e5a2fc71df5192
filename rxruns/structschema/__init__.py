"""marshmallow schemas made from msgspec structs: a field is declared once, in the struct's annotations.

:class:`StructSchema` reads the struct that it is parametrized with and declares one marshmallow field for
each of its fields, with the same types and bounds. It loads structs and dumps plain JSON data. It doesn't
depend on runs: you can use it for your own structs.

>>> import msgspec
>>> from typing import Annotated
>>> class Point(msgspec.Struct, kw_only=True):
...     x: Annotated[int, msgspec.Meta(ge=0)]
...     label: str | None = None
>>> class PointSchema(StructSchema[Point]):
...     "A point on the wire."
>>> PointSchema().load({"x": 1})
Point(x=1, label=None)
>>> PointSchema().dump(Point(x=2))
{'x': 2}
>>> PointSchema().validate({"x": -1, "label": 7})
{'x': ['Must be greater than or equal to 0.'], 'label': ['Not a valid string.']}

The fields are as strict as msgspec's strict mode: no text for numbers, no ``1.0`` or ``true`` for integers,
no bytes for text. Times and UUIDs are those of :func:`msgspec.convert`. A rule between fields is a
``__post_init__`` of the struct that raises ValueError; it applies to msgspec and to the schema.

Three rules go beyond msgspec's: null for a field with a default counts as absent, unless its annotation
allows None and its default is another; a field that is None by default or :data:`msgspec.UNSET` is not
dumped; a tag is required.
"""

# marshmallow is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import cache, cached_property, singledispatch
from typing import (
    Annotated,
    Any,
    ClassVar,
    TypeVar,
    cast,
    get_args,
    get_origin,
)
from uuid import UUID

import marshmallow as ma
import msgspec
from marshmallow import exceptions, fields, validate
from marshmallow.schema import SchemaMeta
from msgspec import inspect as mi

from rxruns.structschema._loading import Partial, TypedSchema, Unknown

__all__ = ["StructSchema", "instance_of"]

T = TypeVar("T")
S = TypeVar("S", bound=ma.Schema)
_AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]


class _Text(fields.String):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        return value


class _Integer(fields.Integer):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class _Float(fields.Float):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **options)


class _Boolean(fields.Boolean):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class _Converted(fields.Field[T]):
    """Text that :func:`msgspec.convert` turns into a value, and back.

    A mixin for marshmallow's own field for such values, by which tools recognize it.
    """

    kind: ClassVar[Any]

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> T:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        try:
            return cast(T, msgspec.convert(value, self.kind))
        except msgspec.ValidationError as error:
            raise self.make_error("invalid") from error

    def _serialize(self, value: T | None, attr: str | None, obj: Any, **options: Any) -> Any:
        return msgspec.to_builtins(value)


class _Uuid(_Converted[UUID], fields.UUID):
    kind = UUID
    default_error_messages = {"invalid": "Not a valid UUID."}


class _Time(_Converted[datetime], fields.AwareDateTime):
    kind = _AwareDatetime
    default_error_messages = {
        "invalid": "Not a time of RFC 3339 with an offset, such as 2026-01-31T12:00:00Z."
    }


_unknown: ContextVar[Unknown | None] = ContextVar("_unknown", default=None)
"""The treatment of unknown fields by the loading schema, which nested schemas share."""


class _Nested(fields.Nested):
    """A struct inside a struct."""

    def _load(self, value: Any, partial: Partial | None = None) -> Any:
        unknown = cast(Any, self.unknown) or _unknown.get()
        try:
            return self.schema.load(value, unknown=unknown, partial=partial)
        except ma.ValidationError as error:
            raise ma.ValidationError(error.messages, valid_data=error.valid_data) from error


class _Part(dict[str, Any]):
    """The loaded fields of a record that lacks some that its struct requires."""


def _has_part(field: object, value: Any) -> bool:
    """Return True if a value of the field has a part of a record in place of a struct."""
    if value is None:
        return False
    if isinstance(field, _Array):
        return any(_has_part(field.inner, item) for item in value)
    if isinstance(field, _Object):
        return any(_has_part(field.value_field, item) for item in value.values())
    return isinstance(field, _Nested) and isinstance(value, _Part)


class _Array(fields.List[Any]):
    """A JSON array, a tuple in Python unless the struct wants a list."""

    def __init__(self, item: fields.Field[Any], made: type = tuple, **options: Any) -> None:
        super().__init__(item, **options)
        self.made = made

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return self.made(super()._deserialize(value, attr, data, **options))


class _Object(fields.Dict):
    """A JSON object; NOT a struct."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return cast(Any, super())._deserialize(value, attr, data, **options)


class _Matches(validate.Validator):
    """Text in which a pattern is found, as msgspec's ``Meta(pattern=...)`` means it."""

    def __init__(self, pattern: str, description: str | None) -> None:
        self.pattern = re.compile(pattern)
        self.message = f"Must be {description}." if description else f"Must match {pattern!r}."

    def __call__(self, value: str) -> str:
        if self.pattern.search(value) is None:
            raise ma.ValidationError(self.message)
        return value


def _bounds(kind: mi.IntType | mi.FloatType) -> list[validate.Validator]:
    if kind.multiple_of is not None:
        raise TypeError("multiple_of can't be translated")
    # One validator for each bound, so that a message names the bound that is broken and not the other one.
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    bounds: list[validate.Validator] = []
    if low is not None:
        bounds.append(validate.Range(min=low, min_inclusive=kind.gt is None))
    if high is not None:
        bounds.append(validate.Range(max=high, max_inclusive=kind.lt is None))
    return bounds


def _length(kind: mi.StrType | mi.CollectionType | mi.DictType) -> list[validate.Validator]:
    if kind.min_length is None and kind.max_length is None:
        return []
    return [validate.Length(min=kind.min_length, max=kind.max_length)]


@singledispatch
def _field(kind: mi.Type, unknown: str, **options: Any) -> fields.Field[Any]:
    """Return the marshmallow field that loads and dumps a type as msgspec does."""
    raise TypeError(f"{type(kind).__name__} can't be translated")


@_field.register
def _any(kind: mi.AnyType, unknown: str, **options: Any) -> fields.Field[Any]:
    options["allow_none"] = True
    return fields.Raw(**options)


@_field.register
def _boolean(kind: mi.BoolType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Boolean(**options)


@_field.register
def _integer(kind: mi.IntType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Integer(validate=_bounds(kind), **options)


@_field.register
def _float(kind: mi.FloatType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Float(validate=_bounds(kind), **options)


@_field.register
def _text(
    kind: mi.StrType, unknown: str, description: str | None = None, **options: Any
) -> fields.Field[Any]:
    matches = [_Matches(kind.pattern, description)] if kind.pattern else []
    return _Text(validate=[*_length(kind), *matches], **options)


@_field.register
def _time(kind: mi.DateTimeType, unknown: str, **options: Any) -> fields.Field[Any]:
    if kind.tz is not True:
        raise TypeError("a datetime must be Annotated[datetime, Meta(tz=True)]")
    return _Time(**options)


@_field.register
def _uuid(kind: mi.UUIDType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Uuid(**options)


@_field.register
def _literal(kind: mi.LiteralType, unknown: str, **options: Any) -> fields.Field[Any]:
    if not all(isinstance(value, str) for value in kind.values):
        raise TypeError("a Literal must be of text")
    return _Text(validate=validate.OneOf(kind.values), **options)


@_field.register
def _list(kind: mi.ListType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Array(_field(kind.item_type, unknown), list, validate=_length(kind), **options)


@_field.register
def _tuple(kind: mi.VarTupleType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Array(_field(kind.item_type, unknown), validate=_length(kind), **options)


@_field.register
def _object(kind: mi.DictType, unknown: str, **options: Any) -> fields.Field[Any]:
    keys = _field(kind.key_type, unknown)
    if not isinstance(keys, _Text | _Converted | fields.Raw):
        raise TypeError("the keys of a dict must be text")
    return _Object(keys, _field(kind.value_type, unknown), validate=_length(kind), **options)


@_field.register
def _struct(kind: mi.StructType, unknown: str, **options: Any) -> fields.Field[Any]:
    return _Nested(lambda: cast(Any, _nested_schema(kind.cls, unknown)), **options)


@_field.register
def _optional(kind: mi.UnionType, unknown: str, **options: Any) -> fields.Field[Any]:
    inner = [option for option in kind.types if not isinstance(option, mi.NoneType)]
    if len(inner) != 1 or len(kind.types) != 2:
        raise TypeError("a union can't be translated, except with None")
    return _field(inner[0], unknown, **{**options, "allow_none": True})


@_field.register
def _annotated(kind: mi.Metadata, unknown: str, **options: Any) -> fields.Field[Any]:
    description = (kind.extra_json_schema or {}).get("description")
    if description and isinstance(kind.type, mi.StrType):
        options["description"] = description
    return _field(kind.type, unknown, **options)


def _declare(struct: type[msgspec.Struct], unknown: str) -> Iterable[tuple[str, fields.Field[Any]]]:
    kind = mi.type_info(struct)
    assert isinstance(kind, mi.StructType)
    if kind.array_like:
        raise TypeError(f"{struct.__qualname__}: array_like can't be translated")
    if kind.tag_field is not None:
        tag_field = _Text if isinstance(kind.tag, str) else _Integer
        yield kind.tag_field, tag_field(required=True, validate=validate.Equal(kind.tag))
    for declared in kind.fields:
        try:
            if declared.name == kind.tag_field:
                raise TypeError("a field can't have the name of the tag")
            yield (
                declared.name,
                _field(
                    declared.type,
                    unknown,
                    data_key=declared.encode_name,
                    required=declared.required,
                    allow_none=not declared.required,
                ),
            )
        except TypeError as error:
            raise TypeError(f"{struct.__qualname__}.{declared.name}: {error}") from error


def _struct_of(bases: Iterable[Any]) -> type[msgspec.Struct] | None:
    """The struct in ``class PointSchema(StructSchema[Point])``."""
    for base in bases:
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, ma.Schema):
            (parameter,) = get_args(base)
            if isinstance(parameter, type) and issubclass(parameter, msgspec.Struct):
                return parameter
            if not isinstance(parameter, TypeVar):
                raise TypeError(f"{parameter!r} is not a msgspec struct")
    return None


class _StructSchemaMeta(SchemaMeta):
    @classmethod
    def get_declared_fields(
        mcs,
        klass: Any,
        cls_fields: Sequence[Any],
        inherited_fields: Sequence[Any],
        dict_cls: type = dict,
    ) -> dict[str, fields.Field[Any]]:
        struct = _struct_of(klass.__dict__.get("__orig_bases__", ()))
        if struct is None:
            return cast(dict[str, fields.Field[Any]], dict_cls([*inherited_fields, *cls_fields]))
        klass.struct = struct
        unknown = getattr(klass.Meta, "unknown", ma.RAISE)
        # A descriptor instead of the dict: marshmallow gets its value from the class.
        return cast(dict[str, fields.Field[Any]], _Declared(struct, unknown, inherited_fields, cls_fields))


class _Declared:
    """The fields of a schema, made at the first access, so that importing many schemas is quick."""

    def __init__(
        self,
        struct: type[msgspec.Struct],
        unknown: str,
        inherited: Sequence[tuple[str, fields.Field[Any]]],
        own: Sequence[tuple[str, fields.Field[Any]]],
    ) -> None:
        self._of = struct, unknown, inherited, own
        self._fields: dict[str, fields.Field[Any]] | None = None

    def __get__(self, schema: object, owner: type) -> dict[str, fields.Field[Any]]:
        if self._fields is None:
            struct, unknown, inherited, own = self._of
            self._fields = dict([*inherited, *_declare(struct, unknown), *own])
        return self._fields


class StructSchema(TypedSchema[T], metaclass=_StructSchemaMeta):
    """Load records into a struct, and dump the struct, by the struct's own annotations.

    ``class PointSchema(StructSchema[Point])`` declares the fields. Add or replace one in the class as in any
    marshmallow schema. Unknown fields are refused; a ``class Meta(StructSchema.Meta)`` with
    ``unknown = EXCLUDE`` drops them instead. Nested schemas do the same, also if you pass ``unknown=`` to the
    schema or to ``load``.

    ``only=``, ``exclude=`` and ``partial=`` work as in any schema. ``load`` then makes a struct of a record
    that has all required fields, and a dict of any other.

    Raises:
        TypeError: when the class is made, if the parameter isn't a struct; at the first use, for an
            annotation without a marshmallow field.
        marshmallow.ValidationError: from ``load``, for an invalid record.
    """

    struct: ClassVar[type[msgspec.Struct]]

    class Meta:
        unknown: Unknown = ma.RAISE

    def _load(self, data: Any, many: bool | None, partial: Partial | None, unknown: Unknown | None) -> Any:
        outer = _unknown.set(unknown or self.unknown)
        try:
            return super()._load(data, many, partial, unknown)
        finally:
            _unknown.reset(outer)

    def validate(
        self, data: Any, *, many: bool | None = None, partial: Partial | None = None
    ) -> dict[str, list[str]]:
        """Validate a record; return the messages by field, none if it is valid."""
        outer = _unknown.set(self.unknown)
        try:
            return super().validate(data, many=many, partial=partial)
        finally:
            _unknown.reset(outer)

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Return a value to dump: an unset field and a default None are absent."""
        if attr == self.struct.__struct_config__.tag_field:
            return self.struct.__struct_config__.tag
        value = super().get_attribute(obj, attr, default)
        if value is msgspec.UNSET:
            return ma.missing
        if value is None and attr in self._optional:
            return ma.missing
        return value

    @ma.validates_schema
    def _check_rules(self, values: dict[str, Any], **options: Any) -> None:
        if not self._is_whole(values):
            return  # rules apply to whole structs
        try:
            self.struct(**self._arguments(values))
        except (TypeError, ValueError) as error:  # the two that msgspec treats as invalid data
            field = getattr(error, "field", None) or exceptions.SCHEMA
            raise ma.ValidationError(str(error).removeprefix(f"{field} "), field) from error

    @ma.post_load
    def _make(self, values: dict[str, Any], **options: Any) -> T | dict[str, Any]:
        return cast(T, self.struct(**self._arguments(values))) if self._is_whole(values) else _Part(values)

    def _is_whole(self, values: Mapping[str, Any]) -> bool:
        """Return True if a struct can be made: `partial`, `only` and `exclude` may leave fields out."""
        if not _required(self.struct) <= values.keys():
            return False
        return not any(_has_part(field, values.get(name)) for name, field in self._holding)

    @cached_property
    def _holding(self) -> list[tuple[str, fields.Field[Any]]]:
        """The fields that may have a part of a record. Most schemas have none or one."""
        kinds = (_Nested, _Array, _Object)
        return [(name, field) for name, field in self.load_fields.items() if isinstance(field, kinds)]

    def _arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in values.items()
            if name in self._names and not (value is None and name in self._optional)
        }

    @property
    def _names(self) -> tuple[str, ...]:
        return self.struct.__struct_fields__

    @property
    def _optional(self) -> frozenset[str]:
        return _none_is_absent(self.struct)


@cache
def instance_of(schema: type[S]) -> S:
    """Return the shared instance of a schema, made at the first call. Loading and dumping don't change it.

    >>> class Size(msgspec.Struct):
    ...     bytes: int
    >>> class SizeSchema(StructSchema[Size]):
    ...     "A size on the wire."
    >>> instance_of(SizeSchema).load({"bytes": 3})
    Size(bytes=3)
    >>> instance_of(SizeSchema) is instance_of(SizeSchema)
    True
    """
    return schema()


@cache
def _required(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(declared.name for declared in _fields(struct) if declared.required)


@cache
def _none_is_absent(struct: type[msgspec.Struct]) -> frozenset[str]:
    """Return the names of the fields in which None or null means absent."""
    return frozenset(
        declared.name
        for declared in _fields(struct)
        if not declared.required and (declared.default is None or not _takes_none(declared.type))
    )


def _fields(struct: type[msgspec.Struct]) -> tuple[mi.Field, ...]:
    kind = mi.type_info(struct)
    assert isinstance(kind, mi.StructType)
    return kind.fields


def _takes_none(kind: mi.Type) -> bool:
    if isinstance(kind, mi.Metadata):
        return _takes_none(kind.type)
    return isinstance(kind, mi.AnyType) or (isinstance(kind, mi.UnionType) and kind.includes_none)


@cache
def _nested_schema(struct: type[msgspec.Struct], unknown: str) -> type[StructSchema[Any]]:
    # Not registered: marshmallow's registry is for schemas that people wrote.
    meta = type("Meta", (StructSchema.Meta,), {"unknown": unknown, "register": False})
    base = cast(Any, StructSchema)[struct]
    return types.new_class(f"{struct.__name__}Schema", (base,), {}, lambda body: body.update(Meta=meta))
