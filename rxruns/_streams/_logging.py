"""The loggers of the reader's threads."""

from __future__ import annotations

import logging

__all__ = ["GAVE_UP", "logger"]

logger: logging.Logger = logging.getLogger("rxruns")

GAVE_UP: logging.Logger = logging.getLogger("rxruns.gave_up")
"""Logs that a stream failed after its reconnects, which its error reports too."""
