"""Parse requests: the head strictly, the body within a size and a time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from rxruns._loopback._refusal import Refusal
from rxruns._loopback._wire import Gone

__all__ = ["MAX_BODY", "MAX_HEAD", "Head", "head_end", "parse_head", "read_body"]

MAX_BODY = 16 * 2**20
"""Bytes of a body."""

MAX_HEAD = 64 * 2**10
"""Bytes of a request line and its headers."""

MAX_HEADERS = 100
_EXPECTED = "100-continue"
_ONCE = ("host", "content-length", "transfer-encoding")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-\"$-~\x80-\xff]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_VERSION = re.compile(r"HTTP/\d\.\d", re.ASCII)
_END = re.compile(rb"[^\r\n]\r?\n\r?\n")


@dataclass(frozen=True)
class Head:
    """The request line and the headers, whose names are in lower case.

    Attributes:
        host: the authority that the request is for; None for HTTP/1.0 without one.
        chunks: True when the client understands a chunked body (HTTP/1.1).
        length: bytes of the body.
        raw: the head as it was sent.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    host: str | None
    chunks: bool
    length: int
    raw: bytes = field(repr=False)

    @property
    def keep_open(self) -> bool:
        """True when another request may follow on the connection."""
        return self.chunks and "close" not in self.headers.get("connection", "").lower()

    @property
    def expects_continue(self) -> bool:
        """True when the client waits for ``100 Continue`` before it sends the body."""
        return self.chunks and "expect" in self.headers


def head_end(received: bytearray, start: int = 0) -> int:
    """Find the end of the head, from `start` on; 0 while it is incomplete."""
    found = _END.search(received, max(0, start - 4))
    return found.end() if found else 0


def parse_head(content: bytes) -> Head:
    """Parse a head strictly.

    Raises:
        Refusal: 400, 411, 413, 417, 431, 501 or 505.

    >>> head = parse_head(b"GET /api/v1/runs/7?include=steps HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    >>> head.method, head.path, head.query, head.host, head.length
    ('GET', '/api/v1/runs/7', {'include': 'steps'}, 'localhost', 0)
    """
    text = content.decode("latin-1").replace("\r\n", "\n").strip("\n")  # some clients end a body with CRLF
    first, *lines = text.split("\n")
    method, target, version = _request_line(first)
    headers = _headers(lines)
    authority, path, query = (target, "", {}) if method == "CONNECT" else _target(target)
    if headers.get("expect", _EXPECTED).lower() != _EXPECTED:
        raise Refusal(417, "INVALID_INPUT", f"Expect must be {_EXPECTED}")
    host = authority or headers.get("host")
    if host is None and version == "HTTP/1.1":
        raise _bad("the header Host is missing")
    return Head(method, path, query, headers, host, version == "HTTP/1.1", _length(headers), content)


def read_body(connection: socket.socket, received: bytearray, length: int, seconds: float) -> bytes:
    """Read a body. Its beginning may be in `received`, and is removed from there.

    Raises:
        Refusal: 408, after `seconds`.
        Gone: the client closed the connection.
        OSError: the connection broke.
    """
    body = received[:length]
    del received[:length]
    deadline = time.monotonic() + seconds
    try:
        while len(body) < length:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(min(2**16, length - len(body)))
            if not piece:
                raise Gone
            body += piece
    except TimeoutError:
        message = f"{len(body)} of {length} bytes of the body arrived within {seconds:g} s"
        raise Refusal(408, "REQUEST_TIMEOUT", message) from None
    finally:
        connection.settimeout(None)
    return bytes(body)


def _request_line(line: str) -> tuple[str, str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target) or not _VERSION.fullmatch(version):
        raise _bad("the request line must be METHOD TARGET HTTP/1.1")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refusal(505, "INVALID_INPUT", f"the version must be HTTP/1.1 or HTTP/1.0, got {version}")
    if method not in _METHODS:
        raise Refusal(501, "NOT_IMPLEMENTED", f"the method must be one of {', '.join(sorted(_METHODS))}")
    return method, target, version


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MAX_HEADERS:
        raise Refusal(431, "INVALID_INPUT", f"a request may have {MAX_HEADERS} headers, got {len(lines)}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _bad("a header must be NAME: VALUE on one line")
        if name in headers and name in _ONCE:
            raise _bad(f"the header {name} must be sent once")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _target(target: str) -> tuple[str, str, dict[str, str]]:
    """Split a request target into authority (empty for a bare path), path and query."""
    if target.startswith("/"):
        authority, (path, _, query) = "", target.partition("?")
    else:
        try:
            parts = urlsplit(target)
        except ValueError:
            raise _bad("the request target is not a valid URL") from None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise _bad("the request target must be a path or an http URL")
        authority, path, query = parts.netloc, parts.path or "/", parts.query
    return authority, path, dict(parse_qsl(query, keep_blank_values=True))


def _length(headers: Mapping[str, str]) -> int:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length", "0")
    if coding is not None:
        if "content-length" in headers:
            raise _bad("a request must not have both Content-Length and Transfer-Encoding")
        if coding.lower() == "chunked":
            raise Refusal(411, "INVALID_INPUT", "a body must be sent with Content-Length, not in chunks")
        raise Refusal(501, "NOT_IMPLEMENTED", "Transfer-Encoding is not supported; send Content-Length")
    if not (length.isascii() and length.isdigit()) or len(length) > 19:
        raise _bad("Content-Length must be a whole number of bytes")
    if int(length) > MAX_BODY:
        raise Refusal(413, "INVALID_INPUT", f"a body may have {MAX_BODY:,} bytes, got {length}")
    return int(length)


def _bad(message: str) -> Refusal:
    return Refusal(400, "INVALID_INPUT", message)
