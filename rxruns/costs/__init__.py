"""What a run cost: tokens counted and priced per provider and model. Values and one pure function, no Rx.

Money is exact (:class:`decimal.Decimal`, US dollars). A model without a price: an unknown sum, never zero.

>>> prices = {("openai", "gpt-5"): Price(input_usd_per_million="1.25", output_usd_per_million=10)}
>>> totals = fold([], prices)
>>> totals.requests, totals.usd
(0, Decimal('0'))
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from msgspec import Struct

from rxruns._display._text import counted, html_table, money
from rxruns._errors import InvalidArgumentError
from rxruns.costs._list_prices import genai_prices
from rxruns.costs._prices import EXACT, ModelKey, Price, Prices, TieredPrice, checked, together
from rxruns.events import NodeLLMCall, RunEvent, TokenUsage

if TYPE_CHECKING:
    from rxruns.models import RunCostLineItem, RunCostSummary

__all__ = [
    "CostDifference",
    "CostLineItem",
    "CostTotals",
    "Price",
    "Prices",
    "TieredPrice",
    "fold",
    "genai_prices",
]

_ZERO = Decimal(0)


class CostLineItem(Struct, frozen=True, gc=False):
    """What one model of one provider was used for.

    Attributes:
        provider: as in the events, ``""`` where a call did not say.
        model: as in the events, ``""`` where a call did not say.
        requests: calls of the model.
        input_tokens: tokens that it read.
        output_tokens: tokens that it wrote.
        total_tokens: as metered by the provider; input + output where it sent no total.
        unmetered: how many of the requests came without usage: they have no tokens here, and no cost.
        usd: what the input and output tokens cost in US dollars. None if that is unknown: the model has no
            price, or a call came with a total that its input and output tokens don't account for.
    """

    provider: str
    model: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    unmetered: int = 0
    usd: Decimal | None = _ZERO


class CostDifference(Struct, frozen=True):
    """One number in which a fold and the service's summary differ.

    Attributes:
        provider: None, as the model, where the sum over all models is meant.
        model: its name.
        field: ``"requests"``, ``"input_tokens"``, ``"output_tokens"`` or ``"usd"``.
        ours: what the events add up to.
        service: what the summary says.
    """

    provider: str | None
    model: str | None
    field: str
    ours: int | Decimal
    service: int | Decimal

    def __str__(self) -> str:
        of = "total" if self.provider is None else f"{self.provider}/{self.model}"
        form = ".4f" if self.field == "usd" else "d"
        return f"{of}: {self.field} {self.ours:{form}}, the service says {self.service:{form}}"


class CostTotals:
    """Requests, tokens and money so far: an immutable value that events are folded into.

    Each call is priced when it is counted and keeps its cost. Two totals are equal when their line items
    are; the prices that the next call will meet are no part of that.

    Args:
        prices: by (provider, model). None: every model is without a price.
        line_items: what to continue from, such as those of a stored value. Totals have no cursor: an event
            that was counted and comes again is counted again.

    Raises:
        InvalidArgumentError: for a key that is no pair of names, or a value that is no :class:`Price`.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> from rxruns.events import LLMCall
    >>> call = NodeLLMCall(run_id=UUID(int=1), seq=4, ts=datetime.now(timezone.utc), node_id="draft",
    ...     llm_call=LLMCall(step=0, request_id=UUID(int=2), provider="openai", model="gpt-5",
    ...                      usage=TokenUsage(input_tokens=1000, output_tokens=200)))
    >>> totals = CostTotals({("openai", "gpt-5"): Price("1.25", "10")}).step(call)
    >>> totals.total_tokens, f"{totals.usd:.5f}", totals.unpriced
    (1200, '0.00325', ())
    >>> CostTotals().step(call).usd is None, CostTotals().step(call).unpriced
    (True, (('openai', 'gpt-5'),))
    >>> (totals + totals).requests
    2
    """

    __slots__ = ("_lines", "_prices")

    event_types: ClassVar[tuple[type[RunEvent], ...]] = (NodeLLMCall,)
    """What :meth:`step` looks at: see :mod:`rxruns.folds`."""

    _lines: dict[ModelKey, CostLineItem]
    _prices: Prices

    def __init__(self, prices: Prices | None = None, line_items: Iterable[CostLineItem] = ()) -> None:
        lines: dict[ModelKey, CostLineItem] = {}
        for item in line_items:
            _count(lines, item)
        _set(self, "_lines", lines)
        _set(self, "_prices", checked({} if prices is None else prices))

    def step(self, event: RunEvent) -> CostTotals:
        """The totals after ``event``: this very value unless it is a ``node_llm_call``.

        A call without provider or model counts under ``""`` and has no price. One without usage, or with an
        empty one, is unmetered. The cost of one is unknown if its usage has a total and lacks a part of it.
        """
        if type(event) is not NodeLLMCall:
            return self
        call = event.llm_call
        key = (call.provider or "", call.model or "")
        lines = self._lines.copy()
        _count(lines, _metered(key, call.usage, self._prices.get(key)))
        return _totals(lines, self._prices)

    def combine(self, other: CostTotals) -> CostTotals:
        """Both together, in either order the same. Each cost stays what it was, whatever the prices are now.

        For later steps prices of this value come before those of the other. Also written ``a + b``.
        """
        lines = self._lines.copy()
        for item in other._lines.values():
            _count(lines, item)
        return _totals(lines, together(self._prices, other._prices))

    def __add__(self, other: CostTotals) -> CostTotals:
        return self.combine(other) if isinstance(other, CostTotals) else NotImplemented

    def with_prices(self, prices: Prices) -> CostTotals:
        """The same totals, with other prices for the steps that follow."""
        return _totals(self._lines, checked(prices))

    @property
    def line_items(self) -> tuple[CostLineItem, ...]:
        """One for each provider and model, in their order."""
        return tuple(item for _, item in sorted(self._lines.items()))

    @property
    def requests(self) -> int:
        """Calls of models."""
        return sum(item.requests for item in self._lines.values())

    @property
    def input_tokens(self) -> int:
        """Tokens that models read."""
        return sum(item.input_tokens for item in self._lines.values())

    @property
    def output_tokens(self) -> int:
        """Tokens that models wrote."""
        return sum(item.output_tokens for item in self._lines.values())

    @property
    def total_tokens(self) -> int:
        """Tokens as metered; input + output where a provider sent no total."""
        return sum(item.total_tokens for item in self._lines.values())

    @property
    def unmetered(self) -> int:
        """Calls that came without usage."""
        return sum(item.unmetered for item in self._lines.values())

    @property
    def usd(self) -> Decimal | None:
        """US dollars, exact; None when the cost of some model is unknown, and :attr:`unpriced` names it."""
        total = _ZERO
        for item in self._lines.values():
            if item.usd is None:
                return None
            total = EXACT.add(total, item.usd)
        return total

    @property
    def unpriced(self) -> tuple[tuple[str, str], ...]:
        """The (provider, model) pairs whose cost is unknown, in their order: they have no price, or a call
        came with a total that its input and output tokens don't account for."""
        return tuple(sorted(key for key, item in self._lines.items() if item.usd is None))

    def differences(self, summary: RunCostSummary) -> tuple[CostDifference, ...]:
        """In what the service's ``cost_summary`` says otherwise: empty when the two agree.

        Requests and tokens have to be equal per line, money within one cent. Money that is not known
        (:attr:`unpriced`) is not compared.

        >>> from rxruns.models import RunCostLineItem, RunCostSummary
        >>> summary = RunCostSummary(7, (RunCostLineItem("openai", "gpt-5", 1, 1000, 200, 7),))
        >>> ours = CostTotals(line_items=[CostLineItem("openai", "gpt-5", 1, 1000, 200, usd=Decimal("0.05"))])
        >>> [str(difference) for difference in ours.differences(summary)]
        ['openai/gpt-5: usd 0.0500, the service says 0.0700']
        """
        theirs = {(item.provider_id, item.model): item for item in summary.line_items}
        found = [
            difference
            for key in sorted(self._lines.keys() | theirs.keys())
            for difference in _line_differences(self._lines.get(key) or CostLineItem(*key), theirs.get(key))
        ]
        cents = summary.total_usd_cents
        # A sum of rounded lines may be off by more; the lines themselves were compared.
        is_sum_of_lines = cents == sum(item.usd_cents for item in summary.line_items)
        if not is_sum_of_lines and self.usd is not None and not _within_a_cent(self.usd, cents):
            found.append(CostDifference(None, None, "usd", self.usd, _dollars(cents)))
        return tuple(found)

    def __eq__(self, other: object) -> bool:
        return self._lines == other._lines if isinstance(other, CostTotals) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._lines.values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return CostTotals, (self._prices, tuple(self._lines.values()))

    def __repr__(self) -> str:
        names = ("requests", "input_tokens", "output_tokens", "total_tokens", "unmetered", "usd", "unpriced")
        return f"CostTotals({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def _repr_html_(self) -> str:
        """The line items as a table, for a notebook."""
        rows = [
            (item.provider, item.model, item.requests, item.input_tokens, item.output_tokens, money(item.usd))
            for item in self.line_items
        ]
        notes = [f"the cost of {provider}/{model} is unknown" for provider, model in self.unpriced]
        if self.unmetered:
            notes.append(f"{counted(self.unmetered, 'call')} came without usage")
        header = ("provider", "model", "calls", "input tokens", "output tokens", "cost")
        return html_table(f"{self.total_tokens:,} tokens, cost {money(self.usd)}", header, rows, notes=notes)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"CostTotals is immutable: {name} can not be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"CostTotals is immutable: {name} can not be deleted")


