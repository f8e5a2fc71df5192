"""A request that is refused: the status and the body of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Refusal"]


class Refusal(Exception):
    """Answer with an error: `status` is HTTP's, `fields` say per field what is wrong."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Mapping[str, str] | None = None,
        issues: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.fields, self.issues = dict(fields or {}), list(issues)

    def body(self, request_id: str) -> dict[str, Any]:
        """The error body of the contract.

        >>> Refusal(404, "NOT_FOUND", "no such run").body("req_1")["error"]
        {'code': 'NOT_FOUND', 'message': 'no such run', 'status': 404}
        """
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.fields:
            error["fields"] = self.fields
        answer: dict[str, Any] = {"error": error, "request_id": request_id}
        if self.issues:
            answer["issues"] = self.issues
        return answer
