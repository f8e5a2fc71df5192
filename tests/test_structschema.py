"""The translator from structs to schemas, on structs that are not about runs."""

from __future__ import annotations

import copy
import enum
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import marshmallow as ma
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType, field

from rxruns.structschema import StructSchema
from tests.records import examples, json_values, odd_values, times, uuids

RUN = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"
T = TypeVar("T")
TIME = Annotated[datetime, Meta(tz=True)]


class Point(Struct, kw_only=True):
    x: Annotated[int, Meta(ge=0)]
    label: str | None = None


class PointSchema(StructSchema[Point]):
    """A point."""


class Shape(Struct, kw_only=True, frozen=True):
    """Every kind of field that can be translated."""

    points: tuple[Point, ...]
    name: Annotated[str, Meta(min_length=1, max_length=8)]
    color: Literal["red", "green"] = "red"
    closed: bool = False
    width: Annotated[float, Meta(gt=0, le=10)] = 1.0
    layers: Annotated[list[int], Meta(max_length=2)] = field(default_factory=list[int])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    by_id: dict[UUID, Point] | None = None
    at: TIME | None = None
    id: UUID | None = None
    extra: Any = UNSET
    parent: Shape | None = None
    kind: str = field(default="plain", name="kind-of")


class ShapeSchema(StructSchema[Shape]):
    """A shape."""


FULL: dict[str, Any] = {
    "points": [{"x": 1}, {"x": 2, "label": "b"}],
    "name": "star",
    "color": "green",
    "closed": True,
    "width": 2.5,
    "layers": [1, -2],
    "tags": {"a": "b"},
    "by_id": {RUN: {"x": 3}},
    "at": "2026-01-31T12:00:00+01:00",
    "id": RUN,
    "extra": {"any": [None, 1.5]},
    "parent": {"points": [], "name": "p", "width": 1},
    "kind-of": "odd",
}


def schema_of(struct: Any) -> type[StructSchema[Any]]:
    """Make the class of a schema without a body."""
    return type("Schema", (StructSchema,), {"__orig_bases__": (StructSchema[struct],)})


def one(annotation: Any, **options: Any) -> StructSchema[Any]:
    """Make the schema of a struct with one field ``x``."""
    return schema_of(msgspec.defstruct("One", [("x", annotation)], kw_only=True, **options))()


def agrees(annotation: Any, value: Any) -> bool:
    """Return True if msgspec and the schema both load the same value, or both refuse it."""
    schema = one(annotation)
    encoded = msgspec.json.encode({"x": value})
    try:
        expected = msgspec.json.decode(encoded, type=schema.struct)
    except msgspec.ValidationError:
        return bool(schema.validate({"x": value}))
    return repr(expected) == repr(schema.load({"x": value}))


# ---- what is loaded and dumped ----


def test_every_kind_of_field_is_loaded() -> None:
    shape = ShapeSchema().load(FULL)
    expected = msgspec.convert(FULL, Shape)
    assert expected == shape
    assert (Point(x=1), Point(x=2, label="b")) == shape.points
    assert ("odd", UUID(RUN), {UUID(RUN): Point(x=3)}) == (shape.kind, shape.id, shape.by_id)
    assert shape.at is not None and timedelta(hours=1) == shape.at.utcoffset()
    assert isinstance(shape.layers, list)
    assert shape.parent is not None and isinstance(shape.parent.width, float)


def test_a_loaded_struct_is_dumped_as_plain_json() -> None:
    dumped = ShapeSchema().dump(ShapeSchema().load(FULL))
    assert FULL["by_id"] == dumped["by_id"]
    assert ShapeSchema().load(FULL) == ShapeSchema().load(msgspec.json.decode(msgspec.json.encode(dumped)))
    parent = dumped.pop("parent")
    assert {key: value for key, value in FULL.items() if key != "parent"} == dumped
    assert ("p", [], 1.0, "plain") == (parent["name"], parent["points"], parent["width"], parent["kind-of"])