def fold(
    events: Iterable[RunEvent], prices: Prices | None = None, *, initial: CostTotals | None = None
) -> CostTotals:
    """What all the events cost together.

    Args:
        events: of one run or of many, in any order.
        prices: by (provider, model). None: those of ``initial``.
        initial: the totals to continue from; none of the events may be in them.

    Raises:
        InvalidArgumentError: as for :class:`CostTotals`, or ``initial`` is something else.

    >>> from rxruns.testing import events
    >>> log = events.run().node("draft").llm_call("gpt-5", "openai", input_tokens=1000, output_tokens=200)
    >>> fold(log, {("openai", "gpt-5"): Price(1, 10)}).usd
    Decimal('0.003000')
    """
    totals = start(prices, initial)
    for event in events:
        totals = totals.step(event)
    return totals


def start(prices: Prices | None, initial: CostTotals | None) -> CostTotals:
    """What a fold begins with."""
    if initial is None:
        return CostTotals(prices)
    if not isinstance(initial, CostTotals):
        raise InvalidArgumentError(f"initial is {initial!r}: give CostTotals, or None", field="initial")
    return initial if prices is None else initial.with_prices(prices)


_set = object.__setattr__


def _totals(lines: dict[ModelKey, CostLineItem], prices: Prices) -> CostTotals:
    """The value itself, nothing checked: a step has no time for it."""
    totals = object.__new__(CostTotals)
    _set(totals, "_lines", lines)
    _set(totals, "_prices", prices)
    return totals


