"""THE LAW: the stream means what the schemas mean.

What msgspec accepts, ``RunEventSchema().load`` accepts with an equal event. What msgspec refuses,
``RunEventSchema().load`` decides. Nothing but an event, None or a RecordError comes out.
"""

from __future__ import annotations

import copy
import json
import pickle
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Union
from uuid import UUID

import marshmallow as ma
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxruns._ndjson._decoder import EventDecoder
from rxruns._ndjson._decoding import (
    RecordError,
    decode_event,
    encode_event,
    protocol_error,
    refuse_included,
)
from rxruns._ndjson._refusing import MAX_NESTING
from rxruns.errors import EXCERPT
from rxruns.events import KNOWN_EVENTS, MAX_INTEGER, NodeOutput, NodeStarted, RunEvent, UnknownEvent
from rxruns.schemas import EVENT_SCHEMAS, RunEventSchema
from tests.records import (
    HASH,
    RUN_ID,
    TIME,
    Record,
    examples,
    json_values,
    line_of,
    lines,
    odd_times,
    odd_uuids,
    odd_values,
    places,
    records,
    sample,
    samples,
    spoiled,
    times,
    torn_lines,
    uuids,
)

schema = RunEventSchema()
decode = decode_event
msgspec_decode: Callable[[bytes], RunEvent] = msgspec.json.Decoder(Union[KNOWN_EVENTS]).decode  # noqa: UP007

OUT_OF_RANGE = "out of range"
"""msgspec's message about a number that is neither a float nor an integer of Python."""


def depth(value: Any) -> int:
    """Return the depth of a JSON value, without recursion."""
    levels, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        levels += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return levels


