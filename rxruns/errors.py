"""Every error that rxruns raises, in one tree::

    RunsError
      InvalidArgumentError(ValueError)  an argument is invalid
      APIError                          the service answered with an error status
        WorkflowValidationError         ... 400 or 422 with the issues of a workflow spec
      TransportError                    no (whole) response: connection, timeout
      StreamError                       an event stream failed
        StreamProtocolError             a line that is not a valid event
        StreamContentTypeError          a response that is not NDJSON
        StreamTimeoutError              silence for longer than the idle timeout
        StreamInterruptedError          it ended early, or reconnects ran out
        SequenceGapError                the service skipped a ``seq``
        StreamBackpressureError         a bounded queue overflowed
        ExportError                     an exporter gave up (``otel.export``)
      RunFailedError                    a run failed or was canceled (``ops.raise_on_failure``)
      BudgetError                       a run cost more than allowed (``ops.budget``)
      StoreError                        a store, log or database could not be used
        LeaseLostError                  another owner holds the lease of a run

>>> issubclass(SequenceGapError, RunsError)
True

All of them can be pickled, and none of them contains an API key or a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from rxruns._errors import InvalidArgumentError, LeaseLostError, RunsError, StoreError
from rxruns.costs import CostTotals
from rxruns.events import RunCanceled, RunFailed
from rxruns.models import WorkflowIssue

__all__ = [
    "APIError",
    "BudgetError",
    "ExportError",
    "FieldError",
    "InvalidArgumentError",
    "LeaseLostError",
    "RunFailedError",
    "RunsError",
    "SequenceGapError",
    "StoreError",
    "StreamBackpressureError",
    "StreamContentTypeError",
    "StreamError",
    "StreamInterruptedError",
    "StreamProtocolError",
    "StreamTimeoutError",
    "TransportError",
    "WorkflowValidationError",
]

EXCERPT = 200
"""The maximum number of characters of a refused line in an error."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One refused field of a request, an item of the wire's ``error.fields``.

    >>> str(FieldError("input.city", "is required"))
    'input.city: is required'

    Attributes:
        field: the name or path of the field, as the service sends it.
        message: the reason.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class APIError(RunsError):
    """The service answered with an error status, or with an invalid body.

    Attributes:
        status: HTTP status; the body's ``error.status`` wins where present.
        code: the service's code, such as ``"NOT_FOUND"``, or None.
        message: the service's text.
        request_id: the service's id of the request, for its support.
        fields: the refused fields of the request, in the service's order.
        retries: attempts beyond the first.
        raw_body: the body as text, cut to 4,096 characters.
        retry_after: seconds of ``Retry-After``, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        request_id: str | None = None,
        fields: Sequence[FieldError] = (),
        retries: int = 0,
        raw_body: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.fields: tuple[FieldError, ...] = tuple(fields)
        self.retries = retries
        self.raw_body = raw_body
        self.retry_after = retry_after

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        fields = "".join(f"; {field}" for field in self.fields)
        return f"{self.status}{code}: {self.message}{fields}{request}"

    @property
    def is_not_found(self) -> bool:
        """True if the code is ``NOT_FOUND``."""
        return self.code == "NOT_FOUND"

    @property
    def is_validation(self) -> bool:
        """True if the code is ``VALIDATION_ERROR`` or ``INVALID_INPUT``."""
        return self.code in ("VALIDATION_ERROR", "INVALID_INPUT")

    @property
    def is_rate_limit(self) -> bool:
        """True if the code is ``RATE_LIMIT``."""
        return self.code == "RATE_LIMIT"

    @property
    def is_unauthorized(self) -> bool:
        """True if the code is ``UNAUTHORIZED``."""
        return self.code == "UNAUTHORIZED"

    @property
    def is_forbidden(self) -> bool:
        """True if the code is ``FORBIDDEN``."""
        return self.code == "FORBIDDEN"

    @property
    def is_unavailable(self) -> bool:
        """True if the code is ``SERVICE_UNAVAILABLE``."""
        return self.code == "SERVICE_UNAVAILABLE"


class WorkflowValidationError(APIError):
    """The service refused a workflow spec.

    Attributes:
        issues: the mistakes, each with ``code``, ``path`` and ``message``.
    """

    def __init__(self, message: str, *, issues: Sequence[WorkflowIssue] = (), **options: Any) -> None:
        super().__init__(message, **options)
        self.issues: tuple[WorkflowIssue, ...] = tuple(issues)

    def __str__(self) -> str:
        return super().__str__() + "".join(
            f"\n  {issue.path}: {issue.message} [{issue.code}]" for issue in self.issues
        )


class TransportError(RunsError):
    """No whole response was received. The cause is the HTTP library's own exception.

    Attributes:
        kind: ``"timeout"``, ``"connect"``, ``"request"`` (broken in progress) or ``"other"``.
        retries: attempts beyond the first.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["timeout", "connect", "request", "other"] = "other",
        retries: int = 0,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retries = retries


