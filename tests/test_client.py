"""The requests of a client, and its results for the responses."""

from __future__ import annotations

import inspect
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import NAMESPACE_DNS, UUID

import msgspec
import pytest
import requests

import rxruns
from rxruns import RequestMetrics, RetryPolicy, RunsClient, workflow
from rxruns._requests import compile_body, create_body
from rxruns._transport import Cancellation, Cancelled
from rxruns.client import ClientOptions
from rxruns.errors import (
    APIError,
    InvalidArgumentError,
    StreamProtocolError,
    TransportError,
    WorkflowValidationError,
)
from rxruns.models import (
    RunsFanoutSubnodeOverride,
    RunsGetResponse,
    RunsModelOverrides,
    RunsToolCall,
    RunsToolResultItem,
    RunsToolResultsRequest,
)
from tests.conftest import HANG
from tests.test_stream import RUN, line
from tests.wire import KEY, Act, FakeRuns, drops, replies, sends, silent

pytestmark = pytest.mark.usefixtures("no_leaks")

HASH = "0123456789abcdef" * 4
NIL = "00000000-0000-0000-0000-000000000000"
SPEC = {
    "kind": "workflow",
    "nodes": [{"id": "draft", "type": "llm", "model": "gpt-5", "user": "Hello"}],
    "outputs": [{"name": "text", "from": "draft"}],
}
CREATED = {"run_id": RUN, "status": "running", "plan_hash": HASH}
COSTS = {"total_usd_cents": 0, "line_items": []}
GOT = {**CREATED, "cost_summary": COSTS}
QUICK = RetryPolicy(3, 0.001, 0.002)


@pytest.fixture
def playing() -> Iterator[Callable[..., tuple[FakeRuns, RunsClient]]]:
    """Make a service that plays a script, and a client of it."""
    opened: list[Any] = []

    def play(*script: Act, **options: Any) -> tuple[FakeRuns, RunsClient]:
        service = FakeRuns(*script).__enter__()
        wanted: dict[str, Any] = {"api_key": KEY, "base_url": service.url, "retry": QUICK}
        client = RunsClient(**wanted | options)
        opened.extend((client, service))
        return service, client

    yield play
    for each in opened:
        each.__exit__(None, None, None)


Playing = Callable[..., tuple[FakeRuns, RunsClient]]


# ---- making a client ----


