"""The operator that records events in a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxruns._logs._writer import LogWriter, check_log_path
from rxruns._ndjson._decoding import encode_event
from rxruns.events import RunEvent

__all__ = ["record"]

_E = TypeVar("_E", bound=RunEvent)


def record(
    path: str | os.PathLike[str], *, fsync: bool = False
) -> Callable[[Observable[_E]], Observable[_E]]:
    """Append each event to an NDJSON file before passing it on; ``recorded_events(path)`` reads the file.

    ::

        -1---2---3-|
        -1---2---3-|     each is in the file before it is emitted

    Events are encoded again. Fields that rxruns doesn't know are lost, except those of an ``UnknownEvent``;
    the order of fields and the format of times may differ from the service's. Use this for events that a
    pipeline selects; to keep the service's own bytes, pass ``record=path`` to :func:`~rxruns.run_events`,
    :func:`~rxruns.start_run` or :func:`~rxruns.merge_runs`.

    The subscription opens the file, creates it with mode 0600 if it is missing, and closes it when it ends.
    Each event is written whole, so a killed process loses no event that was emitted; a power failure may,
    without ``fsync``. A last line that was cut off in this way is removed before anything is appended (its
    event was never emitted); a whole one gets its newline. One writer at a time; a file may hold several
    runs.

    Args:
        path: the file; its directory must exist. Compressed names such as ``.gz`` are refused: compress a
            log when it is complete.
        fsync: wait for the disk after each event, which takes milliseconds.

    Raises:
        InvalidArgumentError: at once, if ``path`` isn't a path or ends in ``.gz`` or the like.

    ``on_error`` receives a :class:`~rxruns.errors.StoreError` that names the file if it can't be opened or
    written, or if its last line isn't part of a log.

    >>> import pathlib, tempfile
    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeStarted
    >>> event = NodeStarted(run_id=UUID(int=1), seq=3, ts=datetime.now(timezone.utc), node_id="draft")
    >>> path = pathlib.Path(tempfile.mkdtemp(), "run.ndjson")
    >>> subscription = reactivex.of(event).pipe(record(path)).subscribe()
    >>> path.read_text()[:39]
    '{"type":"node_started","node_id":"draft'
    """
    log_path = check_log_path("path", path)

    def recorded(source: Observable[_E]) -> Observable[_E]:
        def subscribe(
            observer: abc.ObserverBase[_E], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            log = LogWriter(log_path, fsync=fsync)

            def on_next(event: _E) -> None:
                try:
                    is_recorded = log.append(encode_event(event) + b"\n")
                except Exception as error:
                    on_error(error)
                    return
                if not is_recorded:  # disposed meanwhile
                    return
                try:
                    observer.on_next(event)
                except BaseException:  # the subscriber's own: no dispose follows
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
