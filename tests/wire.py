"""A runs service that plays a script over real sockets, an act a request, and keeps what it was asked::

with FakeRuns(drops, replies({"status": "running"}), sends(line, then=cuts)) as service: ...
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trustme

HANG = 30.0
"""Seconds that nothing in a test takes, unless it hangs."""

NDJSON = "application/x-ndjson"
KEY = "mr_sk_fake_key_of_the_tests"


@dataclass(frozen=True)
class Asked:
    """One request, as it came. `connection` counts from 0."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int
    head: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


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

    def send(self, text: bytes) -> None:
        with contextlib.suppress(OSError):  # the client may be gone, which is often the point
            self._socket.sendall(text)

    def wait_gone(self) -> None:
        """Wait until the client closes."""
        self.read(lambda buffer: 0)

    def reset(self) -> None:
        """Make the close that follows an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Act = Callable[[Wire], bool]
"""Answers one request; True keeps the connection open for the next."""


def ends(wire: Wire) -> bool:
    """The body is whole."""
    return True


def cuts(wire: Wire) -> bool:
    """The connection is closed where the body stands."""
    return False


def resets(wire: Wire) -> bool:
    """The connection is reset where the body stands."""
    wire.reset()
    return False


def hangs(wire: Wire) -> bool:
    """Nothing more comes, until the client closes."""
    wire.wait_gone()
    return False


def until(event: threading.Event, then: Act = cuts) -> Act:
    """Wait for the test, then go on."""

    def act(wire: Wire) -> bool:
        assert event.wait(HANG)
        return then(wire)

    return act


drops, silent = cuts, hangs


def replies(
    body: object = b"", status: int = 200, headers: Mapping[str, str] | None = None, then: Act = ends
) -> Act:
    """A whole answer: bytes, or an object as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def act(wire: Wire) -> bool:
        wire.send(head(status, {"Content-Length": str(len(content)), **(headers or {})}) + content)
        return then(wire)

    return act


def sends(
    *pieces: bytes,
    framing: str = "chunked",
    headers: Mapping[str, str] | None = None,
    missing: int = 0,
    then: Act = ends,
) -> Act:
    """A stream: ``chunked``, by ``length`` (of which `missing` bytes never come) or until ``close``."""
    fields = {"Content-Type": NDJSON, **(headers or {})}
    if framing == "chunked":
        fields["Transfer-Encoding"] = "chunked"
    elif framing == "length":
        fields["Content-Length"] = str(sum(map(len, pieces)) + missing)
    else:
        fields["Connection"] = "close"

    def act(wire: Wire) -> bool:
        wire.send(head(200, fields))
        for piece in pieces:
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        if framing == "chunked" and then is ends:
            wire.send(b"0\r\n\r\n")
        return then(wire) and framing != "close"

    return act


def raw(text: bytes, then: Act = cuts) -> Act:
    """These very bytes."""

    def act(wire: Wire) -> bool:
        wire.send(text)
        return then(wire)

    return act


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class FakeRuns:
    """Plays one act of the script for each request, in the order in which they come; then it drops.

    Attributes:
        requests: what was asked.
        gone: set when a client's end of a connection was seen.
        connections: how many there were.
    """

    def __init__(self, *script: Act, tls: FakeAuthority | None = None) -> None:
        self.requests: list[Asked] = []
        self.gone = threading.Event()
        self.connections = 0
        self._script = list(script)
        self._tls = tls
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/api/v1"

    def __enter__(self) -> FakeRuns:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            for sock in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HANG)
        self._listener.close()

    def wait_requests(self, count: int) -> list[Asked]:
        """The requests, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, HANG), self.requests
            return list(self.requests)

    def wait_connections(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections >= count, HANG)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._open.add(sock)
                self._start(self._serve, sock, self.connections)
                self.connections += 1
                self._changed.notify_all()

    def _serve(self, sock: socket.socket, number: int) -> None:
        plain = sock
        try:
            if self._tls:
                sock = self._tls.server.wrap_socket(sock, server_side=True)
                with self._changed:
                    self._open.add(sock)
            wire = Wire(sock, self.gone)
            while self._take_request(wire, number):
                with self._changed:
                    act = self._script.pop(0) if self._script else drops
                if not act(wire):
                    return
        except (OSError, ssl.SSLError):
            self.gone.set()
        finally:
            with self._changed:
                self._open -= {plain, sock}
            sock.close()

    def _take_request(self, wire: Wire, number: int) -> bool:
        top = wire.read(lambda buffer: buffer.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in buffer else 0)
        if not top:
            return False
        first, *lines = top.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        body = wire.read(lambda buffer: length if len(buffer) >= length else 0) if length else b""
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        asked = Asked(method, parts.path, dict(parse_qsl(parts.query)), headers, body, number, top)
        with self._changed:
            self.requests.append(asked)
            self._changed.notify_all()
        return True


class FakeAuthority:
    """A certificate authority of the tests, and a server certificate for loopback."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.bundle)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.server)
