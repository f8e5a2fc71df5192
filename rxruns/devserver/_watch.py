"""Notice clients that hang up while nothing is sent to them."""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Watch"]


class Watch:
    """A thread that watches any number of connections for the client's hang-up."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._orders: deque[tuple[socket.socket, int, Callable[[], None] | None]] = deque()
        self._thread = threading.Thread(target=self._run, name="devserver-watch", daemon=True)
        self._closed = False
        self._thread.start()

    def add(self, connection: socket.socket, on_gone: Callable[[], None]) -> None:
        """Call `on_gone` once when the other side hangs up."""
        self._order(connection, on_gone)

    def remove(self, connection: socket.socket) -> None:
        """Stop watching a connection."""
        self._order(connection, None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake()
        self._thread.join()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _order(self, connection: socket.socket, on_gone: Callable[[], None] | None) -> None:
        self._orders.append((connection, connection.fileno(), on_gone))
        self._wake()

    def _wake(self) -> None:
        self._waker.send(b".")

    def _run(self) -> None:
        while not self._closed:
            ready = self._selector.select()
            for key, _ in ready:
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif _hung_up(key.fileobj):  # type: ignore[arg-type]
                    self._selector.unregister(key.fileobj)
                    key.data()
                else:  # the client has sent its next request early
                    self._selector.unregister(key.fileobj)
            while self._orders:
                self._obey(*self._orders.popleft())

    def _obey(self, connection: socket.socket, number: int, on_gone: Callable[[], None] | None) -> None:
        # The system reuses descriptors: remove an old entry of that number first.
        if number in self._selector.get_map():
            self._selector.unregister(number)
        if on_gone is not None:
            # The connection may be closed by now, or in this moment: then there is nothing to watch.
            with suppress(OSError, ValueError):
                self._selector.register(connection, selectors.EVENT_READ, on_gone)


def _hung_up(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
