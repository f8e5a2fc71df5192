"""`unknown`, `only`, `exclude`, `partial` and similar options work as in any marshmallow schema."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import marshmallow as ma
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from rxruns import events, schemas
from rxruns.structschema import StructSchema
from tests.making import RUN, delta, node_started, run_started, unknown

DELTA = schemas.RunEventSchema().dump(delta("Hello"))
STARTED = schemas.RunEventSchema().dump(node_started())
STRANGE = {**DELTA, "mood": 1}
STRANGE_INSIDE = {**DELTA, "delta": {**DELTA["delta"], "mood": 1}}


class Leaf(Struct, kw_only=True):
    n: Annotated[int, Meta(ge=0)]
    label: str | None = None


class Tree(Struct, kw_only=True):
    id: UUID
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = {}
    ts: Annotated[datetime, Meta(tz=True)] | None = None
    count: int = 0


class TreeSchema(StructSchema[Tree]):
    """The schema under test."""


class PlainLeaf(ma.Schema):
    """The same schema, written by hand."""

    n = ma.fields.Integer(strict=True, required=True, validate=ma.validate.Range(min=0))
    label = ma.fields.String(allow_none=True)


class PlainTree(ma.Schema):
    """The same, without structs."""

    id = ma.fields.UUID(required=True)
    leaf = ma.fields.Nested(PlainLeaf, required=True)
    leaves = ma.fields.List(ma.fields.Nested(PlainLeaf), allow_none=True)
    by_name = ma.fields.Dict(ma.fields.String(), ma.fields.Nested(PlainLeaf), allow_none=True)
    ts = ma.fields.AwareDateTime(allow_none=True)
    count = ma.fields.Integer(strict=True, allow_none=True)


leaves = st.fixed_dictionaries({}, optional={"n": st.integers(-1, 3), "label": st.just("a"), "z": st.just(1)})
trees = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([str(RUN), "nonsense"]),
        "leaf": leaves,
        "leaves": st.lists(leaves, max_size=2),
        "by_name": st.dictionaries(st.sampled_from("ab"), leaves, max_size=2),
        "ts": st.just("2026-01-31T12:00:00+01:00"),
        "count": st.integers(0, 3),
        "z": st.just(1),
    },
)
NAMES = ["id", "leaf", "leaf.n", "leaf.label", "leaves", "leaves.label", "by_name", "ts", "count"]
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)
options = st.fixed_dictionaries(
    {},
    optional={
        "only": names,
        "exclude": names,
        "partial": st.booleans() | names,
        "load_only": names,
        "dump_only": names,
        "unknown": st.sampled_from([ma.RAISE, ma.EXCLUDE]),
    },
)


def outcome(schema: ma.Schema, record: Any) -> Any:
    """Return the result of `load` as plain data, or the messages."""
    try:
        return plain(schema.load(record))
    except ma.ValidationError as error:
        return {"messages": error.messages}


def plain(value: Any) -> Any:
    """Convert structs to dicts without default values."""
    if isinstance(value, Struct):
        return {
            field.name: plain(getattr(value, field.name))
            for field in msgspec.structs.fields(value)
            if field.required or getattr(value, field.name)
        }
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner or key in ("id", "n", "leaf")}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def both(options: dict[str, Any]) -> tuple[ma.Schema, ma.Schema]:
    """Make our schema and one written by hand, whose nested schemas treat unknown fields as it does."""
    unknown = options.get("unknown", ma.RAISE)
    inner = type("Inner", (PlainLeaf,), {"Meta": type("Meta", (), {"unknown": unknown})})
    nested = {
        "leaf": ma.fields.Nested(inner, required=True),
        "leaves": ma.fields.List(ma.fields.Nested(inner), allow_none=True),
        "by_name": ma.fields.Dict(ma.fields.String(), ma.fields.Nested(inner), allow_none=True),
    }
    return TreeSchema(**options), type("Written", (PlainTree,), nested)(**options)


@given(options, trees)
def test_a_record_is_loaded_as_by_a_schema_that_is_written_by_hand(
    options: dict[str, Any], record: dict[str, Any]
) -> None:
    ours, written = both(options)
    assert outcome(written, record) == outcome(ours, record)
    assert written.validate(record) == ours.validate(record)


@given(options)
def test_a_struct_is_dumped_as_by_a_schema_that_is_written_by_hand(options: dict[str, Any]) -> None:
    ours, written = both(options)
    tree = Tree(id=RUN, leaf=Leaf(n=1, label="a"), leaves=(Leaf(n=2, label="b"),), count=3)
    expected = written.dump(tree)
    expected.pop("ts", None)  # None, which ours leaves out
    assert expected == ours.dump(tree)


def test_a_part_of_a_record_is_a_dict_and_a_whole_one_the_struct() -> None:
    leaf = {"n": 1}
    assert {"leaf": Leaf(n=1)} == TreeSchema(only=["leaf"]).load({"leaf": leaf})
    assert {"leaf": {}} == TreeSchema().load({"leaf": {}}, partial=True)
    assert Tree(id=RUN, leaf=Leaf(n=1)) == TreeSchema().load({"id": str(RUN), "leaf": leaf}, partial=True)
    for name, value in {"leaf": {}, "leaves": [leaf, {}], "by_name": {"a": {}}}.items():
        record = {"id": str(RUN), "leaf": leaf, name: value}
        assert isinstance(TreeSchema(partial=True).load(record), dict)


class TestUnknownFields:
    @pytest.fixture(params=["class", "constructor", "load"])
    def refuses(self, request: pytest.FixtureRequest) -> Iterator[Any]:
        """Return `validate` of schemas that refuse unknown fields, by each form of the option."""

        class Strict(schemas.NodeOutputDeltaSchema):
            class Meta(schemas.NodeOutputDeltaSchema.Meta):
                unknown = ma.RAISE

        class AnyStrict(schemas.RunEventSchema):
            class Meta:
                unknown = ma.RAISE

        def by_load(schema: Any) -> Any:
            def messages(record: Any) -> Any:
                try:
                    schema.load(record, unknown=ma.RAISE)
                except ma.ValidationError as error:
                    return error.messages
                return {}

            return messages

        one, any_type = schemas.NodeOutputDeltaSchema, schemas.RunEventSchema
        yield {
            "class": [Strict().validate, AnyStrict().validate],
            "constructor": [one(unknown=ma.RAISE).validate, any_type(unknown=ma.RAISE).validate],
            "load": [by_load(one()), by_load(any_type())],
        }[request.param]

    def test_are_refused_with_raise_also_inside(self, refuses: Any) -> None:
        assert [{"mood": ["Unknown field."]}] * 2 == [validate(STRANGE) for validate in refuses]
        inside = {"delta": {"mood": ["Unknown field."]}}
        assert [inside] * 2 == [validate(STRANGE_INSIDE) for validate in refuses]
        assert [{}] * 2 == [validate(DELTA) for validate in refuses]

    def test_are_dropped_otherwise(self) -> None:
        for schema in (schemas.RunEventSchema(), schemas.NodeOutputDeltaSchema()):
            assert delta("Hello") == schema.load(STRANGE) == schema.load(STRANGE_INSIDE)

    def test_are_dropped_by_a_strict_schema_with_exclude(self) -> None:
        request = {"spec": {}, "options": {"idempotency_key": "a", "mood": 1}, "mood": 1}
        schema = schemas.RunsCreateRequestSchema
        assert {"mood", "options"} == set(schema().validate(request))
        assert {} == schema(unknown=ma.EXCLUDE).validate(request)
        assert schema().load(request, unknown=ma.EXCLUDE) == schema(unknown=ma.EXCLUDE).load(request)

    def test_of_a_schema_that_a_hook_uses_are_that_schemas_own(self) -> None:
        class Checked(schemas.NodeOutputDeltaSchema):
            @ma.pre_load
            def _look(self, record: Any, **options: Any) -> Any:
                assert {} == schemas.RunEventSchema().validate(STRANGE_INSIDE)
                assert delta("Hello") == schemas.NodeOutputDeltaSchema().load(STRANGE_INSIDE)
                return record

        found = Checked(unknown=ma.RAISE).validate(STRANGE_INSIDE)
        assert {"delta": {"mood": ["Unknown field."]}} == found


class TestEventsOfAnyType:
    def test_only_selects_the_fields_that_each_type_has(self) -> None:
        schema = schemas.RunEventSchema(only=("type", "seq", "node_id", "delta.text_delta"))
        parts = [
            {"type": "node_output_delta", "seq": 4, "node_id": "draft", "delta": {"text_delta": "Hello"}},
            {"type": "node_started", "seq": 2, "node_id": "draft"},
            {"type": "run_started", "seq": 1},
        ]
        log = [delta("Hello", seq=4), node_started(seq=2), run_started(1)]
        assert parts == schema.dump(log, many=True)
        assert parts == schema.load(schemas.RunEventSchema().dump(log, many=True), many=True)
        assert parts == schema.dump(schema.load(parts, many=True), many=True)
        assert {"seq": ["Not a valid integer."]} == schema.validate({**STARTED, "seq": "1", "ts": "never"})
        assert {"node_id": ["Missing data for required field."]} == schema.validate(
            {"type": "node_started", "seq": 1}
        )

    def test_exclude_removes_fields(self) -> None:
        schema = schemas.RunEventSchema(exclude=["run_id", "ts", "envelope_version", "delta.kind"])
        rest = {name: DELTA[name] for name in ("type", "seq", "node_id")} | {"delta": {"text_delta": "Hello"}}
        assert rest == schema.dump(delta("Hello"))
        assert "run_id" not in schema.load(STARTED)
        assert node_started() == schemas.RunEventSchema(exclude=["envelope_version"]).load(STARTED)

    def test_partial_fields_may_be_missing(self) -> None:
        record = {"type": "node_started", "seq": 3}
        assert record == schemas.RunEventSchema(partial=True).load(record)
        assert record == schemas.RunEventSchema().load(record, partial=True)
        assert record == schemas.RunEventSchema().load(record, partial=("run_id", "ts", "node_id"))
        assert ["node_id"] == list(schemas.RunEventSchema(partial=["run_id", "ts"]).validate(record))
        assert node_started() == schemas.RunEventSchema(partial=True).load(STARTED)

    def test_load_only_and_dump_only_fields_are_for_one_direction(self) -> None:
        schema = schemas.RunEventSchema(dump_only=["envelope_version"], load_only=["ts", "delta.kind"])
        assert delta("Hello") == schema.load({**DELTA, "envelope_version": "ignored"})
        dumped = schema.dump(delta("Hello"))
        assert ("ts" in dumped, dumped["delta"]) == (False, {"text_delta": "Hello"})
        assert {} == schema.validate({**STARTED, "envelope_version": "not even checked"})

    def test_the_options_apply_to_the_record_of_an_unknown_event(self) -> None:
        event = unknown(3, node_id="draft")
        event.record.update(delta={"kind": "k", "deep": {"a": 1}}, mood=1)
        dumped = schemas.RunEventSchema().dump(event)
        some = schemas.RunEventSchema(only=["seq", "delta.kind"])
        assert {"seq": 3, "delta": {"kind": "k"}} == some.dump(event)
        less = schemas.RunEventSchema(exclude=["delta.kind"], load_only=["seq"]).dump(event)
        assert ({"deep": {"a": 1}}, False, True) == (less["delta"], "seq" in less, "mood" in less)
        assert {"seq": 3} == schemas.RunEventSchema(only=["seq"]).load(dumped)
        assert event == schemas.RunEventSchema(partial=True).load(dumped)
        refused = schemas.RunEventSchema(unknown=ma.RAISE).validate(dumped)
        assert ["delta", "mood", "node_id"] == sorted(refused)

    @pytest.mark.parametrize("option", ["only", "exclude"])
    def test_a_name_that_no_event_has_is_refused(self, option: str) -> None:
        with pytest.raises(ValueError, match="Invalid fields .*'nope'"):
            schemas.RunEventSchema(**{option: ["seq", "nope.deep", "nope"]})  # type: ignore[arg-type]
        with pytest.raises(ma.exceptions.StringNotCollectionError):
            schemas.RunEventSchema(**{option: "seq"})  # type: ignore[arg-type]

    def test_nested_in_another_schema_it_takes_the_same_options(self) -> None:
        class Page(ma.Schema):
            events = ma.fields.List(ma.fields.Nested(schemas.RunEventSchema, only=["seq", "type"]))
            last = ma.fields.Nested(schemas.RunEventSchema(only=["seq"]))

        page = {"events": [{"seq": 1, "type": "node_started"}], "last": {"seq": 1}}
        assert page == Page().dump({"events": [node_started(seq=1)], "last": node_started(seq=1)})


def test_a_schema_without_options_makes_events() -> None:
    assert node_started() == schemas.RunEventSchema().load(STARTED)
    assert isinstance(schemas.RunEventSchema(only=None, exclude=()).load(STARTED), events.NodeStarted)


class TestDescriptions:
    """Tools that describe schemas recognize the fields."""

    def test_uuids_and_times_are_marshmallows_own_fields(self) -> None:
        declared = schemas.NodeStartedSchema().fields
        assert isinstance(declared["run_id"], ma.fields.UUID)
        assert isinstance(declared["ts"], ma.fields.AwareDateTime)

    def test_apispec_describes_uuids_and_times_by_their_formats(self) -> None:
        apispec = pytest.importorskip("apispec", reason="needs apispec")
        from apispec.ext.marshmallow import MarshmallowPlugin

        spec = apispec.APISpec("t", "1", "3.1.0", plugins=[MarshmallowPlugin()])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            spec.components.schema("NodeLLMCall", schema=schemas.NodeLLMCallSchema)
            spec.components.schema("Tree", schema=TreeSchema)
        described = spec.to_dict()["components"]["schemas"]
        call, tree = described["NodeLLMCall"]["properties"], described["Tree"]["properties"]
        assert {"type": "string", "format": "uuid"} == call["run_id"]
        assert {"type": "string", "format": "date-time"} == call["ts"]
        assert {"type": "string", "format": "uuid"} == described["LLMCall"]["properties"]["request_id"]
        assert {"type": ["string", "null"], "format": "date-time"} == tree["ts"]
        assert {"type": "integer", "minimum": 0} == described["Leaf"]["properties"]["n"]
