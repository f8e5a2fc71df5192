"""The service's JSON Schema of an event judges our schemas, apart from a written list of differences.

``DELIBERATE`` names each difference; each has its own test, in which the contract's schema as it is says
one thing and ours the other.
"""

from __future__ import annotations

import copy
import re
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from jsonschema import Draft7Validator, FormatChecker
from jsonschema.validators import extend

from rxruns._ndjson._decoding import decode_event
from rxruns.events import KNOWN_EVENTS, MAX_INTEGER, UnknownEvent
from rxruns.schemas import EVENT_SCHEMAS, RunEventSchema
from tests.conftest import CONTRACT
from tests.records import (
    HASH,
    NIL,
    NIL_REFUSED,
    Record,
    contract_schema,
    examples,
    line_of,
    plain_schemas,
    records,
    sample,
    samples,
    spoiled,
)

pytestmark = pytest.mark.skipif(
    not CONTRACT.is_dir(), reason="the contract's folder is not beside this checkout"
)

DELIBERATE = (
    "unknown fields are dropped",
    "fields forbidden for a type are dropped",
    "an error that a type has no use for is dropped",
    "the detail of an error is kept",
    "an unknown type is an UnknownEvent",
    "a missing envelope_version is v2",
    "null for an optional field reads as absent",
    "blank reasons, questions, answers, tool call ids and names are invalid",
    "a nil request_id is invalid",
    "included artifacts need their content",
    "1.0 is not a whole number",
    "integers that need more than 63 bits are invalid",
    "a trailing newline is not part of a hash",
    "times outside of the years 1 to 9999 are invalid",
)
"""What we judge otherwise than the contract's schema, on purpose."""

schema = RunEventSchema()

# ---- the judge: formats by their RFCs, without our code ----

_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):?[0-5]\d)", re.ASCII
)
formats = FormatChecker(formats=())


@formats.checks("uuid")
def is_uuid(value: object) -> bool:
    return not isinstance(value, str) or _UUID.fullmatch(value) is not None


@formats.checks("date-time")
def is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    match = _TIME.fullmatch(value)
    if match is None:
        return False
    numbers = [int(number) for number in match.groups()[:6]]
    try:
        datetime(*numbers)  # type: ignore[arg-type]
    except ValueError:
        return numbers[0] == 0
    return True


@cache
def contract_judge() -> Draft7Validator:
    """The contract's schema as it is."""
    return Draft7Validator(contract_schema(), format_checker=formats)


_whole = Draft7Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
_WholeNumbers = extend(Draft7Validator, type_checker=_whole)


@cache
def our_judge(wire_type: str | None) -> Any:
    """The contract's schema of a type, or of the envelope alone, with the rules beyond it."""
    if wire_type is not None:
        return _WholeNumbers(plain_schemas()[wire_type], format_checker=formats)
    envelope = {**contract_schema()["properties"], "type": {"type": "string", "minLength": 1}}
    envelope["seq"] = plain_schemas()["node_started"]["properties"]["seq"]
    required = contract_schema()["required"]
    return _WholeNumbers(
        {"type": "object", "required": required, "properties": envelope}, format_checker=formats
    )


def is_contract_valid(record: Any) -> bool:
    return bool(contract_judge().is_valid(record))


def is_valid(record: Any) -> bool:
    return not schema.validate(record)


def expected_validity(record: Any) -> bool:
    """What the contract says of a record once the deliberate differences are taken out of it."""
    if not isinstance(record, dict):
        return False
    wire_type = record.get("type")
    known = isinstance(wire_type, str) and wire_type in plain_schemas()
    if known:
        declared = _declared(record, plain_schemas()[wire_type])
    else:
        declared = {name: record.get(name) for name in contract_schema()["required"]}
    if declared.get("envelope_version") is None:
        declared["envelope_version"] = "v2"
    judge = our_judge(wire_type if known else None)
    return bool(judge.is_valid(declared)) and not _breaks_a_rule(declared)


def _declared(value: Any, plain: Any) -> Any:
    """A value without what its schema does not declare, and without null for what is optional."""
    if isinstance(value, list) and "items" in plain:
        return [_declared(item, plain["items"]) for item in value]
    if not isinstance(value, dict) or "properties" not in plain:
        return value
    return {
        name: _declared(value[name], inner)
        for name, inner in plain["properties"].items()
        if name in value and not (value[name] is None and inner and name not in plain.get("required", ()))
    }


def _breaks_a_rule(record: Record) -> bool:
    if str(record["ts"]).startswith(("0000", "9999-12-31T23:59:59.9999999")):
        return True
    for payload in record.values():
        if not isinstance(payload, dict):
            continue
        if "request_id" in payload and UUID(payload["request_id"]).int == 0:
            return True
        if "info" in payload and payload["info"]["included"] and "content" not in payload:
            return True
    return False


