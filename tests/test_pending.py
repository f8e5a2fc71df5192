"""`tools.pending` and `tools.answer`: list the calls that a run waits for, and answer one from anywhere."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from rxruns import RetryPolicy, RunsClient, block_on, ops, run_events
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Fault, LoseResponse, Status
from rxruns.errors import APIError, InvalidArgumentError
from rxruns.events import NodeToolResult, NodeUserAnswer, NodeWaiting
from rxruns.models import RunsToolCall
from rxruns.tools import USER_ASK, Answer, PendingCall, answer, pending
from tests.acting import Service, waiting_run
from tests.acting import pending as listing
from tests.making import CALL_ID, RUN

pytestmark = pytest.mark.usefixtures("no_leaks")
QUESTION = '{"question": "Go?", "options": [{"label": "yes"}, {"label": " no "}]}'
STRICT = '{"question": "Go?", "options": [{"label": "yes"}], "allow_freeform": false}'


@pytest.fixture
def client() -> Iterator[RunsClient]:
    with DevServer() as server, server.client() as client:
        yield client


def sent(*given: Any, arguments: str | None = QUESTION, name: str = "user_ask", **options: Any) -> str:
    """The output that is sent for a pending call."""
    service = Service(listing(name, arguments=arguments))
    answer(RUN, *given, client=service, **options)
    return service.outputs()["call_1"]


class TestPending:
    def test_questions_and_tool_calls_are_listed_with_their_arguments(self, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK, "look")
        question, look = pending(str(run_id), client=client)

        assert (True, "ask", "Go?") == (
            question.is_question,
            question.node_id,
            question.question and question.question.question,
        )
        assert ["yes", "no"] == [option["label"] for option in question.arguments["options"]]
        assert (False, None, "look", {}) == (
            look.is_question,
            look.question,
            look.tool_call.name,
            look.arguments,
        )
        assert {run_id} == {call.run_id for call in (question, look)}
        assert (question, look) == pickle.loads(pickle.dumps((question, look)))

    def test_nothing_is_pending_after_the_end(self, client: RunsClient) -> None:
        run_id = waiting_run(client, "look")
        answer(run_id, output="seen", client=client)
        block_on(run_events(run_id, client=client))
        assert () == pending(run_id, client=client)

    def test_the_client_of_the_environment_is_used_and_closed(self, runs_environment: DevServer) -> None:
        with runs_environment.client() as client:
            run_id = waiting_run(client, USER_ASK)
        assert ["ask"] == [call.node_id for call in pending(run_id)]
        assert "ask" == answer(run_id, "yes").node_id

    @pytest.mark.parametrize("arguments", [None, "{}", "[]", "What?", "[" * 100_000])
    def test_a_question_that_cannot_be_read_is_listed_without_it(self, arguments: str | None) -> None:
        (call,) = pending(RUN, client=Service(listing("user_ask", arguments=arguments)))
        assert call.is_question
        assert call.question is None

    @pytest.mark.parametrize("arguments", ["[]", "What?", "{", "[" * 100_000, '{"a": \ud800}'])
    def test_arguments_that_are_not_an_object_are_an_error_when_they_are_read(self, arguments: str) -> None:
        (call,) = pending(RUN, client=Service(listing("add", arguments=arguments)))
        with pytest.raises(InvalidArgumentError, match="^the arguments aren't a JSON object: "):
            call.arguments  # noqa: B018

    def test_a_wrong_id_is_refused_before_credentials_are_looked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MODELRELAY_API_KEY", raising=False)
        for call in (pending, partial(answer, text="yes")):
            with pytest.raises(InvalidArgumentError, match="^run_id must be "):
                call("zz")

    def test_a_wrong_client_and_a_wrong_id_are_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="^client must be a RunsClient"):
            pending(RUN, client="http://localhost")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="^run_id must be "):
            pending("run 7")


class TestAnswers:
    def test_an_answer_resumes_the_run(self, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        (call,) = pending(run_id, client=client)

        assert call == answer(run_id, "later", client=client)
        events = block_on(run_events(run_id, client=client).pipe(ops.to_list()), default=[])
        given = [event.user_answer for event in events if isinstance(event, NodeUserAnswer)]
        assert [("later", True)] == [(one.answer, one.is_freeform) for one in given]
        assert "run_completed" == events[-1].type

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"text": " yes\n"}, ("yes", False)),
            ({"text": "perhaps"}, ("perhaps", True)),
            ({"text": Answer("yes", True)}, ("yes", True)),
            ({"option": "yes"}, ("yes", False)),
            ({"option": "no"}, (" no ", False)),
        ],
    )
    def test_a_question_is_answered_with_text_or_an_option(self, given: Any, expected: Any) -> None:
        output = json.loads(sent(given.get("text"), option=given.get("option")))
        assert expected == (output["answer"], output["is_freeform"])

    def test_a_question_that_cannot_be_read_is_answered_with_free_text(self) -> None:
        assert '{"answer":"go","is_freeform":true}' == sent("go ", arguments="Go?")

    @pytest.mark.parametrize(
        ("output", "expected"),
        [("12:00", "12:00"), ({"a": [1]}, '{"a":[1]}'), (None, "null"), ("", ""), (True, "true")],
    )
    def test_a_tool_call_is_answered_with_an_output(self, output: object, expected: str) -> None:
        assert expected == sent(name="look", output=output)

    @pytest.mark.parametrize("name", ["look", "user_ask"])
    def test_any_call_is_denied_with_a_reason(self, name: str) -> None:
        assert "Error: the call was denied: no budget" == sent(name=name, deny="no budget")

    def test_a_denied_question_goes_to_the_model(self, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        answer(run_id, deny="ask later", client=client)
        results = run_events(run_id, client=client).pipe(ops.of_type(NodeToolResult), ops.to_list())
        outputs = [event.tool_result.output for event in block_on(results, default=[])]
        assert ["Error: the call was denied: ask later"] == outputs

    @pytest.mark.parametrize(
        ("given", "options", "problem"),
        [
            ((), {}, "answer must be exactly one of text, option, output and deny, got []"),
            (("yes",), {"deny": "no"}, "answer must be exactly one of .*, got ['text', 'deny']"),
            ((), {"output": None, "option": "a"}, "answer must be exactly one of .*['option', 'output']"),
            (("",), {}, "text must be text that isn't blank, got ''"),
            ((3,), {}, "text must be a str or an Answer, got 3"),
            ((), {"option": 1}, "option must be a str, got 1"),
            ((), {"option": "maybe"}, "option must be one of the options 'yes', 'no', got 'maybe'"),
            ((), {"output": {}}, "answer must be text, option or deny for a question, got 'output'"),
            (("a\ud800",), {}, "text can't be sent: the output can't be sent as UTF-8"),
            (
                (),
                {"option": "yes", "arguments": "Go?"},
                "option must be an option of the question, which has none",
            ),
            ((" ",), {"arguments": "Go?"}, "text must be text that isn't blank, got ' '"),
            (("no",), {"arguments": STRICT}, "answer must be one of the options 'yes', got 'no'"),
            (("yes",), {"name": "look"}, "answer must be output or deny for a call of the tool 'look'"),
            ((), {"option": "1", "name": "look"}, "answer must be output or deny .*, got 'option'"),
            (
                (),
                {"output": object(), "name": "look"},
                "output can't be sent: Encoding objects of type",
            ),
            ((), {"output": "a\ud800", "name": "look"}, "output can't be sent: .* at position 1"),
            ((), {"deny": ""}, "reason must be text that isn't blank, got ''"),
        ],
    )
    def test_an_answer_that_does_not_fit_is_refused_and_not_sent(
        self, given: tuple[Any, ...], options: dict[str, Any], problem: str
    ) -> None:
        pattern = problem.replace("[", r"\[").replace("]", r"\]")
        with pytest.raises(InvalidArgumentError, match=f"^{pattern}"):
            sent(*given, **options)

    def test_the_options_in_a_message_are_bounded(self) -> None:
        options = [{"label": f"{number} " + "x" * 10_000} for number in range(1_000)]
        arguments = json.dumps({"question": "Go?", "options": options, "allow_freeform": False})
        for given in ({"option": "no"}, {"text": "no"}):
            with pytest.raises(InvalidArgumentError, match="must be one of the options '0 xxx") as refused:
                sent(given.get("text"), option=given.get("option"), arguments=arguments)
            assert len(str(refused.value)) < 2_000


class TestSelection:
    def test_several_pending_calls_are_named_and_one_is_selected(self, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK, "look", nodes=("one", "two"))
        calls = pending(run_id, client=client)
        with pytest.raises(InvalidArgumentError) as ambiguous:
            answer(run_id, "yes", client=client)
        assert "tool_call_id" == ambiguous.value.field
        for call in calls:
            assert f"'{call.tool_call.id}' ({call.tool_call.name}) of node '{call.node_id}'" in str(
                ambiguous.value
            )
        with pytest.raises(InvalidArgumentError, match="^tool_call_id must be the id of one pending call: "):
            answer(run_id, "yes", node_id="two", client=client)

        chosen = calls[2]
        assert chosen == answer(run_id, "yes", node_id="two", tool_call_id=chosen.tool_call.id, client=client)
        assert [calls[0], calls[1], calls[3]] == list(pending(run_id, client=client))

    def test_a_message_names_the_first_calls_only(self) -> None:
        service = Service(listing(*["x" * 10_000] * 1_000))
        with pytest.raises(InvalidArgumentError, match=" and 980 more, got None; ") as ambiguous:
            answer(RUN, "yes", client=service)
        assert len(str(ambiguous.value)) < 4_000

    @pytest.mark.parametrize("options", [{}, {"node_id": "draft"}, {"tool_call_id": "call_1"}])
    def test_a_call_from_the_list_is_answered_without_another_listing(self, options: dict[str, str]) -> None:
        service = Service(listing("user_ask", arguments=QUESTION))
        (call,) = pending(RUN, client=service)
        assert call == answer(call, "yes", client=service, **options)
        assert 1 == service.listings.qsize()


class TestNotPending:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "404 NOT_FOUND: run {} waits for no such call"),
            ({"node_id": "b"}, "404 NOT_FOUND: node 'b' of run {} waits for no such call"),
            ({"tool_call_id": "call_9"}, "404 NOT_FOUND: run {} waits for no such call"),
        ],
    )
    def test_what_is_not_listed_is_an_error(self, options: dict[str, str], message: str) -> None:
        service = Service(listing("look") if options else ())
        with pytest.raises(APIError) as refused:
            answer(RUN, output="seen", client=service, **options)
        assert message.format(RUN) == str(refused.value)
        assert service.submitted.empty()

    def test_a_call_that_was_answered_meanwhile_is_an_error(self, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        (call,) = pending(run_id, client=client)
        answer(run_id, "yes", client=client)
        with pytest.raises(
            APIError, match=f"^404 NOT_FOUND: '{call.tool_call.id}' of node 'ask' isn't pending"
        ):
            answer(call, "no", client=client)

    def test_so_is_one_whose_node_waits_for_another(self, client: RunsClient) -> None:
        run_id = waiting_run(client, "look", prompt="[[rounds: 2]]")
        (call,) = pending(run_id, client=client)
        answer(call, output="seen", client=client)
        block_on(run_events(run_id, client=client).pipe(ops.of_type(NodeWaiting), ops.take(2)))
        with pytest.raises(
            APIError, match="^409 CONFLICT: .* isn't pending any more: node ask waits at step 1"
        ):
            answer(call, output="seen", client=client)

    def test_so_is_one_beside_which_another_still_waits(self, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK, "look")
        question, look = pending(run_id, client=client)
        answer(look, output="seen", client=client)
        with pytest.raises(APIError, match="^409 CONFLICT: .* isn't pending any more: "):
            answer(look, output="seen", client=client)
        answer(question, "yes", client=client)

    @pytest.mark.parametrize("status", [400, 401, 422, 500])
    def test_any_other_refusal_is_the_services(self, status: int) -> None:
        service = Service(listing("look"))
        service.refuses = lambda outputs: status
        with pytest.raises(APIError, match=f"^{status}: no$"):
            answer(RUN, output="seen", client=service)

    @pytest.mark.parametrize("fault", [LoseResponse(), Status(503, retry_after=0)])
    def test_after_a_retry_the_services_result_shows_whose_answer_counts(self, fault: Fault) -> None:
        with DevServer() as server, server.client(retry=RetryPolicy(base_backoff=0.001)) as client:
            run_id = waiting_run(client, USER_ASK)
            (call,) = pending(run_id, client=client)
            if isinstance(fault, Status):
                answer(call, "no", client=client)
            server.use_faults(Faults(rest=[fault]))
            if isinstance(fault, Status):
                with pytest.raises(APIError, match="isn't pending any more") as refused:
                    answer(call, "yes", client=client)
                assert 1 == refused.value.retries
            else:
                assert call == answer(call, "yes", client=client)


def test_a_pending_call_is_a_value() -> None:
    call = PendingCall(
        run_id=RUN, node_id="a", step=0, request_id=CALL_ID, tool_call=RunsToolCall("1", "add")
    )
    assert {} == call.arguments
    assert isinstance(call.run_id, UUID)
