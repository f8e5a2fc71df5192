"""The tree of errors: their attributes and messages, pickling and copying."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any
from uuid import UUID

import pytest

from rxruns import errors
from rxruns.errors import (
    APIError,
    BudgetError,
    ExportError,
    FieldError,
    InvalidArgumentError,
    LeaseLostError,
    RunFailedError,
    RunsError,
    SequenceGapError,
    StoreError,
    StreamBackpressureError,
    StreamContentTypeError,
    StreamError,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    TransportError,
    WorkflowValidationError,
)
from rxruns.models import WorkflowIssue
from rxruns.schemas import RunEventSchema
from tests.records import sample

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
ISSUES = (WorkflowIssue("BAD_ID", "$.nodes[0].id", "is not an id"), WorkflowIssue("X", "$", "is empty"))
FAILED = RunEventSchema().load(sample("run_failed"))
PLACE: dict[str, Any] = {"run_id": RUN, "last_seq": 7}

MESSAGES: dict[RunsError, str] = {
    RunsError("something"): "something",
    InvalidArgumentError("must not be empty", field="nodes[2].id"): "must not be empty",
    APIError(
        "no such run",
        status=404,
        code="NOT_FOUND",
        request_id="req_1",
        fields=[FieldError("run_id", "unknown")],
        retries=2,
        raw_body="{}",
        retry_after=1.5,
    ): "404 NOT_FOUND: no such run; run_id: unknown (request req_1)",
    WorkflowValidationError(
        "invalid spec", status=400, code="INVALID_INPUT", issues=ISSUES
    ): "400 INVALID_INPUT: invalid spec\n  $.nodes[0].id: is not an id [BAD_ID]\n  $: is empty [X]",
    TransportError("refused", kind="connect", retries=2): "refused",
    StreamError("stopped", **PLACE): "stopped",
    StreamProtocolError("not JSON", raw_data="{", line_number=3, **PLACE): "line 3: not JSON: '{'",
    StreamContentTypeError(
        expected="application/x-ndjson", received="text/html", status=200, **PLACE
    ): "expected application/x-ndjson, received text/html (status 200): "
    "is the base URL that of a runs service?",
    StreamTimeoutError(timeout=60.0, **PLACE): "no byte was received for 60 s",
    StreamInterruptedError("given up", reconnects=5, **PLACE): "given up",
    SequenceGapError(expected=8, received=10, **PLACE): "seq 8 is missing, received 10",
    StreamBackpressureError("the queue is full", dropped=3, **PLACE): "the queue is full",
    ExportError("gave up", **PLACE): "gave up",
    RunFailedError(FAILED): f"run {RUN}: run_failed: it broke",
    BudgetError("spent too much", totals={"usd": 3}, unpriced=[("openai", "gpt-5")]): "spent too much",  # type: ignore[arg-type]
    StoreError("cursors.db: the disk is full", path="cursors.db"): "cursors.db: the disk is full",
    LeaseLostError("run 1 has another owner", path="cursors.db", run_id=RUN): "run 1 has another owner",
}
ALL = [*MESSAGES]

classes = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if item.__module__ == errors.__name__ and issubclass(item, BaseException)
]


def drawn_tree() -> dict[str, str]:
    """Class to parent, as the module's docstring draws it."""
    parents, above = {}, [(0, "Exception")]
    for indent, name in re.findall(r"^( {2,})([A-Z]\w+Error)\b", errors.__doc__ or "", re.MULTILINE):
        while above[-1][0] >= len(indent):
            above.pop()
        parents[name] = above[-1][1]
        above.append((len(indent), name))
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert {item.__name__: item.__bases__[0].__name__ for item in classes} == drawn_tree()
    assert set(errors.__all__) == {*drawn_tree(), "FieldError"}


def test_every_error_is_a_runs_error_and_one_is_a_value_error() -> None:
    assert all(issubclass(item, RunsError) for item in classes)
    assert set(classes) == {type(error) for error in ALL}
    assert [InvalidArgumentError] == [item for item in classes if issubclass(item, ValueError)]


