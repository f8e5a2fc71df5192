"""Files named on a command line: read whole within limits, with one-line errors."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import IO, Any

import click

from rxruns._display._text import clipped
from rxruns._display._visible import one_line
from rxruns.cli._panel import Exit

MAX_BYTES = 2 * 2**20
"""The largest spec, price list or key file."""

_SHOWN = 300
"""Characters of a message, which may quote the file."""


class FileError(click.ClickException):
    """A file that can't be used. It is printed to stderr as one line, and the exit code is 2."""

    exit_code = Exit.USAGE

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {clipped(reason, _SHOWN)}")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error."""
        click.echo(f"rxruns: {one_line(self.message)}", file=file, err=file is None)


def read(path: Path) -> bytes:
    """Return the content of a file; ``-`` is standard input.

    Raises:
        FileError: it can't be read, is larger than `MAX_BYTES`, or is a FIFO that nothing writes to.
    """
    try:
        content, is_fifo = _read_stdin() if str(path) == "-" else _read_file(path)
    except OSError as error:
        raise FileError(path, f"can't be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise FileError(path, f"is larger than {MAX_BYTES:,} bytes")
    if is_fifo and not content:
        raise FileError(path, "is a FIFO that nothing writes to")
    return content


def _read_stdin() -> tuple[bytes, bool]:
    # `<&-` leaves no standard input at all.
    stdin: Any = sys.stdin
    return (b"" if stdin is None else stdin.buffer.read(MAX_BYTES + 1)), False


def _read_file(path: Path) -> tuple[bytes, bool]:
    with open(path, "rb", opener=_not_waiting) as file:
        os.set_blocking(file.fileno(), True)
        return file.read(MAX_BYTES + 1), stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)


def _not_waiting(path: str, flags: int) -> int:
    """Open a FIFO at once, with or without a writer: ``<(command)`` is one too."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
