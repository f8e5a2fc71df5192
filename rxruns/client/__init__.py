"""The REST calls of the runs service, and one connection to a run's events."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Unpack
from uuid import UUID

from rxruns import schemas
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
    check_text,
    check_timeout,
    check_whole_number,
    filled,
    is_exposed,
    path_segment,
)
from rxruns._errors import must_be
from rxruns._ndjson._framing import MAX_LINE_BYTES
from rxruns._policies import RetryPolicy
from rxruns._requests import (
    CallOptions,
    ClientOptions,
    CreateOptions,
    Spec,
    compile_body,
    create_body,
    lint_body,
    user_agent,
)
from rxruns._transport import Cancellation, Credentials, RequestMetrics, Secret, Session, Transport
from rxruns._version import __version__
from rxruns.client._calls import Calls, check_retry
from rxruns.client._stream import RunEventStream
from rxruns.errors import InvalidArgumentError, StreamProtocolError
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

logger: logging.Logger = logging.getLogger("rxruns")


class RunsClient:
    """Send requests to a runs service. Safe to use from many threads; close it, or use a ``with`` block.

    After a fork, parent and children may all use the client: each process opens connections of its own, also
    through your own session.

    Each method that sends a request also takes `timeout`, `headers` and `retry` for that call: see
    :class:`CallOptions`.

    Args:
        api_key: starts with ``mr_sk_``; or a function that returns it, called at each attempt.
        access_token: sent as ``Authorization: Bearer``; or a function that returns it. You may pass both.
        base_url: may have a path. ``http://`` to another machine logs a warning, because it exposes the key.
        customer_id: sent as ``X-ModelRelay-Customer-Id``.
        headers: sent with every request, except those that the library sets itself. ``User-Agent`` is
            ``rxruns/<version>`` unless you set it here or in your session.
        connect_timeout: seconds for each TCP connect; None for the system's own limit.
        timeout: seconds to wait for the next byte of a response or a stream; None for no limit.
        retry: the policy for requests that fail.
        session: your own ``requests.Session``, with its proxies, certificates and adapters. It is not closed.
        on_request: gets a :class:`RequestMetrics` after each request, on the thread that made it. Its
            exceptions are logged, and don't affect the request.
        max_line_bytes: the longest line of a stream, in bytes.

    Attributes:
        base_url: the address, without a trailing slash.
        timeout: the argument.
        max_line_bytes: the argument.

    Raises:
        InvalidArgumentError: an argument can't be used; its message quotes no secret.

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
        check_retry(retry)
        check_callback("on_request", on_request)
        if session is not None:
            check_kind("session", session, Session, "a requests.Session or None")
        self.base_url: str = check_base_url(base_url)
        self.timeout: float | None = timeout
        self.max_line_bytes: int = max_line_bytes
        name = f"rxruns/{__version__}"
        own_headers = {"X-ModelRelay-Client": name}
        if customer := filled("customer_id", customer_id):
            own_headers |= check_headers({"X-ModelRelay-Customer-Id": customer})
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
        self._calls = Calls(self._transport, timeout=timeout, retry=retry, headers=own_headers)
        if is_exposed(self.base_url):
            logger.warning("%s is not encrypted: others may read the credentials on their way", self.base_url)

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> RunsClient:
        """Make a client from ``MODELRELAY_API_KEY`` and/or ``MODELRELAY_ACCESS_TOKEN``.

        ``MODELRELAY_API_BASE_URL`` replaces the service's address. A blank variable counts as not set.

        Args:
            options: as for the client itself. ``api_key``, ``access_token`` and ``base_url`` take precedence
                over the environment, unless they are None.

        Raises:
            InvalidArgumentError: neither credential is set, or an argument can't be used.

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
                "no credentials: set MODELRELAY_API_KEY or MODELRELAY_ACCESS_TOKEN, or pass "
                "client=RunsClient(api_key=...); `rxruns serve` starts a service to try it with",
                field="api_key",
            )
        return cls(**merged)

    def __repr__(self) -> str:
        return f"RunsClient(base_url={self.base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a RunsClient can't be pickled, because it holds credentials: make one in the other process with "
            "RunsClient.from_env()"
        )

    def __enter__(self) -> RunsClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections. Open streams stay open until you close them."""
        self._transport.close()

    def _ignore_proxies(self) -> None:
        """Ignore proxies of the environment. Embedded services need this: a proxy can't reach them."""
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
            spec: from :mod:`rxruns.workflow`; or a plain mapping, which is checked in the same way. Unknown
                fields of a mapping are sent as they are, for the service to judge.
            session_id: the session that the run belongs to.
            input: the workflow's inputs, by name. A spec that declares inputs accepts no others; a mapping
                that declares none may use them all.
            model_override: a model for all nodes; blank counts as None.
            model_overrides: models by node.
            stream: True or False turns the deltas of all llm nodes on or off; None leaves it to the spec.
            idempotency_key: a key starts one run, however often it is sent. None sends a fresh one, so that
                a retry doesn't start a second run.

        Raises:
            InvalidArgumentError: an argument can't be sent; no request was made.
            WorkflowValidationError: the service refused the spec.
            APIError, TransportError: as for every request.
        """
        options = CreateOptions(session_id, input, model_override, model_overrides, stream, idempotency_key)
        return self._calls.start(create_body(spec, options), options=call)

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
        check_text("plan_hash", plan_hash)
        options = CreateOptions(session_id, input, model_override, model_overrides, stream, idempotency_key)
        return self._calls.start(create_body(plan_hash, options), options=call)

    def get(
        self, run_id: UUID | str, *, include: Iterable[str] = (), **call: Unpack[CallOptions]
    ) -> RunsGetResponse:
        """Get the run as the service derives it, with its costs: ``GET /runs/{id}``.

        Args:
            run_id: the run.
            include: ``"steps"`` and/or ``"tool_calls"``.

        Raises:
            TransportError: with kind ``"other"`` when the response is about another run. The same holds for
                every method whose response names its run.
        """
        names = check_include(include)
        params = {"include": names} if names else None
        run = check_run_id(run_id)
        return self._calls.call(schemas.RunsGetResponseSchema, "", run_id=run, params=params, options=call)

    def steps(self, run_id: UUID | str, **call: Unpack[CallOptions]) -> RunStepsResponse:
        """Get the steps of the run's nodes, with model calls and tool calls: ``GET /runs/{id}/steps``."""
        return self._calls.call(
            schemas.RunStepsResponseSchema, "/steps", run_id=check_run_id(run_id), options=call
        )

    def tool_call(
        self, run_id: UUID | str, step: int, tool_id: str, **call: Unpack[CallOptions]
    ) -> RunToolCallDetail:
        """Get one tool call and its result: ``GET /runs/{id}/steps/{step}/tool-calls/{tool_id}``.

        Args:
            run_id: the run.
            step: the step of the call, from 0.
            tool_id: the call's id, such as ``tool_call.id`` of an event.

        Raises:
            APIError: with status 404 when the step has no such call.
        """
        check_whole_number("step", step, at_least=0)
        path = f"/steps/{step}/tool-calls/{path_segment('tool_id', tool_id)}"
        return self._calls.call(
            schemas.RunToolCallDetailSchema, path, run_id=check_run_id(run_id), options=call
        )

    def tasks(self, run_id: UUID | str, **call: Unpack[CallOptions]) -> RunTasksResponse:
        """Get the run's task list, which its model writes with ``tasks.write``: ``GET /runs/{id}/tasks``."""
        return self._calls.call(
            schemas.RunTasksResponseSchema, "/tasks", run_id=check_run_id(run_id), options=call
        )

    def pending_tools(self, run_id: UUID | str, **call: Unpack[CallOptions]) -> RunsPendingToolsResponse:
        """Get the tool calls that wait for results: ``GET /runs/{id}/pending-tools``."""
        return self._calls.pending_tools(check_run_id(run_id), options=call)

    def submit_tool_results(
        self, run_id: UUID | str, request: RunsToolResultsRequest, **call: Unpack[CallOptions]
    ) -> RunsToolResultsResponse:
        """Send the results of tools: ``POST /runs/{id}/tool-results``.

        If the response is lost, the request is sent again. The service may then answer 404 or 409, because
        it accepted the results before; the events of the run show whether it did.

        Raises:
            APIError: with status 409 when the step or the request id is not the one that waits; with 404 or
                409 on a retry (``error.retries``) when an earlier attempt was accepted.
        """
        return self._calls.submit_tool_results(check_run_id(run_id), request, options=call)

    # ---- workflows ----

    def compile(self, spec: Spec, **call: Unpack[CallOptions]) -> WorkflowsCompileResponse:
        """Check a workflow spec and get its plan: ``POST /workflows/compile``.

        Raises:
            InvalidArgumentError: the spec is a mapping and invalid; no request was made.
            WorkflowValidationError: the service refused the spec.
        """
        body = compile_body(spec)
        return self._calls.call(
            schemas.WorkflowsCompileResponseSchema, "/workflows/compile", body, options=call
        )

    def lint(self, spec: Spec, *, compile: bool = True, **call: Unpack[CallOptions]) -> WorkflowsLintResponse:
        """Let the service find the issues of a workflow spec: ``POST /workflows/lint``.

        The response has the issues; they aren't raised. A mapping is sent unchecked, so that the service
        finds them all.

        Args:
            spec: as in :meth:`create`.
            compile: False checks only the JSON schemas in ``output_format``.

        >>> from rxruns.devserver import DevServer
        >>> with DevServer() as server, server.client() as client:
        ...     client.lint({"kind": "workflow", "nodes": [], "outputs": []}).compile_issues[0].path
        '$.nodes'
        """
        check_flag("compile", compile)
        params = None if compile else {"compile": "false"}
        body = lint_body(spec)
        return self._calls.call(
            schemas.WorkflowsLintResponseSchema, "/workflows/lint", body, params=params, options=call
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
        """Open one connection to the run's events: ``GET /runs/{id}/events``.

        It doesn't resume after a fault; :func:`rxruns.run_events` does.

        Args:
            run_id: the run.
            after_seq: start after the event with this ``seq``.
            limit: the maximum number of events, up to 10,000; None for no limit.
            wait: follow the run; False ends after the events that exist.
            include_output: include outputs of up to 1 MB.

        Raises:
            StreamContentTypeError: the response is not NDJSON.
            StreamProtocolError: while iterating: an event of another run, or a line that is not an event.
        """
        run = check_run_id(run_id)
        if isinstance(limit, int) and limit > MAX_PAGE:
            raise must_be(
                "limit",
                f"at most {MAX_PAGE:,} for one connection",
                limit,
                "list_events and run_events accept more",
            )
        cancellation = Cancellation()
        opened = self._calls.open_events(
            run,
            after_seq=after_seq,
            limit=limit,
            wait=wait,
            include_output=include_output,
            cancellation=cancellation,
            options=call,
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
        """List the events that exist now, in pages of at most 10,000 over one connection.

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
                received = list(stream)
            events += received[:page]
            if len(received) < page:
                break
            if received[-1].seq <= after_seq:
                raise StreamProtocolError(
                    f"a page of events after seq {after_seq} ended with seq {received[-1].seq}",
                    run_id=check_run_id(run_id),
                    last_seq=after_seq,
                )
            after_seq = received[page - 1].seq
        return events


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