# ---- agreement ----


def normal(value: Any, plain: Any) -> Any:
    """A valid record with UUIDs and times in their normal form."""
    if isinstance(value, list) and "items" in plain:
        return [normal(item, plain["items"]) for item in value]
    if isinstance(value, dict) and "properties" in plain:
        return {name: normal(item, plain["properties"][name]) for name, item in value.items()}
    match plain.get("format"):
        case "uuid":
            return str(UUID(value))
        case "date-time":
            return _normal_time(value)
    return value


def _normal_time(text: str) -> str:
    """To the microsecond, half up; ``Z`` for UTC, else the offset as it was."""
    match = _TIME.fullmatch(text)
    assert match is not None
    clock, fraction, offset = text[:19].upper().replace(" ", "T"), match[7] or "", match[8].upper()
    micros = (int((fraction[1:] + "0" * 7)[:7]) + 5) // 10
    moment = datetime.fromisoformat(clock) + timedelta(microseconds=micros)
    return moment.isoformat() + ("Z" if offset in ("Z", "+00:00", "-00:00") else offset)


def test_the_contract_has_our_28_types() -> None:
    types = contract_schema()["properties"]["type"]["enum"]
    assert 28 == len(types)
    assert set(types) == set(EVENT_SCHEMAS) == set(plain_schemas()) == set(samples())
    assert set(types) == {event_class.type for event_class in KNOWN_EVENTS}


@pytest.mark.parametrize("wire_type", sorted(samples()))
def test_our_schema_declares_what_the_contract_declares(wire_type: str) -> None:
    ours = {field.data_key or name: field for name, field in EVENT_SCHEMAS[wire_type]().fields.items()}
    plain = plain_schemas()[wire_type]
    assert set(plain["properties"]) == set(ours)
    required = {name for name, field in ours.items() if field.required}
    assert set(plain["required"]) == required | {"envelope_version"}


@pytest.mark.parametrize("wire_type", sorted(samples()))
def test_a_sample_is_valid_and_dumped_as_it_was(wire_type: str) -> None:
    record = sample(wire_type)
    assert is_contract_valid(record)
    assert record == schema.dump(schema.load(record))


@examples(120)
@given(records)
def test_what_is_valid_by_the_contract_loads_and_is_dumped_as_it_was(record: Record) -> None:
    assert is_contract_valid(record)
    event = schema.load(copy.deepcopy(record))
    assert type(event) is EVENT_SCHEMAS[record["type"]].struct
    assert normal(record, plain_schemas()[record["type"]]) == schema.dump(event)
    assert is_contract_valid(schema.dump(event))


@examples(250)
@given(spoiled())
def test_a_spoiled_record_is_valid_for_both_or_for_none(record: Record) -> None:
    assert expected_validity(record) is is_valid(record), schema.validate(record)


@examples(250)
@given(spoiled())
def test_what_we_take_from_a_spoiled_record_is_valid_by_the_contract(record: Record) -> None:
    if is_valid(record):
        event = schema.load(record)
        if not isinstance(event, UnknownEvent):
            assert is_contract_valid(schema.dump(event))


# ---- the deliberate differences, one by one ----


@pytest.mark.parametrize("difference", DELIBERATE)
def test_each_difference_has_its_own_test(difference: str) -> None:
    name = re.sub(r"\W+", "_", difference.replace("UnknownEvent", "unknown_event"))
    assert callable(globals()[f"test_{name}"])


def differs(record: Record, *, contract: bool) -> bool:
    """Whether the contract's schema says that, and ours the opposite."""
    return is_contract_valid(record) is contract and is_valid(record) is not contract


def _inside(wire_type: str, *path: Any, **changes: Any) -> Record:
    record = inner = sample(wire_type)
    for key in path:
        inner = inner[key]
    inner.update(changes)
    return record


def test_unknown_fields_are_dropped() -> None:
    for record in (
        sample("node_started", extra=1),
        _inside("node_llm_call", "llm_call", "usage", extra=None),
    ):
        assert differs(record, contract=False)
        assert sample(record["type"]) == schema.dump(schema.load(record))


@pytest.mark.parametrize(
    "wire_type, fields",
    [
        ("run_started", {"node_id": "a"}),
        ("node_started", {"delta": {"kind": "x"}}),
        ("node_started", {"plan_hash": HASH}),
        ("node_started", {"delta": "no delta at all"}),
        ("run_completed", {"task_list": None}),
    ],
)
def test_fields_forbidden_for_a_type_are_dropped(wire_type: str, fields: Record) -> None:
    assert differs(sample(wire_type, **fields), contract=False)
    assert schema.load(sample(wire_type)) == schema.load(sample(wire_type, **fields))