def _count(lines: dict[ModelKey, CostLineItem], item: CostLineItem) -> None:
    key = (item.provider, item.model)
    seen = lines.get(key)
    lines[key] = item if seen is None else _sum(seen, item)


def _sum(one: CostLineItem, other: CostLineItem) -> CostLineItem:
    return CostLineItem(
        one.provider,
        one.model,
        one.requests + other.requests,
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.total_tokens + other.total_tokens,
        one.unmetered + other.unmetered,
        None if one.usd is None or other.usd is None else EXACT.add(one.usd, other.usd),
    )


def _metered(key: ModelKey, usage: TokenUsage | None, price: Price | None) -> CostLineItem:
    """One call as a line item."""
    if usage is None or usage == _EMPTY:
        return CostLineItem(*key, 1, 0, 0, 0, 1, None if price is None else _ZERO)
    read, written, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    if read is None or written is None:
        read, written = read or 0, written or 0
        if total is not None and total > read + written:
            price = None  # the part that is absent is not 0, so what it cost is unknown
    if total is None:
        total = read + written
    return CostLineItem(*key, 1, read, written, total, 0, None if price is None else price.usd(read, written))


_EMPTY = TokenUsage()


def _line_differences(ours: CostLineItem, theirs: RunCostLineItem | None) -> list[CostDifference]:
    found: list[CostDifference] = []
    for field in ("requests", "input_tokens", "output_tokens"):
        mine, yours = getattr(ours, field), getattr(theirs, field, 0)
        if mine != yours:
            found.append(CostDifference(ours.provider, ours.model, field, mine, yours))
    cents = 0 if theirs is None else theirs.usd_cents
    if ours.usd is not None and not _within_a_cent(ours.usd, cents):
        found.append(CostDifference(ours.provider, ours.model, "usd", ours.usd, _dollars(cents)))
    return found


def _dollars(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2, EXACT)


def _within_a_cent(usd: Decimal, cents: int) -> bool:
    return abs(EXACT.subtract(EXACT.multiply(usd, 100), cents)) <= 1