def test_a_client_shows_its_address_alone() -> None:
    client = RunsClient(api_key=KEY, access_token="hidden-token", headers={"X-Other": "hidden-header"})

    assert "RunsClient(base_url='https://api.modelrelay.ai/api/v1')" == repr(client)
    assert not any(secret in repr(vars(client)) for secret in (KEY, "hidden-token", "hidden-header"))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"api_key": None}, "api_key"),
        ({"api_key": "sk_hidden"}, "api_key"),
        ({"access_token": "hidden\n"}, "access_token"),
        ({"base_url": 5}, "base_url"),
        ({"base_url": "api.modelrelay.ai"}, "base_url"),
        ({"base_url": "ftp://api.modelrelay.ai"}, "base_url"),
        ({"base_url": "https://"}, "base_url"),
        ({"base_url": "https://host:port"}, "base_url"),
        ({"base_url": "https://host:0"}, "base_url"),
        ({"base_url": "https://[::1"}, "base_url"),
        ({"base_url": "https://a b"}, "base_url"),
        ({"base_url": "https://user:hidden@host/"}, "base_url"),
        ({"base_url": "https://host/?key=hidden"}, "base_url"),
        ({"base_url": "https://host/#hidden"}, "base_url"),
        ({"customer_id": 7}, "customer_id"),
        ({"customer_id": "a\nb"}, "headers"),
        ({"headers": {"X A": "hidden"}}, "headers"),
        ({"headers": {1: "hidden"}}, "headers"),
        ({"headers": {"X-A": "hidden\r\nX-B: 1"}}, "headers"),
        ({"headers": {"X-A": " hidden"}}, "headers"),
        ({"headers": {"X-A": "hidden\u20ac"}}, "headers"),
        ({"headers": {"X-A": b"hidden"}}, "headers"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"max_line_bytes": 0}, "max_line_bytes"),
        ({"retry": None}, "retry"),
        ({"on_request": 5}, "on_request"),
    ],
)
def test_a_wrong_option_is_named_and_no_secret_is_shown(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        RunsClient(**{"api_key": KEY} | options)

    assert field == caught.value.field
    assert field in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_a_trailing_slash_of_the_address_is_optional(slash: str, playing: Playing) -> None:
    service, _ = playing(replies(GOT))
    with RunsClient(api_key=KEY, base_url=service.url + slash) as client:
        client.get(RUN)

    assert [f"/api/v1/runs/{RUN}"] == [request.path for request in service.requests]


def test_the_user_agent_is_the_library_unless_the_caller_has_one(playing: Playing) -> None:
    service, client = playing(*[replies(GOT)] * 5)
    client.get(RUN)
    client.get(RUN, headers={"user-agent": "call/2"})
    for options in (
        {"headers": {"User-Agent": "mine/1"}},
        {"session": session("mine/1")},
        {"session": session()},
    ):
        with RunsClient(api_key=KEY, base_url=service.url, **options) as other:  # type: ignore[arg-type]
            other.get(RUN)

    ours = f"rxruns/{rxruns.__version__}"
    assert [ours, "call/2", "mine/1", "mine/1", ours] == [
        request.headers["user-agent"] for request in service.requests
    ]


def session(user_agent: str | None = None) -> requests.Session:
    made = requests.Session()
    made.headers.update({} if user_agent is None else {"User-Agent": user_agent})
    return made


def test_headers_have_the_credentials_the_library_and_a_customer_unless_it_is_blank(playing: Playing) -> None:
    options: dict[str, Any] = {"access_token": "token", "headers": {"X-Mine": "\xe4"}}
    service, client = playing(replies(GOT), replies(GOT), customer_id=" cust ", **options)
    client.get(RUN)
    with RunsClient(api_key=KEY, base_url=service.url, customer_id="  ") as other:
        other.get(RUN)

    headers, blank = (request.headers for request in service.requests)
    assert "x-modelrelay-customer-id" not in blank
    assert (KEY, "Bearer token") == (headers["x-modelrelay-api-key"], headers["authorization"])
    assert f"rxruns/{rxruns.__version__}" == headers["x-modelrelay-client"]
    assert ("cust", "\xe4") == (headers["x-modelrelay-customer-id"], headers["x-mine"])


@pytest.mark.parametrize(
    ("base_url", "warned"),
    [
        ("http://runs.example/v1", True),
        ("http://10.0.0.7:8080", True),
        ("https://runs.example", False),
        ("http://localhost:8080", False),
        ("http://127.0.0.2:8080", False),
        ("http://[::1]:8080", False),
    ],
)
def test_credentials_without_tls_log_a_warning(
    base_url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    RunsClient(api_key=KEY, base_url=base_url)

    assert [base_url in record.message for record in caplog.records] == [True] * warned
    assert {"rxruns"} >= {record.name for record in caplog.records}


def test_from_env_takes_every_option_of_the_constructor(
    playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = playing(replies(GOT))
    for name in ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN", "MODELRELAY_API_BASE_URL"):
        monkeypatch.setenv(name, "of the environment")
    seen: list[RequestMetrics] = []
    options: ClientOptions = {
        "api_key": KEY,
        "access_token": lambda: "token",
        "base_url": service.url,
        "customer_id": "customer",
        "headers": {"X-Mine": "1"},
        "connect_timeout": 1.0,
        "timeout": 2.0,
        "retry": RetryPolicy(max_attempts=1),
        "session": None,
        "on_request": seen.append,
        "max_line_bytes": 100,
    }
    assert set(options) == set(inspect.signature(RunsClient).parameters) == set(ClientOptions.__annotations__)
    with RunsClient.from_env(**options) as client:
        client.get(RUN)

    headers = service.requests[0].headers
    assert (KEY, "Bearer token") == (headers["x-modelrelay-api-key"], headers["authorization"])
    assert ("customer", "1") == (headers["x-modelrelay-customer-id"], headers["x-mine"])
    assert (2.0, 100, 1) == (client.timeout, client.max_line_bytes, len(seen))


def test_an_option_of_none_is_left_to_the_environment_where_that_has_it(
    playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = playing(replies(GOT))
    monkeypatch.setenv("MODELRELAY_API_KEY", KEY)
    monkeypatch.setenv("MODELRELAY_ACCESS_TOKEN", "token")
    monkeypatch.setenv("MODELRELAY_API_BASE_URL", service.url)
    with RunsClient.from_env(api_key=None, access_token=None, base_url=None, timeout=None) as client:
        client.get(RUN)

    headers = service.requests[0].headers
    assert (KEY, "Bearer token") == (headers["x-modelrelay-api-key"], headers["authorization"])
    assert (service.url, None) == (client.base_url, client.timeout)
    with pytest.raises(InvalidArgumentError, match="timeout"):
        RunsClient.from_env(timeout=-1)
    with pytest.raises(TypeError, match="speed"):
        RunsClient.from_env(speed=1)  # type: ignore[call-arg]


def test_an_environment_without_credentials_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRELAY_API_KEY", " ")
    monkeypatch.delenv("MODELRELAY_ACCESS_TOKEN", raising=False)
    monkeypatch.delenv("MODELRELAY_API_BASE_URL", raising=False)

    with pytest.raises(InvalidArgumentError, match="set MODELRELAY_API_KEY or .*, or pass client=RunsClient"):
        RunsClient.from_env()
    with pytest.raises(InvalidArgumentError, match=r"pass api_key .*, or .* RunsClient.from_env\(\)"):
        RunsClient()
    monkeypatch.setenv("MODELRELAY_ACCESS_TOKEN", "token")
    assert rxruns.DEFAULT_BASE_URL == RunsClient.from_env().base_url


# ---- POST /runs ----


def test_a_spec_is_sent_with_the_given_options_and_nothing_else(playing: Playing) -> None:
    service, client = playing(replies(CREATED))
    created = client.create(SPEC)

    (request,) = service.requests
    key = request.json.pop("options")["idempotency_key"]
    assert ("POST", "/api/v1/runs", {}) == (request.method, request.path, request.query)
    assert {"spec": SPEC, "options": {"idempotency_key": key}} == request.json
    assert UUID(key).version == 4
    assert ("application/json", "application/json") == (
        request.headers["content-type"],
        request.headers["accept"],
    )
    assert (UUID(RUN), "running", HASH) == (created.run_id, created.status, created.plan_hash)


def test_all_options_are_sent(playing: Playing) -> None:
    service, client = playing(replies(CREATED), replies(CREATED))
    options: dict[str, Any] = {
        "session_id": NAMESPACE_DNS,
        "input": MappingProxyType({"topic": "Ü \U0001f388 \u2028", "none": None}),
        "model_override": " big-model ",
        "model_overrides": RunsModelOverrides(
            nodes={"draft": "small"}, fanout_subnodes=(RunsFanoutSubnodeOverride("each", "one", "tiny"),)
        ),
        "stream": False,
        "idempotency_key": "  my key ",
    }
    client.create(MappingProxyType(SPEC), **options)
    client.create_from_plan(HASH, **options)

    expected = {
        "input": {"topic": "Ü \U0001f388 \u2028", "none": None},
        "model_override": "big-model",
        "model_overrides": {
            "nodes": {"draft": "small"},
            "fanout_subnodes": [{"parent_id": "each", "subnode_id": "one", "model": "tiny"}],
        },
        "session_id": str(NAMESPACE_DNS),
        "stream": False,
        "options": {"idempotency_key": "my key"},
    }
    assert [{"spec": SPEC, **expected}, {"plan_hash": HASH, **expected}] == [
        request.json for request in service.requests
    ]
    assert [{}, {}] == [request.query for request in service.requests]


def test_blank_and_empty_options_are_not_sent(playing: Playing) -> None:
    service, client = playing(replies(CREATED))
    client.create(SPEC, model_override=" \t", model_overrides=RunsModelOverrides(), idempotency_key="  ")

    assert {"spec", "options"} == set(service.requests[0].json)
    assert service.requests[0].json["options"]["idempotency_key"].strip()


def test_a_built_spec_is_sent_as_its_dict(playing: Playing) -> None:
    service, client = playing(replies(CREATED))
    spec = workflow.chain(workflow.llm("draft", model="claude-sonnet-4-5", user="Hello"))
    client.create(spec)

    assert spec.to_dict() == service.requests[0].json["spec"]


def test_the_idempotency_key_is_the_same_on_each_attempt_and_new_for_each_call(playing: Playing) -> None:
    service, client = playing(drops, replies(status=503), replies(CREATED), replies(CREATED))
    client.create(SPEC)
    client.create(SPEC)

    keys = [request.json["options"]["idempotency_key"] for request in service.requests]
    assert (1, 2, 4) == (len(set(keys[:3])), len(set(keys)), len(keys))
    assert 1 == len({request.body for request in service.requests[:3]})


def test_an_input_that_a_checked_spec_does_not_have_is_refused(playing: Playing) -> None:
    draft = workflow.llm("draft", user="About {{topic}}")
    spec = workflow.chain(draft, model="gpt-5", inputs=["topic", "tone"])
    service, client = playing(replies(CREATED), replies(CREATED), replies(CREATED))

    refused = r"^input must be declared by the spec \(topic, tone\), got 'topc'$"
    with pytest.raises(InvalidArgumentError, match=refused) as error:
        client.create(spec, input={"topic": "tides", "topc": "tides"})
    assert "input" == error.value.field

    client.create(spec, input={"topic": "tides"})
    with pytest.raises(InvalidArgumentError, match=refused):
        client.create(spec.to_dict(), input={"topc": "tides"})
    client.create(spec.to_dict(), input={"topic": "tides"})
    client.create(workflow.chain(workflow.llm("draft", user="Hi"), model="gpt-5"), input={"topc": "tides"})
    assert 3 == len(service.requests)


def spec_of(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    outputs = [{"name": "text", "from": "draft"}]
    return {"kind": "workflow", "nodes": list(nodes), "outputs": outputs, **fields}


DRAFT = {"id": "draft", "type": "llm", "model": "gpt-5"}


def test_unknown_fields_of_a_mapping_are_sent() -> None:
    predicate = {"source": "node_output", "op": "exists", "path": "$.x", "new": 1}
    spec = spec_of(
        {**DRAFT, "new": {"a": [1]}, "tool_execution": {"mode": "client", "new": 1}}
        | {
            "tools": ["a"],
            "output_format": {"type": "next", "new": 1},
            "retry": {"max_attempts": 2, "new": 1},
        },
        {"id": "any", "type": "join.any", "depends_on": ["draft"], "predicate": predicate},
        {"id": "t", "type": "transform.json", "object": {"k": {"from": "draft", "new": 1}}},
        {"id": "m", "type": "transform.json", "merge": [{"from": "t", "new": 1}]},
        {
            "id": "each",
            "type": "map.fanout",
            "items_from": "draft",
            "subnode": {**DRAFT, "id": "one", "new": 1},
        },
        outputs=[{"name": "text", "from": "draft", "new": 1}],
        inputs=[{"name": "topic", "new": 1}],
        new={"x": None},
    )

    assert spec == msgspec.json.decode(create_body(spec))["spec"]
    assert spec == msgspec.json.decode(compile_body(spec))


def test_the_model_of_a_mapping_is_written_into_nodes_that_have_none() -> None:
    bare = {"id": "draft", "type": "llm"}
    each = {
        "id": "each",
        "type": "map.fanout",
        "items_from": "draft",
        "subnode": {"id": "one", "type": "llm"},
    }
    spec = spec_of(bare, each, {**DRAFT, "id": "own"}, model="general")
    sent = msgspec.json.decode(create_body(spec))["spec"]["nodes"]

    assert ["general", "general", "gpt-5"] == [
        sent[0]["model"],
        sent[1]["subnode"]["model"],
        sent[2]["model"],
    ]
    assert {"id": "draft", "type": "llm"} == bare


@pytest.mark.parametrize(
    "node",
    [
        {**DRAFT, "user": "About {{topic}}"},
        {**DRAFT, "input": [{"content": "{{ topic }}"}]},
        {"id": "draft", "type": "map.fanout", "items_from_input": "topic", "subnode": {**DRAFT, "id": "one"}},
    ],
)
def test_a_mapping_may_use_a_given_input_that_it_does_not_declare(
    node: dict[str, Any], playing: Playing
) -> None:
    service, client = playing(replies(CREATED))
    client.create(spec_of(node), input={"topic": ["tides"]})
    with pytest.raises(InvalidArgumentError, match="topic"):
        client.create(spec_of(node))
    with pytest.raises(InvalidArgumentError, match="input must be declared by the spec"):
        client.create(spec_of(node), input={"topic": [], "topc": 1})

    (request,) = service.requests
    assert spec_of(node) == request.json["spec"]


def test_a_builder_is_refused_with_the_call_that_builds(playing: Playing) -> None:
    service, client = playing()
    with pytest.raises(InvalidArgumentError, match=r"call \.build\(\)"):
        client.create(workflow.workflow().llm("draft", user="Hi"))  # type: ignore[arg-type]
    assert [] == service.requests


def test_a_mutable_input_is_encoded_once(playing: Playing) -> None:
    values = {"topic": "first"}

    def change_key() -> str:
        values["topic"] += "+"
        return KEY

    service, client = playing(drops, replies(CREATED), api_key=change_key)
    client.create(SPEC, input=values)

    assert ["first", "first"] == [request.json["input"]["topic"] for request in service.requests]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_plan_hash_is_sent_in_lower_case(playing: Playing) -> None:
    service, client = playing(replies(CREATED))
    client.create_from_plan(HASH.upper())

    assert HASH == service.requests[0].json["plan_hash"]


@pytest.mark.parametrize(
    ("overrides", "sent"),
    [
        (RunsModelOverrides(), None),
        (RunsModelOverrides(nodes={}, fanout_subnodes=()), None),
        (RunsModelOverrides(nodes={"a": "m"}, fanout_subnodes=()), {"nodes": {"a": "m"}}),
    ],
)
def test_empty_model_overrides_are_not_sent(
    overrides: RunsModelOverrides, sent: Any, playing: Playing
) -> None:
    service, client = playing(replies(CREATED))
    client.create(SPEC, model_overrides=overrides)

    assert sent == service.requests[0].json.get("model_overrides")


def test_a_start_can_be_cancelled(playing: Playing) -> None:
    service, client = playing(silent)
    cancellation = Cancellation()
    ended_by: list[BaseException] = []

    def start() -> None:
        try:
            client._calls.start(b"{}", cancellation=cancellation)
        except Cancelled as error:
            ended_by.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    service.wait_requests(1)
    cancellation.cancel()
    starting.join(HANG)

    assert 1 == len(ended_by)


# ---- the other calls ----


def test_get_requests_the_run_and_what_to_include(playing: Playing) -> None:
    service, client = playing(replies(GOT), replies(GOT), replies(GOT))
    got = client.get(RUN)
    client.get(UUID(RUN), include=("steps", "tool_calls"))
    client.get(RUN, include="steps")

    assert (UUID(RUN), "running", 0) == (got.run_id, got.status, got.cost_summary.total_usd_cents)
    assert [{}, {"include": "steps,tool_calls"}, {"include": "steps"}] == [
        request.query for request in service.requests
    ]
    assert {("GET", f"/api/v1/runs/{RUN}")} == {
        (request.method, request.path) for request in service.requests
    }


def test_get_once_makes_one_attempt(playing: Playing) -> None:
    service, client = playing(replies(GOT), replies(status=503))
    assert isinstance(client._calls.get_once(UUID(RUN), cancellation=Cancellation()), RunsGetResponse)
    with pytest.raises(APIError):
        client._calls.get_once(UUID(RUN), cancellation=Cancellation())

    assert 2 == len(service.requests)


def test_pending_tools_are_requested(playing: Playing) -> None:
    call = {"tool_call": {"id": "call_1", "name": "search", "arguments": "{}"}}
    node = {"node_id": "draft", "step": 1, "request_id": RUN, "tool_calls": [call]}
    service, client = playing(replies({"run_id": RUN, "pending": [node]}))
    pending = client.pending_tools(RUN)

    assert "search" == pending.pending[0].tool_calls[0].tool_call.name
    assert f"/api/v1/runs/{RUN}/pending-tools" == service.requests[0].path


def results(**changes: Any) -> RunsToolResultsRequest:
    item = RunsToolResultItem(RunsToolCall("call_1", "search"), "found")
    fields: dict[str, Any] = {"node_id": "draft", "step": 1, "request_id": UUID(RUN), "results": (item,)}
    return RunsToolResultsRequest(**fields | changes)


def test_tool_results_are_sent(playing: Playing) -> None:
    service, client = playing(replies({"accepted": 1, "status": "running"}))
    accepted = client.submit_tool_results(RUN, results())

    (request,) = service.requests
    assert (1, "running") == (accepted.accepted, accepted.status)
    assert ("POST", f"/api/v1/runs/{RUN}/tool-results") == (request.method, request.path)
    sent = {"tool_call": {"id": "call_1", "name": "search"}, "output": "found"}
    assert {"node_id": "draft", "step": 1, "request_id": RUN, "results": [sent]} == request.json


def test_a_conflict_is_raised_at_once(playing: Playing) -> None:
    service, client = playing(replies({"error": {"code": "CONFLICT", "message": "step 2"}}, status=409))
    with pytest.raises(APIError, match="409 CONFLICT: step 2"):
        client.submit_tool_results(RUN, results())

    assert 1 == len(service.requests)


def test_a_spec_is_compiled(playing: Playing) -> None:
    service, client = playing(replies({"plan_hash": HASH, "plan_json": {"a": 1}}))
    compiled = client.compile(SPEC)

    assert (HASH, {"a": 1}) == (compiled.plan_hash, compiled.plan_json)
    assert ("POST", "/api/v1/workflows/compile", SPEC) == (
        service.requests[0].method,
        service.requests[0].path,
        service.requests[0].json,
    )


@pytest.mark.parametrize("status", [400, 422])
def test_a_spec_that_the_service_refuses_names_its_issues(status: int, playing: Playing) -> None:
    issue = {"code": "UNKNOWN_NODE", "path": "$.nodes[0]", "message": "no such node"}
    _, client = playing(replies({"code": "VALIDATION_ERROR", "issues": [issue]}, status=status))
    with pytest.raises(WorkflowValidationError, match=r"\$.nodes\[0\]: no such node"):
        client.compile(SPEC)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "invalid JSON"),
        (b"", "invalid JSON"),
        (b"\xff", "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b"[]", "Invalid input type"),
        (json.dumps({**GOT, "status": 5}).encode(), "status: Not a valid string"),
        (json.dumps({**GOT, "cost_summary": {}}).encode(), "cost_summary.total_usd_cents: Missing"),
    ],
)
def test_an_invalid_response_is_an_api_error(body: bytes, says: str, playing: Playing) -> None:
    service, client = playing(replies(body, headers={"X-Request-Id": "req_1"}))
    with pytest.raises(APIError, match="not a valid RunsGetResponse: ") as caught:
        client.get(RUN)

    error = caught.value
    assert says in error.message
    assert (200, "req_1", 1) == (error.status, error.request_id, len(service.requests))
    assert body.decode("utf-8", "replace")[:4096] == error.raw_body


OTHER = "11111111-2222-3333-4444-555555555555"
STEP = {"node_id": "draft", "step": 0, "request_id": RUN}
CALL = {"id": "call_1", "name": "search", "arguments": "{}"}


def test_the_steps_of_a_run_are_requested(playing: Playing) -> None:
    service, client = playing(replies({"steps": [{**STEP, "llm_call": {"model": "gpt-5"}}]}))
    (step,) = client.steps(RUN).steps

    assert ("draft", 0, {"model": "gpt-5"}) == (step.node_id, step.step, step.llm_call)
    assert ("GET", f"/api/v1/runs/{RUN}/steps") == (service.requests[0].method, service.requests[0].path)


@pytest.mark.parametrize(
    ("tool_id", "segment"), [("call_1", "call_1"), ("a/b?c#d %", "a%2Fb%3Fc%23d%20%25"), ("...", "...")]
)
def test_a_tool_call_is_requested_by_any_id(tool_id: str, segment: str, playing: Playing) -> None:
    result = {"tool_call": CALL, "output": "found"}
    answer = {"node_id": "draft", "step": 2, "tool_call": CALL, "tool_result": result}
    service, client = playing(replies(answer))
    found = client.tool_call(RUN, 2, tool_id)

    assert found.tool_result
    assert ("search", "found") == (found.tool_call.name, found.tool_result.output)
    assert f"/api/v1/runs/{RUN}/steps/2/tool-calls/{segment}" == service.requests[0].path


def test_the_tasks_of_a_run_are_requested(playing: Playing) -> None:
    task = {"content": "Read", "status": "in_progress", "active_form": "Reading"}
    service, client = playing(replies({"tasks": [task]}), replies({}))

    assert ("Read", "in_progress", "Reading") == msgspec.structs.astuple(client.tasks(RUN).tasks[0])
    assert () == client.tasks(RUN).tasks
    assert f"/api/v1/runs/{RUN}/tasks" == service.requests[0].path


def test_a_spec_is_linted_as_it_is(playing: Playing) -> None:
    issue = {"code": "REQUIRED", "path": "$.nodes", "message": "at least one"}
    service, client = playing(replies({"kind": "workflow", "compile_issues": [issue]}), replies({}))
    lint = client.lint({"kind": "nothing"})
    client.lint(workflow.chain(workflow.llm("draft", model="gpt-5")), compile=False)

    assert "$.nodes" == lint.compile_issues[0].path
    assert [("POST", "/api/v1/workflows/lint")] * 2 == [
        (request.method, request.path) for request in service.requests
    ]
    assert {"kind": "nothing"} == service.requests[0].json
    assert [{}, {"compile": "false"}] == [request.query for request in service.requests]
    with pytest.raises(InvalidArgumentError, match="compile"):
        client.lint(SPEC, compile="no")  # type: ignore[arg-type]


ABOUT_RUNS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "get": (lambda client, **call: client.get(RUN, **call), GOT),
    "pending tools": (lambda client, **call: client.pending_tools(RUN, **call), {"run_id": RUN}),
    "steps": (lambda client, **call: client.steps(RUN, **call), {"run_id": RUN, "steps": []}),
    "tasks": (lambda client, **call: client.tasks(RUN, **call), {"run_id": RUN}),
    "tool call": (
        lambda client, **call: client.tool_call(RUN, 0, "call_1", **call),
        {"run_id": RUN, "node_id": "draft", "step": 0, "tool_call": CALL},
    ),
    "tool results": (
        lambda client, **call: client.submit_tool_results(RUN, results(), **call),
        {"run_id": RUN, "accepted": 1, "status": "running"},
    ),
}
OTHERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "create": (lambda client, **call: client.create(SPEC, **call), CREATED),
    "create from plan": (lambda client, **call: client.create_from_plan(HASH, **call), CREATED),
    "compile": (lambda client, **call: client.compile(SPEC, **call), {"plan_hash": HASH, "plan_json": {}}),
    "lint": (lambda client, **call: client.lint(SPEC, **call), {}),
}
CALLS = ABOUT_RUNS | OTHERS


@pytest.mark.parametrize("name", ABOUT_RUNS)
def test_a_response_about_another_run_is_a_transport_error(name: str, playing: Playing) -> None:
    call, answer = ABOUT_RUNS[name]
    service, client = playing(
        replies({**answer, "run_id": OTHER}), replies({**answer, "run_id": RUN.upper()})
    )
    with pytest.raises(TransportError, match=f"another run: requested {RUN}, got {OTHER}") as caught:
        call(client)
    call(client)

    assert ("other", 2) == (caught.value.kind, len(service.requests))


@pytest.mark.parametrize("newline", [b"\n", b""])
@pytest.mark.parametrize("call", ["stream_events", "list_events"])
def test_an_event_of_another_run_ends_a_stream(call: str, newline: bytes, playing: Playing) -> None:
    foreign = line(2).replace(RUN.encode(), OTHER.encode()).rstrip(b"\n") + newline
    _, client = playing(sends(line(1) + foreign))
    with pytest.raises(StreamProtocolError, match=f"another run, {OTHER}") as caught:
        list(getattr(client, call)(RUN))

    assert (UUID(RUN), 1, 2) == (caught.value.run_id, caught.value.last_seq, caught.value.line_number)


# ---- options of a call ----

STREAMS: dict[str, Callable[..., Any]] = {
    "stream_events": lambda client, **call: client.stream_events(RUN, **call).close(),
    "list_events": lambda client, **call: client.list_events(RUN, **call),
}


def answered(name: str) -> Act:
    return sends(line(1)) if name in STREAMS else replies(CALLS[name][1])


def calling(name: str) -> Callable[..., Any]:
    return STREAMS[name] if name in STREAMS else CALLS[name][0]


@pytest.mark.parametrize("name", [*CALLS, *STREAMS])
def test_each_call_takes_headers_of_its_own_and_the_library_s_win(name: str, playing: Playing) -> None:
    service, client = playing(answered(name), answered(name), headers={"X-Mine": "a", "X-Other": "b"})
    own = {"x-mine": "c", "accept": "text/html", "X-ModelRelay-Client": "x", "x-modelrelay-api-key": "x"}
    calling(name)(client, headers=own)
    calling(name)(client, headers=None)

    first, second = (request.headers for request in service.requests)
    assert ("c", "b", "a") == (first["x-mine"], first["x-other"], second["x-mine"])
    for header in ("accept", "x-modelrelay-client", "x-modelrelay-api-key"):
        assert second[header] == first[header]


@pytest.mark.parametrize("name", [*CALLS, *STREAMS])
def test_each_call_takes_a_retry_policy_of_its_own(name: str, playing: Playing) -> None:
    busy = replies(status=503)
    service, client = playing(busy, *[busy] * 4, answered(name))
    with pytest.raises(APIError):
        calling(name)(client, retry=RetryPolicy(max_attempts=1))
    calling(name)(client, retry=RetryPolicy(5, 0.001, 0.002))

    assert 6 == len(service.requests)


@pytest.mark.parametrize("name", [*CALLS, *STREAMS])
def test_each_call_takes_a_timeout_of_its_own(name: str, playing: Playing) -> None:
    _, client = playing(silent, timeout=None)
    with pytest.raises(TransportError) as caught:
        calling(name)(client, timeout=0.05, retry=RetryPolicy(max_attempts=1))

    assert "timeout" == caught.value.kind


@pytest.mark.parametrize("name", [*CALLS, *STREAMS])
def test_an_option_that_no_call_has_is_a_type_error(name: str, playing: Playing) -> None:
    service, client = playing()
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeot'"):
        calling(name)(client, timeot=5)

    assert 0 == service.connections


# ---- events ----


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, {}),
        ({"after_seq": 0, "wait": True}, {}),
        ({"after_seq": 7, "limit": 10_000}, {"after_seq": "7", "limit": "10000"}),
        ({"wait": False, "include_output": True}, {"wait": "0", "include_output": "true"}),
    ],
)
def test_stream_events_requests_the_events_uncompressed(
    options: dict[str, Any], query: dict[str, str], playing: Playing
) -> None:
    service, client = playing(sends(line(1)))
    client.stream_events(RUN, **options).close()

    (request,) = service.requests
    assert ("GET", f"/api/v1/runs/{RUN}/events", query) == (request.method, request.path, request.query)
    assert "application/x-ndjson" == request.headers["accept"]
    assert "identity" == request.headers["accept-encoding"]


