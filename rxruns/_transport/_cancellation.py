"""Cancellation of requests from any thread, which frees a blocked socket at once.

The thread that sends and reads registers its socket here. Cancelling shuts the socket down, which ends a TLS
handshake, the wait for headers, and a read in the middle of a line. It never closes the socket; the reading
thread does. A registered socket stays open until it is released, so that a reused file descriptor is never
shut down by mistake.

Tested on Linux only. On Windows, check that ``shutdown()`` ends a ``recv`` in progress. Free-threaded builds
are fine: all state changes under the lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from typing import Protocol


class Cancelled(Exception):
    """The caller cancelled the request. Internal: the caller never sees it."""


class OpenFile(Protocol):
    """An object that keeps a registered socket open until it is closed."""

    def close(self) -> object: ...


class Cancellation:
    """Stops the request in progress, and every later one with the same cancellation.

    Attributes:
        cancelled: True after :meth:`cancel`. Read-only; an attribute because it is read for each event.

    >>> cancellation = Cancellation()
    >>> cancellation.wait(0)
    False
    >>> cancellation.cancel()
    >>> cancellation.wait(60), cancellation.cancelled
    (True, True)
    """

    def __init__(self) -> None:
        self.cancelled: bool = False
        # Reentrant: a signal handler or the garbage collector may run in between, on the same thread.
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._socket: socket.socket | None = None
        self._open: OpenFile | None = None
        self._process = os.getpid()

    def cancel(self) -> None:
        """Stop the request. Any thread may call it, also repeatedly; it never waits for the network."""
        with self._lock:
            self.cancelled = True
            self._event.set()
            self._shut_down()

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`, or until cancelled; return True if cancelled."""
        return self._event.wait(min(seconds, threading.TIMEOUT_MAX))

    def check(self) -> None:
        """Raise `Cancelled` if cancelled."""
        if self.cancelled:
            raise Cancelled

    def note(self, sock: socket.socket, open_file: OpenFile) -> None:
        """Register `sock`, to shut it down when cancelled. :meth:`release` closes `open_file`.

        Raises:
            Cancelled: already cancelled; the socket is shut down.
        """
        self.release()
        with self._lock:
            self._socket, self._open = sock, open_file
            if self.cancelled:
                self._shut_down()
        self.check()

    def release(self) -> None:
        """Forget the registered socket. Call it on the thread that registered it."""
        with self._lock:
            open_file, self._socket, self._open = self._open, None, None
        if open_file is not None:
            open_file.close()

    def _shut_down(self) -> None:
        sock = self._socket
        if sock is None or self._process != os.getpid():  # a forked child leaves its parent's socket alone
            return
        with contextlib.suppress(OSError):  # the other side may have closed it
            if isinstance(sock, ssl.SSLSocket):
                # SSLSocket's own method would first drop the TLS state that a reader uses.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                sock.shutdown(socket.SHUT_RDWR)
