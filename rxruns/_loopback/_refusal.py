"""A request that is refused with an error response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Refusal"]


class Refusal(Exception):
    """Answer with an error: an HTTP status, a code and messages, also per field."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Mapping[str, str] | None = None,
        issues: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code
        self.message: str = message
        self.fields: dict[str, str] = dict(fields or {})
        self.issues: list[Mapping[str, str]] = list(issues)
        self.headers: dict[str, str] = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the error body of the contract, in the one flat form that all of the service's SDKs read.

        >>> Refusal(404, "NOT_FOUND", "no such run").body("req_1")
        {'error': 'no such run', 'code': 'NOT_FOUND', 'message': 'no such run', 'request_id': 'req_1'}
        >>> Refusal(400, "INVALID_INPUT", "invalid query", {"limit": "expected 1"}).body("req_1")["fields"]
        [{'field': 'limit', 'message': 'expected 1'}]
        """
        answer: dict[str, Any] = {
            "error": self.message,
            "code": self.code,
            "message": self.message,
            "request_id": request_id,
        }
        if self.fields:
            answer["fields"] = [
                {"field": field, "message": message} for field, message in self.fields.items()
            ]
        if self.issues:
            answer["issues"] = self.issues
        return answer