def test_an_error_that_a_type_has_no_use_for_is_dropped() -> None:
    allowed = sample("node_started", error={"message": "x"})
    assert is_contract_valid(allowed) and is_valid(allowed)
    assert differs(sample("node_started", error=7), contract=False)
    assert schema.load(sample("node_started")) == schema.load(allowed)


@pytest.mark.parametrize("wire_type", ["run_failed", "run_canceled", "node_failed"])
@pytest.mark.parametrize("detail", ["late", "", 0, 1.5, False, [None], {"status": 429, "body": {"x": ["y"]}}])
def test_the_detail_of_an_error_is_kept(wire_type: str, detail: Any) -> None:
    record = sample(wire_type, error={"message": "it broke", "detail": detail})
    event = schema.load(record)

    assert not is_contract_valid(record)
    assert event == decode_event(line_of(record))
    assert (detail, record) == (event.error.detail, schema.dump(event))  # type: ignore[attr-defined]


def test_an_unknown_type_is_an_unknown_event() -> None:
    record = sample("node_started", type="next_year", anything=[1])
    assert differs(record, contract=False)
    assert isinstance(schema.load(record), UnknownEvent)
    assert record == schema.dump(schema.load(record))


@pytest.mark.parametrize("type_", [None, 7, "", [], {}, ["node_started"]])
def test_a_type_that_is_no_text_is_invalid_for_both(type_: Any) -> None:
    record = sample("node_started", type=type_)
    assert not is_contract_valid(record) and not is_valid(record)
    assert ["type"] == list(schema.validate(record))


def test_a_missing_envelope_version_is_v2() -> None:
    record = sample("node_started")
    del record["envelope_version"]
    assert differs(record, contract=False)
    assert sample("node_started") == schema.dump(schema.load(record))
    assert not is_valid(sample("node_started", envelope_version="v1"))


def test_null_for_an_optional_field_reads_as_absent() -> None:
    record = _inside("node_output_delta", "delta", text_delta=None)
    assert differs(record, contract=False)
    assert "text_delta" not in schema.dump(schema.load(record))["delta"]
    assert differs(sample("node_started", envelope_version=None), contract=False)


def test_null_for_a_required_field_is_invalid_for_both() -> None:
    record = _inside("node_output_delta", "delta", kind=None)
    assert not is_contract_valid(record) and not is_valid(record)


def test_null_as_content_is_a_value_for_both() -> None:
    record = _inside("node_output", "output", content=None)
    assert is_contract_valid(record) and is_valid(record)
    assert record == schema.dump(schema.load(record))


BLANK = ["", " ", "\t\n", "\u2003\u00a0\u3000"]
FILLED = [
    ("node_waiting", ("waiting",), "reason"),
    ("node_waiting", ("waiting", "pending_tool_calls", 0, "tool_call"), "id"),
    ("node_waiting", ("waiting", "pending_tool_calls", 0, "tool_call"), "name"),
    ("node_tool_call", ("tool_call", "tool_call"), "id"),
    ("node_tool_result", ("tool_result", "tool_call"), "name"),
    ("node_user_ask", ("user_ask",), "question"),
    ("node_user_ask", ("user_ask", "tool_call"), "id"),
    ("node_user_answer", ("user_answer",), "answer"),
    ("node_user_answer", ("user_answer", "tool_call"), "name"),
    ("scheduler_stopped", ("scheduler_stopped",), "reason"),
]


@pytest.mark.parametrize("wire_type, path, field", FILLED)
def test_blank_reasons_questions_answers_tool_call_ids_and_names_are_invalid(
    wire_type: str, path: tuple[Any, ...], field: str
) -> None:
    for blank in BLANK:
        assert not is_valid(_inside(wire_type, *path, **{field: blank}))
    assert differs(_inside(wire_type, *path, **{field: " "}), contract=True)
    assert is_valid(_inside(wire_type, *path, **{field: " a "}))


def test_blank_text_is_valid_elsewhere_for_both() -> None:
    for record in (sample("node_started", node_id=" "), _inside("node_failed", "error", message=" ")):
        assert is_contract_valid(record) and is_valid(record)


@pytest.mark.parametrize("nil", [NIL, NIL.replace("-", "")])
@pytest.mark.parametrize(
    "wire_type",
    [
        *("node_llm_call", "node_tool_call", "node_tool_result", "node_waiting", "node_user_ask"),
        "node_user_answer",
    ],
)
def test_a_nil_request_id_is_invalid(wire_type: str, nil: str) -> None:
    payload = wire_type.removeprefix("node_")
    record = _inside(wire_type, payload, request_id=nil)
    assert differs(record, contract=True)
    assert {payload: {"request_id": [NIL_REFUSED]}} == schema.validate(record)


