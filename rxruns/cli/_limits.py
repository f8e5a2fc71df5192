"""The limits of ``rxruns compare``, as flags."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from rxruns.testing._limits import limit

R = TypeVar("R")

_MAX = {
    "cost": "Accept this increase of the cost at most: +10%, or US dollars such as +0.05.",
    "tokens": "Accept this increase of the tokens at most: +10%, or a number such as +500.",
    "duration": "Accept this increase of the duration at most: +10%, or seconds such as +2.",
}
_SAME = {
    "status": "Require the same status of both runs.",
    "nodes": "Require the same nodes, each with the same status.",
    "tools": "Require the same tools of each node, in the same order.",
}


def with_limits(command: Callable[..., R]) -> Callable[..., R]:
    """Add the flags to a command, which gets them as one argument, ``limits``: a limit by its name."""

    @functools.wraps(command)
    def with_flags(*arguments: Any, **options: Any) -> R:
        limits = {name: options.pop(f"max_{name}") for name in _MAX}
        limits |= {name: options.pop(f"same_{name}") for name in _SAME}
        return command(*arguments, limits=limits, **options)

    flags = with_flags
    for name, text in reversed(_SAME.items()):
        flags = click.option(f"--same-{name}", is_flag=True, help=text)(flags)
    for name, text in reversed(_MAX.items()):
        flags = click.option(f"--max-{name}", metavar="+N|+N%", callback=_checked, help=text)(flags)
    return flags


def _checked(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    return None if text is None else limit(parameter.opts[0], text).text