def test_defaults_are_the_structs() -> None:
    shape = ShapeSchema().load({"points": [], "name": "a"})
    assert Shape(points=(), name="a") == shape
    assert ShapeSchema().load({"points": [], "name": "b"}).layers is not shape.layers


def test_the_record_is_not_changed() -> None:
    record = copy.deepcopy(FULL)
    ShapeSchema().load(record)
    assert FULL == record


def test_fields_that_default_to_none_or_unset_are_not_dumped() -> None:
    dumped = ShapeSchema().dump(Shape(points=(Point(x=0),), name="a"))
    assert {"points", "name", "color", "closed", "width", "layers", "tags", "kind-of"} == set(dumped)
    assert [{"x": 0}] == dumped["points"]


@pytest.mark.parametrize(
    "name", ["color", "closed", "width", "layers", "tags", "by_id", "at", "id", "parent", "kind-of"]
)
def test_null_for_a_field_with_a_default_reads_as_absent(name: str) -> None:
    assert Shape(points=(), name="a") == ShapeSchema().load({"points": [], "name": "a", name: None})


@pytest.mark.parametrize("name", ["points", "name"])
def test_null_for_a_required_field_is_refused(name: str) -> None:
    assert {name: ["Field may not be null."]} == ShapeSchema().validate(
        {"points": [], "name": "a", name: None}
    )


class Nulls(Struct, kw_only=True):
    required: int | None
    other: int | None = 5
    unset: int | None | UnsetType = UNSET
    absent: int | UnsetType = UNSET
    anything: Any = UNSET
    annotated: Annotated[str | None, Meta(description="text")] = "x"


NullsSchema = schema_of(Nulls)


def test_null_is_a_value_where_the_annotation_allows_none_and_the_default_is_another() -> None:
    record = dict.fromkeys(["required", "other", "unset", "anything", "annotated"])
    loaded = NullsSchema().load(record)
    assert msgspec.convert(record, Nulls) == loaded
    assert record == NullsSchema().dump(loaded)


def test_an_absent_field_has_its_default() -> None:
    loaded = NullsSchema().load({"required": 1, "absent": None})
    assert Nulls(required=1) == loaded
    assert {"required": 1, "other": 5, "annotated": "x"} == NullsSchema().dump(loaded)


def test_lists_and_json_text_are_loaded_and_dumped() -> None:
    points = PointSchema(many=True).load([{"x": 1}, {"x": 2}])
    assert [Point(x=1), Point(x=2)] == points == PointSchema().load([{"x": 1}, {"x": 2}], many=True)
    assert [{"x": 1}, {"x": 2}] == PointSchema(many=True).dump(points)
    assert {1: {"x": ["Not a valid integer."]}} == PointSchema(many=True).validate([{"x": 1}, {"x": "2"}])
    assert Point(x=2) == PointSchema().loads(PointSchema().dumps(Point(x=2)))


# ---- strict types and bounds, as msgspec's ----

