"""Prices of models, and the exact arithmetic that sums costs. :mod:`rxruns.costs` makes them public."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import TypeAlias

from rxruns.errors import InvalidArgumentError

__all__ = ["EXACT", "ModelKey", "Price", "Prices", "checked"]

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
    checked = dict(prices)
    for key, price in checked.items():
        if not (isinstance(key, tuple) and len(key) == 2 and all(isinstance(n, str) and n for n in key)):
            raise InvalidArgumentError(
                f"prices: {key!r} has to be (provider, model), two names that are not empty", field="prices"
            )
        if not isinstance(price, Price):
            raise InvalidArgumentError(f"prices: {price!r} for {key!r} has to be a Price", field="prices")
    return checked
