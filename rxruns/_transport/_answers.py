"""Responses as values: their parts, error bodies in all their forms, metrics. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from rxruns._display._text import visible
from rxruns._policies import retry_after_seconds
from rxruns._transport._redaction import Redactor
from rxruns.errors import APIError, FieldError, RunsError, WorkflowValidationError
from rxruns.models import WorkflowIssue

RAW_BODY = 4096
"""Characters of a body that an error keeps."""

_INVALID = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """The metrics of one request after its retries; of a stream, when it is open or opening it failed.

    Attributes:
        method: ``"GET"`` or ``"POST"``.
        path: under the base URL, without the query, such as ``"/runs"``.
        status: of the last response; None without one.
        latency: seconds, including all attempts and the delays between them.
        attempts: the number of attempts, from 1.
        request_id: the service's id of the last response, or None.
        error: the exception that the caller gets, or None.
    """

    method: str
    path: str
    status: int | None
    latency: float
    attempts: int
    request_id: str | None
    error: RunsError | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response with a 2xx status. `body` is decompressed, and may quote secrets."""

    status: int
    request_id: str | None
    body: bytes = field(repr=False)
    redactor: Redactor

    @property
    def excerpt(self) -> str:
        """The start of the body, without secrets."""
        return excerpt_of(self.body, self.redactor)


def excerpt_of(body: bytes, redactor: Redactor) -> str:
    """Return the start of a body as text, without secrets, even one at the cut."""
    return redactor.text(body[: 2 * RAW_BODY].decode("utf-8", "replace"))[:RAW_BODY]


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the service's id of a request: ``X-ModelRelay-Request-Id``, else ``X-Request-Id``."""
    return headers.get("X-ModelRelay-Request-Id") or headers.get("X-Request-Id") or None


def status_error(status: int, headers: Mapping[str, str]) -> APIError:
    """Make the error of a 3xx status. Of a redirect it names only the host."""
    message = f"unexpected status: {_phrase(status)}"
    if "Location" in headers:
        message = (
            f"a redirect to {_place(headers['Location'])} is not followed, because it would receive the "
            "credentials: set base_url to the service's own address"
        )
    return APIError(message, status=status, request_id=request_id_of(headers))


def api_error(status: int, headers: Mapping[str, str], body: bytes, redactor: Redactor) -> APIError:
    """Make the error that a body describes, in any known form; another body is the error's text."""
    text = body.decode("utf-8", "replace")
    outer = _object(_parsed(text, redactor))
    inner = _object(outer.get("error")) or outer
    sent_status = inner.get("status")
    options: dict[str, Any] = {
        "status": sent_status if type(sent_status) is int and 100 <= sent_status <= 599 else status,
        "code": _text(inner.get("code")) or _text(outer.get("code")),
        "request_id": _text(outer.get("request_id") or outer.get("requestId")) or request_id_of(headers),
        "fields": _fields(inner.get("fields")),
        "raw_body": excerpt_of(body, redactor),
        "retry_after": retry_after_seconds(headers.get("Retry-After"), headers.get("Date")),
    }
    issues: Any = outer.get("issues") or inner.get("issues")
    message = _text(inner.get("message")) or _text(outer.get("message")) or _text(outer.get("error"))
    if status in _INVALID and isinstance(issues, list) and issues:
        return WorkflowValidationError(
            message or "the workflow spec is not valid",
            issues=[_issue(issue) for issue in cast(list[object], issues)],
            **options,
        )
    return APIError(message or ("" if outer else _excerpt(text, redactor)) or _phrase(status), **options)


def _redacted(value: object, redactor: Redactor) -> Any:
    """Return a parsed body without secrets and control characters."""
    match value:
        case str():
            return visible(redactor.text(value))
        case dict():
            pairs = cast(dict[str, Any], value).items()
            return {_redacted(name, redactor): _redacted(item, redactor) for name, item in pairs}
        case list():
            return [_redacted(item, redactor) for item in cast(list[object], value)]
        case _:
            return value


def _place(location: str) -> str:
    """Return the target of a redirect, as far as it is safe to quote."""
    try:
        host = urlsplit(location).netloc.rpartition("@")[2]
    except ValueError:
        return "another address"
    if host:
        return visible(host)
    return "another path of the same host" if location.startswith(("/", "?", ".")) else "another address"


def _parsed(body: str, redactor: Redactor) -> Any:
    try:
        return _redacted(json.loads(body), redactor)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _fields(value: object) -> tuple[FieldError, ...]:
    """Read the refused fields: a list of ``{"field", "message"}``, or a mapping of field to message."""
    if isinstance(value, dict):
        pairs: list[tuple[object, object]] = [*value.items()]
    else:
        items = cast(list[object], value) if isinstance(value, list) else []
        pairs = [(item.get("field"), item.get("message")) for item in map(_object, items) if item]
    return tuple(FieldError(_text(field) or "", _as_text(message)) for field, message in pairs)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _issue(value: object) -> WorkflowIssue:
    issue = _object(value)
    return WorkflowIssue(
        code=_text(issue.get("code")) or "",
        path=_text(issue.get("path")) or "",
        message=_text(issue.get("message")) or ("" if issue else str(value)),
    )


def _excerpt(body: str, redactor: Redactor) -> str:
    return visible(" ".join(redactor.text(body[: 4 * _MESSAGE]).split())[:_MESSAGE])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"
