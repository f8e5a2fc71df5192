"""A request that the fake received."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """One request, as it was received. Its repr leaves the headers out, which hold the key.

    Attributes:
        method: ``"GET"``, for example.
        path: without the query.
        query: the last value of each name.
        headers: by name in lower case.
        body: its bytes, b"" without one.
        connection: the number of its connection, from 0.
        head: the bytes of the request line and the headers.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    connection: int
    head: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def after_seq(self) -> int:
        """The ``seq`` after which a stream begins; 0: from the start."""
        return int(self.query.get("after_seq", 0))
