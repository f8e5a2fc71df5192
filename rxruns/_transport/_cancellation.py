"""A word from any thread that frees a blocked socket at once.

The thread that sends and reads notes its socket here; who cancels shuts that socket down, which ends a TLS
handshake, the wait for headers, and a read in the middle of a line. It never closes: closing is for the
thread that reads. For that to be safe, a noted socket is held open until it is released, so that a
descriptor that the system gives out again is never shut down by mistake.

Tried on Linux alone. Windows would need a look at whether ``shutdown()`` ends a ``recv`` that began before
it, free-threaded builds nothing more: all state changes under the lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from typing import Protocol


class Cancelled(Exception):
    """The request was cancelled by its own caller. Internal: who cancels never sees it."""


class Hold(Protocol):
    """What keeps a noted socket open until it is closed."""

    def close(self) -> object: ...


class Cancellation:
    """Stops what goes on under it, one request after the other, now and for good.

    Attributes:
        cancelled: whether :meth:`cancel` was called. To be read only: looked at for each event.

    >>> cancellation = Cancellation()
    >>> cancellation.wait(0)
    False
    >>> cancellation.cancel()
    >>> cancellation.wait(60), cancellation.cancelled
    (True, True)
    """

    def __init__(self) -> None:
        self.cancelled: bool = False
        # Reentrant: a signal or the garbage collector may come in between, on the same thread.
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._socket: socket.socket | None = None
        self._hold: Hold | None = None
        self._process = os.getpid()

    def cancel(self) -> None:
        """Stop. From any thread, at any time, any number of times; never waits for the network."""
        with self._lock:
            self.cancelled = True
            self._event.set()
            self._shut_down()

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until cancelled: True if cancelled."""
        return self._event.wait(min(seconds, threading.TIMEOUT_MAX))

    def check(self) -> None:
        """Raise `Cancelled` if cancelled."""
        if self.cancelled:
            raise Cancelled

    def note(self, sock: socket.socket, hold: Hold) -> None:
        """Shut `sock` down when cancelled, until released; `hold` is closed then.

        Raises:
            Cancelled: it was cancelled before; the socket is shut down.
        """
        self.release()
        with self._lock:
            self._socket, self._hold = sock, hold
            if self.cancelled:
                self._shut_down()
        self.check()

    def release(self) -> None:
        """Forget the noted socket. For the thread that noted it."""
        with self._lock:
            hold, self._socket, self._hold = self._hold, None, None
        if hold is not None:
            hold.close()

    def _shut_down(self) -> None:
        sock = self._socket
        if sock is None or self._process != os.getpid():  # a forked child leaves its parent's alone
            return
        with contextlib.suppress(OSError):  # the other side may have closed it
            if isinstance(sock, ssl.SSLSocket):
                # The base class's own: SSLSocket's would first drop the TLS state that a reader uses.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                sock.shutdown(socket.SHUT_RDWR)
