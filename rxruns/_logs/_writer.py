"""The file that events are recorded in: one implementation for ``record=``, ``ops.record`` and dead
letters."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import BinaryIO

from rxruns._arguments import check_path
from rxruns._ndjson._decoding import RecordError, decode_event
from rxruns._ndjson._framing import may_be_cut
from rxruns.errors import InvalidArgumentError, StoreError

__all__ = ["LogWriter", "check_log_path"]

_BLOCK = 1 << 16
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def check_log_path(name: str, value: str | os.PathLike[str]) -> Path:
    """The path of a log that can be appended to.

    Raises:
        InvalidArgumentError: it isn't a path, or it names a compressed file.
    """
    path = check_path(name, value)
    if path.suffix in _COMPRESSED:
        raise InvalidArgumentError(
            f"{name} must not end in {path.suffix}, got {str(path)!r}; a log is recorded as plain text, "
            "which survives a killed process: compress it later",
            field=name,
        )
    return path


class LogWriter:
    """Append whole lines to a log. Any thread may append or close; closing never waits.

    A missing file is created with mode 0600. A last line that was cut by a killed process is removed, a whole
    one gets its newline.

    Args:
        path: of the file; its directory must exist.
        fsync: wait for the disk after each line, unless it is a device such as ``/dev/null``.

    Raises:
        StoreError: the file can't be opened, or its last line isn't part of a log.

    >>> import tempfile
    >>> log = LogWriter(Path(tempfile.mkdtemp(), "run.ndjson"))
    >>> log.append(b"{}\\n")
    True
    >>> log.close()
    >>> log.append(b"{}\\n")
    False
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._path = path
        self._closing = False
        # A descriptor that is closed under a write may be another file's by then.
        self._lock = threading.Lock()
        try:
            self._file = open(path, "ab+", buffering=0, opener=_open_private)  # noqa: SIM115
        except OSError as error:
            raise self._error("can't be opened", error) from error
        try:
            self._fsync = fsync and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            self._repair_last_line()
        except OSError as error:
            self._file.close()
            raise self._error("can't be read", error) from error
        except BaseException:
            self._file.close()
            raise

    def append(self, line: bytes) -> bool:
        """Append a line, which ends in LF. False: the log was closed before.

        Raises:
            StoreError: it could not be written whole.
        """
        try:
            with self._lock:
                is_open = not self._closing
                if is_open:
                    _write(self._file, line)
                    if self._fsync:
                        os.fsync(self._file.fileno())
        except OSError as error:
            raise self._error("can't be written", error) from error
        finally:
            if self._closing:
                self._close_unless_busy()
        return is_open

    def close(self) -> None:
        """Close the file, or have the thread that is writing close it."""
        self._closing = True
        self._close_unless_busy()

    def _close_unless_busy(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._lock.release()

    def _repair_last_line(self) -> None:
        """Make the file end with a newline, so that no record is glued to a torn one."""
        if not self._file.seekable():
            raise self._error("can't be appended to", "it is not a regular file")
        tail = _unfinished_line(self._file)
        if not tail:
            return
        try:
            decode_event(tail)
        except RecordError as error:
            if error.is_record:  # a dead letter, for instance
                _write(self._file, b"\n")
                return
            if not may_be_cut(tail):
                reason = f"its last line begins with {tail[:20]!r}; choose another file"
                raise self._error("is not a log", reason) from error
            self._file.truncate(self._file.seek(0, os.SEEK_END) - len(tail))
        else:
            _write(self._file, b"\n")

    def _error(self, what: str, reason: OSError | str) -> StoreError:
        text = (reason.strerror or str(reason)) if isinstance(reason, OSError) else reason
        return StoreError(f"the log {self._path} {what}: {text}", path=str(self._path))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(file: BinaryIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]


def _unfinished_line(file: BinaryIO) -> bytes:
    """The bytes after the last newline."""
    blocks: list[bytes] = []
    position = file.seek(0, os.SEEK_END)
    while position:
        size = min(_BLOCK, position)
        position = file.seek(position - size)
        _, newline, after = file.read(size).rpartition(b"\n")
        blocks.append(after)
        if newline:
            break
    return b"".join(reversed(blocks))
