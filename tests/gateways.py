"""Gateways that cut quiet responses: nginx, HAProxy, and one of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import eventually
from tests.proxies import Proxy

__all__ = ["OPENS", "Opens", "gateway", "haproxy", "nginx"]

_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


@contextmanager
def nginx(folder: Path, upstream: int, seconds: float, *, buffering: str = "off") -> Iterator[int]:
    """Run nginx with that read timeout; yields its port."""
    config = """
        daemon off; master_process off; pid {folder}/pid;
        events {{}}
        http {{
            access_log off; proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://127.0.0.1:{upstream};
                    proxy_http_version 1.1; proxy_buffering {buffering}; proxy_read_timeout {milliseconds}ms;
                }}
            }}
        }}
    """

    def command(port: int) -> list[str]:
        values = {"port": port, "upstream": upstream, "milliseconds": round(seconds * 1000)}
        text = config.format(folder=folder, buffering=buffering, **values)
        (folder / "nginx.conf").write_text(text)
        return [_found("nginx"), "-p", str(folder), "-e", f"{folder}/errors", "-c", f"{folder}/nginx.conf"]

    with _running(command) as port:
        yield port


@contextmanager
def haproxy(folder: Path, upstream: int, seconds: float) -> Iterator[int]:
    """Run HAProxy with that server timeout; yields its port."""
    config = """
        defaults
            mode http
            timeout connect 10s
            timeout client 1m
            timeout server {milliseconds}ms
        listen runs
            bind 127.0.0.1:{port}
            server runs 127.0.0.1:{upstream}
    """

    def command(port: int) -> list[str]:
        text = config.format(port=port, upstream=upstream, milliseconds=round(seconds * 1000))
        (folder / "haproxy.cfg").write_text(dedent(text))
        return [_found("haproxy"), "-db", "-q", "-f", f"{folder}/haproxy.cfg"]

    with _running(command) as port:
        yield port


class _Gateway(Proxy):
    """Passes requests to one service, and ends each response at the first bytes after `seconds`."""

    def __init__(self, upstream: int, seconds: float) -> None:
        super().__init__()
        self._upstream, self._seconds = upstream, seconds
        self._requested: dict[socket.socket, float] = {}

    def greet(self, client: socket.socket) -> tuple[str, int, bytes]:
        return "127.0.0.1", self._upstream, b""

    def passes(self, client: socket.socket, *, to_service: bool) -> bool:
        if to_service:
            self._requested[client] = time.monotonic()
        return to_service or time.monotonic() < self._requested[client] + self._seconds


@contextmanager
def gateway(folder: Path, upstream: int, seconds: float) -> Iterator[int]:
    """Run a gateway of our own; yields its port."""
    with _Gateway(upstream, seconds) as proxy:
        yield proxy.port


Opens = Callable[[Path, int, float], AbstractContextManager[int]]
"""Takes a folder of its own, the port of the service, and the seconds after which it cuts."""

OPENS: dict[str, Opens] = {
    "nginx": nginx,
    "nginx that buffers": partial(nginx, buffering="on"),
    "haproxy": haproxy,
    "gateway": gateway,
}


def _found(name: str) -> str:
    path = shutil.which(name, path=_SEARCHED)
    if path is None:
        pytest.skip(f"{name} is not installed here")
    return path


@contextmanager
def _running(command: Callable[[int], list[str]]) -> Iterator[int]:
    """Run a server on a free port, on another one if a process takes it first."""
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        with subprocess.Popen(command(port), stderr=subprocess.DEVNULL) as process:
            try:
                if _has_started(process, port):
                    yield port
                    return
            finally:
                process.terminate()
    pytest.fail("the proxy did not start")


def _has_started(process: subprocess.Popen[bytes], port: int) -> bool:
    return eventually(lambda: process.poll() is not None or _listens(port)) and process.poll() is None


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
