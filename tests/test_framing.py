"""Bytes to events: the same wherever the bytes are cut, in linear time and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns._ndjson._decoder import Batch, EventDecoder, decode_lines
from rxruns._ndjson._decoding import RecordError, decode_event
from rxruns._ndjson._framing import BOM, EXCERPT_BYTES, LineSplitter, may_be_cut
from rxruns.events import RunEvent
from tests.records import line_of, samples

EVENTS = [line_of(record) for record in samples().values()]
KEEPALIVE = b'{"type":"keepalive"}'
BAD = b"[]"
UNSEEN = [EVENTS[0][:-1] + b',"more":' + more + b"}" for more in (b'"\xff"', b"[" * 200 + b"]" * 200)]
"""Lines that msgspec alone accepts."""

Item = tuple[int, bytes, RunEvent | str | None]
"""A line's number, its bytes, and its event or error."""


def items(batches: Iterable[Batch]) -> list[Item]:
    """Each line of the batches with what it is."""
    found: list[Item] = []
    for batch in batches:
        meanings = batch.events or [None if batch.error is None else str(batch.error)]
        pairs = zip(batch.lines, meanings, strict=True)
        found += [(number, line, meaning) for number, (line, meaning) in enumerate(pairs, batch.number)]
    return found


def decoded(chunks: Iterable[bytes], max_line_bytes: int | None = None) -> list[Item]:
    decoder = EventDecoder(max_line_bytes)
    found = [item for chunk in chunks for item in items(decoder.feed(chunk))]
    return found + items(decoder.flush())


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(data) + 1) for position in cuts), len(data)]
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def split(chunks: Iterable[bytes], max_line_bytes: int = 2**20) -> tuple[list[bytes], bytes]:
    splitter = LineSplitter(max_line_bytes)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines, splitter.flush()


cuts = st.lists(st.integers(0, 10_000), max_size=20)
some_lines = st.lists(
    st.sampled_from([*EVENTS, *UNSEEN, KEEPALIVE, BAD, b"", b" \r", b'{"type":', b"[" * 200]), max_size=12
)


# ---- the same wherever the bytes are cut ----


@given(some_lines, st.sampled_from([b"", BAD, KEEPALIVE, EVENTS[0], EVENTS[0][:-1]]), cuts)
def test_cutting_the_bytes_anywhere_gives_the_same_items(
    lines: list[bytes], tail: bytes, cuts: list[int]
) -> None:
    data = b"".join(line + b"\n" for line in lines) + tail
    whole = [line + b"\n" for line in lines] + ([tail] if tail else [])
    assert list(enumerate(whole, 1)) == [item[:2] for item in decoded([data])]
    assert decoded([data]) == decoded(cut(data, cuts))


@given(st.binary(max_size=200), cuts)
def test_only_a_newline_ends_a_line(data: bytes, cuts: list[int]) -> None:
    *whole, tail = data.removeprefix(BOM).split(b"\n")
    assert ([line + b"\n" for line in whole], tail) == split(cut(data, cuts))


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b""]])
def test_no_bytes_give_no_lines(chunks: list[bytes]) -> None:
    assert ([], b"") == split(chunks)
    assert [] == decoded(chunks)


def test_a_byte_order_mark_is_text_everywhere_but_at_the_start() -> None:
    assert ([b"a\n", BOM + b"b\n"], b"") == split([BOM[:1], BOM[1:], b"a\n", BOM, b"b\n"])
    assert ([BOM + b"\n"], b"") == split([BOM, BOM, b"\n"])
    assert ([], b"\xef\xbb") == split([b"\xef\xbb"])


@pytest.mark.parametrize("line", [b"", b"1", b"12"])
def test_a_first_line_that_is_shorter_than_a_mark_does_not_wait_for_more(line: bytes) -> None:
    assert [line + b"\n"] == LineSplitter().feed(line + b"\n")


# ---- numbers, and lines without an event ----


def alone(line: bytes) -> RunEvent | str | None:
    """The event or the error of one line."""
    try:
        return decode_event(line)
    except RecordError as error:
        return str(error)


@pytest.mark.parametrize("bad", [BAD, *UNSEEN])
@pytest.mark.parametrize("together", [1, 2, 4, 5, 63, 64, 65, 200])
def test_lines_are_numbered_from_one_and_errors_stand_in_their_place(together: int, bad: bytes) -> None:
    lines = [(bad if place % 70 == 3 else EVENTS[place % len(EVENTS)]) + b"\n" for place in range(400)]
    chunks = [b"".join(lines[start : start + together]) for start in range(0, 400, together)]
    found = decoded(chunks)

    assert [(number, line, alone(line)) for number, line in enumerate(lines, 1)] == found
    assert 6 == sum(isinstance(meaning, str) for _, _, meaning in found)


def test_the_number_is_that_of_the_last_line_that_was_found() -> None:
    decoder = EventDecoder()
    numbers = [decoder.number]
    for data in (b"1\n2\n3", b"", b"4\n" * 9, b"tail"):
        decoder.feed(data)
        numbers.append(decoder.number)
    decoder.flush()
    assert [0, 2, 2, 11, 11, 12] == [*numbers, decoder.number]


