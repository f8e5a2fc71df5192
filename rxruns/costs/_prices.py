"""Prices of models, and the exact arithmetic of costs. :mod:`rxruns.costs` makes them public."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

from rxruns._errors import must_be

EXACT = Context(prec=200)
"""Precise enough for every price times every token count, so sums are exact in any order. The caller's own
decimal context is not used."""

ModelKey: TypeAlias = tuple[str, str]
"""Provider and model, as events name them."""

MAX_DECIMALS = 40
_TOO_MUCH = 10**9


@dataclass(frozen=True, slots=True, init=False)
class Price:
    """The price of a model in US dollars per million tokens, as vendors publish it.

    Args:
        input_usd_per_million: for input tokens. A float stands for the number that it prints as.
        output_usd_per_million: for output tokens.

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
        """Return the cost of a call in US dollars.

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
    """A price that depends on the input tokens of a call: past a threshold, all of its tokens cost more.

    Args:
        input_usd_per_million: up to the first threshold.
        output_usd_per_million: up to the first threshold.
        above: the prices by threshold, a number of input tokens.

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
                raise must_be("above", "prices by numbers of tokens", {start: price})
        object.__setattr__(self, "tiers", tuple(sorted(above.items(), key=lambda tier: tier[0])))

    def usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Return the cost of one call in US dollars. Not for sums of calls: each call has its own tier."""
        for start, price in reversed(self.tiers):
            if input_tokens > start:
                return price.usd(input_tokens, output_tokens)
        return Price.usd(self, input_tokens, output_tokens)


Prices: TypeAlias = Mapping[ModelKey, Price]
"""Prices by (provider, model)."""


def _amount(amount: Decimal | str | float, field: str) -> Decimal:
    expectation = f"US dollars from 0 to below a billion, with at most {MAX_DECIMALS} decimals"
    if isinstance(amount, bool) or not isinstance(amount, Decimal | str | int | float):
        raise must_be(field, expectation, amount)
    try:
        usd = Decimal(repr(amount) if isinstance(amount, float) else amount)
    except InvalidOperation:
        raise must_be(field, expectation, amount) from None
    exponent = usd.as_tuple().exponent  # text for what is not finite
    if not isinstance(exponent, int) or exponent < -MAX_DECIMALS or not 0 <= usd < _TOO_MUCH:
        raise must_be(field, expectation, amount)
    return abs(usd)  # without the sign of -0


class LazyPrices(Mapping[ModelKey, Price]):
    """Prices that are looked up when they are used. Immutable, so they are shared and not copied."""

    __slots__ = ()

    @abstractmethod
    def get(self, key: ModelKey, default: Any = None) -> Any:
        """Return the price of the model, or the default."""

    def __getitem__(self, key: ModelKey) -> Price:
        price: Price | None = self.get(key)
        if price is None:
            raise KeyError(key)
        return price


class _Layers(LazyPrices):
    """Several prices; the first that has a model counts."""

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
    """Return the prices of both; those of the first take precedence."""
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
    """Return a copy of prices whose keys and values are valid."""
    if not isinstance(prices, Mapping):
        raise must_be("prices", "a mapping of (provider, model) to Price", prices)
    if isinstance(prices, LazyPrices):
        return prices
    checked = dict(prices)
    for key, price in checked.items():
        check_key(key, "prices")
        if not isinstance(price, Price):
            raise must_be("prices", "a mapping of (provider, model) to Price", {key: price})
    return checked


def is_key(key: object) -> bool:
    """Return True for a pair of names, neither of them empty."""
    if not isinstance(key, tuple):
        return False
    names = cast(tuple[object, ...], key)
    return len(names) == 2 and all(isinstance(name, str) and name for name in names)


def check_key(key: object, field: str) -> None:
    """Raise `InvalidArgumentError` unless `key` is a pair of names."""
    if not is_key(key):
        raise must_be(field, "keyed by (provider, model), two names that are not empty", key)
