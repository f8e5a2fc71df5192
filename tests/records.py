"""Records of all event types: one plain sample of each, strategies for valid ones, and ways to spoil them.

The strategies are built from the contract's JSON Schema; where its folder is missing they draw from samples.
"""

from __future__ import annotations

import copy
import json
import os
import random
from functools import cache
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from rxruns.events import MAX_INTEGER
from tests.conftest import CONTRACT

Record = dict[str, Any]

EXAMPLES = float(os.environ.get("RXRUNS_EXAMPLES", "1"))
"""The factor for the examples of a property."""

RUN_ID = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"
REQUEST_ID = "0b7e8f5c-6d1a-4c3b-9a2e-5f4d3c2b1a09"
NIL = "00000000-0000-0000-0000-000000000000"
HASH = "0123456789abcdef" * 4
TIME = "2026-01-31T12:00:00Z"


def examples(count: int) -> settings:
    """Settings of a property that is tried on `count` examples."""
    return settings(max_examples=max(1, int(count * EXAMPLES)))


# ---- samples ----

_CALL = {"id": "call_1", "name": "search", "arguments": '{"q":"x"}'}
_STEP = {"step": 0, "request_id": REQUEST_ID}
_INFO = {"bytes": 2, "sha256": HASH, "included": False}
_ARTIFACT = {"artifact_key": "run/outputs.v1", "info": _INFO}
_POLICY = {"max_rounds": 3, "max_concurrency": 2, "max_steps": 10, "timeout_ms": 0}
_FAULT = {"code": "boom", "message": "it broke"}


def _sample(wire_type: str, **fields: Any) -> Record:
    envelope = {"envelope_version": "v2", "run_id": RUN_ID, "seq": 7, "ts": TIME, "type": wire_type}
    return envelope | fields


def _run(wire_type: str, **fields: Any) -> Record:
    return _sample(wire_type, plan_hash=HASH, **fields)


def _node(wire_type: str, **fields: Any) -> Record:
    return _sample(wire_type, node_id="draft", **fields)


def _scheduler(wire_type: str, **payload: Any) -> Record:
    return _node(wire_type, **{wire_type: payload})


_ALL = (
    _run("run_compiled"),
    _run("run_started"),
    _run("run_completed", outputs=_ARTIFACT),
    _run("run_failed", error=_FAULT),
    _run("run_canceled", error={"message": "canceled by its owner"}),
    _run("task_list_updated", task_list=_ARTIFACT),
    _run("memory_updated", memory=_ARTIFACT, memory_key="notes"),
    _node("node_started"),
    _node("node_succeeded"),
    _node("node_failed", error=_FAULT),
    _node(
        "node_llm_call",
        llm_call={
            **_STEP,
            "provider": "openai",
            "model": "gpt-5",
            "response_id": "resp_1",
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8},
        },
    ),
    _node("node_tool_call", tool_call={**_STEP, "tool_call": _CALL}),
    _node("node_tool_result", tool_result={**_STEP, "tool_call": _CALL, "output": "", "error": "late"}),
    _node("node_waiting", waiting={**_STEP, "pending_tool_calls": [{"tool_call": _CALL}], "reason": "tools"}),
    _node(
        "node_user_ask",
        user_ask={
            **_STEP,
            "tool_call": _CALL,
            "question": "Continue?",
            "allow_freeform": True,
            "options": [{"label": "yes", "description": "continue"}, {"label": "no"}],
        },
    ),
    _node(
        "node_user_answer",
        user_answer={
            **_STEP,
            "tool_call": {"id": "call_1", "name": "ask"},
            "answer": "yes",
            "is_freeform": False,
        },
    ),
    _node(
        "node_output_delta",
        delta={"kind": "message_delta", "text_delta": "hé 🎈", "model": "gpt-5", "response_id": "resp_1"},
    ),
    _node("node_output", output={**_ARTIFACT, "info": {**_INFO, "included": True}, "content": {"n": None}}),
    _scheduler(
        "scheduler_started",
        topic="plan",
        participants=[{"agent_id": "a", "agent_ref": "a@1", "address": "here", "role": "critic"}],
        policy=_POLICY,
    ),
    _scheduler("scheduler_round_started", round_index=0),
    _scheduler("scheduler_coordinator_started", model="gpt-5"),
    _scheduler("scheduler_coordinator_completed", decision={"next": ["a"], "why": None}),
    _scheduler("scheduler_agent_started", agent_id="a", agent_run_id=RUN_ID, input="go"),
    _scheduler("scheduler_agent_completed", agent_id="a", status="ok", agent_run_id=RUN_ID, summary="done"),
    _scheduler("scheduler_message_sent", message_id=REQUEST_ID, to="b"),
    _scheduler("scheduler_message_received", message_id=REQUEST_ID, **{"from": "a"}),
    _scheduler("scheduler_round_completed", round_index=0, pending=0),
    _scheduler("scheduler_stopped", reason="agreed"),
)


