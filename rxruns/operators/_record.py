"""The operator that keeps events in a file, and that file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxruns._arguments import check_path
from rxruns._decoding import RecordError, decode_event, encode_event
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent

__all__ = ["record"]

_E = TypeVar("_E", bound=RunEvent)
_BLOCK = 1 << 16


def record(
    path: str | os.PathLike[str], *, fsync: bool = False
) -> Callable[[Observable[_E]], Observable[_E]]:
    """Append each event to a file of NDJSON before passing it on; ``recorded_events(path)`` reads it back.

    ::

        -1---2---3-|
        -1---2---3-|     each is in the file when it arrives below

    The file is opened by the subscription, made if it is missing, and closed at its end. Each event is handed
    whole to the operating system, so a killed process loses none that arrived below; a killed machine may,
    without ``fsync``. A last line that was cut by such an end is removed before anything is appended (its
    event never arrived below), a whole one gets its newline. One writer at a time; several runs in one file
    are fine.

    Args:
        path: of the file; its directory has to exist. Compress a log when it is finished: ``.gz`` is refused.
        fsync: wait for the disk after each event; takes milliseconds.

    Raises:
        InvalidArgumentError: at once for ``.gz``; to ``on_error`` for a file that can not be opened, or whose
            last line is no part of a log.

    What goes wrong while writing, a full disk say, is passed to ``on_error`` as the ``OSError`` that it is.

    >>> import tempfile
    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeStarted
    >>> event = NodeStarted(run_id=UUID(int=1), seq=3, ts=datetime.now(timezone.utc), node_id="draft")
    >>> path = Path(tempfile.mkdtemp(), "run.ndjson")
    >>> subscription = reactivex.of(event).pipe(record(path)).subscribe()
    >>> path.read_text()[:39]
    '{"type":"node_started","node_id":"draft'
    """
    path = check_path("path", path)
    if path.suffix == ".gz":
        raise InvalidArgumentError(
            "path: a log is recorded as plain text, which a killed process leaves whole; compress it later",
            field="path",
        )

    def recorded(source: Observable[_E]) -> Observable[_E]:
        def subscribe(
            observer: abc.ObserverBase[_E], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            log = _Log(path, fsync)

            def on_next(event: _E) -> None:
                try:
                    log.append(encode_event(event))
                except Exception as error:
                    on_error(error)
                    return
                try:
                    observer.on_next(event)
                except BaseException:  # the subscriber's; nobody is told, so nobody else closes the file
                    log.close()
                    raise

            def on_error(error: Exception) -> None:
                log.close()
                observer.on_error(error)

            def on_completed() -> None:
                log.close()
                observer.on_completed()

            subscription = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
            return CompositeDisposable(Disposable(log.close), subscription)

        return Observable(subscribe)

    return recorded


class _Log:
    """A file of whole lines. One thread appends; any thread may close it, and never waits for that."""

    def __init__(self, path: Path, fsync: bool) -> None:
        self._fsync = fsync
        self._closing = False
        # A descriptor that is closed under a write may be another file's by then.
        self._lock = threading.Lock()
        try:
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise InvalidArgumentError(f"path: {path} can not be opened: {error}", field="path") from error
        try:
            _repair_last_line(self._file, path)
        except BaseException:
            self._file.close()
            raise

    def append(self, line: bytes) -> None:
        with self._lock:
            if not self._closing:
                _write(self._file, line + b"\n")
                if self._fsync:
                    os.fsync(self._file.fileno())
        if self._closing:
            self._close_unless_busy()

    def close(self) -> None:
        self._closing = True
        self._close_unless_busy()

    def _close_unless_busy(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._lock.release()


def _write(file: BinaryIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]


def _repair_last_line(file: BinaryIO, path: Path) -> None:
    """See to it that the file ends with a newline, so that no record is glued to a torn one."""
    tail = _unfinished_line(file)
    if not tail:
        return
    try:
        decode_event(tail)
    except RecordError as error:
        if not tail.startswith(b"{"):
            raise InvalidArgumentError(
                f"path: {path} is no log: its last line begins with {tail[:20]!r}; choose another file",
                field="path",
            ) from error
        file.truncate(file.seek(0, os.SEEK_END) - len(tail))
    else:
        _write(file, b"\n")


def _unfinished_line(file: BinaryIO) -> bytes:
    """What comes after the last newline."""
    tail = b""
    position = file.seek(0, os.SEEK_END)
    while position:
        size = min(_BLOCK, position)
        position = file.seek(position - size)
        block = file.read(size)
        _, newline, after = block.rpartition(b"\n")
        tail = after + tail
        if newline:
            break
    return tail