def read(line: bytes) -> Any:
    """The JSON value of a line by Python's own decoder, as strict as RFC 8259; ValueError if it has none."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    def check(pairs: list[tuple[str, Any]]) -> Any:
        json.dumps(pairs, ensure_ascii=False).encode()  # a lone surrogate isn't text
        return dict(pairs)

    value = json.loads(line.decode(), parse_constant=refuse, object_pairs_hook=check)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def by_the_schemas(line: bytes) -> tuple[str, Any]:
    """Apply the law to a line."""
    if not line.strip(b" \t\r\n"):
        return "skip", None
    try:
        record = read(line)
    except (ValueError, RecursionError):
        return "error", None
    if depth(record) > MAX_NESTING or not isinstance(record, dict):
        return "error", None
    try:
        plain = msgspec.json.decode(line)
    except msgspec.ValidationError as error:
        assert OUT_OF_RANGE in str(error)
        return "error", None
    assert repr(record) == repr(plain)
    if record.get("type") == "keepalive":
        return "skip", None
    try:
        return "event", schema.load(record)
    except ma.ValidationError:
        return "error", None


def by_the_stream(line: bytes) -> tuple[str, Any]:
    """Decode a line as the stream does. Any other exception fails the test."""
    try:
        event = decode(line)
    except RecordError as error:
        assert str(error)
        return "error", None
    return ("skip" if event is None else "event"), event


def by_msgspec(line: bytes) -> RunEvent | None:
    try:
        event = msgspec_decode(line)
        line.decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return event


def has_unseen_number(line: bytes) -> bool:
    """Return whether a line is the one exception: a number without a value in an undeclared field."""
    try:
        msgspec.json.decode(line)
    except msgspec.ValidationError as error:
        return OUT_OF_RANGE in str(error)
    except (msgspec.DecodeError, RecursionError):
        return False
    return False


def check_the_law(line: bytes) -> str:
    accepted = by_msgspec(line)
    actual = by_the_stream(line)
    if accepted is not None and has_unseen_number(line):
        deep = depth(json.loads(line, parse_int=float)) > MAX_NESTING
        assert ("error" if deep else "event") == actual[0]
        return "exception"
    expected = by_the_schemas(line)
    # repr, because equal times may have different offsets, and 1 == 1.0 == True
    assert (expected[0], repr(expected[1])) == (actual[0], repr(actual[1]))
    assert expected == actual
    assert type(expected[1]) is type(actual[1])
    if accepted is not None and expected[0] == "event":
        assert repr(expected[1]) == repr(accepted)
    return actual[0]


# ---- the law ----


@examples(150)
@given(lines(records))
def test_a_valid_record_is_the_same_event_for_msgspec_the_schemas_and_the_stream(line: bytes) -> None:
    assert by_msgspec(line) is not None
    assert "event" == check_the_law(line)


@pytest.mark.parametrize("wire_type", sorted(samples()))
def test_the_sample_of_each_type_is_decoded_to_its_class(wire_type: str) -> None:
    event = decode(line_of(sample(wire_type)))
    assert "event" == check_the_law(line_of(sample(wire_type)))
    assert wire_type == event.type
    assert type(event) is EVENT_SCHEMAS[wire_type].struct


@examples(250)
@given(lines(spoiled(), flaws=0.01))
def test_a_spoiled_record_is_judged_alike(line: bytes) -> None:
    check_the_law(line)


@examples(150)
@given(lines(records | spoiled(), flaws=0.05))
def test_json_in_every_spelling_is_judged_alike(line: bytes) -> None:
    check_the_law(line)


@examples(250)
@given(torn_lines(lines(st.sampled_from(sorted(samples())).map(sample) | records)))
def test_torn_bytes_are_judged_alike(line: bytes) -> None:
    check_the_law(line)


@examples(200)
@given(st.binary(max_size=60) | json_values.map(line_of))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"[]")
@example(b'{"type":["node_started"]}')
def test_bytes_that_are_not_a_record_are_judged_alike(line: bytes) -> None:
    check_the_law(line)


@examples(75)
@given(st.sampled_from(sorted(samples())), st.data())
def test_each_field_of_each_type_is_judged_alike_for_odd_values(wire_type: str, data: st.DataObject) -> None:
    record = sample(wire_type)
    for container, key in _leaves(record):
        kept = container[key]
        container[key] = data.draw(odd_values)
        check_the_law(line_of(record))
        container[key] = kept


def _leaves(value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [place for key in keys for place in [(value, key), *_leaves(value[key])]]


@pytest.mark.parametrize("wire_type", sorted(samples()))
def test_a_field_that_is_dropped_or_null_is_judged_alike(wire_type: str) -> None:
    for index in range(len(_leaves(sample(wire_type)))):
        for change in ("drop", "null"):
            record = sample(wire_type)
            container, key = _leaves(record)[index]
            if change == "drop":
                del container[key]
            else:
                container[key] = None
            check_the_law(line_of(record))


@examples(100)
@given(odd_times | times)
def test_a_time_is_read_alike(text: str) -> None:
    check_the_law(line_of(sample("node_started", ts=text)))


@examples(100)
@given(odd_uuids | uuids)
def test_a_uuid_is_read_alike(text: str) -> None:
    check_the_law(line_of(sample("node_started", run_id=text)))
    check_the_law(line_of(sample("node_llm_call", llm_call={"step": 0, "request_id": text})))


@pytest.mark.parametrize(
    "seq, valid",
    [
        *((1, True), (2**63 - 1, True), (2**63, False), (2**64 - 1, False), (2**64, False), (10**300, False)),
        *((0, False), (-1, False), (1.0, False), (1e2, False), (True, False), ("1", False), (None, False)),
    ],
)
def test_a_seq_is_a_whole_number_from_1_to_the_bound(seq: Any, valid: bool) -> None:
    line = line_of(sample("node_started", seq=seq))
    assert ("event" if valid else "error") == check_the_law(line)


def test_of_duplicate_keys_the_last_counts() -> None:
    start = line_of(sample("node_started"))[:-1]
    assert 9 == decode(start + b',"seq":9}').seq
    assert "b" == decode(start + b',"node_id":7,"node_id":"b"}').node_id
    assert "node_succeeded" == decode(start + b',"type":"node_succeeded"}').type
    assert "next_year" == decode(start + b',"type":"next_year"}').type
    for more in (b',"seq":9}', b',"type":"node_succeeded"}', b',"type":"x"}', b',"seq":0}', b',"ts":null}'):
        check_the_law(start + more)


# ---- records that are nested that deep ----


def nested(levels: int, brackets: str = "[]") -> bytes:
    if brackets == "[]":
        return b"[" * levels + b"]" * levels
    return b'{"":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def _deep_content(levels: int, brackets: str) -> bytes:
    # The record, its output, then the content.
    return line_of(sample("node_output")).replace(b'{"n":null}', nested(levels - 2, brackets))


def _deep_extra(levels: int, brackets: str) -> bytes:
    return line_of(sample("node_started"))[:-1] + b',"extra":' + nested(levels - 1, brackets) + b"}"


def _deep_unknown(levels: int, brackets: str) -> bytes:
    return _deep_extra(levels, brackets).replace(b"node_started", b"next_year")


def _deep_after_null(levels: int, brackets: str) -> bytes:
    return _deep_content(levels, brackets).replace(b'"seq":7', b'"seq":7,"envelope_version":null')


DEEP = [_deep_content, _deep_extra, _deep_unknown, _deep_after_null]


# ---- many lines at once ----

hard_lines = st.one_of(
    lines(st.sampled_from(sorted(samples())).map(sample)),
    lines(spoiled(), flaws=0.05),
    torn_lines(lines(st.sampled_from(sorted(samples())).map(sample))),
    st.sampled_from([b"", b"\r", b'{"type":"keepalive"}', b"[]", b"[" * 2000]),
    st.integers(95, 105).flatmap(lambda levels: st.sampled_from([deep(levels, "[]") for deep in DEEP])),
).filter(lambda line: b"\n" not in line)


@examples(120)
@given(st.lists(hard_lines, max_size=12))
def test_lines_decoded_together_mean_what_each_means_alone(together: list[bytes]) -> None:
    expected: list[str] = []
    for number, line in enumerate(together, 1):
        try:
            event = decode(line)
        except RecordError as error:
            expected.append(f"{number} {error}")
        else:
            expected += [f"{number} {event!r}"] if event is not None else []
    actual: list[str] = []
    for batch in EventDecoder().feed(b"".join(line + b"\n" for line in together)):
        assert [line + b"\n" for line in together[batch.number - 1 :]][: len(batch.lines)] == batch.lines
        actual += [f"{number} {event!r}" for number, event in enumerate(batch.events, batch.number)]
        actual += [] if batch.error is None else [f"{batch.number} {batch.error}"]
    assert expected == actual


# ---- the one exception ----

UNSEEN = [b"1e400", b"-1e400", b"9" * 5000]


@pytest.mark.parametrize("number", UNSEEN, ids=["huge", "negative", "5000 digits"])
def test_a_number_without_a_value_is_not_noticed_in_an_undeclared_field(number: bytes) -> None:
    line = line_of(sample("node_started"))[:-1] + b',"extra":{"n":[' + number + b"]}}"
    assert decode(line_of(sample("node_started"))) == decode(line)
    assert "exception" == check_the_law(line)


@pytest.mark.parametrize("number", UNSEEN, ids=["huge", "negative", "5000 digits"])
def test_a_number_without_a_value_is_an_error_in_a_declared_field(number: bytes) -> None:
    line = line_of(sample("node_output")).replace(b'{"n":null}', number)
    with pytest.raises(RecordError, match="not JSON: .*out of range"):
        decode(line)


@pytest.mark.parametrize("number", UNSEEN, ids=["huge", "negative", "5000 digits"])
def test_a_number_without_a_value_is_an_error_in_a_record_of_an_unknown_type(number: bytes) -> None:
    line = line_of(sample("node_started", type="next_year"))[:-1] + b',"extra":' + number + b"}"
    with pytest.raises(RecordError, match="not JSON: .*out of range"):
        decode(line)


# ---- the grammar of times and UUIDs, on both ways ----

TIMES = {
    "2026-01-31T12:00:00Z": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31t12:00:00z": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31 12:00:00Z": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31T12:00:00-00:00": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31T12:00:00+01:00": datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))),
    "2026-01-31T12:00:00+0100": datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))),
    "2026-01-31T12:00:00-23:59": datetime(2026, 1, 31, 12, tzinfo=timezone(-timedelta(hours=23, minutes=59))),
    "2026-01-31T12:00:00.5Z": datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC),
    "2026-01-31T12:00:00.1234564Z": datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC),
    "2026-01-31T12:00:00.1234565Z": datetime(2026, 1, 31, 12, 0, 0, 123_457, tzinfo=UTC),
    "2026-01-31T12:00:00.123456789Z": datetime(2026, 1, 31, 12, 0, 0, 123_457, tzinfo=UTC),
    "2026-01-31T23:59:59.9999999Z": datetime(2026, 2, 1, tzinfo=UTC),
    "2024-02-29T00:00:00Z": datetime(2024, 2, 29, tzinfo=UTC),
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59.999999Z": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "2026-01-31T12:00:00": None,
    "2026-01-31T12:00Z": None,
    "2026-01-31": None,
    "2026-01-31_12:00:00Z": None,
    "20260131T120000Z": None,
    "2026-1-31T12:00:00Z": None,
    "+2026-01-31T12:00:00Z": None,
    "02026-01-31T12:00:00Z": None,
    "2026-01-31T12:00:00+01": None,
    "2026-01-31T12:00:00+1:00": None,
    "2026-01-31T12:00:00+01:00:00": None,
    "2026-01-31T12:00:00+24:00": None,
    "2026-01-31T12:00:00+23:60": None,
    "2026-01-31T12:00:00.Z": None,
    "2026-01-31T12:00:00,5Z": None,
    "2026-01-31T12:00:60Z": None,
    "2026-01-31T24:00:00Z": None,
    "2026-02-29T00:00:00Z": None,
    "2026-13-01T00:00:00Z": None,
    "0000-01-01T00:00:00Z": None,
    "9999-12-31T23:59:59.9999999Z": None,
    " 2026-01-31T12:00:00Z": None,
    "2026-01-31T12:00:00Z ": None,
    "2026-01-31T12:00:00Z\n": None,
    "\uff12026-01-31T12:00:00Z": None,
    "1769860800": None,
    "": None,
}
"""Texts, each with its time, or None if it is invalid."""

RUN = UUID(RUN_ID)
UUIDS = {
    RUN_ID: RUN,
    RUN_ID.upper(): RUN,
    RUN_ID.replace("-", ""): RUN,
    "0" * 32: UUID(int=0),
    "{" + RUN_ID + "}": None,
    "urn:uuid:" + RUN_ID: None,
    RUN_ID.replace("-", "", 1): None,
    RUN_ID.replace("-", "_"): None,
    RUN_ID[:8] + RUN_ID[9:] + "-": None,
    RUN_ID[:-1]: None,
    RUN_ID + "0": None,
    RUN_ID + "\n": None,
    " " + RUN_ID: None,
    "0x" + RUN_ID[2:]: None,
    "\uff17" + RUN_ID[1:]: None,
    "": None,
}
"""Texts, each with its UUID, or None if it is invalid."""


@pytest.mark.parametrize("text", TIMES)
def test_the_grammar_of_times(text: str) -> None:
    record = sample("node_started", ts=text)
    assert repr(TIMES[text]) == repr(_field_of(line_of(record), "ts"))
    check_the_law(line_of(record))


@pytest.mark.parametrize("text", UUIDS)
def test_the_grammar_of_uuids(text: str) -> None:
    record = sample("node_started", run_id=text)
    assert UUIDS[text] == _field_of(line_of(record), "run_id")
    check_the_law(line_of(record))


def _field_of(line: bytes, name: str) -> Any:
    verdict, event = by_the_stream(line)
    return getattr(event, name) if verdict == "event" else None


# ---- nesting ----


@pytest.mark.parametrize("brackets", ["[]", "{}"])
@pytest.mark.parametrize("deep", DEEP)
def test_a_record_may_be_nested_100_deep_and_not_101(
    deep: Callable[[int, str], bytes], brackets: str
) -> None:
    assert 100 == MAX_NESTING == depth(json.loads(deep(100, brackets)))
    assert decode(deep(100, brackets)) is not None
    with pytest.raises(RecordError, match="nested more than 100 deep"):
        decode(deep(101, brackets))


def test_the_shortest_record_that_is_nested_101_deep_is_refused() -> None:
    short = {"type": "node_started", "run_id": RUN_ID.replace("-", ""), "seq": 1, "ts": TIME, "node_id": "a"}
    line = line_of(short)[:-1] + b',"":' + nested(100) + b"}"
    assert 101 == depth(json.loads(line))
    with pytest.raises(RecordError, match="nested more than 100 deep"):
        decode(line)


@pytest.mark.parametrize(
    "text", ["[" * 500, "{" * 500, '"' + "[" * 500, "\\" + '"[' * 500, "\\\\" * 3 + "[" * 500]
)
def test_brackets_inside_text_are_not_nested(text: str) -> None:
    record = sample("node_output", node_id=text)
    record["output"]["content"] = {text: [text]}
    assert text == decode(line_of(record)).node_id


def test_many_brackets_side_by_side_are_not_nested() -> None:
    record = sample("node_output")
    record["output"]["content"] = [{"a": [[], {}]}] * 300
    assert record["output"]["content"] == decode(line_of(record)).output.content


@examples(100)
@given(st.integers(0, 130), st.integers(0, 130), st.booleans(), st.text('"\\[]{}a\n', max_size=8))
def test_depth_is_counted_right_among_text_and_side_branches(
    levels: int, side: int, balanced: bool, text: str
) -> None:
    branches = [json.loads(nested(max(1, levels))), text, json.loads(nested(max(1, side))), {text: {}}]
    record = sample("node_output", node_id="a" + text)
    record["output"]["content"] = branches
    line = line_of(record)
    check_the_law(line if balanced else line[:-1])


HOSTILE = {
    "arrays": b"[" * 100_000,
    "objects": b'{"a":' * 100_000,
    "closed arrays": nested(100_000),
    "closed objects": nested(100_000, "{}"),
    "content": _deep_content(100_000, "[]"),
    "extra": _deep_extra(100_000, "[]"),
    "extra objects": _deep_extra(100_000, "{}"),
    "unknown": _deep_unknown(100_000, "[]"),
    "closing": b"]" * 100_000,
    "quotes": b'["' * 100_000,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_100_000_brackets_are_a_record_error(line: bytes) -> None:
    with pytest.raises(RecordError):
        decode(line)


def test_100_000_brackets_are_a_record_error_on_a_thread() -> None:
    verdicts: list[str] = []
    thread = threading.Thread(
        target=lambda: verdicts.extend(by_the_stream(line)[0] for line in HOSTILE.values())
    )
    thread.start()
    thread.join(60)
    assert ["error"] * len(HOSTILE) == verdicts


def frames_below() -> int:
    frame, count = sys._getframe(), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1
    return count


@pytest.mark.parametrize(
    "line",
    [
        HOSTILE["arrays"][:20_000],
        _deep_content(5_000, "[]"),
        _deep_content(100, "[]"),
        _deep_content(101, "{}"),
        _deep_unknown(100, "{}"),
        line_of(sample("node_waiting", waiting=None)),
        line_of(sample("node_waiting", envelope_version=None)),
        line_of(sample("node_waiting")),
    ],
    ids=["arrays", "content", "100", "101", "unknown", "invalid", "null", "valid"],
)
def test_at_no_stack_depth_a_recursion_error_gets_out(line: bytes) -> None:
    expected = by_the_stream(line)[0]
    escaped: list[RecursionError] = []
    verdicts = set()

    def make_an_error(calls: int = 1) -> Exception:
        return make_an_error(calls - 1) if calls else RecordError()

    def at(frames: int) -> None:
        if frames:
            return at(frames - 1)
        make_an_error()  # where not even this can be called, there is no result
        try:
            verdicts.add(type(decode(line)).__name__)
        except RecordError:
            verdicts.add("error")
        except RecursionError as error:
            escaped.append(error)
        return None

    room = sys.getrecursionlimit() - frames_below()
    for frames in range(room - 250, room):
        try:
            at(frames)
        except RecursionError:
            break
    assert [] == escaped
    assert verdicts <= {"error", "NodeOutput", "NodeWaiting", "UnknownEvent"}
    assert ("event" == expected) is (verdicts != {"error"})


# ---- what errors say ----


@pytest.mark.parametrize(
    "line, message",
    [
        (b"\xff", "not UTF-8: byte 1 is 0xff"),
        (line_of(sample("node_started"))[:-1] + b',"x":"a\xc3"}', "not UTF-8: byte 156 is 0xc3"),
        (b"{", "not JSON: Input data was truncated"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "not a valid event: envelope_version"),
        (
            line_of(sample("node_started", seq=0)),
            "not a valid event: seq: Must be greater than or equal to 1.",
        ),
        (line_of(sample("node_started", type="")), "not a valid event: type: Shorter than minimum length 1."),
        (
            line_of(sample("node_waiting", waiting={"step": 0, "request_id": "0" * 32, "reason": " "})),
            "waiting.reason: Must be text that is not blank.",
        ),
    ],
)
def test_an_error_names_the_fault_and_its_place(line: bytes, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        decode(line)
    assert message.partition(": envelope")[0] in str(caught.value)


def test_messages_name_the_place_inside_arrays_and_rules_between_fields() -> None:
    record = sample("node_waiting")
    record["waiting"]["pending_tool_calls"].append({"tool_call": {"id": "a", "name": "b"}})
    with pytest.raises(RecordError) as caught:
        decode(line_of(record))
    assert "waiting.pending_tool_calls.1.tool_call.arguments: Missing data for required field." in str(
        caught.value
    )
    record = sample("node_tool_call")
    record["tool_call"]["request_id"] = "0" * 32
    with pytest.raises(RecordError, match=r"tool_call.request_id: must be a UUID other than the nil UUID"):
        decode(line_of(record))


@pytest.mark.parametrize(
    "seq, expected", [(7, 7), (2**63, None), (0, None), (-1, None), (True, None), (1.0, None), ("7", None)]
)
def test_an_error_has_the_seq_of_its_record_where_it_can_be_read(seq: Any, expected: int | None) -> None:
    with pytest.raises(RecordError) as caught:
        decode(line_of(sample("node_started", seq=seq, node_id="")))
    assert (expected, True) == (caught.value.seq, caught.value.is_record)


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", nested(101)])
def test_an_error_without_a_record_has_no_seq(line: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        decode(line)
    assert (None, False) == (caught.value.seq, caught.value.is_record)


def test_a_record_error_pickles() -> None:
    with pytest.raises(RecordError) as caught:
        decode(line_of(sample("node_started", node_id="")))
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(caught.value), True, 7) == (str(copied), copied.is_record, copied.seq)


@pytest.mark.parametrize("line", ["", "é" * 500, "\x00", "🎈" * 500])
def test_an_error_quotes_the_start_of_its_line(line: str) -> None:
    assert line[:EXCERPT] == protocol_error(RecordError(), line.encode()).raw_data


def test_an_excerpt_marks_bytes_that_are_not_text() -> None:
    assert "a\ufffdb" == protocol_error(RecordError(), b"a\xffb\n").raw_data


# ---- what is skipped, kept and refused ----


@pytest.mark.parametrize(
    "line", [b"", b" ", b"\r", b"\t \r\n", b'{"type":"keepalive"}', b' {"x":1,"type":"keepalive"}\r']
)
def test_blank_lines_and_keep_alives_are_skipped(line: bytes) -> None:
    assert decode(line) is None


def test_a_keep_alive_with_a_whole_envelope_is_skipped_too() -> None:
    assert decode(line_of(sample("node_started", type="keepalive"))) is None


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\u2028", "\x85", "\xa0"])
def test_a_line_of_other_space_is_not_blank(space: str) -> None:
    with pytest.raises(RecordError, match="not JSON"):
        decode(space.encode())


def test_an_unknown_type_is_an_event_with_its_whole_record() -> None:
    record = sample("node_started", type="next_year", extra={"n": 2**70})
    event = decode(line_of(record))
    assert isinstance(event, UnknownEvent)
    assert (record, "next_year", 7, "draft") == (event.record, event.type, event.seq, event.node_id)


def test_unknown_fields_are_dropped_at_every_level() -> None:
    record = sample("node_waiting", extra=1)
    record["waiting"]["extra"] = record["waiting"]["pending_tool_calls"][0]["extra"] = {"a": 1}
    assert decode(line_of(sample("node_waiting"))) == decode(line_of(record))


@pytest.mark.parametrize("wire_type, field", [("run_completed", "outputs"), ("node_output", "output")])
@pytest.mark.parametrize("null", [{}, {"envelope_version": None}], ids=["msgspec", "schemas"])
def test_an_output_that_was_not_requested_is_refused(wire_type: str, field: str, null: Record) -> None:
    record = sample(wire_type, **null)
    record[field] |= {"info": {"bytes": 2, "sha256": HASH, "included": True}, "content": None}
    event = decode(line_of(record))
    assert event is not None
    with pytest.raises(RecordError, match="but include_output was not requested") as caught:
        refuse_included(event)
    assert (7, True) == (caught.value.seq, caught.value.is_record)


@pytest.mark.parametrize("wire_type", sorted(samples()))
def test_an_event_without_an_output_is_never_refused_for_one(wire_type: str) -> None:
    record = sample(wire_type)
    if wire_type == "node_output":
        record["output"] = sample("run_completed")["outputs"]
    event = decode(line_of(record))
    assert event is not None
    refuse_included(event)


# ---- and back ----


@examples(150)
@given(lines(records))
def test_what_is_encoded_is_decoded_to_an_equal_event(line: bytes) -> None:
    event = decode(line)
    encoded = encode_event(event)
    assert b"\n" not in encoded
    assert repr(event) == repr(decode(encoded))
    assert encoded == encode_event(decode(encoded))


@examples(100)
@given(spoiled())
def test_an_event_of_a_spoiled_record_is_encoded_and_decoded_too(record: Record) -> None:
    verdict, event = by_the_stream(line_of(record))
    if verdict == "event":
        assert repr(event) == repr(decode(encode_event(event)))


@examples(100)
@given(json_values | st.integers(-(2**200), 2**200), st.sampled_from(["node_output", "next_year"]))
def test_any_json_value_is_kept_in_content_and_in_unknown_records(value: Any, wire_type: str) -> None:
    record = sample("node_output", type=wire_type)
    record["output"]["content"] = copy.deepcopy(value)
    event = decode(encode_event(decode(line_of(record))))
    output = event.output if isinstance(event, NodeOutput) else msgspec.convert(event.record["output"], Any)
    assert repr(value) == repr(output.content if isinstance(event, NodeOutput) else output["content"])


def test_the_largest_integer_survives_everywhere() -> None:
    record = sample("node_llm_call", seq=MAX_INTEGER)
    record["llm_call"]["usage"] = {"input_tokens": MAX_INTEGER, "output_tokens": MAX_INTEGER}
    assert record == json.loads(encode_event(decode(line_of(record))))


def integers_of(record: Record) -> list[tuple[Any, Any]]:
    """Every container in a record, and the key of an integer in it."""
    return [(container, key) for container, key in places(record) if type(container[key]) is int]


@pytest.mark.parametrize("wire_type", sorted(samples()))
def test_an_integer_beyond_the_bound_is_an_error_for_both_wherever_it_is(wire_type: str) -> None:
    for index in range(len(integers_of(sample(wire_type)))):
        record = sample(wire_type)
        container, key = integers_of(record)[index]
        container[key] = MAX_INTEGER
        assert "event" == check_the_law(line_of(record)), key
        for beyond in (MAX_INTEGER + 1, 2**64 - 1, 2**64, 10**4_000):
            container[key] = beyond
            assert "error" == check_the_law(line_of(record)), key
        with pytest.raises(RecordError, match=f"{key}: Must be less than or equal to {MAX_INTEGER}"):
            decode(line_of(record))


def test_the_schemas_dump_and_the_encoding_are_the_same_record() -> None:
    for record in samples().values():
        event = decode(line_of(record))
        assert record == schema.dump(event) == json.loads(encode_event(event))


def test_an_absent_envelope_version_is_written() -> None:
    record = sample("node_started")
    del record["envelope_version"]
    event = decode(line_of(record))
    assert isinstance(event, NodeStarted)
    assert (
        "v2" == json.loads(encode_event(event))["envelope_version"] == schema.dump(event)["envelope_version"]
    )