def test_opening_a_stream_is_retried(playing: Playing) -> None:
    service, client = playing(drops, replies(status=503), sends(line(1)))
    with client.stream_events(RUN) as stream:
        assert [1] == [event.seq for event in stream]

    assert 3 == len(service.requests)


def page(first: int, last: int) -> bytes:
    return b"".join(line(seq) for seq in range(first, last + 1))


def test_events_are_listed_in_pages_over_one_connection(playing: Playing) -> None:
    service, client = playing(sends(page(1, 10_000)), sends(page(10_001, 10_003)))
    events = client.list_events(RUN, include_output=True)

    assert list(range(1, 10_004)) == [event.seq for event in events]
    always = {"limit": "10000", "wait": "0", "include_output": "true"}
    assert [(0, always), (0, {"after_seq": "10000", **always})] == [
        (request.connection, request.query) for request in service.requests
    ]


def test_a_limit_is_split_into_pages(playing: Playing) -> None:
    service, client = playing(sends(page(3, 10_002)), sends(page(10_003, 10_007)))
    events = client.list_events(RUN, after_seq=2, limit=10_005)

    assert (10_005, 10_007) == (len(events), events[-1].seq)
    assert ["10000", "5"] == [request.query["limit"] for request in service.requests]


def test_events_above_the_limit_are_dropped(playing: Playing) -> None:
    _, client = playing(sends(page(1, 5)))

    assert [1, 2] == [event.seq for event in client.list_events(RUN, limit=2)]


