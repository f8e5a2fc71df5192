"""Typed uses of events and their schemas: checked by mypy and pyright, never run."""

from typing import Any, assert_type

import msgspec

from rxruns import events, models, schemas
from rxruns.structschema import StructSchema


class Mine(schemas.NodeOutputDeltaSchema):
    """A custom schema."""


class Point(msgspec.Struct):
    """A struct that is not about runs."""

    x: int


class PointSchema(StructSchema[Point]):
    """Its schema."""


def loaded(record: dict[str, Any]) -> None:
    assert_type(schemas.NodeOutputDeltaSchema().load(record), events.NodeOutputDelta)
    assert_type(schemas.NodeOutputDeltaSchema().load([record], many=True), list[events.NodeOutputDelta])
    assert_type(Mine().load(record), events.NodeOutputDelta)
    assert_type(Mine().load(record, unknown="raise").delta.text_delta, str | None)
    assert_type(schemas.RunEventSchema().load(record), events.RunEvent)
    assert_type(schemas.RunEventSchema().load([record], many=True), list[events.RunEvent])
    assert_type(schemas.RunsGetResponseSchema().load(record).nodes, tuple[models.NodeResult, ...])
    assert_type(PointSchema().load(record), Point)
    assert_type(PointSchema(only=["x"], partial=True).load(record), Point)
    assert_type(PointSchema().load(record, partial=("x",)), Point | dict[str, Any])
    assert_type(PointSchema().load([record], many=True, partial=True), list[Point | dict[str, Any]])
    any_type = schemas.RunEventSchema(only=("seq", "ts"), exclude=["ts"], unknown="raise", many=True)
    assert_type(any_type.load([record], many=True), list[events.RunEvent])
    assert_type(any_type.load(record, many=False, partial=True), events.RunEvent | dict[str, Any])


def narrowed(event: events.RunEvent) -> None:
    assert_type(event.type, str)
    if isinstance(event, events.NodeEvent):
        assert_type(event.node_id, str)
    if isinstance(event, events.UnknownEvent):
        assert_type(event.type, str)
        assert_type(event.node_id, str | None)


def frozen(event: events.NodeStarted) -> None:
    event.seq = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    events.NodeError("it broke")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    models.RunsToolCall("call_1", "search")
