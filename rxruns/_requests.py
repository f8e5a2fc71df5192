"""Bodies of requests and responses, between Python values and JSON. No I/O.

Bodies are checked against their schemas and encoded before the first attempt, so changing a mutable argument
later has no effect.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, cast
from uuid import UUID, uuid4

import marshmallow as ma
import msgspec
from marshmallow.exceptions import SCHEMA

from rxruns import schemas
from rxruns._arguments import check_after_seq, check_flag, check_id, check_kind, check_limit, filled
from rxruns._display._text import visible
from rxruns._errors import InvalidArgumentError, must_be
from rxruns._policies import RetryPolicy
from rxruns._transport import Answer, RequestMetrics, Secret, Session
from rxruns.errors import APIError, TransportError
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
from rxruns.structschema import instance_of
from rxruns.workflow import WorkflowBuilder, WorkflowSpec
from rxruns.workflow._mappings import checked as checked_mapping

T = TypeVar("T")

Spec = WorkflowSpec | Mapping[str, Any]

_RESPONSES: dict[type[Any], type[ma.Schema]] = {
    RunsCreateResponse: schemas.RunsCreateResponseSchema,
    RunsGetResponse: schemas.RunsGetResponseSchema,
    RunsPendingToolsResponse: schemas.RunsPendingToolsResponseSchema,
    RunsToolResultsResponse: schemas.RunsToolResultsResponseSchema,
    RunStepsResponse: schemas.RunStepsResponseSchema,
    RunTasksResponse: schemas.RunTasksResponseSchema,
    RunToolCallDetail: schemas.RunToolCallDetailSchema,
    WorkflowsCompileResponse: schemas.WorkflowsCompileResponseSchema,
    WorkflowsLintResponse: schemas.WorkflowsLintResponseSchema,
}


class ClientOptions(TypedDict, total=False):
    """The arguments of :class:`rxruns.RunsClient`, for its ``from_env``."""

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


class CallOptions(TypedDict, total=False):
    """Options that each method of :class:`rxruns.RunsClient` also takes, for that call alone.

    Attributes:
        timeout: seconds to wait for the next byte; None for no limit.
        headers: sent with the client's, and instead of those of the same name; the library's own win.
        retry: the policy if the request fails; ``RetryPolicy(max_attempts=1)`` for one attempt.

    >>> from rxruns.devserver import DevServer
    >>> with DevServer() as server, server.client() as client:
    ...     run_id = server.script().run_id
    ...     client.get(run_id, timeout=5.0, retry=RetryPolicy(max_attempts=1)).status
    'running'
    """

    timeout: float | None
    headers: Mapping[str, str] | None
    retry: RetryPolicy


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """The options of ``POST /runs``, as :meth:`rxruns.RunsClient.create` describes them."""

    session_id: UUID | str | None = None
    input: Mapping[str, Any] | None = None
    model_override: str | None = None
    model_overrides: RunsModelOverrides | None = None
    stream: bool | None = None
    idempotency_key: str | None = None


def create_body(spec_or_plan_hash: Spec | str, options: CreateOptions = CreateOptions()) -> bytes:
    """Return the body of ``POST /runs``. It always has an idempotency key."""
    session_id = options.session_id
    given = None if options.input is None else _plain("input", options.input)
    schema: type[ma.Schema] = schemas.RunsCreateRequestSchema
    begun: dict[str, Any]
    if isinstance(spec_or_plan_hash, str):
        schema, begun = schemas.RunsCreateFromPlanRequestSchema, {"plan_hash": _hash(spec_or_plan_hash)}
    else:
        begun = {"spec": _spec(spec_or_plan_hash, given or {})}
    sent = {
        **begun,
        "input": given,
        "model_override": filled("model_override", options.model_override),
        "model_overrides": _overrides(options.model_overrides),
        "session_id": None if session_id is None else str(check_id(session_id, "session_id")),
        "stream": options.stream,
        "options": {"idempotency_key": filled("idempotency_key", options.idempotency_key) or str(uuid4())},
    }
    return _encode_checked(schema, sent)


def user_agent(name: str, session_headers: Mapping[str, str | bytes]) -> dict[str, str]:
    """Return the ``User-Agent`` header, unless a session has one that isn't the default of requests."""
    own = str(session_headers.get("User-Agent") or "")
    return {} if own and not own.startswith("python-requests/") else {"User-Agent": name}


def tool_results_body(request: RunsToolResultsRequest) -> bytes:
    """Return the body of ``POST /runs/{id}/tool-results``."""
    check_kind("request", request, RunsToolResultsRequest, "a RunsToolResultsRequest")
    return _encode_checked(schemas.RunsToolResultsRequestSchema, _as_record("request", request))


def compile_body(spec: Spec) -> bytes:
    """Return the body of ``POST /workflows/compile``."""
    return _encode("spec", _spec(spec))


def lint_body(spec: Spec) -> bytes:
    """Return the body of ``POST /workflows/lint``. A mapping is sent unchecked."""
    return _encode("spec", spec.to_dict() if isinstance(spec, WorkflowSpec) else _mapping(spec))


