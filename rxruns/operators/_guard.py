"""Operators that end a stream with an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc

from rxruns.errors import RunFailedError
from rxruns.events import RunCanceled, RunEvent, RunFailed
from rxruns.operators._stateful import Handlers, stateful

__all__ = ["raise_on_failure"]

_E = TypeVar("_E", bound=RunEvent)


def raise_on_failure() -> Callable[[Observable[_E]], Observable[_E]]:
    """End with an error after the terminal event of a run that failed or was canceled.

    ::

        -started-failed-|
        -started-failed-#     RunFailedError

    The first merged run that fails ends them all. To continue with the others, put this on each run before
    they are merged, followed by ``ops.catch``.

    ``on_error`` receives a :class:`~rxruns.errors.RunFailedError`, with the event as ``.event``.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeError, RunFailed
    >>> failed = RunFailed(run_id=UUID(int=1), seq=9, ts=datetime.now(timezone.utc), plan_hash="0" * 64,
    ...                    error=NodeError(message="no model"))
    >>> subscription = reactivex.of(failed).pipe(raise_on_failure()).subscribe(
    ...     lambda event: print(event.type), lambda error: print(error))
    run_failed
    run 00000000-0000-0000-0000-000000000001: run_failed: no model
    """

    def handlers(observer: abc.ObserverBase[_E]) -> Handlers[_E]:
        def on_next(event: _E) -> None:
            observer.on_next(event)
            if isinstance(event, (RunFailed, RunCanceled)):
                observer.on_error(RunFailedError(event))

        return on_next, observer.on_completed

    return stateful(handlers)