def test_each_error_has_a_message_and_a_docstring() -> None:
    assert [] == [item for item in classes if not item.__doc__]
    assert [*MESSAGES.values()] == [str(error) for error in MESSAGES]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_and_copying(error: RunsError) -> None:
    copies = [
        pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ]
    for copied in (*copies, copy.copy(error), copy.deepcopy(error)):
        assert type(error) is type(copied)
        assert (str(error), error.args, vars(error)) == (str(copied), copied.args, vars(copied))


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_the_attributes_are_those_that_the_docstrings_name(error: RunsError) -> None:
    documented = {
        name
        for item in type(error).__mro__
        if issubclass(item, RunsError)
        for name in re.findall(r"^    (\w+): ", inspect.cleandoc(item.__doc__ or ""), re.MULTILINE)
    }
    assert documented == set(vars(error))


def test_a_users_own_error_pickles_too() -> None:
    copied = pickle.loads(pickle.dumps(Mine("x", more=3)))
    assert ("x", 3, 9) == (str(copied), copied.more, copied.last_seq)


class Mine(StreamError):
    def __init__(self, message: str, *, more: int) -> None:
        super().__init__(message, last_seq=9)
        self.more = more


def test_optional_attributes_have_defaults() -> None:
    api = APIError("x", status=500)
    assert (None, None, (), 0, None, None) == (
        *(api.code, api.request_id, api.fields),
        *(api.retries, api.raw_body, api.retry_after),
    )
    assert "500: x" == str(api)
    assert InvalidArgumentError("x").field is None
    assert ("other", 0) == (TransportError("x").kind, TransportError("x").retries)
    assert (None, 0) == (StreamError("x").run_id, StreamError("x").last_seq)
    assert () == WorkflowValidationError("x", status=400).issues
    assert () == BudgetError("x", totals=None).unpriced  # type: ignore[arg-type]


def test_attributes_of_each_error() -> None:
    by_class: dict[type[RunsError], Any] = {type(error): error for error in ALL}
    assert "nodes[2].id" == by_class[InvalidArgumentError].field
    assert ISSUES == by_class[WorkflowValidationError].issues
    assert ("connect", 2) == (by_class[TransportError].kind, by_class[TransportError].retries)
    assert ("idle", 60.0) == (by_class[StreamTimeoutError].kind, by_class[StreamTimeoutError].timeout)
    assert 5 == by_class[StreamInterruptedError].reconnects
    assert (8, 10) == (by_class[SequenceGapError].expected, by_class[SequenceGapError].received)
    assert 3 == by_class[StreamBackpressureError].dropped
    assert FAILED == by_class[RunFailedError].event
    assert (("openai", "gpt-5"),) == by_class[BudgetError].unpriced
    for item in classes:
        if issubclass(item, StreamError):
            assert (RUN, 7) == (by_class[item].run_id, by_class[item].last_seq)


PREDICATES = {
    "NOT_FOUND": "is_not_found",
    "VALIDATION_ERROR": "is_validation",
    "INVALID_INPUT": "is_validation",
    "RATE_LIMIT": "is_rate_limit",
    "UNAUTHORIZED": "is_unauthorized",
    "FORBIDDEN": "is_forbidden",
    "SERVICE_UNAVAILABLE": "is_unavailable",
}


@pytest.mark.parametrize("code", [*PREDICATES, None, "", "not_found", "NEXT_YEAR"])
def test_predicates_depend_only_on_the_code(code: str | None) -> None:
    error = APIError("x", status=404, code=code)
    true = {name for name in set(PREDICATES.values()) if getattr(error, name)}
    assert ({PREDICATES[code]} if code in PREDICATES else set()) == true


def test_messages_quote_at_most_200_characters_and_omit_absent_parts() -> None:
    error = StreamProtocolError("x", raw_data="é" * 500)
    assert "é" * 200 == error.raw_data
    assert "x" == str(StreamProtocolError("x"))
    assert "line 1: x" == str(StreamProtocolError("x", line_number=1))
    assert "x: ''" == str(StreamProtocolError("x", raw_data=""))
    untyped = StreamContentTypeError(expected="a/b", received="", status=204)
    assert "received no content type (status 204)" in str(untyped)


def test_changing_an_argument_later_does_not_change_the_error() -> None:
    fields, pairs = [FieldError("a", "b")], [("p", "m")]
    api, budget = APIError("x", status=1, fields=fields), BudgetError("x", totals=None, unpriced=pairs)  # type: ignore[arg-type]
    fields[:], pairs[:] = [], []
    assert ((FieldError("a", "b"),), (("p", "m"),)) == (api.fields, budget.unpriced)
