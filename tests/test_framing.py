"""Bytes to lines: the same lines wherever the bytes are cut, in linear time and bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns._ndjson._framing import BOM, EXCERPT_BYTES, Lines

HARD_TEXT = 'ä € 🎈 "\u2028\u2029\x85\x0b\x0c\x1c" \r'.encode()


def framed(chunks: list[bytes], max_line_bytes: int = 2**20) -> tuple[list[bytes], bytes]:
    lines = Lines(chunks, max_line_bytes)
    return list(lines), lines.tail


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(data) + 1) for position in cuts), len(data)]
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 1000), max_size=20))
def test_cutting_the_bytes_anywhere_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    *whole, tail = data.removeprefix(BOM).split(b"\n")
    assert (whole, tail) == framed(cut(data, cuts))


@given(
    st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12),
    st.lists(st.integers(0, 1000), max_size=20),
)
def test_over_long_lines_are_the_same_wherever_the_bytes_are_cut(texts: list[bytes], cuts: list[int]) -> None:
    reported: list[tuple[int, bytes]] = []
    data = b"".join(text + b"\n" for text in texts)
    if data.startswith(BOM):
        return

    lines = list(Lines(cut(data, cuts), 5, lambda number, excerpt: reported.append((number, excerpt[:5]))))

    assert [text if len(text) <= 5 else b"" for text in texts] == lines
    assert [(n, text[:5]) for n, text in enumerate(texts, 1) if len(text) > 5] == reported


def test_every_cut_of_hard_text_gives_the_same_lines() -> None:
    data = b"\n".join([BOM + HARD_TEXT, HARD_TEXT, b"", HARD_TEXT])
    expected = ([HARD_TEXT, HARD_TEXT, b""], HARD_TEXT)

    for position in range(len(data) + 1):
        assert expected == framed([data[:position], data[position:]])
    assert expected == framed([bytes([byte]) for byte in data])


def test_no_bytes_are_no_lines() -> None:
    assert ([], b"") == framed([])
    assert ([], b"") == framed([b"", b""])


def test_a_byte_order_mark_is_text_everywhere_but_at_the_start() -> None:
    assert ([b"a", BOM + b"b"], b"") == framed([BOM[:1], BOM[1:], b"a\n", BOM, b"b\n"])
    assert ([BOM], b"") == framed([BOM, BOM, b"\n"])
    assert ([], b"\xef\xbb") == framed([b"\xef\xbb"])


def test_before_the_first_line_the_number_is_0_and_the_tail_is_empty() -> None:
    lines = Lines([b"a\nb"])

    assert (0, b"") == (lines.number, lines.tail)


@pytest.mark.parametrize("line", [b"", b"1", b"12"])
def test_a_first_line_that_is_shorter_than_a_mark_does_not_wait_for_more(line: bytes) -> None:
    def one_chunk() -> Iterator[bytes]:
        yield line + b"\n"
        raise OSError("reset")

    assert line == next(iter(Lines(one_chunk())))


def test_lines_are_counted_from_one_as_they_are_given() -> None:
    lines = Lines([b"a\n", b"b\nc\nd"])

    assert [(1, b"a"), (2, b"b"), (3, b"c")] == [(lines.number, line) for line in lines]
    assert (3, b"d") == (lines.number, lines.tail)


def test_an_over_long_line_is_reported_once_and_skipped() -> None:
    reported: list[tuple[int, bytes]] = []
    chunks = [b"ok\n", b"x" * 1200, b"x" * 1200, b"x\nok\n", b"y" * 1201 + b"\nlast"]

    lines = Lines(chunks, 1200, lambda *report: reported.append(report))

    assert [b"ok", b"", b"ok", b""] == list(lines)
    assert [(2, b"x" * EXCERPT_BYTES), (4, b"y" * EXCERPT_BYTES)] == reported
    assert b"last" == lines.tail


def test_a_line_of_just_the_limit_is_whole() -> None:
    assert ([b"x" * 300], b"") == framed([BOM + b"x" * 150, b"x" * 150 + b"\n"], 300)


def test_an_over_long_line_may_raise_and_what_came_before_is_delivered() -> None:
    def refuse(number: int, excerpt: bytes) -> None:
        raise ValueError(f"line {number}")

    lines = iter(Lines([b"first\n" + b"x" * 11], 10, refuse))

    assert b"first" == next(lines)
    with pytest.raises(ValueError, match="line 2"):
        next(lines)


def test_an_over_long_tail_is_empty() -> None:
    assert ([b"a"], b"") == framed([b"a\n", b"xxxxxx"], 5)
    assert ([b""], b"") == framed([b"xxxxxx\n"], 5)


def test_an_endless_line_is_not_kept() -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000
            assert len(b"".join(lines._pieces)) <= 3000

    lines = Lines(endless(), 3000)
    assert [] == list(lines)


def test_an_exception_of_the_bytes_passes_through_after_the_whole_lines() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a\nb"
        raise OSError("reset")

    lines = iter(Lines(broken()))

    assert b"a" == next(lines)
    with pytest.raises(OSError, match="reset"):
        next(lines)


def test_framing_is_linear_in_a_long_line_and_in_many_lines() -> None:
    piece = b"x" * 1024
    started = time.thread_time()  # of this thread's own work: others may be busy
    assert 8 * 2**20 == len(next(iter(Lines([piece] * 8192 + [b"\n"]))))
    assert 80_000 == sum(1 for _ in Lines([b'{"seq":1}\n' * 80_000]))
    assert time.thread_time() - started < 20 * 2 * 0.3
