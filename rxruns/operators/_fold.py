"""Operators that fold events into a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

from reactivex import Observable, abc

from rxruns.costs import CostTotals, Prices, start
from rxruns.events import RunEvent
from rxruns.operators._stateful import Handlers, stateful

__all__ = ["changes", "cost_totals"]


class _Fold(Protocol):
    """A value that events are folded into: ``step`` returns the next one, or itself if nothing changed."""

    def step(self, event: RunEvent, /) -> Self: ...


_F = TypeVar("_F", bound=_Fold)


def cost_totals(
    prices: Prices | None = None, *, initial: CostTotals | None = None
) -> Callable[[Observable[RunEvent]], Observable[CostTotals]]:
    """Emit the cost so far after each ``node_llm_call``; with ``ops.last()``, the total.

    ::

        -started-call-delta-call-|
        ---------t1---------t2---|

    Args:
        prices: US dollars per million tokens by (provider, model). None: those of ``initial``. A model
            without a price makes :attr:`~rxruns.costs.CostTotals.usd` None and is listed in ``unpriced``.
        initial: the totals to continue from. Pass only events that they don't include yet: totals have no
            cursor, so an event that arrives again is counted again. To keep totals between processes, store
            them and ``seq`` in one transaction: ``ops.checkpoint`` and a save in ``on_next`` are two steps,
            and a crash between them counts an event twice.

    Raises:
        InvalidArgumentError: a key of ``prices`` isn't a pair of names, or a value isn't a ``Price``.

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
    """Emit the folded value after each event that changes it; an error of ``step`` ends the stream."""

    def handlers(observer: abc.ObserverBase[_F]) -> Handlers[RunEvent]:
        value = initial

        def on_next(event: RunEvent) -> None:
            nonlocal value
            before = value
            try:
                value = before.step(event)
            except Exception as error:
                observer.on_error(error)
            else:
                if value is not before:
                    observer.on_next(value)

        return on_next, observer.on_completed

    return stateful(handlers)
