"""What comes back, as values: an answer's parts, error bodies in all their forms, metrics. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from rxruns._retry import retry_after_seconds
from rxruns.errors import APIError, FieldError, RunsError, WorkflowValidationError
from rxruns.models import WorkflowIssue

RAW_BODY = 4096
"""Characters of a body that an error keeps."""

_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """One request, after its retries; for a stream, once its headers came or opening it failed.

    Attributes:
        method: ``"GET"`` or ``"POST"``.
        path: under the base URL, without the query, such as ``"/runs"``.
        status: of the last answer; None where none came.
        latency: seconds, attempts and waits between them included.
        attempts: how often it was sent, from 1.
        request_id: the service's id of the last answer, where it gave one.
        error: what the caller gets raised, or None.
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
    """A whole answer with a 2xx status. `body` is unpacked; `excerpt` is its start, without secrets."""

    status: int
    request_id: str | None
    body: bytes
    excerpt: str


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The service's id of a request: ``X-ModelRelay-Request-Id``, else ``X-Request-Id``."""
    return headers.get("X-ModelRelay-Request-Id") or headers.get("X-Request-Id") or None


def redirect_error(status: int, headers: Mapping[str, str]) -> APIError:
    """The error of a redirect: names the host that it leads to, and nothing else of the target."""
    try:
        host = urlsplit(headers.get("Location", "")).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    return APIError(
        f"a redirect to {host or 'another address'} is not followed, because the credentials would go there: "
        "set base_url to the service's own address",
        status=status,
        request_id=request_id_of(headers),
    )


def api_error(status: int, headers: Mapping[str, str], body: str) -> APIError:
    """The error that a body describes, in any form that is known; a strange body is an error's text."""
    outer = _object(_parsed(body))
    inner = _object(outer.get("error")) or outer
    sent_status = inner.get("status")
    options: dict[str, Any] = {
        "status": sent_status if type(sent_status) is int and 100 <= sent_status <= 599 else status,
        "code": _text(inner.get("code")) or _text(outer.get("code")),
        "request_id": _text(outer.get("request_id")) or request_id_of(headers),
        "fields": _fields(inner.get("fields")),
        "raw_body": body[:RAW_BODY],
        "retry_after": retry_after_seconds(headers.get("Retry-After")),
    }
    issues: Any = outer.get("issues") or inner.get("issues")
    message = _text(inner.get("message")) or _text(outer.get("message")) or _text(outer.get("error"))
    if status == HTTPStatus.BAD_REQUEST and isinstance(issues, list) and issues:
        return WorkflowValidationError(
            message or "the workflow spec is not valid",
            issues=[_issue(issue) for issue in cast(list[object], issues)],
            **options,
        )
    return APIError(message or ("" if outer else _excerpt(body)) or _phrase(status), **options)


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _fields(value: object) -> tuple[FieldError, ...]:
    """The refused fields, sent as a list of ``{"field", "message"}`` or a mapping of field to message."""
    if isinstance(value, dict):
        pairs: list[tuple[object, object]] = list(cast(dict[object, object], value).items())
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


def _excerpt(body: str) -> str:
    return " ".join(body[: 4 * _MESSAGE].split())[:_MESSAGE]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "the service gave no reason"
