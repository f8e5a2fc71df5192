"""Every text in which a secret of an error, a metric or an event could be read."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import asdict
from types import TracebackType

from rxruns import RequestMetrics
from rxruns.errors import RunsError

__all__ = ["Texts"]


class Texts:
    """Collect the texts of values, of their errors, and of the causes and contexts of these.

    Args:
        frames_without: collect the variables in frames of tracebacks too, except in those of this file.
    """

    def __init__(self, frames_without: str | None = None) -> None:
        self.texts: list[str] = []
        self._seen: list[BaseException] = []
        self._frames_without = frames_without

    def add(self, *values: object) -> None:
        for value in values:
            self.texts += [repr(value), str(value)]
            if isinstance(value, RequestMetrics):
                self.texts.append(repr(asdict(value)))
            for error in (value, getattr(value, "error", None), getattr(value, "cause", None)):
                if isinstance(error, BaseException):
                    self._add_error(error)

    def _add_error(self, error: BaseException) -> None:
        if any(error is other for other in self._seen):
            return
        self._seen.append(error)
        pickled = pickle.dumps(error)
        self.texts += [
            repr(error),
            str(error),
            repr(error.args),
            repr(vars(error)),
            pickled.decode("latin-1"),
        ]
        self.texts += traceback.format_exception(error)
        if isinstance(error, RunsError):
            self.texts.append(repr(vars(pickle.loads(pickled))))
        if self._frames_without is not None:
            self._add_frames(error.__traceback__)
        for other in (error.__cause__, error.__context__):  # Dask, for example, pickles an error with them
            if other is not None:
                self._add_error(other)

    def _add_frames(self, current: TracebackType | None) -> None:
        while current is not None:
            if current.tb_frame.f_code.co_filename != self._frames_without:
                self.texts += [f"{name} = {value!r}" for name, value in current.tb_frame.f_locals.items()]
            current = current.tb_next
