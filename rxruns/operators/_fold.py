"""Operators that fold events into a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

from reactivex import Observable, abc

from rxruns.costs import CostTotals, Prices, start
from rxruns.events import RunEvent

__all__ = ["changes", "cost_totals"]


class _Fold(Protocol):
    """A value that events are folded into: ``step`` gives the next one, or the same when nothing changed."""

    def step(self, event: RunEvent, /) -> Self: ...


_F = TypeVar("_F", bound=_Fold)


def cost_totals(
    prices: Prices | None = None, *, initial: CostTotals | None = None
) -> Callable[[Observable[RunEvent]], Observable[CostTotals]]:
    """Emit what was spent so far, after each ``node_llm_call``; ``ops.last()`` gives the sum.

    ::

        -started-call-delta-call-|
        ---------t1---------t2---|

    Args:
        prices: US dollars per million tokens by (provider, model). None: those of ``initial``. A model
            without one makes :attr:`~rxruns.costs.CostTotals.usd` None and is named in ``unpriced``.
        initial: the totals to continue from. Pass events that are not in them yet: totals have no cursor, so
            an event that comes again is counted again. To store totals between processes, write them and
            ``seq`` in one transaction: ``ops.checkpoint`` and a save in ``on_next`` are two steps, and a
            crash between them counts money twice.

    Raises:
        InvalidArgumentError: for a key that is no pair of names, or a value that is no ``Price``.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.costs import Price
    >>> from rxruns.events import LLMCall, NodeLLMCall, TokenUsage
    >>> call = NodeLLMCall(run_id=UUID(int=1), seq=4, ts=datetime.now(timezone.utc), node_id="draft",
    ...     llm_call=LLMCall(step=0, request_id=UUID(int=2), provider="openai", model="gpt-5",
    ...                      usage=TokenUsage(input_tokens=1000, output_tokens=200)))
    >>> prices = {("openai", "gpt-5"): Price("1.25", "10")}
    >>> f"{reactivex.of(call, call).pipe(cost_totals(prices)).run().usd:.4f}"
    '0.0065'
    """
    return changes(start(prices, initial))


def changes(initial: _F) -> Callable[[Observable[RunEvent]], Observable[_F]]:
    """Emit the folded value after each event that changes it."""

    def folded(source: Observable[RunEvent]) -> Observable[_F]:
        def subscribe(
            observer: abc.ObserverBase[_F], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            value = initial

            def on_next(event: RunEvent) -> None:
                nonlocal value
                before = value
                try:
                    value = before.step(event)
                except Exception as error:  # a value may refuse an event
                    observer.on_error(error)
                else:
                    if value is not before:
                        observer.on_next(value)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return folded
