"""The requests that a service keeps for its user to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rxruns._loopback import Head
from rxruns._ndjson._decoding import RecordError, refuse_deep_nesting
from rxruns.devserver._log import now

__all__ = ["Request", "request_of"]

_HIDDEN = "<hidden>"
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "x-modelrelay-api-key"})


@dataclass(frozen=True)
class Request:
    """A request that the service received.

    Attributes:
        method: ``"GET"``, for example.
        path: without the query.
        query: the last value of each name.
        headers: by name in lower case; the values of keys, tokens and cookies are hidden.
        body: the decoded JSON, or the text of a body that isn't JSON; None without a body. The body of a
            request that was not authorized is not read.
        at: the time, as on the wire.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    at: str

    @property
    def is_stream(self) -> bool:
        """True for a request for a stream of events."""
        return self.path.endswith("/events")


def request_of(head: Head, raw: bytes) -> Request:
    """Make the value to keep, without secrets."""
    headers = {name: _HIDDEN if name in _SECRET else value for name, value in head.headers.items()}
    return Request(head.method, head.path, head.query, headers, _decoded(raw), now())


def _decoded(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        refuse_deep_nesting(raw)
        return msgspec.json.decode(raw)
    except (RecordError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw.decode("utf-8", "replace")
