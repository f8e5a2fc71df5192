"""The requests of a client, which the reader and the operators also send under cancellations of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from rxruns._arguments import check_headers, check_kind, check_timeout
from rxruns._policies import RetryPolicy
from rxruns._requests import CallOptions, events_query, loaded, tool_results_body
from rxruns._transport import Cancellation, OpenStream, Request, Transport
from rxruns.errors import StreamContentTypeError
from rxruns.models import (
    RunsCreateResponse,
    RunsGetResponse,
    RunsPendingToolsResponse,
    RunsToolResultsRequest,
    RunsToolResultsResponse,
)

__all__ = ["Calls", "check_retry"]

NDJSON = "application/x-ndjson"

T = TypeVar("T")


def check_retry(value: object) -> None:
    """Require a retry policy."""
    remedy = "use RetryPolicy(max_attempts=1) for one attempt"
    check_kind("retry", value, RetryPolicy, "a RetryPolicy", remedy)


class Calls:
    """Send requests through one transport, with the options of a call in place of the client's defaults.

    Args:
        transport: sends them.
        timeout: seconds between bytes, by default.
        retry: the policy, by default.
        headers: the library's own, which win over those of a call.
    """

    def __init__(
        self, transport: Transport, *, timeout: float | None, retry: RetryPolicy, headers: Mapping[str, str]
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._retry = retry
        self._headers = headers

    def call(
        self,
        response: type[T],
        path: str,
        body: bytes | None = None,
        *,
        run_id: UUID | None = None,
        params: Mapping[str, str] | None = None,
        options: CallOptions | None = None,
        cancellation: Cancellation | None = None,
        once: bool = False,
    ) -> T:
        """Send a request, with POST if it has a body, and load its response.

        Args:
            response: the struct of the response.
            path: under the base URL, or under the run's path if `run_id` is given.
            once: make one attempt, whatever the policy.
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        path = path if run_id is None else f"/runs/{run_id}{path}"
        request = self._request(path, body, headers, params, options, cancellation, once)
        return loaded(response, self._transport.request(request), run_id)

    def start(
        self, body: bytes, *, options: CallOptions | None = None, cancellation: Cancellation | None = None
    ) -> RunsCreateResponse:
        """Start a run with a body of :func:`~rxruns._requests.create_body`."""
        return self.call(RunsCreateResponse, "/runs", body, options=options, cancellation=cancellation)

    def get_once(self, run_id: UUID, *, cancellation: Cancellation) -> RunsGetResponse:
        """Get the run in one attempt."""
        return self.call(RunsGetResponse, "", run_id=run_id, cancellation=cancellation, once=True)

    def pending_tools(
        self, run_id: UUID, *, options: CallOptions | None = None, cancellation: Cancellation | None = None
    ) -> RunsPendingToolsResponse:
        """Get the tool calls that wait for results."""
        return self.call(
            RunsPendingToolsResponse,
            "/pending-tools",
            run_id=run_id,
            options=options,
            cancellation=cancellation,
        )

    def submit_tool_results(
        self,
        run_id: UUID,
        request: RunsToolResultsRequest,
        *,
        options: CallOptions | None = None,
        cancellation: Cancellation | None = None,
    ) -> RunsToolResultsResponse:
        """Send results of tools."""
        return self.call(
            RunsToolResultsResponse,
            "/tool-results",
            tool_results_body(request),
            run_id=run_id,
            options=options,
            cancellation=cancellation,
        )

    def open_events(
        self,
        run_id: UUID,
        *,
        after_seq: int,
        limit: int | None,
        wait: bool,
        include_output: bool,
        cancellation: Cancellation,
        options: CallOptions,
        once: bool = False,
    ) -> OpenStream:
        """Open one connection to a run's events, and return its bytes.

        Raises:
            StreamContentTypeError: the response is not NDJSON.
        """
        query = events_query(after_seq, limit, wait, include_output)
        headers = {"Accept": NDJSON, "Accept-Encoding": "identity"}
        request = self._request(f"/runs/{run_id}/events", None, headers, query, options, cancellation, once)
        stream = self._transport.open_stream(request)
        received = stream.headers.get("Content-Type", "")
        if not received.lower().startswith((NDJSON, "application/ndjson")):
            stream.close()
            raise StreamContentTypeError(
                expected=NDJSON, received=received, status=stream.status, run_id=run_id, last_seq=after_seq
            )
        return stream

    def _request(
        self,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        options: CallOptions | None,
        cancellation: Cancellation | None,
        once: bool,
    ) -> Request:
        """Build a request with the checked options of its call, and the defaults for the others."""
        call: CallOptions = options or {}
        for name in call.keys() - CallOptions.__annotations__.keys():
            raise TypeError(f"unexpected keyword argument {name!r}: a call takes timeout, headers and retry")
        timeout, retry = call.get("timeout", self._timeout), call.get("retry", self._retry)
        check_timeout("timeout", timeout)
        check_retry(retry)
        return Request(
            "GET" if body is None else "POST",
            path,
            timeout,
            params=params or {},
            headers={**check_headers(call.get("headers")), **self._headers, **headers},
            body=body,
            retry=None if once else retry,
            cancellation=cancellation or Cancellation(),
        )