def events_query(after_seq: int, limit: int | None, wait: bool, include_output: bool) -> dict[str, str]:
    """Return the query of ``GET /runs/{id}/events``."""
    check_after_seq(after_seq)
    check_limit(limit)
    check_flag("wait", wait)
    check_flag("include_output", include_output)
    query: dict[str, str] = {}
    if after_seq > 0:
        query["after_seq"] = str(after_seq)
    if limit is not None:
        query["limit"] = str(limit)
    if not wait:
        query["wait"] = "0"
    if include_output:
        query["include_output"] = "true"
    return query


def loaded(response: type[T], answer: Answer, run_id: UUID | None = None) -> T:
    """Return a response as its struct.

    Args:
        response: the struct.
        answer: the response as received.
        run_id: the requested run.

    Raises:
        APIError: the response isn't valid.
        TransportError: the response names another run.
    """
    cause: Exception
    try:
        found, named = _read(response, answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem, cause = f"invalid JSON: {error}", error
    except ma.ValidationError as error:
        problem, cause = ": ".join(_first_problem(cast(Any, error).messages)), error
    else:
        if run_id is None or named in (None, run_id):
            return found
        # A proxy, or a shared connection, mixed up responses.
        raise TransportError(f"the response is about another run: requested {run_id}, got {named}")
    answer.redactor.clean(cause, keep=sys.exception())
    raise APIError(
        f"the response is not a valid {response.__name__}: {visible(answer.redactor.text(problem))}",
        status=answer.status,
        request_id=answer.request_id,
        raw_body=answer.excerpt,
    ) from cause


def _read(response: type[T], body: bytes) -> tuple[T, UUID | None]:
    """Return the struct, and the id of the run that the response names. This frame alone holds the record."""
    record: dict[str, Any] = msgspec.json.decode(body)
    found = cast(T, instance_of(_RESPONSES[response]).load(record))
    named = record.get("run_id")
    try:
        return found, None if named is None else msgspec.convert(named, UUID)
    except msgspec.ValidationError as error:
        raise ma.ValidationError("Not a valid UUID.", field_name="run_id") from error


def _spec(spec: Spec, given: Collection[str] = ()) -> dict[str, Any]:
    """Return the checked spec as it is sent. If it declares inputs, the given ones must be among them."""
    if isinstance(spec, WorkflowSpec):
        checked, sent = spec, spec.to_dict()
    else:
        checked, sent = checked_mapping(_mapping(spec), given)
    declared = [item.name for item in checked.inputs]
    for name in given:
        if declared and name not in declared:
            raise must_be("input", f"declared by the spec ({', '.join(declared)})", name)
    return sent


def _mapping(spec: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(spec, WorkflowBuilder):
        raise must_be("spec", "a spec or a mapping", spec, "call .build()")
    return _plain("spec", spec)


def _hash(plan_hash: str) -> str:
    if not plan_hash.strip():
        raise must_be("plan_hash", "64 hexadecimal digits", plan_hash)
    return plan_hash.lower()


def _plain(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    check_kind(name, value, Mapping, "a mapping of JSON values")
    return dict(value)


def _overrides(overrides: RunsModelOverrides | None) -> dict[str, Any] | None:
    if overrides is None:
        return None
    check_kind("model_overrides", overrides, RunsModelOverrides, "a RunsModelOverrides or None")
    record = _as_record("model_overrides", overrides)
    return {name: models for name, models in record.items() if models} or None


def _as_record(name: str, value: msgspec.Struct) -> dict[str, Any]:
    """Return the struct as decoded JSON: `to_builtins` alone keeps tuples, which a schema refuses."""
    record: dict[str, Any] = msgspec.json.decode(_encode(name, msgspec.to_builtins(value)))
    return record


def _encode_checked(schema: type[ma.Schema], body: Mapping[str, Any]) -> bytes:
    """Return the JSON of a request without what is None, checked against its schema."""
    sent = {name: value for name, value in body.items() if value is not None}
    problems = instance_of(schema).validate(sent)
    if problems:
        field, message = _first_problem(problems)
        raise InvalidArgumentError(f"{field}: {message}", field=field)
    pairs = (b'"%b":%b' % (name.encode(), _encode(name, value)) for name, value in sent.items())
    return b"{" + b",".join(pairs) + b"}"


def _encode(name: str, value: object) -> bytes:
    """Return the JSON of one argument."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidArgumentError(f"{name} can't be written as JSON: {reason}", field=name) from error


def _first_problem(problems: Any) -> tuple[str, str]:
    """Return the path of the first of marshmallow's messages, ``results[0].output``, and its text."""
    path = ""
    while isinstance(problems, dict):
        step, problems = next(iter(cast(dict[str | int, Any], problems).items()))
        if step != SCHEMA:
            path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    messages = cast(list[object], problems) if isinstance(problems, list) else [problems]
    return path, " ".join(map(str, messages))