def samples() -> dict[str, Record]:
    """A plain valid record of each of the 28 event types, by type, new each time."""
    return {record["type"]: copy.deepcopy(record) for record in _ALL}


def sample(wire_type: str, **changes: Any) -> Record:
    """The sample of a type, with other top-level fields."""
    return samples()[wire_type] | changes


def line_of(record: Any) -> bytes:
    """The record as one line, as the service writes it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


# ---- the contract's schema, one plain object schema for each type ----


@cache
def contract_schema() -> Record:
    """The service's JSON Schema of an event. Not to be changed."""
    schema: Record = json.loads((CONTRACT / "run_event.schema.json").read_text("utf-8"))
    return schema


@cache
def plain_schemas() -> dict[str, Record]:
    """The schema of each type: the envelope and what the type requires, as the ``oneOf`` says it.

    Rules beyond the contract's schema are added, so that a record of these is valid for us too.
    """
    schema = copy.deepcopy(contract_schema())
    definitions = schema["definitions"]
    for name, field in FILLED:
        definitions[name]["properties"][field]["pattern"] = r"\S"
    definitions["payloadInfo"]["properties"]["sha256"]["pattern"] = r"\A[0-9a-f]{64}\Z"
    schema["properties"]["plan_hash"]["pattern"] = r"\A[0-9a-f]{64}\Z"
    excluded = copy.deepcopy(definitions["payloadArtifact"])
    excluded["properties"]["info"] = copy.deepcopy(definitions["payloadInfo"])
    excluded["properties"]["info"]["properties"]["included"] = {"const": False}
    schema["properties"] |= {"task_list": excluded, "memory": excluded}
    plain = {}
    for choice in schema["oneOf"]:
        branch = choice["allOf"][0]
        required = [*schema["required"], *branch["required"]]
        wire_type = branch["properties"]["type"]["const"]
        properties = {name: schema["properties"][name] for name in required}
        plain[wire_type] = {
            "type": "object",
            "additionalProperties": False,
            "required": required,
            "properties": properties | {"type": {"const": wire_type}},
        }
    resolved = {wire_type: _resolved(schema, definitions) for wire_type, schema in plain.items()}
    return resolved


def _resolved(schema: Any, definitions: Record) -> Any:
    """The schema without ``$ref`` and ``allOf``."""
    if isinstance(schema, list):
        return [_resolved(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "integer":
        return {**schema, "maximum": MAX_INTEGER}
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].removeprefix("#/definitions/")], definitions)
    schema = {key: _resolved(value, definitions) for key, value in schema.items()}
    for part in schema.pop("allOf", []):
        required = [*schema.get("required", []), *part.get("required", [])]
        schema = {**schema, **part, "required": required}
    return schema


FILLED = (
    ("toolCall", "id"),
    ("toolCall", "name"),
    ("nodeWaiting", "reason"),
    ("nodeUserAsk", "question"),
    ("nodeUserAnswer", "answer"),
    ("schedulerStopped", "reason"),
)
"""Definitions and their fields that must not be blank, which the schema does not say."""

# ---- strategies ----

_DIGITS = st.text("0123456789", max_size=12).map(lambda digits: digits and "." + digits)
_OFFSETS = st.one_of(
    st.sampled_from(["Z", "z", "+00:00", "-00:00"]),
    st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 23), st.integers(0, 59)),
)
_CLOCKS = st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat())
times = st.builds(
    lambda clock, separator, digits, offset: clock.replace("T", separator) + digits + offset,
    _CLOCKS.filter(lambda clock: clock < "9999-12-31"),
    st.sampled_from("TTTTt "),
    _DIGITS,
    _OFFSETS,
)
"""Times of RFC 3339 in the years 1 to 9999. One that would be rounded into the year 10000 is left out."""

uuids = st.builds(
    lambda uuid, spelled: spelled(uuid),
    st.uuids(),
    st.sampled_from([str, lambda uuid: uuid.hex, lambda uuid: str(uuid).upper()]),
)
"""UUIDs in every spelling that the contract takes, but for the nil UUID."""

