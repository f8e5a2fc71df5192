"""msgspec and marshmallow differ by themselves, ours do not: the table in docs/schemas.md.

Each test shows what plain msgspec or a plain marshmallow field make of it, then what both of ours do.
"""

from __future__ import annotations

import json
import types
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import marshmallow as ma
import msgspec
import pytest
from marshmallow import fields, validate
from msgspec import Meta

from rxruns._ndjson._decoding import RecordError, decode_event, encode_event
from rxruns.errors import RunsError
from rxruns.events import NodeStarted
from rxruns.schemas import NodeStartedSchema, RunEventSchema, RunsToolResultsRequestSchema
from rxruns.structschema import StructSchema
from tests.records import NIL, NIL_REFUSED, RUN_ID, line_of, sample

Time = Annotated[datetime, Meta(tz=True)]
decode = decode_event


def msgspec_takes(kind: Any, text: str) -> bool:
    try:
        msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        return False
    return True


def marshmallow_takes(field: fields.Field[Any], value: Any) -> bool:
    try:
        field.deserialize(value)
    except ma.ValidationError:
        return False
    return True


def ours_takes(kind: Any, value: Any) -> bool:
    bases = (StructSchema[msgspec.defstruct("One", [("x", kind)])],)  # type: ignore[misc]
    schema: type[StructSchema[Any]] = types.new_class("OneSchema", bases)
    return not schema().validate({"x": value})


def only_marshmallow_takes(kind: Any, field: fields.Field[Any], text: str) -> bool:
    """A plain field takes what neither msgspec nor our field does."""
    value = json.loads(text)
    return (False, True, False) == (
        msgspec_takes(kind, text),
        marshmallow_takes(field, value),
        ours_takes(kind, value),
    )


# ---- types ----


@pytest.mark.parametrize("text", ['"yes"', '"off"', '"1"', "1", "0", "1.0"])
def test_words_and_numbers_are_not_booleans(text: str) -> None:
    assert only_marshmallow_takes(bool, fields.Boolean(), text)


@pytest.mark.parametrize("text", ['"5"', "1.0", "1.9", "1e2"])
def test_text_and_fractions_are_not_whole_numbers(text: str) -> None:
    assert only_marshmallow_takes(int, fields.Integer(), text)


def test_text_is_not_a_number() -> None:
    assert only_marshmallow_takes(float, fields.Float(), '"1.5"')


def test_bytes_are_not_text() -> None:
    assert "raw" == fields.String().deserialize(b"raw")
    assert not ours_takes(str, b"raw")


def test_sixteen_bytes_are_not_a_uuid() -> None:
    assert UUID(bytes=b"0123456789abcdef") == fields.UUID().deserialize(b"0123456789abcdef")
    assert not ours_takes(UUID, b"0123456789abcdef")


@pytest.mark.parametrize("text", ["urn:uuid:" + RUN_ID, "{" + RUN_ID + "}", RUN_ID.replace("-", "", 1)])
def test_decorated_uuids_are_refused(text: str) -> None:
    assert only_marshmallow_takes(UUID, fields.UUID(), json.dumps(text))


@pytest.mark.parametrize("text", ["2026-01-31T12:00Z", "20260131T120000Z", "2026-01-31T12:00:00,5Z"])
def test_times_of_iso_8601_beyond_rfc_3339_are_refused(text: str) -> None:
    assert only_marshmallow_takes(Time, fields.AwareDateTime(), json.dumps(text))


def test_a_time_without_an_offset_is_refused() -> None:
    assert marshmallow_takes(fields.DateTime(), "2026-01-31T12:00:00")
    assert msgspec_takes(datetime, '"2026-01-31T12:00:00"')
    assert not msgspec_takes(Time, '"2026-01-31T12:00:00"')
    assert not ours_takes(Time, "2026-01-31T12:00:00")


def test_the_seventh_digit_of_a_second_is_rounded() -> None:
    text = "2026-01-31T12:00:00.1234565Z"
    assert 123_456 == fields.AwareDateTime().deserialize(text).microsecond
    assert 123_457 == msgspec.convert(text, datetime).microsecond
    record = sample("node_started", ts=text)
    assert 123_457 == decode(line_of(record)).ts.microsecond == RunEventSchema().load(record).ts.microsecond


def test_utc_is_written_as_z() -> None:
    noon = datetime.fromisoformat("2026-01-31T12:00:00Z")
    assert "2026-01-31T12:00:00+00:00" == fields.AwareDateTime().serialize("ts", {"ts": noon})
    event = decode(line_of(sample("node_started")))
    assert "2026-01-31T12:00:00Z" == RunEventSchema().dump(event)["ts"]
    assert "2026-01-31T12:00:00Z" == json.loads(encode_event(event))["ts"]


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, range(2)])
def test_only_a_list_is_an_array(value: Any) -> None:
    assert marshmallow_takes(fields.List(fields.Integer()), value)
    assert not ours_takes(tuple[int, ...], value)


def test_a_whole_number_without_an_upper_bound_may_be_longer_than_64_bits() -> None:
    assert msgspec_takes(int, str(2**70))
    assert marshmallow_takes(fields.Integer(validate=validate.Range(min=1)), 2**70)
    assert ours_takes(Annotated[int, Meta(ge=1)], 2**70)


@pytest.mark.parametrize(("number", "valid"), [(2**63 - 1, True), (2**63, False), (2**64 - 1, False)])
def test_an_upper_bound_at_the_end_of_64_bits_holds_for_both(number: int, valid: bool) -> None:
    bounded = Annotated[int, Meta(ge=1, le=2**63 - 1)]
    assert valid is msgspec_takes(bounded, str(number)) is ours_takes(bounded, number)
    assert valid is ("seq" not in RunEventSchema().validate(sample("node_started", seq=number)))