class StreamError(RunsError):
    """An event stream failed.

    Attributes:
        run_id: the run, or None if it isn't known.
        last_seq: ``seq`` of the last delivered event, 0 for none; pass it as ``after_seq`` to resume.
    """

    def __init__(self, message: str, *, run_id: UUID | None = None, last_seq: int = 0) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.last_seq = last_seq


class StreamProtocolError(StreamError):
    """A line is not a valid event.

    Attributes:
        raw_data: the line, at most 200 characters of it.
        line_number: from 1, within its connection or file; None if the error isn't about a line.
    """

    def __init__(
        self,
        message: str,
        *,
        raw_data: str | None = None,
        line_number: int | None = None,
        run_id: UUID | None = None,
        last_seq: int = 0,
    ) -> None:
        super().__init__(message, run_id=run_id, last_seq=last_seq)
        self.raw_data: str | None = None if raw_data is None else raw_data[:EXCERPT]
        self.line_number = line_number

    def __str__(self) -> str:
        where = "" if self.line_number is None else f"line {self.line_number}: "
        what = "" if self.raw_data is None else f": {self.raw_data!r}"
        return f"{where}{super().__str__()}{what}"


class StreamContentTypeError(StreamError):
    """A response is not NDJSON.

    Attributes:
        expected: the requested content type.
        received: the content type of the response, ``""`` for none.
        status: HTTP status of the response.
    """

    def __init__(
        self, *, expected: str, received: str, status: int, run_id: UUID | None = None, last_seq: int = 0
    ) -> None:
        super().__init__(
            f"expected {expected}, received {received or 'no content type'} (status {status}): "
            "is the base URL that of a runs service?",
            run_id=run_id,
            last_seq=last_seq,
        )
        self.expected = expected
        self.received = received
        self.status = status


class StreamTimeoutError(StreamError):
    """The service was silent for longer than the idle timeout.

    Attributes:
        kind: ``"idle"``.
        timeout: the idle timeout in seconds.
    """

    def __init__(self, *, timeout: float, run_id: UUID | None = None, last_seq: int = 0) -> None:
        super().__init__(f"no byte was received for {timeout:g} s", run_id=run_id, last_seq=last_seq)
        self.kind: Literal["idle"] = "idle"
        self.timeout = timeout


class StreamInterruptedError(StreamError):
    """The stream ended before its run, or reconnects ran out. ``__cause__`` is the last fault.

    Attributes:
        reconnects: reconnects in a row without an event, 0 if none was allowed.
    """

    def __init__(
        self, message: str, *, reconnects: int = 0, run_id: UUID | None = None, last_seq: int = 0
    ) -> None:
        super().__init__(message, run_id=run_id, last_seq=last_seq)
        self.reconnects = reconnects


class SequenceGapError(StreamError):
    """The service skipped a ``seq``, again after one more request.

    Attributes:
        expected: the next ``seq``.
        received: the received ``seq``.
    """

    def __init__(
        self, *, expected: int, received: int, run_id: UUID | None = None, last_seq: int = 0
    ) -> None:
        super().__init__(f"seq {expected} is missing, received {received}", run_id=run_id, last_seq=last_seq)
        self.expected = expected
        self.received = received


class StreamBackpressureError(StreamError):
    """A bounded queue overflowed because its consumer was too slow.

    Attributes:
        dropped: the number of values that didn't fit.
    """

    def __init__(self, message: str, *, dropped: int, run_id: UUID | None = None, last_seq: int = 0) -> None:
        super().__init__(message, run_id=run_id, last_seq=last_seq)
        self.dropped = dropped


class ExportError(StreamError):
    """An exporter refused spans again and again. ``__cause__`` is its exception, if it raised one.

    Export the run again from its start: the ids of its spans stay the same.
    """


class RunFailedError(RunsError):
    """A run failed or was canceled.

    Attributes:
        event: the :class:`~rxruns.events.RunFailed` or :class:`~rxruns.events.RunCanceled`.
    """

    def __init__(self, event: RunFailed | RunCanceled) -> None:
        super().__init__(f"run {event.run_id}: {event.type}: {event.error.message}")
        self.event = event


class BudgetError(RunsError):
    """The costs exceeded the limit, or can't be calculated.

    Attributes:
        totals: the cost totals at that time.
        unpriced: ``(provider, model)`` pairs without a price.
    """

    def __init__(self, message: str, *, totals: CostTotals, unpriced: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.totals = totals
        self.unpriced: tuple[tuple[str, str], ...] = tuple(unpriced)
