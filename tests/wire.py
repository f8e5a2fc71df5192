"""A service for the tests of the wire itself: an act a request, bytes as they are, TLS::

with FakeRuns(drops, replies({"status": "running"}), sends(line, then=cuts)) as service: ...

The stories of ``rxruns.testing`` say less and read better; this says what no service would.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import trustme

from rxruns.testing import Asked
from rxruns.testing._loopback import Loopback
from rxruns.testing._wire import Wire, head
from tests.conftest import HANG

__all__ = ["KEY", "NDJSON", "Act", "Asked", "FakeAuthority", "FakeRuns", "Wire", "has_ipv6"]

NDJSON = "application/x-ndjson"
KEY = "mr_sk_fake_key_of_the_tests"

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


def has_ipv6() -> bool:
    """Whether this machine has a loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class FakeRuns(Loopback):
    """Plays one act of the script for each request, in the order in which they come; then it drops."""

    def __init__(self, *script: Act, tls: FakeAuthority | None = None) -> None:
        super().__init__(tls.server if tls else None)
        self._script = list(script)

    def answer(self, asked: Asked, wire: Wire) -> bool:
        with self._changed:
            act = self._script.pop(0) if self._script else drops
        return act(wire)


class FakeAuthority:
    """A certificate authority of the tests, and a server certificate for loopback."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.bundle)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.server)
