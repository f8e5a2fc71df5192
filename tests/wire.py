"""`FakeRuns` for the tests of the wire itself: one act for each request, raw bytes, TLS::

with FakeRuns(drops, replies({"status": "running"}), sends(line, then=cuts)) as service: ...

The steps of ``rxruns.testing`` read better; these acts send bytes that no service would.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import trustme

from rxruns import testing
from rxruns._loopback import NDJSON, Cut, Wire, chunk
from rxruns._loopback import head_of as head
from rxruns.testing import Request
from tests.conftest import HANG

__all__ = ["KEY", "NDJSON", "Act", "FakeAuthority", "FakeRuns", "Wire", "has_ipv6", "head"]

KEY = "mr_sk_fake_key_of_the_tests"

Act = Callable[[Wire], bool]
"""Answers one request; True keeps the connection open for the next."""


def ends(wire: Wire) -> bool:
    """End the body cleanly."""
    return True


def cuts(wire: Wire) -> bool:
    """Close the connection."""
    return False


def resets(wire: Wire) -> bool:
    """Reset the connection."""
    raise Cut("rst")


def hangs(wire: Wire) -> bool:
    """Send nothing more until the client closes."""
    wire.wait_gone()
    return False


def until(event: threading.Event, then: Act = cuts) -> Act:
    """Wait for the test, then do the next act."""

    def act(wire: Wire) -> bool:
        assert event.wait(HANG)
        return then(wire)

    return act


drops, silent = cuts, hangs


def replies(
    body: object = b"", status: int = 200, headers: Mapping[str, str] | None = None, then: Act = ends
) -> Act:
    """Send a whole response: bytes, or an object as JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)

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
    """Send a stream: ``chunked``, by ``length`` (`missing` bytes more than are sent) or until ``close``."""
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
            wire.send(chunk(piece) if framing == "chunked" else piece)
        if framing == "chunked" and then is ends:
            wire.send(b"0\r\n\r\n")
        return then(wire) and framing != "close"

    return act


def raw(text: bytes, then: Act = cuts) -> Act:
    """Send these bytes and nothing else."""

    def act(wire: Wire) -> bool:
        wire.send(text)
        return then(wire)

    return act


def has_ipv6() -> bool:
    """Return True if this machine has a loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class FakeRuns(testing.FakeRuns):
    """Does one act for each request, whatever it requests; after the last act it drops connections."""

    def __init__(self, *script: Act, tls: FakeAuthority | None = None) -> None:
        super().__init__(tls=tls.server if tls else None)
        self._script = iter(script)

    def _answer(self, request: Request, wire: Wire) -> bool:
        with self._changed:
            act = next(self._script, drops)
        return act(wire)


class FakeAuthority:
    """A certificate authority of the tests, and a server certificate for loopback."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.bundle)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.server)