@pytest.mark.parametrize("copies", [1, 10])
@pytest.mark.parametrize("line", [b"", b" \t\r", KEEPALIVE])
def test_a_line_that_only_keeps_the_connection_alive_has_neither_event_nor_error(
    line: bytes, copies: int
) -> None:
    batches = list(EventDecoder().feed((line + b"\n") * copies))

    expected = [Batch(number, [line + b"\n"], []) for number in range(1, copies + 1)]
    assert expected == batches


@pytest.mark.parametrize(
    ("tail", "is_record"), [(EVENTS[0][:-1], False), (b'{"type":"run_started"}', True), (BAD, False)]
)
def test_a_tail_that_is_not_an_event_shows_whether_it_may_be_cut(tail: bytes, is_record: bool) -> None:
    decoder = EventDecoder()
    decoder.feed(b"\n" + tail)
    (batch,) = decoder.flush()
    assert batch.error is not None
    assert (2, [tail], is_record) == (batch.number, batch.lines, batch.error.is_record)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        *[(tail, True) for tail in (b"{", b' \t\r{"a":1', b"\0", b"\0\0")],
        *[(tail, False) for tail in (b"# notes", b"[{", b"\0{", b"\n{", b" ")],
    ],
)
def test_a_tail_may_be_cut_if_it_begins_a_record_or_is_made_of_nuls(tail: bytes, expected: bool) -> None:
    assert expected is may_be_cut(tail)


def test_events_are_decoded_ahead_in_batches_of_at_most_64() -> None:
    lines = [EVENTS[0] + b"\n"] * 200
    assert [64, 64, 64, 8] == [len(batch.events) for batch in decode_lines(lines)]


# ---- the limit of a line ----


@given(
    st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12),
    st.sampled_from([b"", b"123", b"123456"]),
    cuts,
)
def test_over_long_lines_are_the_same_wherever_the_bytes_are_cut(
    texts: list[bytes], tail: bytes, cuts: list[int]
) -> None:
    data = b"".join(text + b"\n" for text in texts) + tail
    if data.startswith(BOM):
        return
    found = decoded(cut(data, cuts), 5)

    expected = texts + ([tail] if tail else [])
    assert list(range(1, len(expected) + 1)) == [number for number, _, _ in found]
    for text, (_, line, meaning) in zip(expected, found, strict=True):
        is_long = len(text) > 5
        assert text.startswith(line) if is_long else text == line.removesuffix(b"\n")
        assert is_long == (meaning == "a line is longer than 5 bytes (max_line_bytes)")


def test_an_over_long_line_is_one_error_with_its_start_and_is_skipped() -> None:
    chunks = [EVENTS[0] + b"\n", b"x" * 1200, b"x" * 1200, b"x\n" + KEEPALIVE + b"\n", b"y" * 1201 + b"\n{"]

    found = decoded(chunks, 1200)
    assert [1, 2, 3, 4, 5] == [number for number, _, _ in found]
    assert [b"x" * EXCERPT_BYTES, b"y" * EXCERPT_BYTES] == [found[1][1], found[3][1]]
    too_long = "a line is longer than 1,200 bytes (max_line_bytes)"
    assert [too_long, None, too_long] == [meaning for _, _, meaning in found[1:4]]


def test_a_whole_event_followed_by_too_much_space_is_over_long() -> None:
    ((number, _, error),) = decoded([EVENTS[0] + b" " * 2000 + b"\n"], 1000)
    assert (1, "a line is longer than 1,000 bytes (max_line_bytes)") == (number, error)


def test_the_error_names_the_option_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxruns._ndjson._decoder.MAX_LINE_BYTES", 1_000)
    assert ["a line is longer than 1,000 bytes"] == [error for _, _, error in decoded([b"x" * 1001])]


def test_an_over_long_line_is_an_error_before_its_end() -> None:
    decoder = EventDecoder(10)
    (event, error) = items(decoder.feed(b"{}\n" + b"x" * 11))
    assert (1, 2) == (event[0], error[0])
    assert [] == items(decoder.feed(b"x" * 100))
    assert [] == items(decoder.flush())


def test_a_splitter_shows_whether_the_lines_that_it_returned_last_are_whole() -> None:
    splitter = LineSplitter(3)
    overlong = [splitter.has_overlong]
    for data in (b"abcd", b"ef\n", b"abc\nabcde\n", b"a\n", b"b"):
        splitter.feed(data)
        overlong.append(splitter.has_overlong)
    assert [False, True, False, True, False, False] == overlong


def test_a_line_of_just_the_limit_is_whole() -> None:
    line = b"x" * 300
    assert ([line + b"\n"], b"") == split([BOM + line[:150], line[150:] + b"\n"], 300)
    assert ([], line) == split([line], 300)
    assert ([line + b"\n", line + b"\n"], b"") == split([(line + b"\n") * 2], 300)


def test_an_endless_line_is_not_kept() -> None:
    splitter = LineSplitter(3000)
    for _ in range(1000):
        splitter.feed(b"x" * 1000)
        assert sum(map(len, splitter._pieces)) <= 3000
