"""What may stand before a service and cuts quiet responses: nginx, HAProxy, and a gateway of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import HANG, eventually

__all__ = ["OPENS", "Opens", "gateway", "haproxy", "nginx"]

_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


@contextmanager
def nginx(folder: Path, upstream: int, seconds: float, *, buffering: str = "off") -> Iterator[int]:
    """nginx with that read timeout; gives its port."""
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
    """HAProxy with that server timeout; gives its port."""
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


@contextmanager
def gateway(folder: Path, upstream: int, seconds: float) -> Iterator[int]:
    """A gateway that ends each response at the first bytes after so long; gives its port."""
    done, threads = threading.Event(), list[threading.Thread]()
    listener = socket.create_server(("127.0.0.1", 0))

    def start(target: Callable[..., None], *arguments: object) -> None:
        threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        threads[-1].start()

    def accept() -> None:
        while not done.is_set():
            with suppress(TimeoutError):
                client, _ = listener.accept()
                start(relay, client)

    def relay(client: socket.socket) -> None:
        asked = time.monotonic()
        with client, socket.create_connection(("127.0.0.1", upstream), HANG) as service:

            def pass_requests() -> None:
                nonlocal asked
                while data := _received(client):
                    asked = time.monotonic()
                    service.sendall(data)
                _shut_down(service)

            start(pass_requests)
            while (data := _received(service)) and time.monotonic() - asked < seconds:
                client.sendall(data)
            _shut_down(client)

    listener.settimeout(0.05)
    with listener:
        start(accept)
        yield listener.getsockname()[1]
        done.set()
        for thread in threads:
            thread.join(HANG)


Opens = Callable[[Path, int, float], AbstractContextManager[int]]
"""It takes a folder of its own, the port of the service, and seconds after which it cuts."""

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
    """A server on a free port. Another process may take that port first: then another one is tried."""
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


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65_536)
    except OSError:
        return b""


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
