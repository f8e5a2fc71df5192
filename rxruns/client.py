"""The REST calls of the runs service, and one connection to a run's events."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NoReturn, TypedDict, TypeVar, Unpack
from uuid import UUID

from rxruns._arguments import (
    MAX_PAGE,
    check_base_url,
    check_callback,
    check_headers,
    check_include,
    check_kind,
    check_limit,
    check_run_id,
    check_timeout,
    check_whole_number,
    filled,
    is_exposed,
)
from rxruns._framing import MAX_LINE_BYTES
from rxruns._requests import (
    CreateOptions,
    Spec,
    compile_body,
    create_body,
    events_query,
    loaded,
    tool_results_body,
)
from rxruns._retry import RetryPolicy
from rxruns._transport import (
    Ask,
    Cancellation,
    Credentials,
    OpenStream,
    RequestMetrics,
    Secret,
    Session,
    Transport,
)
from rxruns._version import __version__
from rxruns.errors import InvalidArgumentError, StreamContentTypeError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.models import (
    RunsCreateResponse,
    RunsGetResponse,
    RunsModelOverrides,
    RunsPendingToolsResponse,
    RunsToolResultsRequest,
    RunsToolResultsResponse,
    WorkflowsCompileResponse,
)
from rxruns.stream import RunEventStream

__all__ = ["DEFAULT_BASE_URL", "ClientOptions", "RequestMetrics", "RunsClient"]

DEFAULT_BASE_URL = "https://api.modelrelay.ai/api/v1"

NDJSON = "application/x-ndjson"

logger: logging.Logger = logging.getLogger("rxruns")
T = TypeVar("T")


class ClientOptions(TypedDict, total=False):
    """The arguments of :class:`RunsClient`, for :meth:`RunsClient.from_env`."""

    api_key: Secret
    access_token: Secret
    base_url: str | None
    customer_id: str | None
    headers: Mapping[str, str] | None
    connect_timeout: float | None
    timeout: float | None
    retry: RetryPolicy
    session: Session | None
    on_request: Callable[[RequestMetrics], object] | None
    max_line_bytes: int


class RunsClient:
    """Talk to a runs service. Safe to use from many threads; close it, or use it in a ``with`` block.

    A process that forks may use its client in the parent and in the children: each child opens connections
    of its own, also where the session is yours.

    Args:
        api_key: starts with ``mr_sk_``; or a function that gives it, called at each attempt.
        access_token: sent as ``Authorization: Bearer``; or a function that gives it. Both may be given.
        base_url: may carry a path. ``http://`` to another machine logs a warning: it exposes the key.
        customer_id: sent as ``X-ModelRelay-Customer-Id``.
        headers: sent with every request; the library's own win.
        connect_timeout: seconds for each TCP connect; None for the system's own limit.
        timeout: seconds to wait for the next byte of an answer or a stream; None for no limit.
        retry: how a request that failed is repeated.
        session: a ``requests.Session`` of yours, with its proxies, certificates, adapters. It is not closed.
        on_request: gets a :class:`RequestMetrics` after each request, on the thread that made it. What it
            raises is logged, and the request goes on.
        max_line_bytes: the longest line of a stream.

    Raises:
        InvalidArgumentError: an argument can not be used; no secret is shown.

    >>> RunsClient(api_key="mr_sk_example")
    RunsClient(base_url='https://api.modelrelay.ai/api/v1')
    """

    def __init__(
        self,
        *,
        api_key: Secret = None,
        access_token: Secret = None,
        base_url: str = DEFAULT_BASE_URL,
        customer_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float | None = 5.0,
        timeout: float | None = 60.0,
        retry: RetryPolicy = RetryPolicy(),
        session: Session | None = None,
        on_request: Callable[[RequestMetrics], object] | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        check_timeout("connect_timeout", connect_timeout)
        check_timeout("timeout", timeout)
        check_whole_number("max_line_bytes", max_line_bytes, at_least=1)
        check_kind("retry", retry, RetryPolicy, "give a RetryPolicy; RetryPolicy(max_attempts=1) for none")
        check_callback("on_request", on_request)
        if session is not None:
            check_kind("session", session, Session, "give a requests.Session, or None")
        self.base_url: str = check_base_url(base_url)
        self.timeout = timeout
        self.max_line_bytes = max_line_bytes
        self._retry = retry
        sent = {**check_headers(headers), "X-ModelRelay-Client": f"rxruns/{__version__}"}
        if customer := filled("customer_id", customer_id):
            sent |= check_headers({"X-ModelRelay-Customer-Id": customer})
        self._transport = Transport(
            base_url=self.base_url,
            credentials=Credentials(api_key, access_token),
            headers=sent,
            connect_timeout=connect_timeout,
            session=session,
            on_request=on_request,
        )
        if is_exposed(self.base_url):
            logger.warning("%s is not encrypted: others may read the credentials on their way", self.base_url)

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> RunsClient:
        """A client from ``MODELRELAY_API_KEY`` and/or ``MODELRELAY_ACCESS_TOKEN``.

        ``MODELRELAY_API_BASE_URL`` replaces the service's address. A blank variable counts as not set.

        Args:
            options: as for the client itself. ``api_key``, ``access_token`` and ``base_url`` come before what
                the environment says; None leaves each to it.

        Raises:
            InvalidArgumentError: neither credential is set, or an argument can not be used.

        >>> RunsClient.from_env(api_key="mr_sk_example", base_url="http://localhost:8000", timeout=5.0)
        RunsClient(base_url='http://localhost:8000')
        """
        found = {
            "api_key": _variable("MODELRELAY_API_KEY"),
            "access_token": _variable("MODELRELAY_ACCESS_TOKEN"),
            "base_url": _variable("MODELRELAY_API_BASE_URL") or DEFAULT_BASE_URL,
        }
        given = {name: value for name, value in options.items() if value is not None or name not in found}
        merged: dict[str, Any] = {**found, **given}
        if merged["api_key"] is None and merged["access_token"] is None:
            raise InvalidArgumentError(
                "no credentials: set MODELRELAY_API_KEY or MODELRELAY_ACCESS_TOKEN, or give "
                "client=RunsClient(api_key=...); `rxruns serve` is a service to try with",
                field="api_key",
            )
        return cls(**merged)

    def __repr__(self) -> str:
        return f"RunsClient(base_url={self.base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a RunsClient holds a key or a token and is not pickled: make one where it is needed, with "
            "RunsClient.from_env()"
        )

    def __enter__(self) -> RunsClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections. Open streams go on until they are closed themselves."""
        self._transport.close()

    def _ignore_proxies(self) -> None:
        """Take no proxies from the environment; for the embedded services, which no proxy can reach."""
        self._transport.ignore_proxies()

    # ---- runs ----

    def create(
        self,
        spec: Spec,
        *,
        session_id: UUID | str | None = None,
        input: Mapping[str, Any] | None = None,
        model_override: str | None = None,
        model_overrides: RunsModelOverrides | None = None,
        stream: bool | None = None,
        idempotency_key: str | None = None,
    ) -> RunsCreateResponse:
        """Start a run of a workflow spec: ``POST /runs``.

        Args:
            spec: from :mod:`rxruns.workflow`; or a plain mapping, which is checked as one of these is. What it
                has beyond their fields is sent as it is, for the service to judge.
            session_id: the session that the run belongs to.
            input: the workflow's inputs, by name. A spec that declares inputs takes no others; a mapping may
                also use them undeclared.
            model_override: a model for all nodes; blank counts as not given.
            model_overrides: models by node.
            stream: whether all llm nodes send deltas; None leaves it to the spec.
            idempotency_key: the same key starts the same run once. A fresh one is sent where none is given,
                so that a repeated attempt starts no second run.

        Raises:
            InvalidArgumentError: an argument can not be sent; nothing was.
            WorkflowValidationError: the service refused the spec.
            APIError, TransportError: as for every request.
        """
        options: CreateOptions = {
            "session_id": session_id,
            "input": input,
            "model_override": model_override,
            "model_overrides": model_overrides,
            "stream": stream,
            "idempotency_key": idempotency_key,
        }
        return self.start(create_body(spec, options))

    def create_from_plan(
        self,
        plan_hash: str,
        *,
        session_id: UUID | str | None = None,
        input: Mapping[str, Any] | None = None,
        model_override: str | None = None,
        model_overrides: RunsModelOverrides | None = None,
        stream: bool | None = None,
        idempotency_key: str | None = None,
    ) -> RunsCreateResponse:
        """Start a run of a compiled plan: ``POST /runs`` with its hash. Options as in :meth:`create`."""
        if not isinstance(plan_hash, str):
            raise InvalidArgumentError(f"plan_hash is {plan_hash!r}: give text", field="plan_hash")
        options: CreateOptions = {
            "session_id": session_id,
            "input": input,
            "model_override": model_override,
            "model_overrides": model_overrides,
            "stream": stream,
            "idempotency_key": idempotency_key,
        }
        return self.start(create_body(plan_hash, options))

    def start(self, body: bytes, *, cancellation: Cancellation | None = None) -> RunsCreateResponse:
        """Send what :func:`create_body` made; for the reader, under its own cancellation."""
        return self._call(RunsCreateResponse, "POST", "/runs", body, cancellation=cancellation)

    def get(self, run_id: UUID | str, *, include: Iterable[str] = ()) -> RunsGetResponse:
        """The run as the service derives it, with its costs: ``GET /runs/{id}``.

        Args:
            include: ``"steps"`` and/or ``"tool_calls"``.
        """
        names = check_include(include)
        path = f"/runs/{check_run_id(run_id)}"
        return self._call(RunsGetResponse, "GET", path, params={"include": names} if names else None)

    def get_once(self, run_id: UUID, *, cancellation: Cancellation) -> RunsGetResponse:
        """:meth:`get` with one attempt, under the caller's own cancellation."""
        path = f"/runs/{check_run_id(run_id)}"
        return self._call(RunsGetResponse, "GET", path, cancellation=cancellation, retrying=False)

    def pending_tools(
        self, run_id: UUID | str, *, cancellation: Cancellation | None = None
    ) -> RunsPendingToolsResponse:
        """The tool calls that wait for results: ``GET /runs/{id}/pending-tools``.

        `cancellation` is for ``ops.execute_tools``.
        """
        path = f"/runs/{check_run_id(run_id)}/pending-tools"
        return self._call(RunsPendingToolsResponse, "GET", path, cancellation=cancellation)

    def submit_tool_results(
        self,
        run_id: UUID | str,
        request: RunsToolResultsRequest,
        *,
        cancellation: Cancellation | None = None,
    ) -> RunsToolResultsResponse:
        """Send what the tools gave back: ``POST /runs/{id}/tool-results``. `cancellation` as above.

        If the answer is lost, the request is sent again, and the service may answer 404 or 409 because it has
        accepted the results already: the events of the run tell.

        Raises:
            APIError: with status 409 when the step or the request id is not the one that waits; with 404 or
                409 on a retry (``error.retries``) when an earlier attempt was accepted.
        """
        path = f"/runs/{check_run_id(run_id)}/tool-results"
        body = tool_results_body(request)
        return self._call(RunsToolResultsResponse, "POST", path, body, cancellation=cancellation)

    def compile(self, spec: Spec) -> WorkflowsCompileResponse:
        """Check a workflow spec and get its plan: ``POST /workflows/compile``.

        Raises:
            WorkflowValidationError: the service refused the spec.
        """
        return self._call(WorkflowsCompileResponse, "POST", "/workflows/compile", compile_body(spec))

    # ---- events ----

    def stream_events(
        self,
        run_id: UUID | str,
        *,
        after_seq: int = 0,
        limit: int | None = None,
        wait: bool = True,
        include_output: bool = False,
    ) -> RunEventStream:
        """One connection to the run's events: ``GET /runs/{id}/events``. It is not resumed: see `run_events`.

        Args:
            after_seq: begin after the event with this ``seq``.
            limit: how many events at most, up to 10,000; None for no limit.
            wait: follow the run; False ends after the events that are there.
            include_output: include outputs of up to 1 MB.

        Raises:
            StreamContentTypeError: the answer is not NDJSON.
        """
        run = check_run_id(run_id)
        if isinstance(limit, int) and limit > MAX_PAGE:
            raise InvalidArgumentError(
                f"limit is {limit}: one connection gives {MAX_PAGE:,} at most; "
                "list_events and run_events take more",
                field="limit",
            )
        cancellation = Cancellation()
        opened = self.open_events(
            run,
            after_seq=after_seq,
            limit=limit,
            wait=wait,
            include_output=include_output,
            cancellation=cancellation,
            read_timeout=self.timeout,
            retrying=True,
        )
        return RunEventStream(
            opened,
            cancellation,
            run_id=run,
            include_output=include_output,
            max_line_bytes=self.max_line_bytes,
        )

    def list_events(
        self,
        run_id: UUID | str,
        *,
        after_seq: int = 0,
        limit: int | None = None,
        include_output: bool = False,
    ) -> list[RunEvent]:
        """The events that are there now, in pages of at most 10,000 over one connection. Does not wait.

        Raises:
            StreamError, TransportError: a page broke; nothing is returned.
        """
        check_limit(limit)
        events: list[RunEvent] = []
        while limit is None or len(events) < limit:
            page = MAX_PAGE if limit is None else min(MAX_PAGE, limit - len(events))
            with self.stream_events(
                run_id, after_seq=after_seq, limit=page, wait=False, include_output=include_output
            ) as stream:
                came = list(stream)
            events += came[:page]
            if len(came) < page:
                break
            if came[-1].seq <= after_seq:
                raise StreamProtocolError(
                    f"the service sent seq {came[-1].seq} where those after {after_seq} were asked for",
                    run_id=check_run_id(run_id),
                    last_seq=after_seq,
                )
            after_seq = came[page - 1].seq
        return events

    def open_events(
        self,
        run_id: UUID,
        *,
        after_seq: int,
        limit: int | None,
        wait: bool,
        include_output: bool,
        cancellation: Cancellation,
        read_timeout: float | None,
        retrying: bool,
    ) -> OpenStream:
        """The raw bytes of a connection to a run's events, for the reader.

        Args:
            read_timeout: seconds between bytes; None for no limit.
            retrying: whether opening it follows the client's retry policy, or is one attempt.

        Raises:
            StreamContentTypeError: the answer is not NDJSON.
        """
        ask = Ask(
            "GET",
            f"/runs/{check_run_id(run_id)}/events",
            read_timeout,
            params=events_query(after_seq, limit, wait, include_output),
            headers={"Accept": NDJSON, "Accept-Encoding": "identity"},
            retry=self._retry if retrying else None,
            cancellation=cancellation,
        )
        stream = self._transport.open_stream(ask)
        received = stream.headers.get("Content-Type", "")
        if not received.lower().startswith((NDJSON, "application/ndjson")):
            stream.close()
            raise StreamContentTypeError(
                expected=NDJSON, received=received, status=stream.status, run_id=run_id, last_seq=after_seq
            )
        return stream

    # ---- sending ----

    def _call(
        self,
        response: type[T],
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        cancellation: Cancellation | None = None,
        retrying: bool = True,
    ) -> T:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        ask = Ask(
            method,
            path,
            self.timeout,
            params=params or {},
            headers=headers,
            body=body,
            retry=self._retry if retrying else None,
            cancellation=cancellation or Cancellation(),
        )
        return loaded(response, self._transport.request(ask))


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
