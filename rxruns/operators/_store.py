"""The operator that remembers how far a run was handled."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxruns.cursors import CursorStore
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent

__all__ = ["checkpoint"]

_E = TypeVar("_E", bound=RunEvent)


def checkpoint(store: CursorStore) -> Callable[[Observable[_E]], Observable[_E]]:
    """Store the cursor of each event, ``seq`` by ``run_id``, after everything below has handled it.

    ::

        -1-----2-----3-|
        -1-----2-----3-|     below
        --(1)---(2)----(3)   the store, each after ``on_next`` returned

    Followed again with ``after_seq=store.get(run_id)``, no event is lost: the one whose handling did not
    return, because its subscriber raised, the process was killed or another thread disposed meanwhile, comes
    again.

    So what a subscriber adds up or appends must bear that: key it by ``run_id`` and ``seq``, or store it and
    ``seq`` in one transaction and leave this operator out. Totals that are saved in ``on_next`` count such an
    event twice.

    Put it last, and in any case below each thread hop (``ops.observe_on``, ``ops.handoff``): above one,
    ``on_next`` returns when the event is queued, and what is still in the queue when the process dies would
    count as handled.

    Args:
        store: a :class:`~rxruns.cursors.CursorStore`. What it raises is passed to ``on_error``, such as
            :class:`~rxruns.errors.StoreError`: that event and those after it come again, what was stored
            before stays.

    Raises:
        InvalidArgumentError: for what is no store.

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
        raise InvalidArgumentError(
            f"store is {store!r}: give a CursorStore, such as MemoryCursors()", field="store"
        )

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
                # A stopped observer may have swallowed the event. If it was stopped from inside its `on_next`
                # (`ops.take`), the event was handled; by another thread, nobody knows: let it come again.
                if getattr(observer, "is_stopped", False) and disposing_thread != get_ident():
                    return
                try:
                    store.set(event.run_id, event.seq)
                except Exception as error:
                    observer.on_error(error)

            subscription = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(Disposable(note_thread), subscription)

        return Observable(subscribe)

    return checkpointed