# ---- presence ----


def test_null_for_a_field_that_has_a_default_reads_as_absent_for_both() -> None:
    assert not msgspec_takes(msgspec.defstruct("One", [("x", int, 0)]), '{"x":null}')
    assert not marshmallow_takes(fields.Integer(load_default=0), None)
    record = sample("node_started", envelope_version=None)
    assert "v2" == decode(line_of(record)).envelope_version == RunEventSchema().load(record).envelope_version


def test_a_missing_tag_is_an_error() -> None:
    record = sample("node_started")
    del record["type"]
    assert msgspec_takes(NodeStarted, line_of(record).decode())  # one struct alone does not need it
    assert {"type": ["Missing data for required field."]} == NodeStartedSchema().validate(record)
    with pytest.raises(RecordError, match="type: Missing data"):
        decode(line_of(record))


def test_unknown_fields_are_dropped_from_what_is_received_and_refused_in_what_is_sent() -> None:
    assert msgspec_takes(msgspec.defstruct("One", [("x", int)]), '{"x":1,"y":2}')
    assert {"y": ["Unknown field."]} == ma.Schema.from_dict({"x": fields.Integer()})().validate(
        {"x": 1, "y": 2}
    )
    record = sample("node_started", extra=1)
    assert (
        decode(line_of(record))
        == RunEventSchema().load(record)
        == RunEventSchema().load(sample("node_started"))
    )
    assert ["Unknown field."] == RunsToolResultsRequestSchema().validate({"extra": 1})["extra"]


# ---- rules ----


def test_a_pattern_is_searched_for() -> None:
    patterned = Annotated[str, Meta(pattern="b")]
    assert msgspec_takes(patterned, '"ab"')
    assert not marshmallow_takes(fields.String(validate=validate.Regexp("b")), "ab")
    assert ours_takes(patterned, "ab")


def test_a_trailing_newline_is_not_overlooked_at_the_end_of_a_pattern() -> None:
    assert msgspec_takes(Annotated[str, Meta(pattern="^[0-9]$")], '"1\\n"')
    assert marshmallow_takes(fields.String(validate=validate.Regexp("^[0-9]$")), "1\n")
    record = sample("run_started", plan_hash="0" * 64 + "\n")
    assert ["plan_hash"] == list(RunEventSchema().validate(record))
    with pytest.raises(RecordError, match="plan_hash: Must be 64 lower-case hex digits"):
        decode(line_of(record))


def test_a_rule_between_fields_is_an_error_of_its_field_for_both() -> None:
    record = sample("node_llm_call")
    record["llm_call"]["request_id"] = NIL
    assert {"llm_call": {"request_id": [NIL_REFUSED]}} == RunEventSchema().validate(record)
    with pytest.raises(RecordError, match=r"llm_call\.request_id: must be a UUID other than the nil UUID"):
        decode(line_of(record))


def test_all_faults_are_reported_and_not_only_the_first() -> None:
    record = sample("node_started", seq=0, node_id="")
    with pytest.raises(msgspec.ValidationError) as first:
        msgspec.json.decode(line_of(record), type=NodeStarted)
    assert ("seq" in str(first.value)) != ("node_id" in str(first.value))
    with pytest.raises(RecordError) as caught:
        decode(line_of(record))
    assert "seq: Must be" in str(caught.value) and "node_id: " in str(caught.value)


# ---- text of JSON ----


def _with_extra(text: bytes) -> bytes:
    """A record with an undeclared field."""
    return line_of(sample("node_started"))[:-1] + b',"extra":' + text + b"}"


def test_bytes_that_are_not_utf_8_are_an_error_in_undeclared_fields_too() -> None:
    line = _with_extra(b'"\xff"')
    assert isinstance(msgspec.json.decode(line, type=NodeStarted), NodeStarted)
    with pytest.raises(RecordError, match="not UTF-8"):
        decode(line)


def test_utf_16_is_not_json_here() -> None:
    line = line_of(sample("node_started")).decode().encode("utf-16")
    assert sample("node_started") == json.loads(line)
    with pytest.raises(RecordError, match="not UTF-8"):
        decode(line)


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\\udc00\\ud800"', b'{"\\ud800":1}'])
def test_a_lone_surrogate_is_an_error_wherever_it_is(text: bytes) -> None:
    json.loads(_with_extra(text))  # Python takes it
    for line in (_with_extra(text), line_of(sample("node_output")).replace(b'{"n":null}', text)):
        with pytest.raises(RecordError, match="not JSON"):
            decode(line)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity"])
def test_nan_and_infinity_are_not_json(text: bytes) -> None:
    json.loads(_with_extra(text))  # Python takes them
    with pytest.raises(RecordError, match="not JSON"):
        decode(_with_extra(text))


def test_of_duplicate_keys_the_last_counts_also_where_an_earlier_one_is_wrong() -> None:
    line = b'{"seq":"x",' + line_of(sample("node_started"))[1:]
    assert not msgspec_takes(NodeStarted, line.decode())  # it judges each as it comes
    assert 7 == decode(line).seq == RunEventSchema().load(json.loads(line)).seq


def test_a_schemas_own_loads_reads_json_as_python_does() -> None:
    for text in (b'"\\ud800"', b"NaN"):
        assert isinstance(RunEventSchema().loads(_with_extra(text)), NodeStarted)


def test_no_error_of_either_library_gets_out_of_the_stream() -> None:
    assert not issubclass(RecordError, (ma.ValidationError, msgspec.MsgspecError))
    assert not issubclass(RunsError, (ma.ValidationError, msgspec.MsgspecError))
