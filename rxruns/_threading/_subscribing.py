"""A subscription that never runs on the caller's thread and can be disposed from the start."""

from __future__ import annotations

import threading
from typing import Any, Protocol, TypeVar

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from rxruns._arguments import check_kind

__all__ = ["Observer", "check_source", "subscribe_on_thread"]

_T = TypeVar("_T")
_T_contra = TypeVar("_T_contra", contravariant=True)


def check_source(value: object) -> None:
    """Require an Observable."""
    check_kind("source", value, Observable, "an Observable", "pass run_events(run_id), for instance")


class Observer(Protocol[_T_contra]):
    """Gets the values, on any thread."""

    def on_next(self, value: _T_contra, /) -> None: ...

    def on_error(self, error: Exception, /) -> None: ...

    def on_completed(self) -> None: ...


def subscribe_on_thread(
    source: Observable[_T], observer: Observer[_T], subscription: SingleAssignmentDisposable
) -> None:
    """Subscribe on a new daemon thread, since a source may emit everything inside ``subscribe``.

    Disposing the subscription stops it, also before it has begun. A source that emits inside ``subscribe``,
    such as ``reactivex.of``, runs on a trampoline of ours: its ``subscribe`` returns before it emits, so that
    disposing reaches it.
    """

    def subscribe(_: object = None, __: Any = None) -> None:
        if not subscription.is_disposed:
            try:
                subscription.disposable = source.subscribe(
                    observer.on_next, observer.on_error, observer.on_completed
                )
            except Exception as error:  # this thread has no caller that would report it
                observer.on_error(error)

    def run() -> None:
        CurrentThreadScheduler.singleton().schedule(subscribe)

    threading.Thread(target=run, name="rxruns-subscribe", daemon=True).start()
