"""The errors that every module may raise, without imports. :mod:`rxruns.errors` has the whole tree."""

from __future__ import annotations

import copyreg
from typing import Any
from uuid import UUID

__all__ = ["InvalidArgumentError", "LeaseLostError", "RunsError", "StoreError", "must_be"]


class RunsError(Exception):
    """The root: ``except RunsError`` catches every error of rxruns."""

    __module__ = "rxruns.errors"

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which keyword-only constructors refuse.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InvalidArgumentError(RunsError, ValueError):
    """An argument is invalid; no request was made.

    Attributes:
        field: the argument or field, with its path inside a structure: ``"nodes[2].id"``.
    """

    __module__ = "rxruns.errors"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class StoreError(RunsError):
    """A store, log or database could not be opened, read or written. ``__cause__`` is the reason.

    Attributes:
        path: the file that failed, or the address of the database without its password.
    """

    __module__ = "rxruns.errors"

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class LeaseLostError(StoreError):
    """A run's lease ended: another owner holds it, or it wasn't renewed in time.

    Attributes:
        run_id: the run.
    """

    __module__ = "rxruns.errors"

    def __init__(self, message: str, *, path: str, run_id: UUID) -> None:
        super().__init__(message, path=path)
        self.run_id = run_id


def must_be(field: str, expectation: str, value: object, remedy: str = "") -> InvalidArgumentError:
    """Make the error of a wrong argument. Every message about an argument has this one form.

    Args:
        field: the argument or field, with its path inside a structure.
        expectation: what the value must be, such as ``"a bool"``.
        value: the value, which must not hold a secret.
        remedy: the fix, if the expectation doesn't show it.

    >>> must_be("limit", "an int of 1 or more, or None", 0, "leave it out for no limit")
    InvalidArgumentError('limit must be an int of 1 or more, or None, got 0; leave it out for no limit')
    """
    try:
        got = repr(value)
    except ValueError:  # Python refuses to print an integer of thousands of digits
        got = f"an {type(value).__name__} of thousands of digits"
    return InvalidArgumentError(
        f"{field} must be {expectation}, got {got}" + (f"; {remedy}" if remedy else ""), field=field
    )
