"""The operator that keeps events in a file."""

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
    """Append each event to a file of NDJSON before passing it on; ``recorded_events(path)`` reads it back.

    ::

        -1---2---3-|
        -1---2---3-|     each is in the file when it arrives below

    Events are encoded again. Fields that rxruns doesn't know are lost, except those of an ``UnknownEvent``;
    the order of fields and the form of times may differ from what the service sent. Use this for events that
    a pipeline selects; to keep what the service sent, pass ``record=path`` to :func:`~rxruns.run_events`,
    :func:`~rxruns.start_run` or :func:`~rxruns.merge_runs`.

    The subscription opens the file, creates it with mode 0600 if it is missing, and closes it at its end.
    Each event is handed whole to the operating system, so a killed process loses none that arrived below; a
    killed machine may, without ``fsync``. A last line that was cut by such an end is removed before anything
    is appended (its event never arrived below), a whole one gets its newline. One writer at a time; several
    runs in one file are fine.

    Args:
        path: of the file; its directory must exist. Compress a log when it is finished: ``.gz`` and the like
            are refused.
        fsync: wait for the disk after each event; takes milliseconds.

    Raises:
        InvalidArgumentError: at once, for what isn't a path, or for ``.gz``.

    ``on_error`` gets a :class:`~rxruns.errors.StoreError` that names the file when it can't be opened or
    written, or when its last line isn't part of a log.

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
