"""The server's end of a connection, request by request."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request, as it came. Its repr shows no headers, which hold the key.

    Attributes:
        method: ``"GET"``, say.
        path: without the query.
        query: the last value of each name.
        headers: by name in lower case.
        body: its bytes, b"" without one.
        connection: which one it came over, from 0.
        head: the bytes of the request line and the headers.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    connection: int
    head: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def after_seq(self) -> int:
        """Where a stream was asked to go on; 0 for from the start."""
        return int(self.query.get("after_seq", 0))


class Wire:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, gone: threading.Event) -> None:
        self._socket = sock
        self._gone = gone
        self._buffer = b""

    def read(self, enough: Callable[[bytes], int]) -> bytes:
        """The next bytes, as many as `enough` says of what came so far (0: more); b"" at the end."""
        while not (size := enough(self._buffer)):
            try:
                piece = self._socket.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                self._gone.set()
                return b""
            self._buffer += piece
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def read_request(self, connection: int) -> Asked | None:
        """The next request; None when the client is gone."""
        top = self.read(lambda buffer: buffer.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in buffer else 0)
        if not top:
            return None
        first, *lines = top.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        body = self.read(lambda buffer: length if len(buffer) >= length else 0) if length else b""
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        return Asked(method, parts.path, dict(parse_qsl(parts.query)), headers, body, connection, top)

    def send(self, text: bytes) -> None:
        """Send these very bytes."""
        with contextlib.suppress(OSError):  # the client may be gone, which is often the point
            self._socket.sendall(text)

    def wait_gone(self) -> None:
        """Wait until the client closes."""
        self.read(lambda buffer: 0)

    def reset(self) -> None:
        """Make the close that follows an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and the headers of an answer."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
