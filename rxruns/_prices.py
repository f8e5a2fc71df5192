"""Prices of models, and the exact arithmetic that sums costs. :mod:`rxruns.costs` makes them public."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

from rxruns.errors import InvalidArgumentError

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo

__all__ = ["EXACT", "ModelKey", "Price", "Prices", "TieredPrice", "checked", "genai_prices"]

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


def checked(prices: Prices) -> dict[ModelKey, Price]:
    """A copy, all of whose keys and values are what they should be."""
    if not isinstance(prices, Mapping):
        raise InvalidArgumentError(f"prices is {prices!r}: give a Price by (provider, model)", field="prices")
    checked = dict(prices)
    for key, price in checked.items():
        _check_key(key, "prices")
        if not isinstance(price, Price):
            raise InvalidArgumentError(f"prices: {price!r} for {key!r} has to be a Price", field="prices")
    return checked


def _check_key(key: ModelKey, field: str) -> None:
    if not (isinstance(key, tuple) and len(key) == 2 and all(isinstance(n, str) and n for n in key)):
        raise InvalidArgumentError(
            f"{field}: {key!r} has to be (provider, model), two names that are not empty", field=field
        )


_GENAI_IDS = {"anthropic": "anthropic", "openai": "openai", "xai": "x-ai", "google-ai-studio": "google"}
"""Providers as the service calls them, and as genai-prices does."""

_BILLED = {"input_mtok", "output_mtok"}
_APART = ("cache", "audio", "image", "video", "searches")
"""What genai-prices may price beside text tokens, and events do not meter."""


def genai_prices(
    models: Iterable[ModelKey] | None = None, *, at: datetime | None = None
) -> dict[ModelKey, Price]:
    """List prices from the table that the package ``genai-prices`` brings: nothing is fetched.

    These are standard prices of text tokens. Events do not tell cached tokens, batches or service tiers,
    so a discount for them is not seen: such calls were cheaper.

    A model stays without a price, and its cost unknown, if the table has none for text both ways, if the
    price depends on the time of day, or if something is billed that events do not count, such as requests.

    Args:
        models: (provider, model) pairs as in the events, names with a date among them; any provider that
            genai-prices knows. None: all names that the table spells out, of the service's providers.
        at: when the calls were made. None: now.

    Raises:
        InvalidArgumentError: genai-prices is not installed: ``pip install 'rxruns[prices]'``; or a model is
            no pair of names.

    ::

        prices = genai_prices([("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4o-2024-11-20")])
        run_events(run_id).pipe(ops.cost_totals(prices))
    """
    try:
        from genai_prices import data_snapshot  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidArgumentError(
            "prices: the package genai-prices is not installed; pip install 'rxruns[prices]'", field="prices"
        ) from error
    snapshot, moment = data_snapshot.get_snapshot(), at or datetime.now(UTC)
    prices: dict[ModelKey, Price] = {}
    for key in _spelled_out(snapshot) if models is None else models:
        _check_key(key, "models")
        price = _listed(snapshot, key, moment)
        if price is not None:
            prices[key] = price
    return prices


def _spelled_out(snapshot: DataSnapshot) -> Iterator[ModelKey]:
    """The names of models that the table has word for word. Others it knows by how they begin."""
    for ours, theirs in _GENAI_IDS.items():
        for provider in snapshot.providers:
            if provider.id == theirs:
                for model in provider.models:
                    yield from ((ours, name) for name in _names(model))


def _names(model: ModelInfo) -> list[str]:
    alternatives: list[Any] = getattr(model.match, "or_", [model.match])
    names = [
        getattr(clause, "equals", None) or getattr(clause, "starts_with", None) for clause in alternatives
    ]
    return [name for name in dict.fromkeys([model.id, *names]) if name and model.is_match(name)]


def _listed(snapshot: DataSnapshot, key: ModelKey, at: datetime) -> Price | None:
    provider, name = key
    try:
        _, model = snapshot.find_provider_model(name, None, _GENAI_IDS.get(provider, provider), None)
    except LookupError:
        return None
    prices = model.prices
    if isinstance(prices, list) and any(hasattr(price.constraint, "start_time") for price in prices):
        return None
    return _price({unit: amount for unit, amount in vars(model.get_prices(at)).items() if amount is not None})


def _price(billed: Mapping[str, Any]) -> Price | None:
    """The price that amounts by unit make, if events tell enough to apply it."""
    strange = [unit for unit in billed.keys() - _BILLED if not any(word in unit for word in _APART)]
    if strange or not billed.keys() >= _BILLED:
        return None
    read, written = billed["input_mtok"], billed["output_mtok"]
    starts = {tier.start for amount in (read, written) for tier in getattr(amount, "tiers", ())}
    if not starts:
        return Price(read, written)
    above = {start: Price(_past(read, start), _past(written, start)) for start in starts}
    return TieredPrice(_past(read, 0), _past(written, 0), above)


def _past(amount: Any, start: int) -> Decimal:
    """What a tier costs per million: the last one that begins there or before."""
    reached = [tier.price for tier in getattr(amount, "tiers", ()) if tier.start <= start and start > 0]
    base: Decimal = getattr(amount, "base", amount)
    return reached[-1] if reached else base
