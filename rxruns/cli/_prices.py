"""``--prices``: the prices of models, from a file or from the list of an extra."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from rxruns.cli._documents import Document, load
from rxruns.costs import Price, Prices, genai_prices
from rxruns.errors import InvalidArgumentError

_FIELDS = ("input_usd_per_million", "output_usd_per_million")
_FORM = f'{{"provider/model": {{"{_FIELDS[0]}": 3, "{_FIELDS[1]}": 15}}}}'


def prices(text: str) -> Prices:
    """Return the prices in a file, or those of genai-prices for ``list``.

    Raises:
        FileError: the file can't be used.
        InvalidArgumentError: the extra is not installed.
    """
    if text == "list":
        return genai_prices()
    document = load(Path(text))
    value = document.value
    if not isinstance(value, dict):
        raise document.refused(f"prices must be an object like {_FORM}")
    entries = cast(dict[str, Any], value)
    return {_model(document, name): _price(document, name, entry) for name, entry in entries.items()}


def with_prices(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flag ``--prices``."""
    return click.option(
        "--prices",
        metavar="FILE|list",
        envvar="RXRUNS_PRICES",
        type=prices,
        help="Prices of models: a JSON or YAML file, or `list` for list prices (extra: prices). "
        "Default: RXRUNS_PRICES.",
    )(command)


def _model(document: Document, name: str) -> tuple[str, str]:
    provider, _, model = name.partition("/")
    if not (provider and model):
        raise document.refused(f"a model must be named provider/model, got {name!r}", name)
    return provider, model


def _price(document: Document, name: str, entry: Any) -> Price:
    if not isinstance(entry, dict) or set(cast(dict[str, Any], entry)) != set(_FIELDS):
        raise document.refused(f"{name} must have {' and '.join(_FIELDS)}, as in {_FORM}", name)
    try:
        return Price(**cast(dict[str, Any], entry))
    except InvalidArgumentError as error:
        raise document.refused(f"{name}: {error}", name, error.field or "") from error
