"""Skipped lines hold no event that is needed, in any spelling of JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxruns._logs import _search
from rxruns._logs._search import all_lines, candidates
from rxruns._ndjson._decoding import RecordError, decode_event
from rxruns.events import KNOWN_EVENTS, NodeFailed, NodeLLMCall, RunEvent
from tests.records import examples, line_of, lines, records, sample, torn_lines

decode = decode_event


def found(data: bytes, *types: type[RunEvent]) -> list[bytes]:
    return candidates(types)(bytearray(data), len(data)).lines


def event_of(line: bytes) -> RunEvent | None:
    try:
        return decode(line)
    except RecordError:
        return None


def written(name: str, escape: str) -> bytes:
    """A failed node's line, with each letter of its type's name that is in `escape` escaped."""
    spelled = "".join(f"\\u{ord(letter):04x}" if letter in escape else letter for letter in name)
    return line_of(sample(name)).replace(f'"{name}"'.encode(), f'"{spelled}"'.encode())


@examples(300)
@given(
    line=torn_lines(lines(records)) | lines(records), types=st.sets(st.sampled_from(KNOWN_EVENTS), min_size=1)
)
def test_a_line_with_an_event_of_the_types_is_found(line: bytes, types: set[Any]) -> None:
    event = event_of(line)
    if type(event) in types:
        assert [line] == found(line + b"\n", *types)


@examples(60)
@given(log=st.lists(lines(records) | st.just(b""), max_size=8), ended=st.booleans(), data=st.data())
def test_of_many_lines_those_are_found_in_order_and_with_their_places(
    log: list[bytes], ended: bool, data: Any
) -> None:
    types = data.draw(st.sets(st.sampled_from(KNOWN_EVENTS), min_size=1, max_size=3))
    whole = b"\n".join(log) + b"\n" * ended
    needed = [line for line in log if type(event_of(line)) in types]
    search = candidates(types)(bytearray(whole + b"what is behind the end"), len(whole))

    assert needed == [line for line in search.lines if type(event_of(line)) in types]
    for index, line in enumerate(search.lines):
        start = search.start(index)
        assert whole[start:].split(b"\n")[0] == line
        assert start == 0 or whole[start - 1 : start] == b"\n"


PIECES = [
    b"\0",
    b"\n",
    b"node_failed",
    *(line_of(sample("node_failed")) + b"\n",) * 3,
    b"\\u006e",
    b"\\u00e9",
]


@examples(100)
@given(
    parts=st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
    behind=st.sampled_from([b"", b"\0", b"?", line_of(sample("node_failed"))]),
)
def test_the_search_of_the_c_library_finds_what_python_finds_and_changes_no_byte(
    parts: bytes, behind: bytes
) -> None:
    data = bytearray(parts + behind)
    with pytest.MonkeyPatch.context() as patch:
        faster = candidates([NodeFailed])(data, len(parts))
        patch.setattr(_search, "_strstr", None)
        assert faster == candidates([NodeFailed])(data, len(parts))
    assert parts + behind == data


@pytest.mark.parametrize("known", KNOWN_EVENTS, ids=lambda known: known.type)
def test_a_name_with_any_one_of_its_letters_escaped_is_found(known: type[RunEvent]) -> None:
    for letter in set(known.type):
        line = written(known.type, letter)
        assert isinstance(event_of(line), known)
        assert [line] == found(line + b"\n", known)


def test_the_names_of_types_have_no_other_letters_than_those_whose_escapes_are_looked_for() -> None:
    assert [] == [known.type for known in KNOWN_EVENTS if not re.fullmatch(r"[a-z_]+", known.type)]


@pytest.mark.parametrize(
    "line",
    [
        line_of(sample("node_failed")),
        json.dumps(sample("node_failed"), indent=None, separators=(" ,\t", "\r: ")).encode(),
        line_of(sample("node_failed")).replace(b'"type"', rb'"ty\u0070e"'),
        line_of(sample("node_failed")).replace(b"node_failed", rb"node\u005ffailed"),
        line_of(sample("node_failed")).replace(b"node_failed", rb"node\u005Ffailed"),
        line_of(sample("node_failed")).replace(b"node_failed", rb"\u006eode_\u0066ailed"),
        line_of(sample("node_failed")).replace(b"node_failed", rb"\u006Eode_faile\u0064"),
        line_of(sample("node_failed")).replace(b"{", b'{"type":"node_started",', 1),
    ],
)
def test_every_spelling_is_found(line: bytes) -> None:
    assert isinstance(event_of(line), NodeFailed)
    assert [line] == found(b"\n" + line + b"\n{}\n", NodeFailed)


def test_text_that_names_a_type_is_passed_over_unless_it_is_nothing_else() -> None:
    def delta(text: str) -> bytes:
        return line_of(sample("node_output_delta", delta={"kind": "message_delta", "text_delta": text}))

    assert [] == found(delta('{"type":"node_failed"}') + b"\n" + delta("node_failed!"), NodeFailed)
    assert [delta("node_failed")] == found(delta("node_failed") + b"\n", NodeFailed)
    assert [] == found(json.dumps("é 流れ <b> & \u2028").encode().replace(b"<", rb"\u003c"), NodeFailed)


@example(b"")
@example(b"\n\n")
@example(b"a\nb")
@given(st.binary() | st.text(alphabet="a\n").map(str.encode))
def test_all_lines_are_all(data: bytes) -> None:
    lines = all_lines()(bytearray(data + b"rest"), len(data))

    expected = data.split(b"\n")
    assert (expected if expected[-1] else expected[:-1]) == [line.removesuffix(b"\n") for line in lines.lines]
    for index, line in enumerate(lines.lines):
        assert data[lines.start(index) :].startswith(line)


def test_lines_of_several_types_are_found_once_each() -> None:
    call, failed = line_of(sample("node_llm_call")), line_of(sample("node_failed", node_id="node_failed"))
    assert [failed, call] == found(failed + b"\n" + call + b"\n", NodeLLMCall, NodeFailed)