KINDS: dict[str, Any] = {
    "int": int,
    "count": Annotated[int, Meta(ge=0)],
    "inside": Annotated[int, Meta(gt=0, lt=5)],
    "float": float,
    "share": Annotated[float, Meta(ge=0, le=1)],
    "open share": Annotated[float, Meta(gt=0, lt=1)],
    "str": str,
    "short": Annotated[str, Meta(max_length=2)],
    "filled": Annotated[str, Meta(pattern=r"\S")],
    "bool": bool,
    "literal": Literal["v1", "v2"],
    "uuid": UUID,
    "time": TIME,
    "list": list[int],
    "pair": Annotated[list[Any], Meta(min_length=2, max_length=2)],
    "tuple": tuple[str, ...],
    "dict": dict[str, Any],
    "bare dict": dict,
    "bare list": list,
    "full": Annotated[dict[str, int], Meta(min_length=1)],
    "by uuid": dict[UUID, int],
    "any": Any,
    "optional": int | None,
    "optional list": list[int | None] | None,
    "nested": Point,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_accepts_the_values_that_msgspec_accepts(kind: str) -> None:
    @examples(40)
    @given(
        odd_values
        | json_values
        | times
        | uuids
        | st.sampled_from([{"x": 1}, {"x": -1}, {RUN: 1}, [1, 2], 0.5])
    )
    def check(value: Any) -> None:
        if kind == "nested" and isinstance(value, dict) and (set(value) - {"x"}):
            return  # unknown fields and null, which differ on purpose
        assert agrees(KINDS[kind], value)

    check()


@pytest.mark.parametrize(
    "annotation, value, message",
    [
        (int, 1.0, "Not a valid integer."),
        (int, True, "Not a valid integer."),
        (int, "1", "Not a valid integer."),
        (float, "1", "Not a valid number."),
        (float, False, "Not a valid number."),
        (float, 10**400, "Number too large."),
        (float, float("nan"), "Special numeric values (nan or infinity) are not permitted."),
        (bool, 1, "Not a valid boolean."),
        (bool, "yes", "Not a valid boolean."),
        (str, b"x", "Not a valid string."),
        (str, 1, "Not a valid string."),
        (UUID, b"0123456789abcdef", "Not a valid UUID."),
        (UUID, UUID(RUN), "Not a valid UUID."),
        (UUID, "{" + RUN + "}", "Not a valid UUID."),
        (list[int], (1, 2), "Not a valid list."),
        (list[int], "12", "Not a valid list."),
        (dict[str, int], [], "Not a valid mapping type."),
        (Literal["a"], "b", "Must be one of: a."),
        (Annotated[int, Meta(gt=0)], 0, "Must be greater than 0."),
        (Annotated[int, Meta(lt=5)], 5, "Must be less than 5."),
        (Annotated[int, Meta(ge=0, le=5)], 6, "Must be less than or equal to 5."),
        (Annotated[int, Meta(ge=0, le=5)], -1, "Must be greater than or equal to 0."),
        (Annotated[str, Meta(min_length=2)], "a", "Shorter than minimum length 2."),
        (Annotated[str, Meta(pattern="^a")], "b", "Must match '^a'."),
        (Annotated[str, Meta(pattern="^a", description="an a")], "b", "Must be an a."),
        (Annotated[str, Meta(pattern="^a", description="an a")] | None, "b", "Must be an a."),
        (Annotated[list[int], Meta(max_length=1)], [1, 2], "Longer than maximum length 1."),
        (TIME, "2026-01-31T12:00:00", "Not a time of RFC 3339 with an offset, such as 2026-01-31T12:00:00Z."),
    ],
)
def test_the_messages_are_marshmallows(annotation: Any, value: Any, message: str) -> None:
    assert {"x": [message]} == one(annotation).validate({"x": value})


def test_messages_name_the_place_inside() -> None:
    messages = ShapeSchema().validate(
        {"points": [{"x": 0}, {"x": -1}], "name": "", "tags": {"a": 1}, "parent": {"name": "a"}}
    )
    assert {
        "points": {1: {"x": ["Must be greater than or equal to 0."]}},
        "name": ["Length must be between 1 and 8."],
        "tags": {"a": {"value": ["Not a valid string."]}},
        "parent": {"points": ["Missing data for required field."]},
    } == messages


# ---- unknown fields ----


class Tolerant(StructSchema[Shape]):
    """Drops unknown fields."""

    class Meta(StructSchema.Meta):
        unknown = ma.EXCLUDE


def test_unknown_fields_are_refused_also_inside() -> None:
    record = {"points": [{"x": 1, "z": 1}], "name": "a", "y": 1}
    messages = ShapeSchema().validate(record)
    assert {"points": {0: {"z": ["Unknown field."]}}, "y": ["Unknown field."]} == messages


def test_unknown_fields_are_dropped_also_inside_with_exclude() -> None:
    record = {"points": [{"x": 1, "z": 1}], "name": "a", "y": 1, "by_id": {RUN: {"x": 1, "z": 1}}}
    assert Shape(points=(Point(x=1),), name="a", by_id={UUID(RUN): Point(x=1)}) == Tolerant().load(record)


def test_a_subclass_inherits_the_treatment_of_unknown_fields() -> None:
    class More(Tolerant):
        """The same."""

    assert Shape(points=(), name="a") == More().load({"points": [], "name": "a", "y": 1})


def test_a_meta_without_unknown_refuses_unknown_fields() -> None:
    class Ordered(StructSchema[Point]):
        class Meta:  # type: ignore[misc]
            ordered = True

    assert {"y": ["Unknown field."]} == Ordered().validate({"x": 1, "y": 1})
    for unknown in (ma.EXCLUDE, ma.INCLUDE):
        assert Point(x=1) == Ordered().load({"x": 1, "y": 1}, unknown=unknown)


# ---- rules between fields ----


class RuleError(ValueError):
    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Span(Struct):
    start: int
    end: int
    kind: str = "a"

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise RuleError("must not be before start", "end")
        if self.start == 13:
            raise ValueError("starts badly")
        if self.start == 14:
            raise TypeError("starts worse")


class Spans(Struct):
    spans: list[Span]


SpanSchema = schema_of(Span)
SpansSchema = schema_of(Spans)


@pytest.mark.parametrize(
    "span, messages",
    [
        ({"start": 2, "end": 1}, {"end": ["must not be before start"]}),
        ({"start": 13, "end": 14}, {"_schema": ["starts badly"]}),
        ({"start": 14, "end": 14}, {"_schema": ["starts worse"]}),
        ({"start": 2, "end": "1"}, {"end": ["Not a valid integer."]}),
    ],
)
def test_a_rule_of_the_struct_counts_in_both_worlds(span: Any, messages: Any) -> None:
    assert messages == SpanSchema().validate(span)
    assert {"spans": {0: messages}} == SpansSchema().validate({"spans": [span]})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(span, Span)


# ---- parts of records ----


def test_validate_checks_a_part_of_a_record() -> None:
    assert {} == SpanSchema().validate({"start": 2}, partial=True)
    assert {} == SpanSchema(partial=True).validate({"end": 1})
    assert {"start": ["Not a valid integer."]} == SpanSchema().validate({"start": "2"}, partial=True)
    assert {"end": ["must not be before start"]} == SpanSchema().validate(
        {"start": 2, "end": 1}, partial=True
    )
    assert {} == SpanSchema(only=["start"]).validate({"start": 2})


def test_a_part_of_a_record_is_loaded_as_a_dict() -> None:
    assert {"start": 2} == SpanSchema(partial=True).load({"start": 2})
    assert {"end": 2} == SpanSchema(exclude=["start"]).load({"end": 2})
    assert Span(1, 2) == SpanSchema(exclude=["kind"]).load({"start": 1, "end": 2})
    assert {"spans": [{"start": 2}]} == SpansSchema().load({"spans": [{"start": 2}]}, partial=True)


def test_a_part_is_dumped_with_only_and_exclude() -> None:
    assert {"end": 2} == SpanSchema(only=["end"]).dump(Span(1, 2))
    assert {"start": 1, "kind": "a"} == SpanSchema(exclude=["end"]).dump(Span(1, 2))


# ---- tags ----


class Circle(Struct, tag="circle"):
    r: float


class Numbered(Struct, tag=7, tag_field="version"):
    n: int


class Holder(Struct):
    circle: Circle


CircleSchema = schema_of(Circle)
NumberedSchema = schema_of(Numbered)
HolderSchema = schema_of(Holder)


def test_a_tag_is_checked_and_dumped() -> None:
    assert Circle(1.5) == CircleSchema().load({"type": "circle", "r": 1.5})
    assert {"type": "circle", "r": 1.5} == CircleSchema().dump(Circle(1.5))
    assert {"version": 7, "n": 1} == NumberedSchema().dump(NumberedSchema().load({"version": 7, "n": 1}))
    holder = Holder(Circle(1.0))
    assert holder == HolderSchema().load(HolderSchema().dump(holder))
    assert msgspec.to_builtins(holder) == HolderSchema().dump(holder)


@pytest.mark.parametrize(
    "record, message",
    [
        ({"r": 1.0}, "Missing data for required field."),
        ({"r": 1.0, "type": "square"}, "Must be equal to circle."),
        ({"r": 1.0, "type": None}, "Field may not be null."),
        ({"r": 1.0, "type": 7}, "Not a valid string."),
    ],
)
def test_a_missing_or_wrong_tag_is_refused(record: Any, message: str) -> None:
    assert {"type": [message]} == CircleSchema().validate(record)
    assert {"circle": {"type": [message]}} == HolderSchema().validate({"circle": record})


def test_a_number_for_a_tag_is_strict_too() -> None:
    for version in (8, "7", 7.0, True):
        assert ["version"] == list(NumberedSchema().validate({"version": version, "n": 1}))


# ---- subclasses ----


def test_a_subclass_adds_and_replaces_fields() -> None:
    class Labeled(PointSchema):
        label = ma.fields.String(required=True, validate=ma.validate.Length(min=3))
        length = ma.fields.Function(lambda point: len(point.label))

    assert Point(x=1, label="abc") == Labeled().load({"x": 1, "label": "abc"})
    assert {"x": 1, "label": "abc", "length": 3} == Labeled().dump(Point(x=1, label="abc"))
    assert {"label": ["Missing data for required field."]} == Labeled().validate({"x": 1})
    assert {} == PointSchema().validate({"x": 1})


def test_a_field_in_the_class_that_names_its_struct_wins() -> None:
    class Small(StructSchema[Point]):
        x = ma.fields.Integer(validate=ma.validate.Range(max=5))

    assert Point(x=-3) == Small().load({"x": -3})
    assert {"x": ["Must be less than or equal to 5."]} == Small().validate({"x": 6})


def test_an_added_field_that_the_struct_lacks_is_checked_and_dropped() -> None:
    class Signed(PointSchema):
        signature = ma.fields.String(required=True)

    assert Point(x=1) == Signed().load({"x": 1, "signature": "s"})
    assert {"signature": ["Missing data for required field."]} == Signed().validate({"x": 1})


def test_hooks_run_as_in_any_schema() -> None:
    class Doubled(PointSchema):
        @ma.pre_load
        def _double(self, record: dict[str, Any], **options: Any) -> dict[str, Any]:
            return record | {"x": 2 * record["x"]}

        @ma.validates("x")
        def _even_tens(self, value: int, data_key: str) -> None:
            if value > 10:
                raise ma.ValidationError("too big")

    assert Point(x=4) == Doubled().load({"x": 2})
    assert {"x": ["too big"]} == Doubled().validate({"x": 6})


def test_a_generic_base_has_no_fields_yet() -> None:
    class Base(StructSchema[T]):
        """A base."""

        class Meta(StructSchema.Meta):
            unknown = ma.EXCLUDE

    class Mine(Base[Point]):
        """A point, with tolerance."""

    assert {} == Base._declared_fields
    assert Point(x=1) == Mine().load({"x": 1, "y": 2})


def test_it_nests_in_other_schemas() -> None:
    class Box(ma.Schema):
        point = ma.fields.Nested(PointSchema)

    assert {"point": Point(x=1)} == Box().load({"point": {"x": 1}})
    assert {"point": {"x": 1}} == Box().dump({"point": Point(x=1)})


class Reserved(Struct):
    """A struct whose fields have the names of a schema's own attributes."""

    struct: int
    Meta: int
    load: int
    fields: int


class ReservedHolder(Struct):
    inner: Reserved


ReservedHolderSchema = schema_of(ReservedHolder)


def test_names_of_a_schemas_own_attributes_are_good_field_names() -> None:
    record = {"inner": {"struct": 1, "Meta": 2, "load": 3, "fields": 4}}
    loaded = ReservedHolderSchema().load(record)
    assert ReservedHolder(Reserved(1, 2, 3, 4)) == loaded
    assert record == ReservedHolderSchema().dump(loaded)


class Nested(Struct):
    a: int


class Nesting(Struct):
    inner: Nested


NestingSchema = schema_of(Nesting)


def test_nested_schemas_are_not_registered() -> None:
    assert Nesting(inner=Nested(a=1)) == NestingSchema().load({"inner": {"a": 1}})
    with pytest.raises(ma.exceptions.RegistryError):
        ma.class_registry.get_class("NestedSchema")


# ---- types that can't be translated ----


class Color(enum.Enum):
    RED = "red"


class Left(Struct, tag=True):
    a: int


class Right(Struct, tag=True):
    a: int


class Array(Struct, array_like=True):
    a: int


class Clash(Struct, tag_field="type", rename={"type": "kind"}):
    type: int


class Box(Struct, Generic[T]):
    value: T


@pytest.mark.parametrize(
    "annotation, reason",
    [
        (datetime, "a datetime must be Annotated"),
        (Annotated[datetime, Meta(tz=False)], "a datetime must be Annotated"),
        (Literal[1, 2], "a Literal must be of text"),
        (int | str, "a union can't be translated"),
        (int | str | None, "a union can't be translated"),
        (Left | Right, "a union can't be translated"),
        (None, "NoneType can't be translated"),
        (tuple[int, str], "TupleType can't be translated"),
        (set[int], "SetType can't be translated"),
        (bytes, "BytesType can't be translated"),
        (date, "DateType can't be translated"),
        (Decimal, "DecimalType can't be translated"),
        (Color, "EnumType can't be translated"),
        (object, "CustomType can't be translated"),
        (list[set[int]], "SetType can't be translated"),
        (dict[str, set[int]], "SetType can't be translated"),
        (dict[int, str], "the keys of a dict must be text"),
        (Annotated[int, Meta(multiple_of=2)], "multiple_of can't be translated"),
    ],
)
def test_an_annotation_that_cannot_be_translated_is_a_type_error_that_names_the_field(
    annotation: Any, reason: str
) -> None:
    with pytest.raises(TypeError, match=rf"^One\.x: {reason}"):
        one(annotation)


def test_a_struct_inside_that_cannot_be_translated_is_a_type_error_too() -> None:
    with pytest.raises(TypeError, match="Array: array_like can't be translated"):
        schema_of(Array)()
    with pytest.raises(TypeError, match="Clash.type: a field can't have the name of the tag"):
        schema_of(Clash)()


def test_a_schema_declares_its_fields_at_the_first_use_and_once() -> None:
    schema = schema_of(Nested)
    assert Nested is schema.struct

    declared = schema._declared_fields
    assert ["a"] == list(declared)
    assert declared is schema._declared_fields is schema()._declared_fields


def test_a_nested_struct_is_translated_at_the_first_use() -> None:
    schema = one(list[Array])
    assert {"x": ["Not a valid list."]} == schema.validate({"x": 1})
    with pytest.raises(TypeError, match="Array: array_like can't be translated"):
        schema.validate({"x": [{"a": 1}]})


@pytest.mark.parametrize("parameter", [int, dict, Box[int], "Point"])
def test_a_parameter_that_is_not_a_struct_is_a_type_error(parameter: Any) -> None:
    with pytest.raises(TypeError, match="is not a msgspec struct"):
        schema_of(parameter)


def test_sequences_are_lists() -> None:
    assert {"x": [1]} == one(Sequence[int]).dump(one(Sequence[int]).load({"x": [1]}))
