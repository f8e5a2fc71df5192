"""Threads that call a subscriber's code: daemons, which are stopped when the process ends.

A daemon that the interpreter freezes while it prints keeps the lock of standard output. The interpreter
flushes that last, and CPython aborts if it can't get the lock.
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
"""Seconds to wait for them. A subscriber's code may never return."""

_stops: dict[threading.Thread, Callable[[], object]] = {}
"""Functions that stop them, by thread, while they run."""


def start_thread(name: str, run: Callable[[], object], stop: Callable[[], object]) -> None:
    """Call `run` on a new daemon thread. If the process ends first, `stop` is called, and the thread joined.

    Args:
        name: the thread's.
        run: its function.
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
    except RuntimeError:  # can't start new thread
        _stops.pop(thread, None)
        raise


def _end_all() -> None:
    stops = _stops.copy()
    with ExitStack() as stack:  # all of them, even if one raises
        stack.callback(_join, stops, time.monotonic() + _PATIENCE)
        for stop in stops.values():
            stack.callback(stop)


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stops.clear)  # a child has the sockets of its parent, but no threads
