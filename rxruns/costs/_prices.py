"""Prices of models, and the exact arithmetic that sums costs. :mod:`rxruns.costs` makes them public."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

from rxruns._errors import InvalidArgumentError

EXACT = Context(prec=200)
"""Wide enough for every price times every token count, so sums are exact in whatever order they are made. The
caller's own decimal context, which may be narrow, has no say."""

ModelKey: TypeAlias = tuple[str, str]
"""Provider and model, as events name them."""

MAX_DECIMALS = 40
_TOO_MUCH = 10**9


@dataclass(frozen=True, slots=True, init=False)
class Price:
    """What a model costs, in US dollars per million tokens, as vendors print it.

    Args:
        input_usd_per_million: for tokens that the model reads. A float means the number that it prints as.
        output_usd_per_million: for tokens that the model writes.

    Raises:
        InvalidArgumentError: not a number, negative, a billion or more, or with more than 40 decimals.

    >>> Price(0.15, "0.60")
    Price(input_usd_per_million=Decimal('0.15'), output_usd_per_million=Decimal('0.60'))
    """

    input_usd_per_million: Decimal
    output_usd_per_million: Decimal

    def __init__(
        self, input_usd_per_million: Decimal | str | float, output_usd_per_million: Decimal | str | float
    ) -> None:
        for field, amount in (
            ("input_usd_per_million", input_usd_per_million),
            ("output_usd_per_million", output_usd_per_million),
        ):
            object.__setattr__(self, field, _amount(amount, field))

    def usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What so many tokens cost.

        >>> Price(2, 8).usd(1_000, 500)
        Decimal('0.006000')
        """
        micro_usd = EXACT.fma(
            self.output_usd_per_million,
            output_tokens,
            EXACT.multiply(self.input_usd_per_million, input_tokens),
        )
        return micro_usd.scaleb(-6, EXACT)


@dataclass(frozen=True, slots=True, init=False)
class TieredPrice(Price):
    """A price that depends on how much a call reads: past a threshold, all of its tokens cost more.

    Args:
        input_usd_per_million: up to the first threshold.
        output_usd_per_million: up to the first threshold.
        above: the price of a call that reads more input tokens than so many.

    >>> price = TieredPrice(3, 15, {200_000: Price(6, "22.50")})
    >>> price.usd(200_000, 0), price.usd(200_001, 0)
    (Decimal('0.600000'), Decimal('1.20000600'))
    """

    tiers: tuple[tuple[int, Price], ...]

    def __init__(
        self,
        input_usd_per_million: Decimal | str | float,
        output_usd_per_million: Decimal | str | float,
        above: Mapping[int, Price],
    ) -> None:
        Price.__init__(self, input_usd_per_million, output_usd_per_million)
        for start, price in above.items():
            if not (isinstance(start, int) and start >= 0 and isinstance(price, Price)):
                raise InvalidArgumentError(
                    f"above: {start!r}: {price!r} has to be a number of tokens and a Price", field="above"
                )
        object.__setattr__(self, "tiers", tuple(sorted(above.items(), key=lambda tier: tier[0])))

    def usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What one call of so many tokens costs. Not for a sum of calls: each has its own tier."""
        for start, price in reversed(self.tiers):
            if input_tokens > start:
                return price.usd(input_tokens, output_tokens)
        return Price.usd(self, input_tokens, output_tokens)


Prices: TypeAlias = Mapping[ModelKey, Price]
"""Prices by (provider, model)."""


def _amount(amount: Decimal | str | float, field: str) -> Decimal:
    if isinstance(amount, bool) or not isinstance(amount, (Decimal, str, int, float)):
        raise InvalidArgumentError(f"{field} has to be a number of US dollars, not {amount!r}", field=field)
    try:
        usd = Decimal(repr(amount) if isinstance(amount, float) else amount)
    except InvalidOperation:
        raise InvalidArgumentError(
            f"{field} has to be a number of US dollars, not {amount!r}", field=field
        ) from None
    if not usd.is_finite() or not 0 <= usd < _TOO_MUCH:
        raise InvalidArgumentError(
            f"{field} has to be US dollars per million tokens, 0 or more and below a billion, not {amount!r}",
            field=field,
        )
    exponent = usd.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
        raise InvalidArgumentError(
            f"{field} has more than {MAX_DECIMALS} decimals: {amount!r}; round it", field=field
        )
    return abs(usd)  # -0 is no price either


class LazyPrices(Mapping[ModelKey, Price]):
    """Prices that are looked up when they are needed. Immutable, so they are shared and not copied."""

    __slots__ = ()

    @abstractmethod
    def get(self, key: ModelKey, default: Any = None) -> Any:
        """The price of the model, or the default."""

    def __getitem__(self, key: ModelKey) -> Price:
        price: Price | None = self.get(key)
        if price is None:
            raise KeyError(key)
        return price


class _Layers(LazyPrices):
    """Several prices, of which the first that has a model counts."""

    __slots__ = ("layers",)

    def __init__(self, layers: tuple[Prices, ...]) -> None:
        self.layers = layers

    def get(self, key: ModelKey, default: Any = None) -> Any:
        for prices in self.layers:
            price = prices.get(key)
            if price is not None:
                return price
        return default

    def __iter__(self) -> Iterator[ModelKey]:
        return iter(dict.fromkeys(key for prices in self.layers for key in prices))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Layers, (self.layers,)


def together(first: Prices, second: Prices) -> Prices:
    """The prices of both; where both have a model, the first counts."""
    if first is second:
        return first
    if not (isinstance(first, LazyPrices) or isinstance(second, LazyPrices)):
        return {**second, **first}
    layers = [layer for layer in _layers_of(first) if layer]
    layers += [layer for layer in _layers_of(second) if layer and layer not in layers]
    return layers[0] if len(layers) == 1 else _Layers(tuple(layers))


def _layers_of(prices: Prices) -> tuple[Prices, ...]:
    return prices.layers if isinstance(prices, _Layers) else (prices,)


def checked(prices: Prices) -> Prices:
    """A copy, all of whose keys and values are what they should be."""
    if not isinstance(prices, Mapping):
        raise InvalidArgumentError(f"prices is {prices!r}: give a Price by (provider, model)", field="prices")
    if isinstance(prices, LazyPrices):
        return prices
    checked = dict(prices)
    for key, price in checked.items():
        check_key(key, "prices")
        if not isinstance(price, Price):
            raise InvalidArgumentError(f"prices: {price!r} for {key!r} has to be a Price", field="prices")
    return checked


def is_key(key: object) -> bool:
    """Whether it is a pair of names, neither of them empty."""
    if not isinstance(key, tuple):
        return False
    names = cast(tuple[object, ...], key)
    return len(names) == 2 and all(isinstance(name, str) and name for name in names)


def check_key(key: object, field: str) -> None:
    """Refuse what is no pair of names."""
    if not is_key(key):
        raise InvalidArgumentError(
            f"{field}: {key!r} has to be (provider, model), two names that are not empty", field=field
        )
