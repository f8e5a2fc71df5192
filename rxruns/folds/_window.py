"""The fold of a window of time."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

from rxruns._fold import Fold

__all__ = ["Window"]

_F = TypeVar("_F", bound=Fold)


class Window(Struct, Generic[_F], frozen=True):
    """The fold of the events of a window of time: what ``ops.fold_windows`` emits.

    Attributes:
        start: the first moment of the window, in UTC.
        end: the first moment after it.
        value: the fold of its events.
    """

    start: datetime
    end: datetime
    value: _F
