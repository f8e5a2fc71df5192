"""Standard output, line by line.

Lines are written by the thread that reads a run. Python's own buffer has a lock, and an interpreter that ends
while a daemon thread waits in it, for a pipe that nobody reads, dies of it. So lines go past the buffer.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

__all__ = ["Lines", "OutputError", "close_quietly"]


class OutputError(Exception):
    """Nothing more can be written.

    Attributes:
        path: of the file; None for standard output.
        is_closed_pipe: who read it has gone, which is no news.
    """

    def __init__(self, message: str, *, path: str | None = None, is_closed_pipe: bool = False) -> None:
        super().__init__(f"{path or 'the output'} can not be written: {message}")
        self.path = path
        self.is_closed_pipe = is_closed_pipe


class Lines:
    """Write whole lines to a stream, at once.

    Args:
        stream: None for standard output.

    Raises:
        OutputError: it is closed. :meth:`write` too, for a full disk or a pipe that nobody reads any more.
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
        """Write a line; its newline is added."""
        encoded = line.encode(self._encoding, "replace") if isinstance(line, str) else line
        rest = memoryview(encoded + b"\n")
        try:
            while rest:
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            is_closed_pipe = isinstance(error, BrokenPipeError)
            raise OutputError(error.strerror or str(error), is_closed_pipe=is_closed_pipe) from error


def close_quietly() -> None:
    """Let what is still buffered for standard output, which can not be written, go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
