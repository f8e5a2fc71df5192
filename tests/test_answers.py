"""Errors in every form that the service sends them, and credentials that are refused without being shown."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns._transport import Credentials
from rxruns._transport._answers import RequestMetrics, api_error, status_error
from rxruns._transport._credentials import redactor_of
from rxruns._transport._redaction import Redactor
from rxruns.errors import APIError, FieldError, InvalidArgumentError, TransportError, WorkflowValidationError
from rxruns.models import WorkflowIssue


def error_of(body: object, status: int = 409, **headers: str) -> APIError:
    text = body if isinstance(body, str) else json.dumps(body)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return api_error(status, sent, text.encode("utf-8", "surrogatepass"), Redactor(()))


INNER = {
    "code": "VALIDATION_ERROR",
    "message": "no name",
    "fields": [{"field": "name", "message": "is missing"}],
}


@pytest.mark.parametrize("body", [{"error": INNER, "request_id": "req_1"}, {**INNER, "request_id": "req_1"}])
def test_both_forms_of_an_error_are_understood(body: object) -> None:
    error = error_of(body)

    assert (409, "VALIDATION_ERROR", "no name") == (error.status, error.code, error.message)
    assert ((FieldError("name", "is missing"),), "req_1") == (error.fields, error.request_id)
    assert error.raw_body == json.dumps(body)
    assert error.is_validation


def test_the_flat_form_is_understood() -> None:
    both = error_of({"error": "not found", "code": "NOT_FOUND", "message": "no such run"})
    one = error_of({"error": "not found", "code": "NOT_FOUND"})

    assert [("NOT_FOUND", "no such run"), ("NOT_FOUND", "not found")] == [
        (error.code, error.message) for error in (both, one)
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("  upstream\n gone ", "upstream gone"),
        ("", "Conflict"),
        ("{}", "{}"),
        ("null", "null"),
        ("[1]", "[1]"),
        ('{"message": 5, "error": null}', "Conflict"),
        ("[" * 100_000, "[" * 500),
        ("x" * 9000, "x" * 500),
    ],
)
def test_any_other_body_is_the_text_of_the_error(body: str, message: str) -> None:
    error = error_of(body)

    assert (message, None, body[:4096]) == (error.message, error.code, error.raw_body)


@pytest.mark.parametrize(
    ("sent", "status"), [(404, 404), (True, 409), ("404", 409), (99, 409), (600, 409), (None, 409)]
)
def test_a_valid_status_in_the_body_wins(sent: object, status: int) -> None:
    assert status == error_of({"error": {**INNER, "status": sent}}).status


def test_the_id_in_the_body_wins_over_the_services_header_and_that_over_the_common_one() -> None:
    headers = {"X_ModelRelay_Request_Id": "own", "X_Request_Id": "common"}
    assert ["own", "common", None] == [
        error_of("", **sent).request_id for sent in (headers, headers | {"X_ModelRelay_Request_Id": ""}, {})
    ]
    assert "one" == error_of({"request_id": "one"}, X_Request_Id="two").request_id
    assert "two" == error_of({"request_id": 1}, X_Request_Id="two").request_id
    assert "one" == error_of({"requestId": "one"}, X_Request_Id="two").request_id


def test_fields_are_kept_in_the_order_sent() -> None:
    sent = [{"field": "b", "message": "is blank"}, {"field": "a", "message": "is missing"}]
    expected = (FieldError("b", "is blank"), FieldError("a", "is missing"))

    assert expected == error_of({"fields": sent}).fields
    assert expected == error_of({"error": {"code": "X", "message": "m", "fields": sent}}).fields
    assert expected == error_of({"fields": {"b": "is blank", "a": "is missing"}}).fields
    assert "409: m; b: is blank; a: is missing" == str(error_of({"message": "m", "fields": sent}))


def test_odd_fields_are_kept_as_far_as_they_are_readable() -> None:
    assert (FieldError("a", '["x"]'),) == error_of({"fields": {"a": ["x"]}}).fields
    assert (FieldError("", "x"), FieldError("a", "")) == error_of(
        {"fields": [{"message": "x"}, {"field": "a"}, "text", 1, None, {}]}
    ).fields
    assert () == error_of({"fields": "x"}).fields


def test_a_400_with_issues_is_a_workflow_validation_error() -> None:
    issue = {"code": "UNKNOWN_NODE", "path": "$.nodes[0]", "message": "no such node"}
    error = error_of({"issues": [issue]}, 400)

    assert isinstance(error, WorkflowValidationError)
    assert (WorkflowIssue(**issue),) == error.issues
    assert "the workflow spec is not valid" == error.message
    assert error.__reduce__() and str(error) == str(pickle.loads(pickle.dumps(error)))


def test_issues_are_read_with_tolerance() -> None:
    error = error_of({"error": {"message": "no", "issues": [{"path": 1, "message": "x"}, "text"]}}, 400)

    assert isinstance(error, WorkflowValidationError)
    assert (WorkflowIssue(code="", path="", message="x"), WorkflowIssue("", "", "text")) == error.issues


@pytest.mark.parametrize(("issues", "status"), [([], 400), ("none", 400), ([{}], 409)])
def test_without_issues_or_with_another_status_it_is_an_api_error(issues: object, status: int) -> None:
    assert APIError is type(error_of({"issues": issues}, status))


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_every_body_has_a_message(body: str) -> None:
    assert error_of(body).message


def test_retry_after_and_unnamed_statuses_are_understood() -> None:
    assert [30.0, None] == [error_of("", Retry_After=text).retry_after for text in ("30", "soon")]
    assert "unknown status" == error_of("", 599).message


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("http://elsewhere.example/runs?key=1", "elsewhere.example"),
        ("//elsewhere.example:81", "elsewhere.example:81"),
        ("http://name:password@elsewhere.example", "elsewhere.example"),
        ("/login", "another path of the same host"),
        ("../v2/runs", "another path of the same host"),
        ("http://[::1", "another address"),
        ("mailto:someone", "another address"),
        ("http://else\x1bwhere", "else\u241bwhere"),
    ],
)
def test_a_redirect_names_its_target(location: str, place: str) -> None:
    error = status_error(302, {"Location": location, "X-Request-Id": "req_1"})

    assert (302, "req_1") == (error.status, error.request_id)
    assert error.message.startswith(f"a redirect to {place} is not followed")


def test_metrics_are_values() -> None:
    metrics = RequestMetrics("GET", "/runs", 200, 0.5, 1, None, None)
    assert metrics == pickle.loads(pickle.dumps(metrics))
    failed = RequestMetrics("GET", "/runs", None, 0.5, 1, None, TransportError("gone", kind="connect"))
    assert "gone" == str(pickle.loads(pickle.dumps(failed)).error)


# ---- credentials ----


def test_a_token_is_sent_as_bearer_once() -> None:
    tokens = ("abc", "Bearer abc", "bearer abc", "BEARER abc")

    assert [{"Authorization": "Bearer abc"}] * 4 == [Credentials(None, token).headers() for token in tokens]
    expected = {"X-ModelRelay-Api-Key": "mr_sk_1", "Authorization": "Bearer abc"}
    assert expected == Credentials("mr_sk_1", "abc").headers()


@pytest.mark.parametrize(
    ("key", "token", "field"),
    [
        (None, None, "api_key"),
        ("", None, "api_key"),
        ("mr_sk_", None, "api_key"),
        ("sk_topsecret", None, "api_key"),
        (b"mr_sk_topsecret", None, "api_key"),
        ("mr_sk_topsecret\n", None, "api_key"),
        ("mr_sk_top secret", None, "api_key"),
        ("mr_sk_topsecret\x7f", None, "api_key"),
        ("mr_sk_topsecret\xe4", None, "api_key"),
        ("mr_sk_topsecret\u20ac", None, "api_key"),
        (None, "", "access_token"),
        (None, "Bearer ", "access_token"),
        (None, 7, "access_token"),
        (None, "topsecret\r\nX-Evil: 1", "access_token"),
    ],
)
def test_an_invalid_credential_is_refused_and_not_quoted(key: Any, token: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Credentials(key, token)

    assert field == caught.value.field
    assert "topsecret" not in str(caught.value)


def test_the_result_of_a_function_is_checked() -> None:
    credentials = Credentials(lambda: "sk_topsecret", lambda: "abc")

    with pytest.raises(InvalidArgumentError, match="api_key"):
        credentials.headers()


def test_echoed_secrets_are_hidden() -> None:
    redactor = redactor_of(Credentials("mr_sk_1", "abc").headers())

    assert "key [hidden], Bearer [hidden]" == redactor.text("key mr_sk_1, Bearer abc")
