"""The decisions about a tool call before it runs. :mod:`rxruns.tools` makes them public."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from rxruns._arguments import check_kind
from rxruns._errors import must_be
from rxruns.tools._outputs import error_output

__all__ = ["Approved", "Decision", "Denied", "denied_output"]


class Approved(Struct, frozen=True):
    """Run the call; with other arguments, if they are given. The tool checks them like the model's.

    Attributes:
        arguments: by name, instead of the model's; None to keep those. The model isn't informed about them.

    Raises:
        InvalidArgumentError: the arguments aren't a mapping.

    >>> Approved(arguments={"amount": 100})
    Approved(arguments={'amount': 100})
    """

    arguments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_kind("arguments", self.arguments, Mapping | None, "a mapping of names to values, or None")


class Denied(Struct, frozen=True):
    """Don't run the call; the model receives ``Error: the call was denied: <reason>``.

    Attributes:
        reason: for the model, which continues from there.

    Raises:
        InvalidArgumentError: the reason isn't text, or is blank.

    >>> Denied("too expensive")
    Denied(reason='too expensive')
    """

    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise must_be("reason", "text that isn't blank", self.reason)


Decision: TypeAlias = Literal[True] | Approved | Denied | None
"""The answer to a request for approval: yes, yes with other arguments, no, or None to leave it to others."""


def denied_output(denied: Denied) -> str:
    """The output of a denied call, for the model."""
    return error_output(f"the call was denied: {denied.reason.strip()}")
