"""Limits on the increase of a figure: ``+10%`` relative, ``+500`` absolute."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from rxruns._errors import must_be

__all__ = ["Figure", "Limit", "limit"]

Figure = int | float | Decimal
"""A number that runs are compared by."""

_FORM = re.compile(r"\+(\d{1,15}(?:\.\d{1,15})?)(%?)", re.ASCII)


class Limit(Struct, frozen=True):
    """The largest increase that is accepted.

    Attributes:
        text: as given.
        amount: in percent of the earlier figure, or in its unit.
        is_relative: the amount is in percent.
    """

    text: str
    amount: Fraction
    is_relative: bool

    def accepts(self, before: Figure | None, after: Figure | None) -> bool:
        """Return True unless the increase is larger, or unknown.

        >>> limit("cost", "+10%").accepts(Decimal(10), Decimal(11)), limit("tokens", "+5").accepts(10, 16)
        (True, False)
        """
        if before is None or after is None:
            return False
        # From their text: 1.1 s is 10 % more than 1 s, the float 1.1 is a bit more.
        old, new = Fraction(str(before)), Fraction(str(after))
        allowed = self.amount * abs(old) / 100 if self.is_relative else self.amount
        return new - old <= allowed


def limit(name: str, text: object) -> Limit:
    """Return the limit that a text stands for; errors use the argument's name.

    Raises:
        InvalidArgumentError: it is not an increase.
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise must_be(name, "an increase such as '+10%' or '+500'", text)
    return Limit(found[0], Fraction(found[1]), found[2] == "%")
