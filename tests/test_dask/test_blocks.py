"""Ranges side by side have each line once, wherever a file is cut and however it is read."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxruns._logs import _blocks
from rxruns._logs._blocks import blocks, line_boundary
from tests.records import examples

logs = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=8).map(b"\n".join)


def read(data: bytes, begin: int = 0, end: int | None = None) -> list[tuple[int, bytes]]:
    """The blocks, each with its offset."""
    file = io.BytesIO(data)
    file.seek(begin)
    return [(block.offset, bytes(block.data[: block.end])) for block in blocks(file, begin, end)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which everything happens within some bytes."""
    monkeypatch.setattr(_blocks, "BLOCK", 4)
    monkeypatch.setattr(_blocks, "MAX_LINE_BYTES", 10)
    monkeypatch.setattr(_blocks, "EXCERPT_BYTES", 3)
    monkeypatch.setattr(_blocks, "_SEARCHED", 2)


@example(data=b"ab\ncd", cuts={3})
@example(data=b"\n\n\n", cuts={1, 2})
@example(data=b"long and without an end", cuts={5, 10})
@examples(300)
@given(data=logs, cuts=st.sets(st.integers(1, 100)))
def test_each_byte_is_in_one_range_and_each_range_is_of_whole_lines(data: bytes, cuts: set[int]) -> None:
    size = len(data)
    places = [0, *sorted(cut for cut in cuts if cut < size), size]
    boundaries = [line_boundary(io.BytesIO(data), place, size) for place in places[:-1]] + [size]

    assert sorted(boundaries) == boundaries
    assert data == b"".join(data[begin:end] for begin, end in pairwise(boundaries))
    for boundary in boundaries[1:-1]:
        assert boundary == size or data[boundary - 1 : boundary] == b"\n"
    for place, boundary in zip(places[:-1], boundaries, strict=False):
        assert place <= boundary
        assert b"\n" not in data[max(0, place - 1) : max(0, boundary - 1)]


@example(data=b"\xef\xbb\xbfab\ncd\n")
@example(data=b"ab\n\xef\xbb\xbfcd")
@examples(300)
@given(data=logs)
def test_blocks_are_whole_lines_and_all_of_them(data: bytes) -> None:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if max(map(len, lines)) > 10:
        return
    found = read(data)

    assert data.removeprefix(b"\xef\xbb\xbf") == b"".join(block for _, block in found)
    assert all(block.endswith(b"\n") for _, block in found[:-1])
    assert all(block == data[offset : offset + len(block)] for offset, block in found)


@example(lines=[b"x" * 11, b"y"], ended=True)
@example(lines=[b"a", b"x" * 40, b"y" * 10, b"z" * 10], ended=False)
@example(lines=[b"x" * 100], ended=False)
@example(lines=[b"x" * 11, b"", b"x" * 11], ended=False)
@example(lines=[b"x" * 30, b"y", b"x" * 11, b"z" * 5], ended=True)
@examples(300)
@given(lines=st.lists(st.integers(0, 50).map(lambda size: b"x" * size), max_size=8), ended=st.booleans())
def test_a_line_that_is_too_long_is_reported_and_the_others_are_read(lines: list[bytes], ended: bool) -> None:
    data = b"\n".join(lines) + b"\n" * ended
    kept: list[bytes] = []
    overlong_lines: list[tuple[int, bytes]] = []
    for block in blocks(io.BytesIO(data)):
        found = bytes(block.data[: block.end])
        if block.overlong:
            overlong_lines.append((block.offset, found))
        else:
            kept += found.removesuffix(b"\n").split(b"\n")

    starts = [sum(len(line) + 1 for line in lines[:index]) for index in range(len(lines))]
    assert [(at, b"xxx") for at, line in zip(starts, lines, strict=True) if len(line) > 10] == overlong_lines
    assert [line for line in lines if 0 < len(line) <= 10] == [line for line in kept if line]


def test_a_range_is_read_to_its_end_and_no_further() -> None:
    assert [(3, b"cd\n"), (6, b"ef\n")] == read(b"ab\ncd\nef\ngh\n", 3, 9)
    assert [] == read(b"ab\ncd\n", 3, 3)
