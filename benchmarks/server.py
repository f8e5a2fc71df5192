"""The other process: a loopback HTTP server that is faster than every contestant.

The path says what is served: ``/<mix>/<events>/<chunk bytes, 0: one event>/runs/<id>/events`` a whole log,
``/idle/…`` one event and then silence, ``/lone/<events>/<milliseconds between>/…`` events that carry the time
at which they were written. Everything is HTTP/1.1, chunked, and is encoded before the second request.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from benchmarks.corpus import RUN_ID, chunks, lines

_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
_SEND = 1 << 18
_KEPT = 1_000_000
"""Logs with at most this number of events are kept encoded."""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Start the server in another process; yield its address, without a trailing slash."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def main() -> None:
    """Serve until standard input ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        sys.stdin.read()


def _accept(listener: socket.socket) -> None:
    threading.stack_size(256 * 1024)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while path := _request(connection):
            kind, first, second, *_ = path.strip("/").split("/")
            connection.sendall(_HEADERS)
            if kind == "idle":
                connection.sendall(_chunk(next(lines("stream", 2))))
                connection.recv(1)
                return
            if kind == "lone":
                _send_lone(connection, int(first), int(second) / 1000)
            else:
                run_id = path.partition("/runs/")[2].partition("/")[0] or RUN_ID
                for piece in _encoded(kind, int(first), int(second), run_id):
                    connection.sendall(piece)
            connection.sendall(b"0\r\n\r\n")


def _request(connection: socket.socket) -> str:
    """The path of the next request, which has no body; empty at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(65536)
        if not received:
            return ""
        head += received
    return head.split(b" ", 2)[1].decode().partition("?")[0]


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _encoded(mix: str, events: int, size: int, run_id: str) -> Iterator[bytes]:
    if events <= _KEPT:
        yield from _kept(mix, events, size, run_id)
    else:
        yield from _pieces(mix, events, size, run_id)


@lru_cache(maxsize=8)
def _kept(mix: str, events: int, size: int, run_id: str) -> tuple[bytes, ...]:
    return tuple(_pieces(mix, events, size, run_id))


def _pieces(mix: str, events: int, size: int, run_id: str) -> Iterator[bytes]:
    """HTTP chunks, joined to pieces for one call of `send`."""
    encoded = map(_chunk, chunks(mix, events, size, run_id))
    per_piece = 1000 if size == 0 else max(1, _SEND // size)
    while piece := b"".join(islice(encoded, per_piece)):
        yield piece


def _send_lone(connection: socket.socket, events: int, pause: float) -> None:
    """Text deltas whose text is the time of writing, in nanoseconds of the monotonic clock."""
    for seq in range(1, events + 1):
        time.sleep(pause)
        line = (
            b'{"envelope_version":"v2","seq":%d,"type":"node_output_delta","run_id":"%b","ts":'
            b'"2026-01-31T12:00:00Z","node_id":"draft","delta":{"kind":"message_delta","text_delta":"%d"}}\n'
        )
        connection.sendall(_chunk(line % (seq, RUN_ID.encode(), time.monotonic_ns())))
    *_, last = lines("stream", events + 1)
    connection.sendall(_chunk(last))


if __name__ == "__main__":
    main()
