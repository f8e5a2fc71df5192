"""The operator that stores the cursor of each handled event."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxruns._errors import must_be
from rxruns.cursors import CursorStore, LeaseStore
from rxruns.errors import LeaseLostError
from rxruns.events import RunEvent

__all__ = ["checkpoint"]

_E = TypeVar("_E", bound=RunEvent)


def checkpoint(store: CursorStore) -> Callable[[Observable[_E]], Observable[_E]]:
    """Store the cursor of each event, ``seq`` by ``run_id``, after the subscriber has handled it.

    ::

        -1-----2-----3-|
        -1-----2-----3-|     subscriber
        --(1)---(2)----(3)   store, each after ``on_next`` returned

    To resume, pass ``after_seq=store.get(run_id)``: no event is lost. An event whose ``on_next`` didn't
    return is delivered again: its subscriber raised, the process was killed, or another thread disposed.

    So a subscriber must accept an event twice: key its output by ``run_id`` and ``seq``, or store the output
    and ``seq`` in one transaction, without this operator. Totals saved in ``on_next`` count such an event
    twice.

    Put it last, and always after operators that change threads (``ops.observe_on``, ``ops.handoff``): before
    them, ``on_next`` returns when the event is queued, and events lost from the queue of a killed process
    would count as handled.

    Args:
        store: a :class:`~rxruns.cursors.CursorStore`. Its errors, such as
            :class:`~rxruns.errors.StoreError`, are passed to ``on_error``: that event and later ones are
            delivered again, earlier cursors stay stored. In ``merge_runs(..., claim=store)``, the cursor of a
            run whose lease was lost is dropped instead: the worker that took over receives the event.

    Raises:
        InvalidArgumentError: ``store`` isn't a store.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.cursors import MemoryCursors
    >>> from rxruns.events import NodeStarted
    >>> event = NodeStarted(run_id=UUID(int=1), seq=3, ts=datetime.now(timezone.utc), node_id="draft")
    >>> store = MemoryCursors()
    >>> subscription = reactivex.of(event).pipe(checkpoint(store)).subscribe()
    >>> store.get(event.run_id)
    3
    """

    if not callable(getattr(store, "set", None)):
        raise must_be("store", "a CursorStore, such as MemoryCursors()", type(store))  # not a DSN's password

    def checkpointed(source: Observable[_E]) -> Observable[_E]:
        def subscribe(
            observer: abc.ObserverBase[_E], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            disposing_thread: int | None = None

            def note_thread() -> None:
                nonlocal disposing_thread
                disposing_thread = get_ident()

            def on_next(event: _E) -> None:
                observer.on_next(event)
                # A stopped observer may have ignored the event. If it was stopped inside its `on_next`
                # (`ops.take`), the event was handled; if by another thread, it may not be: deliver it again.
                if getattr(observer, "is_stopped", False) and disposing_thread != get_ident():
                    return
                try:
                    store.set(event.run_id, event.seq)
                except LeaseLostError as error:
                    if not (isinstance(store, LeaseStore) and store._is_followed(event.run_id)):
                        observer.on_error(error)
                except Exception as error:
                    observer.on_error(error)

            subscription = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(Disposable(note_thread), subscription)

        return Observable(subscribe)

    return checkpointed
