"""Writing lines to standard output.

Lines are written by the thread that reads a run. Python's own buffer has a lock; an interpreter that exits
while a daemon thread waits in it, for a pipe that is not read, crashes. So lines bypass the buffer.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO


class OutputError(Exception):
    """The output could not be written.

    Attributes:
        path: of the file; None for standard output.
        is_closed_pipe: its reader closed it, which is not worth a message.
    """

    def __init__(self, message: str, *, path: str | None = None, is_closed_pipe: bool = False) -> None:
        super().__init__(f"{path or 'stdout'} could not be written: {message}")
        self.path = path
        self.is_closed_pipe = is_closed_pipe


class Lines:
    """Write whole lines to a stream, unbuffered.

    Args:
        stream: None for standard output.

    Raises:
        OutputError: the stream is closed; in :meth:`write` also for a full disk or a closed pipe.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        # `>&-` leaves no standard output at all.
        found: TextIO | None = sys.stdout if stream is None else stream
        if found is None:
            raise OutputError("it is closed")
        found.flush()
        self._encoding = found.encoding
        buffer: Any = found.buffer
        self._raw: Any = getattr(buffer, "raw", buffer)

    def write(self, line: str | bytes) -> None:
        """Write a line and its newline."""
        encoded = line.encode(self._encoding, "replace") if isinstance(line, str) else line
        rest = memoryview(encoded + b"\n")
        try:
            while rest:
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            is_closed_pipe = isinstance(error, BrokenPipeError)
            raise OutputError(error.strerror or str(error), is_closed_pipe=is_closed_pipe) from error


def close_quietly() -> None:
    """Discard what is still buffered for standard output, which can't be written."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
