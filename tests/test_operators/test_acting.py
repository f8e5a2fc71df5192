from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
import reactivex
from msgspec import structs
from reactivex import Observable, Subject

from rxruns import RunsClient, block_on, run_events, start_run, workflow
from rxruns import operators as ops
from rxruns.devserver import DevServer
from rxruns.errors import APIError, InvalidArgumentError, TransportError
from rxruns.events import NodeToolResult, NodeUserAnswer, NodeWaiting, RunCompleted, RunEvent, UserAsk
from rxruns.tools import MAX_OUTPUT_BYTES, Answer, Tools
from tests.acting import Executing, Gate, Panic, Service, executing, pending
from tests.conftest import HANG, eventually
from tests.making import CALL_ID, OTHER_RUN, RUN, delta, run_completed, run_started
from tests.observing import uncaught
from tests.waiting import call, tool_result, user_ask, waiting

pytestmark = pytest.mark.usefixtures("no_leaks")
FAULT = RuntimeError("the line is dead")
QUESTION = '{"question": "Continue?"}'


def spec(tools: Any, prompt: str = "Hello") -> workflow.WorkflowSpec:
    return workflow.chain(
        workflow.llm("a", model="gpt-4o", user=prompt, tools=tools, tool_execution="client")
    )


class TestAgainstAService:
    @pytest.fixture
    def client(self) -> Iterator[RunsClient]:
        with DevServer() as server, server.client() as client:
            yield client

    def events(
        self, client: RunsClient, tools: Any, prompt: str, names: Any = None, **options: Any
    ) -> list[RunEvent]:
        started = start_run(spec(tools if names is None else names, prompt), client=client)
        executed = started.pipe(ops.execute_tools(tools, client=client, **options), ops.to_list())
        return block_on(executed, default=[])

    def results(self, events: list[RunEvent]) -> list[str]:
        assert isinstance(events[-1], RunCompleted)
        return [event.tool_result.output for event in events if isinstance(event, NodeToolResult)]

    def test_calls_run_at_the_same_time_and_their_results_resume_the_run(self, client: RunsClient) -> None:
        together = threading.Barrier(2, timeout=HANG)
        tools = Tools()
        for name in ("clock", "weather"):
            tools.tool(name)(lambda name=name: f"{name} {together.wait() < 2}")
        assert ["clock True", "weather True"] == self.results(self.events(client, tools, "Hello"))

    def test_each_wait_of_a_run_is_answered_once_and_past_ones_never(self, client: RunsClient) -> None:
        calls: list[int] = []
        tools = {"clock": lambda: str(calls.append(1))}
        events = self.events(client, tools, "[[rounds: 5]]", ["clock"])
        assert (5, 5) == (len(calls), len(self.results(events)))
        again = run_events(events[0].run_id, client=client).pipe(ops.execute_tools(tools, client=client))
        assert isinstance(block_on(again), RunCompleted)
        assert 5 == len(calls)

    def test_an_unknown_tool_and_a_failing_one_are_results(self, client: RunsClient) -> None:
        def clock() -> str:
            raise ValueError("it stands still")

        events = self.events(client, {"clock": clock}, "Hello", ["clock", "weather"])
        expected = ["Error: it stands still", "Error: there is no tool weather; known: clock"]
        assert expected == self.results(events)

    def test_a_question_goes_to_answer(self, client: RunsClient) -> None:
        questions: list[UserAsk] = []

        def answer(question: UserAsk) -> str:
            questions.append(question)
            return "yes"

        events = self.events(client, {}, "[[ask: More?]]", ["user_ask"], answer=answer)
        given = [event.user_answer for event in events if isinstance(event, NodeUserAnswer)]
        assert [("yes", False)] == [(one.answer, one.is_freeform) for one in given]
        assert [("More?", given[0].tool_call.id)] == [(one.question, one.tool_call.id) for one in questions]

    def test_pending_calls_are_answered_by_a_later_subscriber(self, client: RunsClient) -> None:
        run_id = client.create(spec(["clock"])).run_id
        source = run_events(run_id, client=client)
        block_on(source.pipe(ops.of_type(NodeWaiting), ops.take(1)))
        tools = ops.execute_tools({"clock": lambda: "12:00"}, client=client, run_id=str(run_id))
        assert isinstance(block_on(source.pipe(tools)), RunCompleted)

    def test_two_subscribers_at_the_same_time_do_not_disturb_each_other(self, client: RunsClient) -> None:
        together = threading.Barrier(2, timeout=HANG)
        started = start_run(spec(["clock"]), client=client)
        tools = {"clock": lambda: str(together.wait())}
        both = [started.pipe(ops.execute_tools(tools, client=client), ops.last()) for _ in range(2)]
        assert isinstance(block_on(reactivex.merge(*both)), RunCompleted)

    @pytest.mark.parametrize(
        ("raised", "output"),
        [
            (Panic("index out of bounds"), "index out of bounds"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
            (ValueError("caf\udce9"), "caf\\udce9"),
        ],
    )
    def test_a_call_is_answered_whatever_another_tool_raises(
        self, client: RunsClient, raised: BaseException, output: str
    ) -> None:
        def odd() -> None:
            raise raised

        events = self.events(client, Tools({"odd": odd, "add": lambda: "3"}), "Hello")
        assert sorted(["3", f"Error: {output}"]) == sorted(self.results(events))

    @pytest.mark.parametrize(
        ("returned", "output"),
        [
            (["a", "caf\udce9"], "Error: the output can't be sent as UTF-8: it has '\\udce9' at position 3"),
            ("x" * 20 * 10**6, "Error: the output of 20,000,000 bytes is larger than 4,194,304 bytes"),
            ("\x00\x1b[31m\u2028", "\x00\x1b[31m\u2028"),
            (object(), "Error: Encoding objects of type object is unsupported"),
        ],
    )
    def test_a_call_is_answered_whatever_another_tool_returns(
        self, client: RunsClient, returned: object, output: str
    ) -> None:
        events = self.events(client, Tools({"odd": lambda: returned, "add": lambda: "3"}), "Hello")
        assert sorted(["3", output]) == sorted(self.results(events))

    def test_outputs_that_are_too_large_together_are_all_accepted(self, client: RunsClient) -> None:
        tools = Tools({f"tool_{n}": lambda n=n: str(n) * MAX_OUTPUT_BYTES for n in range(5)})
        results = self.results(self.events(client, tools, "[[say: x]]"))
        assert [MAX_OUTPUT_BYTES] * 5 == [len(output) for output in results]


class TestServices:
    """The service that is used without ``client=``."""

    @pytest.fixture
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
        with DevServer() as server:
            monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
            monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
            yield server

    @pytest.fixture
    def source(self) -> Iterator[Observable[RunEvent]]:
        with DevServer() as server, server.client() as client:
            yield start_run(spec(["clock"]), client=client)

    execute = staticmethod(ops.execute_tools({"clock": lambda: "12:00"}))

    def test_it_is_that_of_the_environment(self, environment: DevServer) -> None:
        assert isinstance(block_on(start_run(spec(["clock"])).pipe(self.execute)), RunCompleted)

    def test_it_is_that_of_the_source(self, environment: DevServer, source: Observable[RunEvent]) -> None:
        for before in ([], [ops.tap(lambda event: None), ops.share()]):
            assert isinstance(block_on(source.pipe(*before, self.execute)), RunCompleted)
        assert [] == list(environment.requests)

    @pytest.mark.parametrize("is_there", [True, False])
    def test_errors_of_the_environments_name_it(
        self, environment: DevServer, source: Observable[RunEvent], is_there: bool
    ) -> None:
        url = environment.url
        if not is_there:
            environment.close()
        expected = APIError if is_there else TransportError
        foreign = reactivex.concat(source)  # an Observable of RxPY's has no client
        with pytest.raises(expected, match=rf"execute_tools asked {url}, .*client=") as refused:
            block_on(foreign.pipe(self.execute))
        assert 404 == refused.value.status if is_there else "connect" == refused.value.kind


class TestListing:
    def test_it_happens_at_subscription_if_the_run_is_known(self) -> None:
        with executing(pending("add"), run_id=RUN) as run:
            assert {"call_1": "3"} == run.service.outputs()
            assert RUN == run.service.listings.get(timeout=HANG)

    def test_it_happens_at_the_first_event_of_each_run_otherwise(self) -> None:
        with executing() as run:
            assert run.service.listings.empty()
            for event in (run_started(), delta(), run_started(run_id=OTHER_RUN), delta()):
                run.source.on_next(event)
            assert [RUN, OTHER_RUN] == [run.service.listings.get(timeout=HANG) for _ in range(2)]

    def test_each_wait_is_answered_once(self) -> None:
        with executing(pending("add"), pending("add"), pending("add", step=1)) as run:
            run.source.on_next(run_started())
            assert {"call_1": "3"} == run.service.outputs()
            run.source.on_next(waiting(2))
            run.source.on_next(waiting(3, step=1, node_id="other"))
            run.source.on_next(waiting(4, step=1))
            request = run.service.submitted.get(timeout=HANG)
        assert (1, CALL_ID, "draft") == (request.step, request.request_id, request.node_id)
        assert run.service.submitted.empty()

    def test_it_is_repeated_until_the_service_lists_a_wait(self) -> None:
        with executing((), (), (), pending("add")) as run:
            run.source.on_next(waiting(1))
            assert {"call_1": "3"} == run.service.outputs()
            assert {RUN} == {run.service.listings.get(timeout=HANG) for _ in range(4)}

    def test_it_is_not_repeated_for_a_wait_that_was_answered(self) -> None:
        with executing(()) as run:
            run.source.on_next(waiting(1))
            run.service.listings.get(timeout=HANG)
            run.source.on_next(tool_result(2))
            run.source.on_next(delta())
            for thread in threading.enumerate():
                if isinstance(thread, threading.Timer):
                    thread.join(HANG)
            assert run.service.listings.qsize() <= 1

    def test_its_error_ends_the_stream(self) -> None:
        refused = APIError("who are you?", status=401)
        with executing(refused, run_id=RUN) as run:
            assert refused is run.seen.wait_end().error

    def test_its_error_after_the_end_of_the_run_is_ignored(self, gate: Gate) -> None:
        def late() -> Any:
            gate()
            raise APIError("gone", status=404)

        with executing(late) as run:
            run.source.on_next(run_started())
            gate.wait()
            run.source.on_next(run_completed())
            assert run.completes()
            gate.end.set()


class TestSubmitting:
    @pytest.mark.parametrize("status", [409, 404])
    def test_a_conflict_means_that_another_process_answered(self, status: int) -> None:
        with executing(pending("add"), run_id=RUN) as run:
            run.service.refuses = lambda outputs: status
            run.service.outputs()
            assert run.completes()

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_results_that_are_refused_together_are_sent_one_by_one(self, status: int) -> None:
        service = Service(pending("add", "huge", "add"))
        service.refuses = lambda outputs: status if len(outputs) > 1 or "huge" in outputs.values() else None
        with Executing(service, {"add": lambda: "3", "huge": lambda: "huge"}, {"run_id": RUN}).subscription:
            sent = [service.outputs() for _ in range(5)]
        assert [
            {"call_1": "3", "call_2": "huge", "call_3": "3"},
            {"call_1": "3"},
            {"call_2": "huge"},
            {"call_2": f"Error: the service refused the output: {status}: no"},
            {"call_3": "3"},
        ] == sent

    def test_a_single_result_that_is_refused_becomes_an_error(self, caplog: pytest.LogCaptureFixture) -> None:
        with executing(pending("add")) as run:
            run.service.refuses = lambda outputs: 400 if "3" in outputs.values() else None
            run.source.on_next(run_started())
            refused = {"call_1": "Error: the service refused the output: 400: no"}
            assert [{"call_1": "3"}, refused] == [run.service.outputs() for _ in range(2)]
            assert run.completes()
        assert "node draft: the output of add was refused: 400: no" in caplog.text

    def test_results_that_are_not_pending_any_more_are_not_sent_again(self) -> None:
        (node,) = pending("add", "add", "add")
        with executing((node,), (structs.replace(node, tool_calls=node.tool_calls[1:2]),)) as run:
            run.service.refuses = lambda outputs: 400 if len(outputs) > 1 else None
            run.source.on_next(run_started())
            assert [3, 1] == [len(run.service.outputs()) for _ in range(2)]
            assert run.completes()

    def test_a_call_that_cannot_be_answered_ends_the_stream_after_the_others(self) -> None:
        with executing(pending("add", "add")) as run:
            run.service.refuses = lambda outputs: 400 if "call_1" in outputs else None
            run.source.on_next(run_started())
            error = run.seen.wait_end().error
            assert isinstance(error, APIError) and 400 == error.status
            assert {"call_2": "3"} == [run.service.outputs() for _ in range(4)][-1]

    def test_a_conflict_ends_the_sending_one_by_one(self) -> None:
        with executing(pending("add", "add")) as run:
            run.service.refuses = lambda outputs: 400 if len(outputs) > 1 else 409
            run.source.on_next(run_started())
            assert [2, 1] == [len(run.service.outputs()) for _ in range(2)]
            assert run.completes()

    def test_another_error_ends_the_stream(self) -> None:
        with executing(pending("add")) as run:
            run.service.refuses = lambda outputs: 500
            run.source.on_next(run_started())
            assert "500: no" == str(run.seen.wait_end().error)

    def test_completion_waits_for_the_results(self, gate: Gate) -> None:
        with executing(pending("gate"), tools={"gate": gate}) as run:
            run.source.on_next(run_started())
            gate.wait()
            run.source.on_completed()
            assert not run.seen.ended
            gate.end.set()
            assert run.seen.wait_end().completed
            assert {"call_1": "done"} == run.service.outputs()

    def test_completion_does_not_wait_after_the_end_of_the_run(self, gate: Gate) -> None:
        with executing(pending("gate"), tools={"gate": gate}) as run:
            run.source.on_next(run_started())
            gate.wait()
            run.source.on_next(run_completed())
            assert run.completes()
            gate.end.set()
        assert run.service.submitted.empty()

    def test_an_error_of_the_source_passes(self) -> None:
        with executing() as run:
            run.source.on_error(FAULT)
            assert FAULT is run.seen.wait_end().error


class TestThreads:
    def test_the_source_continues_while_tools_run(self, gate: Gate) -> None:
        with executing(pending("gate"), tools={"gate": gate}) as run:
            run.source.on_next(waiting(1))
            gate.wait()
            run.source.on_next(delta(seq=2))
            assert [1, 2] == run.seen.seqs
            gate.end.set()
            assert {"call_1": "done"} == run.service.outputs()

    def test_a_call_that_takes_too_long_is_an_error_and_the_others_count(
        self, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        tools = {"gate": gate, "add": lambda: "3"}
        with executing(pending("gate", "add"), tools=tools, run_id=RUN, timeout=0.2) as run:
            assert {"call_1": "Error: no result within 0.2 s", "call_2": "3"} == run.service.outputs()
        assert "node draft: tool gate: no result within 0.2 s" in caplog.text

    def test_a_person_may_take_longer(self, gate: Gate) -> None:
        person, tools = Gate(), {"gate": lambda question: gate()}
        options: dict[str, Any] = {"run_id": RUN, "timeout": 0.001, "answer": lambda question: person()}
        with executing(pending("gate", "user_ask", arguments=QUESTION), tools=tools, **options) as run:
            gate.wait()
            person.wait()
            assert run.service.submitted.empty()
            person.end.set()
            outputs = run.service.outputs()
        assert "Error: no result within 0.001 s" == outputs["call_1"]
        assert {"answer": "done", "is_freeform": True} == json.loads(outputs["call_2"])

    def test_dispose_ends_the_waiting_and_nothing_is_submitted(self, gate: Gate) -> None:
        with executing(pending("gate"), tools={"gate": gate}, run_id=RUN) as run:
            gate.wait()
            run.subscription.dispose()
        assert eventually(lambda: "rxruns-tools-draft" not in [one.name for one in threading.enumerate()])
        gate.end.set()
        assert run.service.submitted.empty()

    def test_dispose_during_a_pause_ends_the_listing(self) -> None:
        def is_pausing() -> bool:
            return any(isinstance(thread, threading.Timer) for thread in threading.enumerate())

        with executing(()) as run:
            run.source.on_next(waiting(1))
            assert eventually(is_pausing)
        assert eventually(lambda: not is_pausing())

    def test_the_subscribers_own_exception_ends_everything(self) -> None:
        def refuse(_: Any) -> None:
            raise FAULT

        source = Subject[Any]()
        source.pipe(ops.execute_tools({}, client=Service())).subscribe(refuse)
        with pytest.raises(RuntimeError, match="dead"):
            source.on_next(run_started())

    def test_without_on_error_the_error_reaches_the_threads_hook(self) -> None:
        execute = ops.execute_tools({}, client=Service(APIError("no", status=403)), run_id=RUN)
        with uncaught() as died:
            reactivex.never().pipe(execute).subscribe()
            assert eventually(lambda: bool(died))
        assert [APIError] == [one.exc_type for one in died]


class TestQuestions:
    def test_without_answer_they_are_left_alone_with_one_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with executing(pending("user_ask", "add"), pending("user_ask")) as run:
            run.source.on_next(run_started())
            assert {"call_2": "3"} == run.service.outputs()
            run.source.on_next(waiting(2, call("user_ask", "call_1")))
            assert run.completes()
        warning = f"run {RUN}, node draft: its question waits, since execute_tools was given no answer="
        assert [warning] == caplog.messages

    def test_a_question_that_is_left_to_others_is_not_submitted(self) -> None:
        with executing(pending("user_ask"), answer=lambda question: None) as run:
            run.source.on_next(user_ask(1, "call_1"))
            assert run.completes()

    def test_a_question_is_passed_on_as_its_event_has_it(self) -> None:
        questions: SimpleQueue[UserAsk] = SimpleQueue()

        def answer(question: UserAsk) -> str:
            questions.put(question)
            return "yes"

        with executing((), pending("user_ask"), answer=answer) as run:
            event = user_ask(1, "call_1")
            run.source.on_next(event)
            run.source.on_next(waiting(2, call("user_ask", "call_1")))
            assert event.user_ask == questions.get(timeout=HANG)
            assert {"answer": "yes", "is_freeform": False} == json.loads(run.service.outputs()["call_1"])

    @pytest.mark.parametrize("arguments", [None, "{}", "[]", "What?"])
    def test_a_question_that_cannot_be_read_is_left_alone(self, arguments: str | None) -> None:
        with executing(pending("user_ask", arguments=arguments), answer=lambda question: "yes") as run:
            run.source.on_next(run_started())
            assert run.completes()

    @pytest.mark.parametrize("error", [RuntimeError("the person left"), Panic("the person left")])
    def test_an_error_of_answer_is_a_result_beside_those_of_tools(
        self, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        def answer(question: UserAsk) -> str:
            raise error

        calls, tools = pending("user_ask", "add", arguments=QUESTION), {"add": lambda question: "3"}
        with executing(calls, tools=tools, answer=answer, run_id=RUN) as run:
            assert {"call_1": "Error: the person left", "call_2": "3"} == run.service.outputs()
        assert "node draft: user_ask failed: the person left" in caplog.text

    @pytest.mark.parametrize("given", ["no", " ", 3, "\ud800"])
    def test_an_answer_that_is_not_allowed_is_an_error_for_the_model(self, given: Any) -> None:
        calls = pending("user_ask", arguments='{"question": "Continue?", "allow_freeform": false}')
        with executing(calls, answer=lambda question: given, run_id=RUN) as run:
            assert run.service.outputs()["call_1"].startswith("Error: answer must be ")

    @pytest.mark.parametrize(
        ("given", "output"),
        [
            ("yes", '{"answer":"yes","is_freeform":false}'),
            (" yes ", '{"answer":"yes","is_freeform":false}'),
            (Answer("yes", False), '{"answer":"yes","is_freeform":false}'),
            (ValueError("the person left"), "Error: the person left"),
        ],
    )
    def test_a_tool_named_user_ask_answers_where_nothing_else_does(self, given: Any, output: str) -> None:
        def ask(question: str, options: list[Any] | None = None) -> Any:
            if isinstance(given, Exception):
                raise given
            return given

        calls = pending("user_ask", arguments='{"question": "Continue?", "options": [{"label": "yes"}]}')
        with executing(calls, tools={"user_ask": ask}, run_id=RUN) as run:
            assert output == run.service.outputs()["call_1"]


@pytest.mark.parametrize(
    ("tools", "options", "field"),
    [
        ([], {}, "tools"),
        ({"a": 3}, {}, "function"),
        ({}, {"timeout": 0}, "timeout"),
        ({}, {"run_id": "x"}, "run_id"),
    ],
)
def test_invalid_arguments_are_refused_by_name(tools: Any, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ops.execute_tools(tools, **options)
    assert field == refused.value.field
