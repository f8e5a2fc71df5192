"""One request, its progress, and our errors for foreign ones."""

from __future__ import annotations

import http.client
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import requests
import urllib3

from rxruns._display._text import visible
from rxruns._policies import RETRY_AFTER_LIMIT, RetryPolicy, is_retryable
from rxruns._transport._cancellation import Cancellation
from rxruns._transport._redaction import Redactor
from rxruns._transport._response import UnsupportedFraming
from rxruns.errors import APIError, TransportError

FOREIGN = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    UnicodeError,
)
"""The exceptions of requests, urllib3 and sockets."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        path: under the base URL; `params` become its query.
        read_timeout: seconds between bytes; None for no limit.
        retry: None for one attempt.
        cancellation: stops it.
    """

    method: Literal["GET", "POST"]
    path: str
    read_timeout: float | None
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    retry: RetryPolicy | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def may_retry(self, error: APIError | TransportError, attempt: int) -> bool:
        """Return True if the policy allows another attempt after the `attempt`-th, counted from 1."""
        if self.retry is None or attempt >= self.retry.max_attempts:
            return False
        return _is_passing(error) and (self.method != "POST" or self.retry.retry_post)


@dataclass(slots=True)
class Exchange:
    """The progress of a `Request`; `connected`, `status` and `request_id` are of its last attempt."""

    request: Request
    started: float = field(default_factory=time.monotonic)
    attempts: int = 0
    connected: bool = False
    status: int | None = None
    request_id: str | None = None
    redactor: Redactor = Redactor(())

    def begin(self) -> None:
        self.attempts += 1
        self.connected, self.status, self.request_id = False, None, None

    def fault(self, error: Exception) -> TransportError:
        """Our error for a foreign one, to be raised from it outside the handler that caught it.

        Raises:
            Cancelled: that is the reason.
        """
        self.request.cancellation.check()
        kind = _kind(error, connected=self.connected)
        self.redactor.clean(error, keep=sys.exception())
        return TransportError(visible(f"{self.request}: {_reason(error)}"), kind=kind)


def _is_passing(error: APIError | TransportError) -> bool:
    """Return True if another attempt may succeed, and the service doesn't ask for too long a delay."""
    if isinstance(error, TransportError):
        return error.kind != "other"
    return is_retryable(error.status) and (error.retry_after or 0.0) <= RETRY_AFTER_LIMIT


def _kind(error: Exception, *, connected: bool) -> Literal["timeout", "connect", "request", "other"]:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return "timeout"
    passing = (requests.ConnectionError, requests.exceptions.RetryError)
    if isinstance(error, requests.RequestException) and not isinstance(error, passing):
        return "other"
    if isinstance(error, ValueError):  # an address that can't be used
        return "other"
    if _is_lasting(error, _innermost(error)):
        return "other"
    return "request" if connected else "connect"


def _is_lasting(error: Exception, innermost: BaseException) -> bool:
    """Return whether every further attempt would fail in the same way."""
    if type(error) is OSError and error.errno is None:  # requests' own: certificates that it can't find
        return True
    if isinstance(innermost, ssl.SSLError):  # "X509" or "PEM": that file is damaged; "SSL": the connection
        return innermost.library not in (None, "SSL")
    return isinstance(innermost, UnsupportedFraming)


def _innermost(error: BaseException) -> BaseException:
    """The innermost of the exceptions that requests and urllib3 wrap into each other."""
    inner = getattr(error, "reason", None)
    if not isinstance(inner, BaseException):
        inner = next((wrapped for wrapped in error.args if isinstance(wrapped, BaseException)), None)
    return error if inner is None else _innermost(inner)


def _reason(error: BaseException) -> str:
    inner = _innermost(error)
    return f"{type(inner).__name__}: {inner}"
