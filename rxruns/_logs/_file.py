"""A log's bytes as they arrive: those of a pipe at once, until it is closed."""

from __future__ import annotations

import io
import os
import select
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["LogFile"]

_CHUNK = 1 << 16


class LogFile:
    """An open file, read by one thread at a time. Any thread may close it, and never waits for a read.

    A file that can be sought is read from its start by each :meth:`chunks` and :meth:`open`, a pipe once.

    Attributes:
        is_seekable: it is a regular file.

    Raises:
        OSError: it can't be opened.
        ValueError: the path has a NUL.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "log")
    >>> _ = path.write_bytes(b"{}")
    >>> file = LogFile(path)
    >>> list(file.chunks())
    [b'{}']
    >>> file.close()
    """

    def __init__(self, path: Path) -> None:
        self._closing = False
        self._reading = threading.Lock()
        # A descriptor that is closed while another thread writes to it may be another file's by then.
        self._waking = threading.Lock()
        self._wake: tuple[int, int] | None = None
        self._poll: select.poll | None = None
        self._file = open(path, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115
        self.is_seekable = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        if not self.is_seekable:
            self._wake = os.pipe()
            self._poll = select.poll()
            self._poll.register(self._wake[0], select.POLLIN)
            self._poll.register(self._file.fileno(), select.POLLIN)

    def chunks(self) -> Iterator[bytes]:
        """Iterate the bytes, in chunks as they arrive. They end at once when the file is closed."""
        at = 0
        while chunk := self.read(at, _CHUNK):
            at += len(chunk)
            yield chunk

    def open(self) -> BinaryIO:
        """A file of its own, with a place of its own, over this one if it can be sought."""
        return io.BufferedReader(_Seekable(self), _CHUNK)  # type: ignore[type-var,unused-ignore]

    def read(self, at: int, size: int) -> bytes:
        """At most `size` bytes, from the offset `at` on if the file can be sought; ``b""`` at the end."""
        with self._reading:
            if self._closing:
                data = b""
            elif self._poll is None:
                data = os.pread(self._file.fileno(), size, at)
            else:
                data = self._read_when_ready(self._poll, size)
        if not self._closing:
            return data
        self._free_unless_busy()
        return b""

    def close(self) -> None:
        """End a read that waits, and free the file."""
        with self._waking:
            self._closing = True
            if self._wake is not None:
                with suppress(BlockingIOError):
                    os.write(self._wake[1], b"\0")
        self._free_unless_busy()

    def _read_when_ready(self, poll: select.poll, size: int) -> bytes:
        while True:
            # A FIFO that no writer has opened yet is not ready. A read would take that for its end.
            poll.poll()
            if self._closing:
                return b""
            with suppress(BlockingIOError):  # another process was faster
                return os.read(self._file.fileno(), size)

    def _free_unless_busy(self) -> None:
        if self._reading.acquire(blocking=False):
            try:
                self._file.close()
                with self._waking:
                    wake, self._wake = self._wake, None
                for descriptor in wake or ():
                    os.close(descriptor)
            finally:
                self._reading.release()


class _Seekable(io.RawIOBase):
    """A place in a file."""

    def __init__(self, file: LogFile) -> None:
        self._log = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset if whence == os.SEEK_SET else self._at + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._log.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _open_at_once(path: str, flags: int) -> int:
    """Open a FIFO without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)
