"""The operator that follows any fold, with cursors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc

from rxruns._arguments import check_kind
from rxruns._fold import Fold, checked_fold
from rxruns.events import RunEvent, TerminalEvent
from rxruns.folds import Folded
from rxruns.operators._stateful import Handlers, stateful

__all__ = ["fold"]

_F = TypeVar("_F", bound=Fold)


def fold(
    fold: _F, initial: Folded[_F] | None = None
) -> Callable[[Observable[RunEvent]], Observable[Folded[_F]]]:
    """Fold events, and emit the value together with the cursor of each run.

    ::

        -started-call-delta-call-completed-|
        ---------f1---------f2---f3--------|     f3.cursors == {run_id: 5}

    A :class:`~rxruns.folds.Folded` is emitted after each event that changes the value, after the end of each
    run, and at completion unless it was emitted already: there is always a last one. Store it as one value,
    in one transaction. After a restart pass it as ``initial``, and follow each run from its cursor. Events
    that the value includes already change nothing, so none is counted twice and none is lost, wherever the
    process died.

    Args:
        fold: an empty fold, such as ``CostTotals(prices)`` or ``By("node_id", CostTotals(prices))``; see
            :mod:`rxruns.folds`.
        initial: the stored value to continue from, in place of ``fold``.

    Raises:
        InvalidArgumentError: at once, if ``fold`` isn't an empty fold or ``initial`` isn't a ``Folded``.

    The events of each run must come in ``seq`` order. Cursors of ended runs are kept: about 100 bytes each.

    >>> import reactivex
    >>> from rxruns import CostTotals
    >>> from rxruns.testing import events
    >>> log = list(events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=20))
    >>> stored = reactivex.from_iterable(log).pipe(fold(CostTotals())).run()
    >>> again = reactivex.from_iterable(log).pipe(fold(CostTotals(), initial=stored))
    >>> stored.value.total_tokens, stored.cursors[log[0].run_id], again.run() == stored
    (20, 4, True)
    """
    checked_fold(fold)
    if initial is not None:
        check_kind("initial", initial, Folded, "a Folded, or None")
    start = Folded(fold) if initial is None else initial

    def handlers(observer: abc.ObserverBase[Folded[_F]]) -> Handlers[RunEvent]:
        current = start
        emitted: Folded[_F] | None = None

        def on_next(event: RunEvent) -> None:
            nonlocal current, emitted
            before = current
            try:
                current = before.step(event)
            except Exception as error:  # a fold may refuse an event
                observer.on_error(error)
                return
            is_end = current is not before and isinstance(event, TerminalEvent)
            if current.value is not before.value or is_end:
                emitted = current
                observer.on_next(current)

        def on_completed() -> None:
            if current is not emitted:
                observer.on_next(current)
            observer.on_completed()

        return on_next, on_completed

    return stateful(handlers)
