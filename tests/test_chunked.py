"""The chunked transfer coding: the same content wherever the bytes are cut."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns._transport._chunked import Chunks
from rxruns._transport._response import PromptResponse

pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
size_lines = st.sampled_from([b"%x\r\n", b"%X\r\n", b"00%x;name=value\r\n", b"%x \r\n", b"%x\n"])


def chunked(content: list[bytes], size_line: bytes = b"%x\r\n", trailer: bytes = b"") -> bytes:
    return b"".join(
        [*(size_line % len(piece) + piece + b"\r\n" for piece in content), b"0\r\n", trailer, b"\r\n"]
    )


def fed(received: list[bytes]) -> tuple[bytes, bool]:
    chunks = Chunks()
    return b"".join([chunks.feed(piece) for piece in received]), chunks.ended


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def response_with(body: bytes, head: bytes = CHUNKED) -> PromptResponse:
    class Socket:
        def makefile(self, mode: str) -> io.BufferedReader:
            return io.BufferedReader(io.BytesIO(head + body))  # type: ignore[arg-type]

    response = PromptResponse(Socket())  # type: ignore[arg-type]
    response.begin()
    return response


@given(
    pieces, size_lines, st.sampled_from([b"", b"Digest: x\r\n"]), st.lists(st.integers(0, 400), max_size=12)
)
def test_cutting_the_bytes_anywhere_gives_the_same_content(
    content: list[bytes], size_line: bytes, trailer: bytes, cuts: list[int]
) -> None:
    body = chunked(content, size_line, trailer)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    received = [body[start:end] for start, end in zip(edges, edges[1:], strict=False)]

    assert (b"".join(content), True) == fed(received)
    assert (b"".join(content), True) == fed([bytes([byte]) for byte in body])


@given(pieces.filter(bool), st.integers(1, 400))
def test_a_body_that_was_cut_has_not_ended(content: list[bytes], missing: int) -> None:
    body = chunked(content)
    assert not fed([body[: -min(missing, len(body))]])[1]


@pytest.mark.parametrize("size", [b"", b"-5", b"x", b"5x", b" ", b"\xff"])
def test_an_invalid_size_is_an_error(size: bytes) -> None:
    with pytest.raises(http.client.HTTPException, match="must be a hexadecimal number"):
        Chunks().feed(size + b"\r\nhello\r\n")


def test_a_chunk_that_is_longer_than_its_size_is_an_error() -> None:
    with pytest.raises(http.client.HTTPException, match="longer than its size"):
        Chunks().feed(b"4\r\nhello\r\n")


def test_an_endless_size_is_an_error() -> None:
    chunks = Chunks()
    with pytest.raises(http.client.LineTooLong):
        for _ in range(100):
            chunks.feed(b"0" * 1024)


def test_all_received_chunks_are_read_at_once_and_the_end_closes() -> None:
    response = response_with(chunked([b"a", b"bc", b"def"]))
    assert (b"abcdef", b"") == (response.read1(100), response.read1(100))
    assert response.isclosed()


def test_a_read_returns_at_most_the_requested_bytes() -> None:
    response = response_with(chunked([b"x" * 100]))
    assert all(len(content) <= 10 for content in iter(lambda: response.read1(10), b""))


def test_a_connection_that_ends_before_the_body_is_an_error() -> None:
    response = response_with(b"5\r\nhello\r\n")
    assert b"hello" == response.read1(100)
    with pytest.raises(http.client.IncompleteRead):
        response.read1(100)


def test_a_body_that_is_not_chunked_is_read_as_usual() -> None:
    response = response_with(b"hi", head=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert (b"hi", b"") == (response.read1(100), response.read1(100))