NIL_REFUSED = f"must be a UUID other than the nil UUID, got {UUID(int=0)!r}"
"""The message about a nil UUID."""


_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_ALPHABETS = {
    r"\S": _TEXT.filter(str.strip),
    r"\A[0-9a-f]{64}\Z": st.text("0123456789abcdef", min_size=64, max_size=64),
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


def _text_of(schema: Record) -> st.SearchStrategy[str]:
    if "format" in schema:
        return {"uuid": uuids, "date-time": times}[schema["format"]]
    if "pattern" in schema:
        return _ALPHABETS[schema["pattern"]]
    return _TEXT.filter(lambda text: len(text) >= schema.get("minLength", 0))


def _object_of(schema: Record) -> st.SearchStrategy[Record]:
    if "properties" not in schema:
        return st.dictionaries(_TEXT, json_values, max_size=3)
    values = {name: _value_of(inner) for name, inner in schema["properties"].items()}
    required = {name: values.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(required, optional=values).map(_with_content)


def _with_content(value: Record) -> Record:
    """An artifact that says that it is included is included: a rule beyond the schema."""
    info = value.get("info")
    return {"content": None, **value} if isinstance(info, dict) and info["included"] else value


def _value_of(schema: Record) -> st.SearchStrategy[Any]:
    """Values that a JSON Schema takes, with the few keywords that the contract uses."""
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "object":
            return _object_of(schema)
        case "array":
            return st.lists(_value_of(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            most = schema["maximum"]
            return st.integers(schema["minimum"], schema["minimum"] + 2) | st.integers(most - 2, most)
        case "boolean":
            return st.booleans()
        case "string":
            return _text_of(schema)
        case None:
            return json_values
    raise NotImplementedError(schema)


@cache
def records_of(wire_type: str) -> st.SearchStrategy[Record]:
    """Valid records of one type."""
    if not CONTRACT.is_dir():
        return st.just(wire_type).map(sample)
    return _object_of(plain_schemas()[wire_type])


records = st.sampled_from(sorted(samples())).flatmap(records_of)
"""Valid records of all types."""

odd_uuids = st.sampled_from(
    [
        *(NIL, NIL.replace("-", ""), RUN_ID.upper(), RUN_ID.replace("-", ""), "{" + RUN_ID + "}"),
        *("urn:uuid:" + RUN_ID, RUN_ID + "\n", " " + RUN_ID, RUN_ID.replace("-", "", 1), RUN_ID[:-1]),
        *("0x" + RUN_ID[2:], RUN_ID[:4] + "_" + RUN_ID[5:], "\uff17" + RUN_ID[1:], RUN_ID + "0"),
    ]
)
odd_times = st.sampled_from(
    [
        *("2026-01-31T12:00:00", "2026-01-31T12:00Z", "2026-01-31", "20260131T120000Z", "1769860800"),
        *("2026-01-31t12:00:00z", "2026-01-31 12:00:00+01:00", "2026-01-31T12:00:00+0100"),
        *("2026-01-31T12:00:00+01", "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+23:60"),
        *("2026-01-31T12:00:60Z", "2026-01-31T24:00:00Z", "2025-02-29T00:00:00Z", "2026-13-01T00:00:00Z"),
        *("2026-01-31T12:00:00.Z", "2026-01-31T12:00:00,5Z", "2026-01-31T12:00:00.123456789012Z"),
        *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9999999-23:59"),
        *(TIME + "\n", " " + TIME, TIME + "x", "\uff12" + TIME[1:], "+" + TIME, "2026-1-31T12:00:00Z"),
    ]
)
odd_numbers = st.sampled_from(
    [
        *(-1, 0, 1, MAX_INTEGER - 1, MAX_INTEGER, MAX_INTEGER + 1, 2**64 - 1, 2**64, 10**30, -(2**63) - 1),
        *(1.0, 0.0, 2.5, 1e300),
    ]
)
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    odd_numbers,
    odd_uuids,
    odd_times,
    st.sampled_from(
        ["", " ", "\u2003\n", "v1", "v2", "5", "true", HASH, HASH.upper(), HASH + "\n", "keepalive"]
    ),
    st.sampled_from(sorted(samples())),
    st.sampled_from([[], {}, [None], [{}], {"a": 1}]).map(copy.deepcopy),
    json_values,
    times,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key or index in a JSON value."""
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return []
    return [(value, key) for key, _ in inner] + [place for _, item in inner for place in places(item)]


_FIELDS = sorted({key for record in samples().values() for _, key in places(record) if isinstance(key, str)})


@st.composite
def spoiled(draw: st.DrawFn, whole: st.SearchStrategy[Record] = records) -> Record:
    """Records with one to three changes: fields dropped, added, replaced, emptied, copied from others."""
    record = copy.deepcopy(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        found = places(record)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["replace", "replace", "drop", "add", "copy", "wrap"])):
            case "replace":
                container[key] = draw(odd_values)
            case "drop":
                del container[key]
            case "add" if isinstance(container, dict):
                container[draw(st.sampled_from([*_FIELDS, "extra"]))] = draw(odd_values)
            case "copy" if isinstance(container, dict):
                container.update(draw(st.sampled_from(sorted(samples())).map(sample)))
            case _:
                container[key] = [container[key]]
    return record


# ---- lines ----

_RAW_NUMBERS = [
    "-0",
    "-0.0",
    "1E2",
    "1e-400",
    "1.0",
    "12e0",
    "NaN",
    "Infinity",
    "01",
    "+1",
    "1.",
    ".5",
    "1e400",
]
_RAW_TEXTS = [
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\ud83c\udf88"',
    r'"\x"',
    r'"\u00e9\/"',
    '"\t"',
    '"\x7f"',
    "'a'",
]
_RAW_VALUES = [*_RAW_NUMBERS, *_RAW_TEXTS, "tru", "nul", "[1,]", "{}}", '{"a"}', "9" * 5000, "9" * 30, ""]


class _Writer:
    """Writes JSON in the many ways that mean the same, and now and then something invalid."""

    def __init__(self, seed: int, flaws: float) -> None:
        self._random = random.Random(seed)
        self._flaws = flaws

    def write(self, value: Any) -> str:
        if self._random.random() < self._flaws:
            return self._random.choice(_RAW_VALUES)
        match value:
            case dict():
                return self._bracketed(
                    "{", [self._member(*item) for item in self._with_duplicates(value)], "}"
                )
            case list():
                return self._bracketed("[", [self.write(item) for item in value], "]")
            case str():
                return self._text(value)
        return json.dumps(value)

    def _with_duplicates(self, value: Record) -> list[tuple[str, Any]]:
        items = list(value.items())
        if items and self._random.random() < 2 * self._flaws:
            key, item = self._random.choice(items)
            other = self._random.choice([item, None, 1, "x", {}, self._random.choice(items)[1]])
            items.insert(self._random.randint(0, len(items)), (key, other))
        if self._random.random() < 0.3:
            self._random.shuffle(items)
        return items

    def _member(self, key: str, value: Any) -> str:
        return f"{self._text(key)}{self._space()}:{self._space()}{self.write(value)}"

    def _bracketed(self, start: str, items: list[str], end: str) -> str:
        return start + self._space() + f",{self._space()}".join(items) + self._space() + end

    def _space(self) -> str:
        return self._random.choice(" \t\r") if self._random.random() < 0.05 else ""

    def _text(self, text: str) -> str:
        if self._random.random() < 0.5:
            return json.dumps(text, ensure_ascii=self._random.random() < 0.5)
        return '"' + "".join(map(self._character, text)) + '"'

    def _character(self, character: str) -> str:
        if self._random.random() < 0.1:
            units = character.encode("utf-16-be")
            return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        return json.dumps(character, ensure_ascii=False)[1:-1]


def lines(whole: st.SearchStrategy[Record], flaws: float = 0.0) -> st.SearchStrategy[bytes]:
    """Records as lines, spelled in many ways; with that share of values that are spoiled."""
    seeds = st.integers(0, 2**32)
    return st.builds(lambda record, seed: _Writer(seed, flaws).write(record).encode(), whole, seeds)


@st.composite
def torn_lines(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Lines with bits flipped, bytes put in or taken out, or cut."""
    line = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        match draw(st.sampled_from(["flip", "flip", "cut", "insert", "delete", "repeat"])):
            case "flip" if at < len(line):
                line[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del line[at:]
            case "insert":
                line[at:at] = draw(
                    st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"{", b"]", b'"', b"\\", b"\0"])
                )
            case "repeat":
                line[at:at] = line[at : at + 20]
            case _:
                del line[at : at + draw(st.integers(1, 20))]
    return bytes(line)
