"""Assertions about operators, drawn as marble diagrams."""

from __future__ import annotations

from typing import Any

from reactivex.testing.marbles import marbles_testing

FAULT = RuntimeError("the line is dead")
"""The error that ``#`` stands for."""


def check(operator: Any, source: str, expected: str, values: dict[str, Any]) -> None:
    """Assert the timed output of an operator; `values` has the values of both drawings."""
    lookup: dict[str | float, Any] = {**values}
    with marbles_testing() as (start, _, hot, exp):
        assert exp(expected, lookup, FAULT) == start(hot(source, lookup, FAULT).pipe(operator))
