"""Proxies for tests, on loopback, which pass bytes in both directions."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

from tests.conftest import HANG


class Proxy:
    """Accepts connections and passes their bytes; `greet` reads the target from the client.

    Attributes:
        accepted: set when the first connection was accepted.
        targets: ``(host, port)`` of each requested connection.
    """

    scheme = "http"

    def __init__(self) -> None:
        self.accepted = threading.Event()
        self.targets: list[tuple[str, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HANG)
        for sock in (self._listener, *self._open):
            sock.close()

    def greet(self, client: socket.socket) -> tuple[str, int, bytes]:
        """Return the host and port that the client requests, and the bytes to send there first."""
        raise NotImplementedError

    def connected(self, client: socket.socket) -> None:
        """Run when the connection to the target is open."""

    def passes(self, client: socket.socket, *, to_service: bool) -> bool:
        """Return False to close both connections instead of passing the next bytes."""
        return True

    def _start(self, target: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(client)
            self.accepted.set()
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            host, port, first = self.greet(client)
            self.targets.append((host, port))
            service = socket.create_connection((host, port), HANG)
        except (OSError, EOFError):
            return
        service.settimeout(None)
        with self._lock:
            self._open.append(service)
        self.connected(client)
        service.sendall(first)
        self._start(self._pass_bytes, client, service, False)
        self._pass_bytes(client, service, True)

    def _pass_bytes(self, client: socket.socket, service: socket.socket, to_service: bool) -> None:
        source, target = (client, service) if to_service else (service, client)
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and self.passes(client, to_service=to_service):
                target.sendall(data)
        for sock in (client, service):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


class HTTPProxy(Proxy):
    """Forwards requests for ``http`` targets, opens a tunnel for ``https``."""

    _tunnel = False

    def greet(self, client: socket.socket) -> tuple[str, int, bytes]:
        head = b""
        while b"\r\n\r\n" not in head:
            head += _read(client, 1)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self._tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if self._tunnel else target)
        return parts.hostname or "", parts.port or 80, b"" if self._tunnel else head

    def connected(self, client: socket.socket) -> None:
        if self._tunnel:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")


class SOCKSProxy(Proxy):
    """SOCKS5 without authentication, which resolves names itself."""

    scheme = "socks5h"

    def greet(self, client: socket.socket) -> tuple[str, int, bytes]:
        _, methods = _read(client, 2)
        _read(client, methods)
        client.sendall(b"\x05\x00")
        kind = _read(client, 4)[3]
        if kind == 1:
            host = socket.inet_ntoa(_read(client, 4))
        else:
            host = _read(client, _read(client, 1)[0]).decode()
        (port,) = struct.unpack("!H", _read(client, 2))
        return host, port, b""

    def connected(self, client: socket.socket) -> None:
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))


class Mute(SOCKSProxy):
    """Accepts connections and sends nothing."""

    def greet(self, client: socket.socket) -> tuple[str, int, bytes]:
        while _read(client, 1):
            pass
        raise EOFError


class MuteAfterGreeting(SOCKSProxy):
    """Agrees to SOCKS5 and then never connects."""

    def greet(self, client: socket.socket) -> tuple[str, int, bytes]:
        super().greet(client)
        _read(client, 1)
        raise EOFError
