"""The cost of runs: tokens counted and priced per provider and model. Values and one pure function, no Rx.

Money is exact (:class:`decimal.Decimal`, US dollars). A sum with an unpriced model is unknown, never zero.

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
from rxruns._errors import must_be
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
    """The usage of one model of one provider.

    Attributes:
        provider: as in the events, ``""`` for calls without one.
        model: as in the events, ``""`` for calls without one.
        requests: calls of the model.
        input_tokens: input tokens.
        output_tokens: output tokens.
        total_tokens: as metered by the provider; input + output if it sent no total.
        unmetered: requests without usage. They add no tokens and no cost.
        usd: the cost of the input and output tokens in US dollars. None if it is unknown: the model has no
            price, or the total of a call exceeds its input and output tokens.
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
    """A number in which a fold and the service's summary differ.

    Attributes:
        provider: the provider; None, like the model, for the sum over all models.
        model: the model.
        field: ``"requests"``, ``"input_tokens"``, ``"output_tokens"`` or ``"usd"``.
        ours: the sum of the events.
        service: the number in the summary.
    """

    provider: str | None
    model: str | None
    field: str
    ours: int | Decimal
    service: int | Decimal

    def __str__(self) -> str:
        of = "total" if self.provider is None else f"{self.provider}/{self.model}"
        form = ".4f" if self.field == "usd" else "d"
        return f"{of}: {self.field} {self.ours:{form}}, the service reports {self.service:{form}}"


class CostTotals:
    """Requests, tokens and money so far: an immutable value that events are folded into.

    Each call is priced when it is counted and keeps its cost. Two totals are equal if their line items are,
    whatever their prices for further calls.

    Args:
        prices: by (provider, model). None: no model has a price.
        line_items: to continue from a stored value. Totals have no cursor: an event that is folded twice is
            counted twice.

    Raises:
        InvalidArgumentError: for a key other than two names, or a value other than a :class:`Price`.

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
    """The events that :meth:`step` uses: see :mod:`rxruns.folds`."""

    _lines: dict[ModelKey, CostLineItem]
    _prices: Prices

    def __init__(self, prices: Prices | None = None, line_items: Iterable[CostLineItem] = ()) -> None:
        lines: dict[ModelKey, CostLineItem] = {}
        for item in line_items:
            _count(lines, item)
        _set(self, "_lines", lines)
        _set(self, "_prices", checked({} if prices is None else prices))

    def step(self, event: RunEvent) -> CostTotals:
        """Return the totals after ``event``; `self` unless it is a ``node_llm_call``.

        A call without provider or model counts under ``""`` and has no price. A call without usage, or with
        an empty one, is unmetered. Its cost is unknown if its usage has a total and lacks a part of it.
        """
        if not isinstance(event, NodeLLMCall):
            return self
        call = event.llm_call
        key = (call.provider or "", call.model or "")
        lines = self._lines.copy()
        _count(lines, _metered(key, call.usage, self._prices.get(key)))
        return _totals(lines, self._prices)

    def combine(self, other: CostTotals) -> CostTotals:
        """Return the sum of both, in either order the same. Also written ``a + b``.

        Costs are not priced again. For later steps, prices of `self` take precedence.
        """
        lines = self._lines.copy()
        for item in other._lines.values():
            _count(lines, item)
        return _totals(lines, together(self._prices, other._prices))

    def __add__(self, other: CostTotals) -> CostTotals:
        return self.combine(other) if isinstance(other, CostTotals) else NotImplemented

    def with_prices(self, prices: Prices) -> CostTotals:
        """Return the same totals with other prices for later steps."""
        return _totals(self._lines, checked(prices))

    @property
    def line_items(self) -> tuple[CostLineItem, ...]:
        """The items by provider and model, sorted."""
        return tuple(item for _, item in sorted(self._lines.items()))

    @property
    def requests(self) -> int:
        """Calls of models."""
        return sum(item.requests for item in self._lines.values())

    @property
    def input_tokens(self) -> int:
        """Input tokens."""
        return sum(item.input_tokens for item in self._lines.values())

    @property
    def output_tokens(self) -> int:
        """Output tokens."""
        return sum(item.output_tokens for item in self._lines.values())

    @property
    def total_tokens(self) -> int:
        """Tokens as metered; input + output if a provider sent no total."""
        return sum(item.total_tokens for item in self._lines.values())

    @property
    def unmetered(self) -> int:
        """Calls without usage."""
        return sum(item.unmetered for item in self._lines.values())

    @property
    def usd(self) -> Decimal | None:
        """US dollars, exact; None if the cost of a model is unknown: see :attr:`unpriced`."""
        total = _ZERO
        for item in self._lines.values():
            if item.usd is None:
                return None
            total = EXACT.add(total, item.usd)
        return total

    @property
    def unpriced(self) -> tuple[tuple[str, str], ...]:
        """The (provider, model) pairs with an unknown cost, sorted: see :attr:`CostLineItem.usd`."""
        return tuple(sorted(key for key, item in self._lines.items() if item.usd is None))

    def differences(self, summary: RunCostSummary) -> tuple[CostDifference, ...]:
        """Return the differences from the service's ``cost_summary``; empty if the two agree.

        Requests and tokens must be equal per line, and money within one cent. Unknown costs
        (:attr:`unpriced`) are not compared.

        >>> from rxruns.models import RunCostLineItem, RunCostSummary
        >>> summary = RunCostSummary(7, (RunCostLineItem("openai", "gpt-5", 1, 1000, 200, 7),))
        >>> ours = CostTotals(line_items=[CostLineItem("openai", "gpt-5", 1, 1000, 200, usd=Decimal("0.05"))])
        >>> [str(difference) for difference in ours.differences(summary)]
        ['openai/gpt-5: usd 0.0500, the service reports 0.0700']
        """
        theirs = {(item.provider_id, item.model): item for item in summary.line_items}
        found = [
            difference
            for key in sorted(self._lines.keys() | theirs.keys())
            for difference in _line_differences(self._lines.get(key) or CostLineItem(*key), theirs.get(key))
        ]
        cents = summary.total_usd_cents
        # A sum of rounded lines may differ by more; the lines themselves were compared.
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
        raise AttributeError(f"CostTotals is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"CostTotals is immutable: {name} cannot be deleted")


def fold(
    events: Iterable[RunEvent], prices: Prices | None = None, *, initial: CostTotals | None = None
) -> CostTotals:
    """Return the total cost of all events.

    Args:
        events: of any runs, in any order.
        prices: by (provider, model). None: those of ``initial``.
        initial: the totals to continue from, without any of the events.

    Raises:
        InvalidArgumentError: as for :class:`CostTotals`, or for another ``initial``.

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
    """Return the totals that a fold starts with."""
    if initial is None:
        return CostTotals(prices)
    if not isinstance(initial, CostTotals):
        raise must_be("initial", "CostTotals, or None", initial)
    return initial if prices is None else initial.with_prices(prices)


_set = object.__setattr__


def _totals(lines: dict[ModelKey, CostLineItem], prices: Prices) -> CostTotals:
    """Make totals from checked parts, without the checks of the constructor."""
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
    """Return one call as a line item."""
    if usage is None or usage == _EMPTY:
        return CostLineItem(*key, 1, 0, 0, 0, 1, None if price is None else _ZERO)
    read, written, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    if read is None or written is None:
        read, written = read or 0, written or 0
        if total is not None and total > read + written:
            price = None  # the missing part is not 0, so its cost is unknown
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
