"""The REST calls of the runs service, and one connection to a run's events."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NoReturn, TypeVar, Unpack
from uuid import UUID

from msgspec import UNSET, UnsetType

from rxruns._arguments import (
    MAX_PAGE,
    check_base_url,
    check_callback,
    check_flag,
    check_headers,
    check_include,
    check_kind,
    check_limit,
    check_run_id,
    check_timeout,
    check_whole_number,
    filled,
    is_exposed,
    path_segment,
)
from rxruns._ndjson._framing import MAX_LINE_BYTES
from rxruns._policies import RetryPolicy
from rxruns._requests import (
    CallOptions,
    ClientOptions,
    CreateOptions,
    Spec,
    compile_body,
    create_body,
    events_query,
    lint_body,
    loaded,
    tool_results_body,
    user_agent,
)
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
from rxruns.client._stream import RunEventStream
from rxruns.errors import InvalidArgumentError, StreamContentTypeError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.models import (
    RunsCreateResponse,
    RunsGetResponse,
    RunsModelOverrides,
    RunsPendingToolsResponse,
    RunStepsResponse,
    RunsToolResultsRequest,
    RunsToolResultsResponse,
    RunTasksResponse,
    RunToolCallDetail,
    WorkflowsCompileResponse,
    WorkflowsLintResponse,
)

__all__ = ["DEFAULT_BASE_URL", "CallOptions", "ClientOptions", "RequestMetrics", "RunsClient"]

DEFAULT_BASE_URL = "https://api.modelrelay.ai/api/v1"

NDJSON = "application/x-ndjson"

_RETRY_REMEDY = "give a RetryPolicy; RetryPolicy(max_attempts=1) for none"

logger: logging.Logger = logging.getLogger("rxruns")
T = TypeVar("T")


class RunsClient:
    """Talk to a runs service. Safe to use from many threads; close it, or use it in a ``with`` block.

    A process that forks may use its client in the parent and in the children: each child opens connections
    of its own, also where the session is yours.

    Each method that sends a request also takes `timeout`, `headers` and `retry` for that call: see
    :class:`CallOptions`.

    Args:
        api_key: starts with ``mr_sk_``; or a function that gives it, called at each attempt.
        access_token: sent as ``Authorization: Bearer``; or a function that gives it. Both may be given.
        base_url: may carry a path. ``http://`` to another machine logs a warning: it exposes the key.
        customer_id: sent as ``X-ModelRelay-Customer-Id``.
        headers: sent with every request; the library's own win. ``User-Agent`` is ``rxruns/<version>`` unless
            it is given here or in your session.
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
        check_kind("retry", retry, RetryPolicy, _RETRY_REMEDY)
        check_callback("on_request", on_request)
        if session is not None:
            check_kind("session", session, Session, "give a requests.Session, or None")
        self.base_url: str = check_base_url(base_url)
        self.timeout = timeout
        self.max_line_bytes = max_line_bytes
        self._retry = retry
        name = f"rxruns/{__version__}"
        self._own_headers = {"X-ModelRelay-Client": name}
        if customer := filled("customer_id", customer_id):
            self._own_headers |= check_headers({"X-ModelRelay-Customer-Id": customer})
        self._transport = Transport(
            base_url=self.base_url,
            credentials=Credentials(api_key, access_token),
            headers={
                **user_agent(name, {} if session is None else session.headers),
                **check_headers(headers),
            },
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

        >>> RunsClient.from_env(access_token="example", base_url="http://localhost:8000", timeout=5.0)
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
        **call: Unpack[CallOptions],
    ) -> RunsCreateResponse:
        """Start a run of a workflow spec: ``POST /runs``.

        Args:
            spec: from :mod:`rxruns.workflow`; or a plain mapping, which is checked in the same way. Fields
                that are not known here are sent as they are, for the service to judge.
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
        return self.start(create_body(spec, options), **call)

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
        **call: Unpack[CallOptions],
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
        return self.start(create_body(plan_hash, options), **call)

    def start(
        self, body: bytes, *, cancellation: Cancellation | None = None, **call: Unpack[CallOptions]
    ) -> RunsCreateResponse:
        """Send what :func:`create_body` made; for the reader, under its own cancellation."""
        return self._call(RunsCreateResponse, "POST", "/runs", body, cancellation=cancellation, call=call)

    def get(
        self, run_id: UUID | str, *, include: Iterable[str] = (), **call: Unpack[CallOptions]
    ) -> RunsGetResponse:
        """The run as the service derives it, with its costs: ``GET /runs/{id}``.

        Args:
            run_id: the run.
            include: ``"steps"`` and/or ``"tool_calls"``.

        Raises:
            TransportError: with kind ``"other"`` when the answer is about another run. The same holds for
                every method whose answer names its run.
        """
        names = check_include(include)
        params = {"include": names} if names else None
        return self._call(RunsGetResponse, "GET", "", run_id=run_id, params=params, call=call)

    def get_once(self, run_id: UUID, *, cancellation: Cancellation) -> RunsGetResponse:
        """:meth:`get` with one attempt, under the caller's own cancellation."""
        once: CallOptions = {"retry": RetryPolicy(max_attempts=1)}
        return self._call(RunsGetResponse, "GET", "", run_id=run_id, cancellation=cancellation, call=once)

    def steps(self, run_id: UUID | str, **call: Unpack[CallOptions]) -> RunStepsResponse:
        """The steps of the run's nodes, model calls and tool calls included: ``GET /runs/{id}/steps``."""
        return self._call(RunStepsResponse, "GET", "/steps", run_id=run_id, call=call)

    def tool_call(
        self, run_id: UUID | str, step: int, tool_id: str, **call: Unpack[CallOptions]
    ) -> RunToolCallDetail:
        """One tool call and its result: ``GET /runs/{id}/steps/{step}/tool-calls/{tool_id}``.

        Args:
            run_id: the run.
            step: the step of the call, from 0.
            tool_id: the call's id, such as ``tool_call.id`` of an event.

        Raises:
            APIError: with status 404 when the step has no such call.
        """
        check_whole_number("step", step, at_least=0)
        path = f"/steps/{step}/tool-calls/{path_segment('tool_id', tool_id)}"
        return self._call(RunToolCallDetail, "GET", path, run_id=run_id, call=call)

    def tasks(self, run_id: UUID | str, **call: Unpack[CallOptions]) -> RunTasksResponse:
        """The run's task list, which its model writes with ``tasks.write``: ``GET /runs/{id}/tasks``."""
        return self._call(RunTasksResponse, "GET", "/tasks", run_id=run_id, call=call)

    def pending_tools(
        self,
        run_id: UUID | str,
        *,
        cancellation: Cancellation | None = None,
        **call: Unpack[CallOptions],
    ) -> RunsPendingToolsResponse:
        """The tool calls that wait for results: ``GET /runs/{id}/pending-tools``.

        `cancellation` is for ``ops.execute_tools``.
        """
        return self._call(
            RunsPendingToolsResponse,
            "GET",
            "/pending-tools",
            run_id=run_id,
            cancellation=cancellation,
            call=call,
        )

    def submit_tool_results(
        self,
        run_id: UUID | str,
        request: RunsToolResultsRequest,
        *,
        cancellation: Cancellation | None = None,
        **call: Unpack[CallOptions],
    ) -> RunsToolResultsResponse:
        """Send what the tools gave back: ``POST /runs/{id}/tool-results``. `cancellation` as above.

        If the answer is lost, the request is sent again, and the service may answer 404 or 409 because it has
        accepted the results already: the events of the run tell.

        Raises:
            APIError: with status 409 when the step or the request id is not the one that waits; with 404 or
                409 on a retry (``error.retries``) when an earlier attempt was accepted.
        """
        return self._call(
            RunsToolResultsResponse,
            "POST",
            "/tool-results",
            tool_results_body(request),
            run_id=run_id,
            cancellation=cancellation,
            call=call,
        )

    # ---- workflows ----

    def compile(self, spec: Spec, **call: Unpack[CallOptions]) -> WorkflowsCompileResponse:
        """Check a workflow spec and get its plan: ``POST /workflows/compile``.

        Raises:
            InvalidArgumentError: the spec is a mapping and not sound; nothing was sent.
            WorkflowValidationError: the service refused the spec.
        """
        body = compile_body(spec)
        return self._call(WorkflowsCompileResponse, "POST", "/workflows/compile", body, call=call)

    def lint(self, spec: Spec, *, compile: bool = True, **call: Unpack[CallOptions]) -> WorkflowsLintResponse:
        """Ask the service what is wrong with a workflow spec: ``POST /workflows/lint``.

        The issues are in the answer, not raised. A mapping is sent unchecked, so that the service names each.

        Args:
            spec: as in :meth:`create`.
            compile: False checks the JSON schemas in ``output_format`` alone.

        >>> from rxruns.devserver import DevServer
        >>> with DevServer() as server, server.client() as client:
        ...     client.lint({"kind": "workflow", "nodes": [], "outputs": []}).compile_issues[0].path
        '$.nodes'
        """
        check_flag("compile", compile)
        params = None if compile else {"compile": "false"}
        return self._call(
            WorkflowsLintResponse, "POST", "/workflows/lint", lint_body(spec), params=params, call=call
        )

    # ---- events ----

    def stream_events(
        self,
        run_id: UUID | str,
        *,
        after_seq: int = 0,
        limit: int | None = None,
        wait: bool = True,
        include_output: bool = False,
        **call: Unpack[CallOptions],
    ) -> RunEventStream:
        """One connection to the run's events: ``GET /runs/{id}/events``. It is not resumed: see `run_events`.

        Args:
            after_seq: begin after the event with this ``seq``.
            limit: how many events at most, up to 10,000; None for no limit.
            wait: follow the run; False ends after the events that are there.
            include_output: include outputs of up to 1 MB.

        Raises:
            StreamContentTypeError: the answer is not NDJSON.
            StreamProtocolError: while iterating: an event of another run, or a line that is no event.
        """
        run = check_run_id(run_id)
        if isinstance(limit, int) and limit > MAX_PAGE:
            raise InvalidArgumentError(
                f"limit is {limit}: one connection gives {MAX_PAGE:,} at most; "
                "list_events and run_events take more",
                field="limit",
            )
        cancellation = Cancellation()
        opened = self._open_events(
            run, after_seq, events_query(after_seq, limit, wait, include_output), cancellation, call
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
        **call: Unpack[CallOptions],
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
                run_id, after_seq=after_seq, limit=page, wait=False, include_output=include_output, **call
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
        call: CallOptions = {"timeout": read_timeout}
        if not retrying:
            call["retry"] = RetryPolicy(max_attempts=1)
        query = events_query(after_seq, limit, wait, include_output)
        return self._open_events(check_run_id(run_id), after_seq, query, cancellation, call)

    # ---- sending ----

    def _open_events(
        self,
        run_id: UUID,
        after_seq: int,
        query: Mapping[str, str],
        cancellation: Cancellation,
        call: CallOptions,
    ) -> OpenStream:
        headers = {"Accept": NDJSON, "Accept-Encoding": "identity"}
        ask = self._ask(
            "GET", f"/runs/{run_id}/events", call, headers=headers, params=query, cancellation=cancellation
        )
        stream = self._transport.open_stream(ask)
        received = stream.headers.get("Content-Type", "")
        if not received.lower().startswith((NDJSON, "application/ndjson")):
            stream.close()
            raise StreamContentTypeError(
                expected=NDJSON, received=received, status=stream.status, run_id=run_id, last_seq=after_seq
            )
        return stream

    def _call(
        self,
        response: type[T],
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None = None,
        *,
        call: CallOptions,
        params: Mapping[str, str] | None = None,
        run_id: UUID | str | UnsetType = UNSET,
        cancellation: Cancellation | None = None,
    ) -> T:
        """Send a request, and load its answer. Given a `run_id`, `path` is under that run's."""
        run = None if run_id is UNSET else check_run_id(run_id)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        whole = path if run is None else f"/runs/{run}{path}"
        ask = self._ask(
            method, whole, call, headers=headers, params=params, body=body, cancellation=cancellation
        )
        return loaded(response, self._transport.request(ask), run)

    def _ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        call: CallOptions,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        body: bytes | None = None,
        cancellation: Cancellation | None = None,
    ) -> Ask:
        """The request with the call's own options, checked, and the client's where it has none."""
        for name in call.keys() - CallOptions.__annotations__.keys():
            raise TypeError(f"unexpected keyword argument {name!r}: a call takes timeout, headers and retry")
        timeout, retry = call.get("timeout", self.timeout), call.get("retry", self._retry)
        check_timeout("timeout", timeout)
        check_kind("retry", retry, RetryPolicy, _RETRY_REMEDY)
        return Ask(
            method,
            path,
            timeout,
            params=params or {},
            headers={**check_headers(call.get("headers")), **self._own_headers, **headers},
            body=body,
            retry=retry,
            cancellation=cancellation or Cancellation(),
        )


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
