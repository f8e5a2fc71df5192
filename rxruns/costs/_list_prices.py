"""List prices, from the table that an extra brings. :mod:`rxruns.costs` makes them public."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

from rxruns._errors import InvalidArgumentError, must_be
from rxruns.costs._prices import LazyPrices, ModelKey, Price, Prices, TieredPrice, check_key, is_key

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo

_GENAI_IDS = {"anthropic": "anthropic", "openai": "openai", "xai": "x-ai", "google-ai-studio": "google"}
"""Ids of providers: the service's, and those of genai-prices."""

_BILLED = {"input_mtok", "output_mtok"}
_APART = ("cache", "audio", "image", "video", "searches")
"""Parts of the names of units besides text tokens, which events don't report."""


@overload
def genai_prices(models: None = None, *, at: datetime | None = None) -> Prices: ...
@overload
def genai_prices(models: Iterable[ModelKey], *, at: datetime | None = None) -> dict[ModelKey, Price]: ...
def genai_prices(models: Iterable[ModelKey] | None = None, *, at: datetime | None = None) -> Prices:
    """Return list prices from the table in the package ``genai-prices``, without network access.

    These are standard prices of text tokens. Events don't report cached tokens, batches or service tiers, so
    discounts for them are not applied: such calls were cheaper.

    A model has no price, and its cost is unknown, if the table lacks an input or output price, if the price
    depends on the time of day, or if events don't report a billed unit, such as requests.

    Args:
        models: (provider, model) pairs as in the events; any provider that genai-prices knows. None: each
            pair is looked up when it occurs, including names with a date and aliases. Iterating over that
            mapping yields the names that the table lists for the service's providers.
        at: the time of the calls; UTC if it has no time zone. None: now.

    Returns:
        Prices for ``ops.cost_totals``, ``ops.budget`` and :class:`CostTotals`: immutable, and they pickle.

    Raises:
        InvalidArgumentError: genai-prices is not installed: ``pip install 'rxruns[prices]'``; or a model is
            not a pair of names, or ``at`` not a datetime.

    ::

        run_events(run_id).pipe(ops.cost_totals(genai_prices()))
    """
    prices = ListPrices(_moment(at))
    _snapshot()
    if models is None:
        return prices
    if not isinstance(models, Iterable):
        raise must_be("models", "an iterable of (provider, model) pairs", models)
    keys = list(models)
    for key in keys:
        check_key(key, "models")
    return {key: price for key in keys if (price := prices.get(key)) is not None}


class ListPrices(LazyPrices):
    """The list prices at one time. Each pair is looked up once, when it occurs.

    Two values are equal if their times are. A pickle has the time alone.
    """

    __slots__ = ("_at", "_found")

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._found: dict[ModelKey, Price | None] = {}

    def get(self, key: ModelKey, default: Any = None) -> Any:
        """The price of the model, or the default."""
        try:
            price = self._found[key]
        except KeyError:
            price = self._found[key] = _listed(_snapshot(), key, self._at) if is_key(key) else None
        return default if price is None else price

    def __iter__(self) -> Iterator[ModelKey]:
        return (key for key in dict.fromkeys(_spelled_out(_snapshot())) if self.get(key) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True  # without iterating over the table

    def __eq__(self, other: object) -> bool:
        return self._at == other._at if isinstance(other, ListPrices) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._at)

    def __reduce__(self) -> tuple[Any, ...]:
        return ListPrices, (self._at,)

    def __repr__(self) -> str:
        return f"genai_prices(at={self._at!r})"


def _moment(at: object) -> datetime:
    if at is None:
        return datetime.now(UTC)
    if isinstance(at, datetime):
        try:
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (OverflowError, ValueError):
            pass  # beyond the years of a datetime in UTC
    raise must_be("at", "a datetime from year 1 to 9999 in UTC", at, "pass None for now")


def _snapshot() -> DataSnapshot:
    try:
        from genai_prices import data_snapshot  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidArgumentError(
            "prices: the package genai-prices is not installed; pip install 'rxruns[prices]'", field="prices"
        ) from error
    return data_snapshot.get_snapshot()


def _spelled_out(snapshot: DataSnapshot) -> Iterator[ModelKey]:
    """Yield the names of models that the table lists. It matches others by their beginning."""
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
    """Return the price of the billed units, if events report all of them."""
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
    """Return the amount per million tokens past a threshold: that of the last tier up to it."""
    reached = [tier.price for tier in getattr(amount, "tiers", ()) if tier.start <= start and start > 0]
    base: Decimal = getattr(amount, "base", amount)
    return reached[-1] if reached else base