@pytest.mark.parametrize("wire_type, field", [("run_completed", "outputs"), ("node_output", "output")])
def test_included_artifacts_need_their_content(wire_type: str, field: str) -> None:
    record = _inside(wire_type, field, "info", included=True)
    record[field].pop("content", None)
    assert differs(record, contract=True)
    message = "must be present if info.included is true, got UNSET"
    assert {field: {"content": [message]}} == schema.validate(record)


@pytest.mark.parametrize(
    "wire_type, field", [("task_list_updated", "task_list"), ("memory_updated", "memory")]
)
def test_task_lists_and_memories_are_never_included_for_both(wire_type: str, field: str) -> None:
    record = _inside(wire_type, field, "info", included=True)
    record[field]["content"] = {}
    assert not is_contract_valid(record) and not is_valid(record)


@pytest.mark.parametrize("number", [1.0, 1e3, 2.0**70])
def test_1_0_is_not_a_whole_number(number: float) -> None:
    for record in (
        sample("node_started", seq=number),
        _inside("node_llm_call", "llm_call", step=number),
        _inside("node_llm_call", "llm_call", "usage", input_tokens=number),
        _inside("run_completed", "outputs", "info", bytes=number),
        _inside("scheduler_started", "scheduler_started", "policy", max_rounds=number),
    ):
        assert differs(record, contract=True)


@pytest.mark.parametrize("number", [True, "1", 1.5, -1, None, [], {}])
def test_other_things_are_no_whole_number_for_both(number: Any) -> None:
    record = _inside("node_llm_call", "llm_call", step=number)
    assert not is_contract_valid(record) and not is_valid(record)


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, 2**64, 10**30])
def test_integers_that_need_more_than_63_bits_are_invalid(number: int) -> None:
    for record in (
        sample("node_started", seq=number),
        sample("node_started", type="next_year", seq=number),
        _inside("node_llm_call", "llm_call", "usage", total_tokens=number),
        _inside("scheduler_started", "scheduler_started", "policy", timeout_ms=number),
    ):
        assert not is_valid(record)
        assert is_contract_valid(record) is (record["type"] != "next_year")


def test_a_trailing_newline_is_not_part_of_a_hash() -> None:
    assert differs(sample("run_started", plan_hash=HASH + "\n"), contract=True)
    assert differs(_inside("run_completed", "outputs", "info", sha256=HASH + "\n"), contract=True)


@pytest.mark.parametrize(
    "plan_hash", [HASH.upper(), HASH[:-1], HASH + "0", "\n" + HASH, "\uff10" + HASH[1:], ""]
)
def test_other_text_is_no_hash_for_both(plan_hash: str) -> None:
    record = sample("run_started", plan_hash=plan_hash)
    assert not is_contract_valid(record) and not is_valid(record)


@pytest.mark.parametrize("ts", ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z"])
def test_times_outside_of_the_years_1_to_9999_are_invalid(ts: str) -> None:
    assert differs(sample("node_started", ts=ts), contract=True)


@pytest.mark.parametrize("ts", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59"])
def test_the_offset_is_kept_at_both_ends_of_time(ts: str) -> None:
    record = sample("node_started", ts=ts)
    assert is_contract_valid(record)
    assert ts == schema.dump(schema.load(record))["ts"]


# ---- RunEventSchema is a marshmallow schema ----


def test_many_records_load_and_are_dumped() -> None:
    all_records = list(samples().values())
    for schema_ in (RunEventSchema(many=True), RunEventSchema()):
        events = schema_.load(all_records, many=True)
        assert all_records == schema_.dump(events, many=True)
    assert all_records == RunEventSchema(many=True).dump(events)
    assert events[0] == RunEventSchema(many=True).load(all_records[0], many=False)


def test_many_records_are_all_judged_and_told_by_index() -> None:
    mixed = [sample("node_started"), sample("node_started", seq=0), 7]
    messages = schema.validate(mixed, many=True)
    assert [1, 2] == list(messages)
    assert ["seq"] == list(messages[1])
    assert {} == schema.validate(mixed[:1], many=True)


@pytest.mark.parametrize("no_list", [7, "x", None, {}])
def test_many_records_are_a_list(no_list: Any) -> None:
    assert {"_schema": ["Invalid input type."]} == schema.validate(no_list, many=True)


@pytest.mark.parametrize("no_object", [7, "x", None, [], 1.5, True])
def test_a_record_is_an_object(no_object: Any) -> None:
    assert {"_schema": ["Invalid input type."]} == schema.validate(no_object)


def test_json_text_loads_and_is_dumped_too() -> None:
    event = schema.load(sample("node_output_delta"))
    assert event == schema.loads(schema.dumps(event))
    assert [event] == schema.loads(schema.dumps([event], many=True), many=True)


def test_a_schema_of_one_type_refuses_another_type() -> None:
    messages = EVENT_SCHEMAS["node_started"]().validate(sample("node_succeeded"))
    assert {"type": ["Must be equal to node_started."]} == messages
