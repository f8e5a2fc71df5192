"""The delivery of one batch to an exporter, with retries. No Rx."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import count
from uuid import UUID

from rxruns._display._text import counted
from rxruns._policies import RetryPolicy
from rxruns._transport._cancellation import Cancellation
from rxruns.errors import ExportError
from rxruns.otel import _names as names
from rxruns.otel._sdk import ReadableSpan, SpanExporter, SpanExportResult

__all__ = ["Delivery"]

logger: logging.Logger = logging.getLogger("rxruns")


class Delivery:
    """Hands batches to an exporter until it succeeds, gives up or is cancelled; one thread at a time.

    Exceptions of the exporter are named by their class alone in messages and logs: their text may hold a
    credential.
    """

    def __init__(self, exporter: SpanExporter, retry: RetryPolicy) -> None:
        self._exporter = exporter
        self._retry = retry
        self._cancellation = Cancellation()

    @property
    def cancelled(self) -> bool:
        """True after :meth:`cancel`."""
        return self._cancellation.cancelled

    def cancel(self) -> None:
        """End the wait for the next attempt. Any thread may call it; it never blocks."""
        self._cancellation.cancel()

    def deliver(self, batch: Sequence[ReadableSpan]) -> None:
        """Export a batch; return when it was exported, or was cancelled.

        Raises:
            ExportError: the last attempt failed.
        """
        for attempt in count(1):
            if self.cancelled:
                return
            cause = self._attempt(batch)
            if cause is None:
                return
            reason = "its result was FAILURE" if cause is _FAILURE else f"it raised {type(cause).__name__}"
            if attempt >= self._retry.max_attempts:
                raise _given_up(batch, attempt, reason) from (None if cause is _FAILURE else cause)
            delay = self._retry.delay(attempt)
            logger.log(
                logging.WARNING if attempt == 1 else logging.DEBUG,
                "the exporter failed to export %s: %s; attempt %d of %d follows in %.1f s",
                counted(len(batch), "span"),
                reason,
                attempt + 1,
                self._retry.max_attempts,
                delay,
            )
            self._cancellation.wait(delay)

    def _attempt(self, batch: Sequence[ReadableSpan]) -> Exception | None:
        """Return None for a success, `_FAILURE` for a failure without an exception."""
        try:
            result = self._exporter.export(batch)
        except Exception as error:
            return error
        return None if result is SpanExportResult.SUCCESS else _FAILURE


_FAILURE = Exception("FAILURE")


def _given_up(batch: Sequence[ReadableSpan], attempts: int, reason: str) -> ExportError:
    attributes = batch[0].attributes or {}
    run, seq = attributes.get(names.RUN_ID), attributes.get(names.SEQ)
    run_id = UUID(run) if isinstance(run, str) else None
    # All spans of earlier events were exported: a run's spans are emitted in the order of their events.
    last_seq = seq - 1 if isinstance(seq, int) else 0
    what, tries = counted(len(batch), "span"), counted(attempts, "attempt")
    message = f"the exporter failed to export {what} in {tries}: {reason}"
    return ExportError(message, run_id=run_id, last_seq=last_seq)