def test_a_run_without_events_is_an_empty_list(playing: Playing) -> None:
    _, client = playing(sends())

    assert [] == client.list_events(RUN)


def test_a_service_that_repeats_a_page_is_an_error(playing: Playing) -> None:
    service, client = playing(sends(page(1, 10_000)), sends(page(1, 10_000)))
    with pytest.raises(StreamProtocolError, match="after seq 10000 ended with seq 10000"):
        client.list_events(RUN)

    assert 2 == len(service.requests)


# ---- arguments ----

SENDING = (RunsClient.create, RunsClient.compile)
WRONG_OPTIONS: dict[str, tuple[Any, ...]] = {
    "timeout": (0, "5"),
    "retry": (None, 3),
    "headers": ({"X A": "b"}, {"X-A": "hidden\n"}),
}

REFUSED_SPECS: list[tuple[Any, str]] = [
    ({}, "kind"),
    ({**SPEC, "kind": "workflow.v1"}, "kind"),
    (spec_of(), "nodes"),
    (spec_of(DRAFT, outputs=[]), "outputs"),
    (spec_of(DRAFT, DRAFT), "nodes[1].id"),
    (spec_of({**DRAFT, "type": "lmm"}), "nodes[0].type"),
    (spec_of({**DRAFT, "user": 5}), "nodes[0].user"),
    (spec_of({**DRAFT, "user": "{{topci}}"}), "nodes[0].user"),
    (spec_of({**DRAFT, "depends_on": ["edit"]}), "nodes[0].depends_on"),
    (spec_of({**DRAFT, "max_output_tokens": 0}), "nodes[0].max_output_tokens"),
    (spec_of(DRAFT, {"id": "j", "type": "join.all"}), "nodes[1].depends_on"),
    (spec_of(DRAFT, inputs=[{"title": "x"}]), "inputs[0]"),
    (spec_of({**DRAFT, "new": 1, "user": "{{topci}}"}, new=1), "nodes[0].user"),
    (["a"], "spec"),
    (5, "spec"),
    ({"a": object()}, "spec"),
]
REFUSED_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"session_id": NIL}, "session_id"),
    ({"session_id": "no uuid"}, "session_id"),
    ({"session_id": 5}, "session_id"),
    ({"input": ["a"]}, "input"),
    ({"input": {"a": object()}}, "input"),
    ({"input": {"a": float("nan")}}, "input"),
    ({"input": {"a": "\ud800"}}, "input"),
    ({"input": {"a": {1, 2}}}, "input"),
    ({"input": {"a": nested(100_000)}}, "input"),
    ({"input": {1: "a"}}, "input[1].key"),
    ({"model_override": 5}, "model_override"),
    ({"model_overrides": {"nodes": {}}}, "model_overrides"),
    ({"model_overrides": RunsModelOverrides(nodes={"a": 5})}, "model_overrides.nodes.a.value"),  # type: ignore[dict-item]
    ({"stream": "yes"}, "stream"),
    ({"idempotency_key": 5}, "idempotency_key"),
]
REFUSED_RESULTS: list[tuple[Any, str]] = [
    ({}, "request"),
    (results(step=-1), "step"),
    (results(node_id=""), "node_id"),
    (results(results=(RunsToolResultItem(RunsToolCall(" ", "x"), "y"),)), "results[0].tool_call.id"),
    (results(results=(RunsToolResultItem(RunsToolCall("x", "y"), "\ud800"),)), "request"),
]
REFUSED_CALLS: list[tuple[str, dict[str, Any], str]] = [
    *(
        (call, {"run_id": run_id}, f"run_id must be .*, and not the nil UUID, got {run_id!r}")
        for call in ("get", "pending_tools", "steps", "tasks", "stream_events", "list_events")
        for run_id in (NIL, "x", 5, None, "")
    ),
    *(
        ("get", {"include": include}, "include must be some of 'steps', 'tool_calls', got")
        for include in (("stepz",), "tools", (5,), ("steps", ""))
    ),
    *(("tool_call", {"step": step, "tool_id": "a"}, "step") for step in (-1, "1", True)),
    *(("tool_call", {"step": 0, "tool_id": tool_id}, "tool_id") for tool_id in ("", "..", 5, "\ud800")),
    *(("stream_events", {"after_seq": wrong}, "after_seq") for wrong in (-1, True, "5")),
    *(("stream_events", {"limit": wrong}, "limit") for wrong in (0, 1.0, True)),
    *(("list_events", {"limit": wrong}, "limit") for wrong in (0, "5", True)),
    ("stream_events", {"limit": 10_001}, "limit must be .*; list_events and run_events accept more"),
    ("stream_events", {"wait": 0}, "wait"),
    ("stream_events", {"include_output": "yes"}, "include_output"),
]
REFUSED: list[tuple[Callable[[RunsClient], object], str]] = [
    *((partial(method, spec=wrong), field) for wrong, field in REFUSED_SPECS for method in SENDING),
    *((partial(RunsClient.create, spec=SPEC, **options), field) for options, field in REFUSED_OPTIONS),
    *(
        (partial(RunsClient.create_from_plan, plan_hash=wrong), "plan_hash")
        for wrong in ("", "  ", "abc", HASH + "\n", f" {HASH}", None, SPEC)
    ),
    (partial(RunsClient.create, spec=""), "plan_hash"),
    *(
        (partial(RunsClient.submit_tool_results, run_id=RUN, request=wrong), field)
        for wrong, field in REFUSED_RESULTS
    ),
    *(
        (partial(getattr(RunsClient, call), **{"run_id": RUN} | options), says)
        for call, options, says in REFUSED_CALLS
    ),
    *(
        (partial(calling(name), **{option: value}), option)
        for name in (*CALLS, *STREAMS)
        for option, values in WRONG_OPTIONS.items()
        for value in values
    ),
]


