"""The clock of deadlines within a process."""

from __future__ import annotations

import time

__all__ = ["seconds"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds() -> float:
    """Return seconds that never jump. On Linux they also count while the machine is suspended."""
    return time.clock_gettime(_CLOCK)
