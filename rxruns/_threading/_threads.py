"""Threads that call a subscriber's code: daemons, which are asked to end when the process does.

A daemon that the interpreter freezes while it prints keeps the lock of standard output, and flushing that is
one of the last things that an interpreter does: CPython calls it fatal if the lock is not to be had.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

__all__ = ["start_thread"]

_PATIENCE = 0.5
"""Seconds in which they have to end. One that waits in a subscriber's code may take for ever."""

_stops: dict[threading.Thread, Callable[[], object]] = {}
"""What asks each of them to end, as long as it runs."""


def start_thread(name: str, run: Callable[[], object], stop: Callable[[], object]) -> None:
    """Call `run` on a new daemon thread. Where the process ends before it, `stop` is called and waited for.

    Args:
        name: the thread's.
        run: what it does.
        stop: makes `run` return soon; from any thread, without waiting, also when `run` has returned.
    """

    def run_and_forget() -> None:
        try:
            run()
        finally:
            _stops.pop(thread, None)

    thread = threading.Thread(target=run_and_forget, name=name, daemon=True)
    _stops[thread] = stop
    try:
        thread.start()
    except RuntimeError:  # there are too many
        _stops.pop(thread, None)
        raise


def _end_all() -> None:
    stops = _stops.copy()
    with ExitStack() as stack:  # each of them, also where another one raises
        stack.callback(_join, stops, time.monotonic() + _PATIENCE)
        for stop in stops.values():
            stack.callback(stop)


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stops.clear)  # a child has the sockets of its parent, but no threads