@pytest.mark.parametrize(("call", "says"), REFUSED)
def test_a_wrong_argument_is_named_before_anything_is_sent(
    call: Callable[[RunsClient], object], says: str, playing: Playing
) -> None:
    service, client = playing()
    with pytest.raises(InvalidArgumentError, match=f"^{says if ' ' in says else re.escape(says)}") as caught:
        call(client)

    assert (says.split()[0], 0) == (caught.value.field, service.connections)
    assert "hidden" not in str(caught.value)


# ---- together ----


def test_metrics_are_given_for_calls_and_streams(playing: Playing) -> None:
    metrics: list[rxruns.RequestMetrics] = []
    _, client = playing(
        replies(GOT), sends(line(1)), *[drops] * 3, on_request=metrics.append, customer_id="cust"
    )
    client.get(RUN, include=("steps",))
    client.list_events(RUN)
    with pytest.raises(TransportError):
        client.get(RUN)

    assert [(f"/runs/{RUN}", 200, 1), (f"/runs/{RUN}/events", 200, 1), (f"/runs/{RUN}", None, 3)] == [
        (given.path, given.status, given.attempts) for given in metrics
    ]


def test_many_threads_may_use_one_client(playing: Playing) -> None:
    service, client = playing(*[replies(GOT)] * 40)
    statuses: list[str] = []

    def get() -> None:
        for _ in range(5):
            statuses.append(client.get(RUN).status)

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)

    assert ["running"] * 40 == statuses
    assert service.connections <= 8


def test_importing_the_package_logs_nothing_and_sends_nothing() -> None:
    code = "import logging; logging.basicConfig(level=0); import rxruns"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)

    assert (0, "") == (imported.returncode, imported.stderr)
    assert logging.getLogger("rxruns").handlers == []
