from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import pytest
import reactivex
from msgspec import structs
from reactivex import Subject

from rxruns import RunsClient, block_on, run_events, start_run, workflow
from rxruns import operators as ops
from rxruns.devserver import DevServer
from rxruns.errors import APIError, InvalidArgumentError, RunsError, TransportError
from rxruns.events import NodeToolResult, NodeUserAnswer, NodeWaiting, RunCompleted, RunEvent, UserAsk
from rxruns.models import (
    RunsPendingToolCall,
    RunsPendingToolsNode,
    RunsPendingToolsResponse,
    RunsToolCall,
    RunsToolResultsRequest,
    RunsToolResultsResponse,
)
from rxruns.tools import MAX_OUTPUT_BYTES, Answer, Tools
from tests.conftest import HANG, eventually
from tests.making import CALL_ID, OTHER_RUN, RUN, delta, run_completed, run_started
from tests.observing import Seen, uncaught
from tests.waiting import call, tool_result, user_ask, waiting

pytestmark = pytest.mark.usefixtures("no_leaks")


class Service(RunsClient):
    """A client that answers by itself: what is pending, and what becomes of a submission."""

    def __init__(self, *pending: Any) -> None:
        self._calls: Any = self
        self.pending = list(pending)
        self.asked: SimpleQueue[UUID] = SimpleQueue()
        self.submitted: SimpleQueue[RunsToolResultsRequest] = SimpleQueue()
        self.refusal: RunsError | None = None
        self.refuses: Callable[[dict[str, str]], int | None] = lambda outputs: None

    def pending_tools(self, run_id: Any, *, cancellation: Any = None) -> RunsPendingToolsResponse:
        self.asked.put(run_id)
        found = self.pending.pop(0) if len(self.pending) > 1 else self.pending[0] if self.pending else ()
        if isinstance(found, Exception):
            raise found
        return RunsPendingToolsResponse(run_id, found)

    def submit_tool_results(
        self, run_id: Any, request: RunsToolResultsRequest, *, cancellation: Any = None
    ) -> RunsToolResultsResponse:
        self.submitted.put(request)
        if self.refusal is not None:
            raise self.refusal
        if status := self.refuses({result.tool_call.id: result.output for result in request.results}):
            raise APIError("no", status=status)
        return RunsToolResultsResponse(len(request.results), "running")

    def outputs(self) -> dict[str, str]:
        """The next submission, by tool call id."""
        request = self.submitted.get(timeout=HANG)
        return {result.tool_call.id: result.output for result in request.results}


def pending(
    *names: str, step: int = 0, node_id: str = "draft", arguments: str | None = None
) -> tuple[RunsPendingToolsNode, ...]:
    calls = tuple(
        RunsPendingToolCall(RunsToolCall(f"call_{place}", name, arguments))
        for place, name in enumerate(names, 1)
    )
    return (RunsPendingToolsNode(node_id, step, CALL_ID, calls),)


class Panic(BaseException):
    """Not an ``Exception``, as a panic of a module in Rust."""


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Gate:
    """A tool that says when it began, and ends when it is told to."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.end = threading.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.began.release()
        assert self.end.wait(HANG)
        return "done"

    def wait(self) -> None:
        assert self.began.acquire(timeout=HANG)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.end.set()


def follow(source: Any, service: RunsClient | None, tools: Any = None, **options: Any) -> tuple[Seen, Any]:
    seen = Seen()
    operator = ops.execute_tools(tools or {"add": lambda: "3"}, client=service, **options)
    return seen, source.pipe(operator).subscribe(seen)


class TestAgainstAService:
    @pytest.fixture
    def client(self) -> Iterator[RunsClient]:
        with DevServer() as server, server.client() as client:
            yield client

    def events(
        self, client: RunsClient, tools: Any, prompt: str, names: list[str], **options: Any
    ) -> list[RunEvent]:
        node = workflow.llm("a", model="gpt-4o", user=prompt, tools=names, tool_execution="client")
        followed = start_run(workflow.chain(node), client=client)
        events = block_on(followed.pipe(ops.execute_tools(tools, client=client, **options), ops.to_list()))
        assert events is not None
        return events

    def results(self, events: list[RunEvent]) -> list[str]:
        return [event.tool_result.output for event in events if isinstance(event, NodeToolResult)]

    def test_calls_run_at_once_and_their_results_let_the_run_go_on(self, client: RunsClient) -> None:
        together = threading.Barrier(2, timeout=HANG)
        tools = Tools()
        for name in ("clock", "weather"):
            tools.tool(name)(lambda name=name: f"{name} {together.wait() < 2}")
        events = self.events(client, tools, "Hello", ["clock", "weather"])
        assert ["clock True", "weather True"] == self.results(events)
        assert isinstance(events[-1], RunCompleted)

    def test_each_wait_is_answered_once_though_a_run_waits_again_and_again(self, client: RunsClient) -> None:
        calls: list[int] = []
        events = self.events(client, {"clock": lambda: str(calls.append(1))}, "[[rounds: 5]]", ["clock"])
        assert (5, 5) == (len(calls), len(self.results(events)))

    def test_an_unknown_tool_and_a_failing_one_are_results(self, client: RunsClient) -> None:
        def clock() -> str:
            raise ValueError("it stands still")

        events = self.events(client, {"clock": clock}, "Hello", ["clock", "weather"])
        expected = ["Error: it stands still", "Error: there is no tool weather; known: clock"]
        assert expected == self.results(events)

    def test_a_question_goes_to_answer(self, client: RunsClient) -> None:
        asked: list[UserAsk] = []

        def answer(ask: UserAsk) -> str:
            asked.append(ask)
            return "yes"

        events = self.events(client, {}, "[[ask: More?]]", ["user_ask"], answer=answer)
        given = [event.user_answer for event in events if isinstance(event, NodeUserAnswer)]
        assert [("yes", False)] == [(one.answer, one.is_freeform) for one in given]
        assert [("More?", given[0].tool_call.id)] == [(one.question, one.tool_call.id) for one in asked]

    def test_waits_of_the_past_are_not_run_again(self, client: RunsClient) -> None:
        calls: list[int] = []
        tools = {"clock": lambda: str(calls.append(1))}
        run_id = self.events(client, tools, "[[rounds: 3]]", ["clock"])[0].run_id
        again = run_events(run_id, client=client).pipe(ops.execute_tools(tools, client=client))
        assert isinstance(block_on(again), RunCompleted)
        assert 3 == len(calls)

    def test_what_is_open_is_answered_by_whoever_comes_later(self, client: RunsClient) -> None:
        node = workflow.llm("a", model="gpt-4o", user="Hello", tools=["clock"], tool_execution="client")
        run_id = client.create(workflow.chain(node)).run_id
        block_on(run_events(run_id, client=client).pipe(ops.of_type(NodeWaiting), ops.take(1)))
        source = run_events(run_id, client=client)
        tools = ops.execute_tools({"clock": lambda: "12:00"}, client=client, run_id=str(run_id))
        assert isinstance(block_on(source.pipe(tools)), RunCompleted)

    def test_two_at_once_do_not_disturb_each_other(self, client: RunsClient) -> None:
        together = threading.Barrier(2, timeout=HANG)
        node = workflow.llm("a", model="gpt-4o", user="Hello", tools=["clock"], tool_execution="client")
        started = start_run(workflow.chain(node), client=client)
        tools = {"clock": lambda: str(together.wait())}
        both = [started.pipe(ops.execute_tools(tools, client=client), ops.last()) for _ in range(2)]
        assert isinstance(block_on(reactivex.merge(*both)), RunCompleted)

    def test_a_client_of_its_own_is_made_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with DevServer() as server:
            monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
            monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
            node = workflow.llm("a", model="gpt-4o", user="Hello", tools=["clock"], tool_execution="client")
            tools = ops.execute_tools({"clock": lambda: "12:00"})
            assert isinstance(block_on(start_run(workflow.chain(node)).pipe(tools)), RunCompleted)


class TestAsking:
    def test_at_subscription_where_the_run_is_known(self) -> None:
        service = Service(pending("add"))
        _, subscription = follow(reactivex.never(), service, run_id=RUN)
        with subscription:
            assert {"call_1": "3"} == service.outputs()
            assert RUN == service.asked.get(timeout=HANG)

    def test_at_the_first_event_of_each_run_where_it_is_not(self) -> None:
        service, source = Service(), Subject[Any]()
        _, subscription = follow(source, service)
        with subscription:
            assert service.asked.empty()
            for event in (run_started(), delta(), run_started(run_id=OTHER_RUN), delta()):
                source.on_next(event)
            assert [RUN, OTHER_RUN] == [service.asked.get(timeout=HANG) for _ in range(2)]

    def test_each_wait_is_answered_once(self) -> None:
        service, source = Service(pending("add"), pending("add"), pending("add", step=1)), Subject[Any]()
        _, subscription = follow(source, service)
        with subscription:
            source.on_next(run_started())
            assert {"call_1": "3"} == service.outputs()
            source.on_next(waiting(2))
            source.on_next(waiting(3, step=1, node_id="other"))
            source.on_next(waiting(4, step=1))
            request = service.submitted.get(timeout=HANG)
        assert (1, CALL_ID, "draft") == (request.step, request.request_id, request.node_id)
        assert service.submitted.empty()

    def test_a_list_that_lags_is_asked_for_again(self) -> None:
        service, source = Service((), (), (), pending("add")), Subject[Any]()
        _, subscription = follow(source, service)
        with subscription:
            source.on_next(waiting(1))
            assert {"call_1": "3"} == service.outputs()
            assert {RUN} == {service.asked.get(timeout=HANG) for _ in range(4)}

    def test_a_wait_that_was_answered_is_asked_for_no_longer(self) -> None:
        service, source = Service(()), Subject[Any]()
        _, subscription = follow(source, service)
        with subscription:
            source.on_next(waiting(1))
            service.asked.get(timeout=HANG)
            source.on_next(tool_result(2))
            source.on_next(delta())
            threads = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
            for thread in threads:
                thread.join(HANG)
            assert service.asked.qsize() <= 1

    def test_an_error_of_it_ends_the_stream(self) -> None:
        refused = APIError("who are you?", status=401)
        seen, _ = follow(reactivex.never(), Service(refused), run_id=RUN)
        assert refused is seen.wait_end().error

    def test_what_comes_too_late_is_ignored(self, gate: Gate) -> None:
        class Slow(Service):
            def pending_tools(self, run_id: Any, *, cancellation: Any = None) -> RunsPendingToolsResponse:
                gate()
                raise APIError("gone", status=404)

        source = Subject[Any]()
        seen, subscription = follow(source, Slow())
        source.on_next(run_started())
        gate.wait()
        source.on_next(run_completed())
        source.on_completed()
        assert seen.wait_end().completed
        gate.end.set()
        subscription.dispose()


class TestSubmitting:
    @pytest.mark.parametrize("status", [409, 404])
    def test_a_conflict_says_that_somebody_else_was_faster(self, status: int) -> None:
        service, source = Service(pending("add")), Subject[Any]()
        service.refusal = APIError("taken", status=status)
        seen, subscription = follow(source, service, run_id=RUN)
        with subscription:
            service.outputs()
            source.on_completed()
            assert seen.wait_end().completed

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_results_that_are_refused_together_are_sent_one_by_one(self, status: int) -> None:
        names = ("add", "huge", "add")
        service = Service(pending(*names))
        service.refuses = lambda outputs: status if len(outputs) > 1 or "huge" in outputs.values() else None
        tools = {"add": lambda: "3", "huge": lambda: "huge"}
        _, subscription = follow(reactivex.never(), service, tools, run_id=RUN)
        with subscription:
            sent = [service.outputs() for _ in range(5)]
        refused = f"Error: the service refused the output: {status}: no"
        assert [
            {"call_1": "3", "call_2": "huge", "call_3": "3"},
            {"call_1": "3"},
            {"call_2": "huge"},
            {"call_2": refused},
            {"call_3": "3"},
        ] == sent

    def test_a_single_result_that_is_refused_becomes_an_error(self, caplog: pytest.LogCaptureFixture) -> None:
        service, source = Service(pending("add")), Subject[Any]()
        service.refuses = lambda outputs: 400 if "3" in outputs.values() else None
        seen, subscription = follow(source, service, run_id=RUN)
        with subscription:
            refused = {"call_1": "Error: the service refused the output: 400: no"}
            assert [{"call_1": "3"}, refused] == [service.outputs() for _ in range(2)]
            source.on_completed()
            assert seen.wait_end().completed
        assert "node draft: the output of add was refused: 400: no" in caplog.text

    def test_results_that_are_no_longer_wanted_are_not_sent_again(self) -> None:
        left = pending("add", "add", "add")[0]
        service = Service((left,), (structs.replace(left, tool_calls=left.tool_calls[1:2]),))
        service.refuses = lambda outputs: 400 if len(outputs) > 1 else None
        source = Subject[Any]()
        seen, subscription = follow(source, service, run_id=RUN)
        with subscription:
            assert [3, 1] == [len(service.outputs()) for _ in range(2)]
            source.on_completed()
            assert seen.wait_end().completed
        assert service.submitted.empty()

    def test_a_call_that_can_not_be_answered_at_all_ends_the_stream_after_the_others(self) -> None:
        service = Service(pending("add", "add"))
        service.refuses = lambda outputs: 400 if "call_1" in outputs else None
        seen, _ = follow(reactivex.never(), service, run_id=RUN)
        error = seen.wait_end().error
        assert isinstance(error, APIError) and 400 == error.status
        assert {"call_2": "3"} == [service.outputs() for _ in range(4)][-1]

    def test_one_that_others_answered_meanwhile_ends_the_sending(self) -> None:
        service, source = Service(pending("add", "add")), Subject[Any]()
        service.refuses = lambda outputs: 400 if len(outputs) > 1 else 409
        seen, subscription = follow(source, service, run_id=RUN)
        with subscription:
            assert [2, 1] == [len(service.outputs()) for _ in range(2)]
            source.on_completed()
            assert seen.wait_end().completed
        assert service.submitted.empty()

    def test_another_error_ends_the_stream(self) -> None:
        service = Service(pending("add"))
        service.refusal = APIError("broken", status=500)
        seen, _ = follow(reactivex.never(), service, run_id=RUN)
        assert service.refusal is seen.wait_end().error

    def test_completion_waits_for_the_results(self, gate: Gate) -> None:
        service, source = Service(pending("gate")), Subject[Any]()
        seen, _ = follow(source, service, {"gate": gate})
        source.on_next(run_started())
        gate.wait()
        source.on_completed()
        assert not seen.ended
        gate.end.set()
        assert seen.wait_end().completed
        assert {"call_1": "done"} == service.outputs()

    def test_a_run_that_has_ended_waits_for_nothing(self, gate: Gate) -> None:
        service, source = Service(pending("gate")), Subject[Any]()
        seen, _ = follow(source, service, {"gate": gate})
        source.on_next(run_started())
        gate.wait()
        source.on_next(run_completed())
        source.on_completed()
        assert seen.wait_end().completed
        gate.end.set()
        assert service.submitted.empty()

    def test_an_error_of_the_source_passes(self) -> None:
        fault = RuntimeError("the line is dead")
        seen, _ = follow(reactivex.throw(fault), Service())
        assert fault is seen.wait_end().error


class TestEachCallIsAnswered:
    """Whatever one tool does, the call beside it is answered too, and the run is not left waiting."""

    @pytest.fixture
    def client(self) -> Iterator[RunsClient]:
        with DevServer() as server, server.client() as client:
            yield client

    def results(self, client: RunsClient, tool: Callable[[], object]) -> str:
        tools = Tools({"odd": tool, "add": lambda: "3"})
        node = workflow.llm("a", model="gpt-4o", user="Hello", tools=tools, tool_execution="client")
        answered = start_run(workflow.chain(node), client=client).pipe(
            ops.execute_tools(tools, client=client), ops.to_list()
        )
        events = block_on(answered)
        assert events is not None and isinstance(events[-1], RunCompleted)
        odd, add = (event.tool_result.output for event in events if isinstance(event, NodeToolResult))
        assert "3" == add
        return odd

    @pytest.mark.parametrize(
        ("error", "output"),
        [
            (ValueError("it broke"), "it broke"),
            (asyncio.CancelledError(), "CancelledError"),
            (Panic("index out of bounds"), "index out of bounds"),
            (pytest.fail.Exception("assert 1 == 2"), "assert 1 == 2"),
            (GeneratorExit(), "GeneratorExit"),
            (SystemExit(3), "3"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
            (Speechless(), "Speechless"),
            (ExceptionGroup("both", [ValueError("a")]), "both (1 sub-exception)"),
            (ValueError("caf\udce9"), "caf\\udce9"),
        ],
    )
    def test_whatever_a_tool_raises(self, client: RunsClient, error: BaseException, output: str) -> None:
        def odd() -> None:
            raise error

        assert f"Error: {output}" == self.results(client, odd)

    @pytest.mark.parametrize(
        ("returned", "output"),
        [
            ("caf\udce9", "Error: the output can't be sent as UTF-8: it has '\\udce9' at position 3"),
            (["a", "caf\udce9"], "Error: the output can't be sent as UTF-8: it has '\\udce9' at position 3"),
            ("x" * 20 * 10**6, "Error: the output of 20,000,000 bytes is larger than 4,194,304 bytes"),
            ("\x00\x1b[31m\u2028", "\x00\x1b[31m\u2028"),
            (object(), "Error: Encoding objects of type object is unsupported"),
        ],
    )
    def test_whatever_a_tool_returns(self, client: RunsClient, returned: object, output: str) -> None:
        assert output == self.results(client, lambda: returned)

    def test_outputs_that_are_too_large_together_are_all_taken(self, client: RunsClient) -> None:
        tools = Tools(
            {f"tool_{number}": lambda number=number: str(number) * MAX_OUTPUT_BYTES for number in range(5)}
        )
        node = workflow.llm("a", model="gpt-4o", user="[[say: x]]", tools=tools, tool_execution="client")
        answered = start_run(workflow.chain(node), client=client).pipe(
            ops.execute_tools(tools, client=client), ops.of_type(NodeToolResult), ops.to_list()
        )
        results = block_on(answered)
        assert [MAX_OUTPUT_BYTES] * 5 == [len(event.tool_result.output) for event in results or ()]

    def test_an_error_is_short(self, client: RunsClient) -> None:
        def odd() -> None:
            raise ValueError("x" * 20 * 10**6)

        assert 4_007 == len(self.results(client, odd))


class TestServices:
    """Which service is asked, where no client is given."""

    @pytest.fixture
    def elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
        with DevServer() as server:
            monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
            monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
            yield server

    def source(self, client: RunsClient) -> Any:
        node = workflow.llm("a", model="gpt-4o", user="Hello", tools=["clock"], tool_execution="client")
        return start_run(workflow.chain(node), client=client)

    def test_that_of_the_source_is_asked(self, elsewhere: DevServer) -> None:
        with DevServer() as server, server.client() as client:
            execute = ops.execute_tools({"clock": lambda: "12:00"})
            for before in ([], [ops.tap(lambda event: None), ops.share()]):
                assert isinstance(block_on(self.source(client).pipe(*before, execute)), RunCompleted)
        assert [] == list(elsewhere.requests)

    def test_an_error_of_the_environments_names_it(self, elsewhere: DevServer) -> None:
        with DevServer() as server, server.client() as client:
            source = reactivex.concat(self.source(client))  # of RxPY's, which knows no client
            with pytest.raises(APIError, match=rf"execute_tools asked {elsewhere.url}, .*client=") as refused:
                block_on(source.pipe(ops.execute_tools({"clock": lambda: "12:00"})))
        assert 404 == refused.value.status

    def test_an_environment_that_does_not_answer_is_named(self, elsewhere: DevServer) -> None:
        with DevServer() as server, server.client() as client:
            source = reactivex.concat(self.source(client))  # of RxPY's, which knows no client
            url = elsewhere.url
            elsewhere.close()
            with pytest.raises(TransportError, match=rf"execute_tools asked {url}, ") as refused:
                block_on(source.pipe(ops.execute_tools({"clock": lambda: "12:00"})))
        assert "connect" == refused.value.kind


class TestThreads:
    def test_the_source_goes_on_while_tools_run(self, gate: Gate) -> None:
        service, source = Service(pending("gate")), Subject[Any]()
        seen, subscription = follow(source, service, {"gate": gate})
        with subscription:
            source.on_next(waiting(1))
            gate.wait()
            source.on_next(delta(seq=2))
            assert [1, 2] == seen.seqs
            gate.end.set()
            assert {"call_1": "done"} == service.outputs()

    def test_a_call_that_takes_too_long_is_an_error_and_the_others_count(
        self, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = Service(pending("gate", "add"))
        tools = {"gate": gate, "add": lambda: "3"}
        _, subscription = follow(reactivex.never(), service, tools, run_id=RUN, timeout=0.2)
        with subscription:
            assert {"call_1": "Error: no result within 0.2 s", "call_2": "3"} == service.outputs()
        assert "node draft: tool gate: no result within 0.2 s" in caplog.text

    def test_a_person_may_take_longer(self, gate: Gate) -> None:
        service, person = Service(pending("gate", "user_ask", arguments='{"question": "Go on?"}')), Gate()
        tools = {"gate": lambda question: gate()}
        _, subscription = follow(
            reactivex.never(), service, tools, run_id=RUN, timeout=0.001, answer=lambda asked: person()
        )
        with subscription:
            gate.wait()
            person.wait()
            assert service.submitted.empty()
            person.end.set()
            outputs = service.outputs()
        assert "Error: no result within 0.001 s" == outputs["call_1"]
        assert {"answer": "done", "is_freeform": True} == json.loads(outputs["call_2"])

    def test_dispose_ends_the_waiting_and_nothing_is_submitted(self, gate: Gate) -> None:
        service = Service(pending("gate"))
        _, subscription = follow(reactivex.never(), service, {"gate": gate}, run_id=RUN)
        gate.wait()
        subscription.dispose()
        subscription.dispose()
        assert eventually(
            lambda: not [one for one in threading.enumerate() if one.name.startswith("rxruns-tools")]
        )
        gate.end.set()
        assert service.submitted.empty()

    def test_dispose_while_it_pauses_asks_no_more(self) -> None:
        service, source = Service(()), Subject[Any]()
        _, subscription = follow(source, service)
        source.on_next(waiting(1))
        assert eventually(lambda: any(isinstance(one, threading.Timer) for one in threading.enumerate()))
        subscription.dispose()
        assert eventually(lambda: not any(isinstance(one, threading.Timer) for one in threading.enumerate()))

    def test_the_subscribers_own_exception_ends_it_all(self, gate: Gate) -> None:
        def refuse(_: Any) -> None:
            raise RuntimeError("mine")

        source = Subject[Any]()
        source.pipe(ops.execute_tools({}, client=Service())).subscribe(refuse)
        with pytest.raises(RuntimeError, match="mine"):
            source.on_next(run_started())

    def test_without_on_error_the_error_is_shown(self) -> None:
        with uncaught() as died:
            reactivex.never().pipe(
                ops.execute_tools({}, client=Service(APIError("no", status=403)), run_id=RUN)
            ).subscribe()
            assert eventually(lambda: bool(died))
        assert [APIError] == [one.exc_type for one in died]


class TestQuestions:
    def test_without_answer_they_are_left_alone_with_one_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        service, source = Service(pending("user_ask", "add"), pending("user_ask")), Subject[Any]()
        seen, subscription = follow(source, service)
        with subscription:
            source.on_next(run_started())
            assert {"call_2": "3"} == service.outputs()
            source.on_next(waiting(2, call("user_ask", "call_1")))
            source.on_completed()
            assert seen.wait_end().completed
        assert service.submitted.empty()
        assert [f"run {RUN}, node draft: its question waits, since execute_tools was given no answer="] == [
            record.getMessage() for record in caplog.records
        ]

    def test_one_that_is_left_to_others_is_not_submitted(self) -> None:
        service, source = Service(pending("user_ask")), Subject[Any]()
        seen, subscription = follow(source, service, answer=lambda asked: None)
        with subscription:
            source.on_next(user_ask(1, "call_1"))
            source.on_completed()
            assert seen.wait_end().completed
        assert service.submitted.empty()

    def test_one_that_was_seen_is_given_as_it_was(self) -> None:
        asked: SimpleQueue[UserAsk] = SimpleQueue()
        service, source = Service((), pending("user_ask")), Subject[Any]()

        def answer(ask: UserAsk) -> str:
            asked.put(ask)
            return "yes"

        _, subscription = follow(source, service, answer=answer)
        with subscription:
            event = user_ask(1, "call_1")
            source.on_next(event)
            source.on_next(waiting(2, call("user_ask", "call_1")))
            assert event.user_ask == asked.get(timeout=HANG)
            assert {"answer": "yes", "is_freeform": False} == json.loads(service.outputs()["call_1"])

    @pytest.mark.parametrize("arguments", [None, "{}", "[]", "What?"])
    def test_one_that_can_not_be_read_is_left_alone(self, arguments: str | None) -> None:
        service, source = Service(pending("user_ask", arguments=arguments)), Subject[Any]()
        seen, subscription = follow(source, service, answer=lambda asked: "yes", run_id=RUN)
        with subscription:
            source.on_completed()
            assert seen.wait_end().completed
        assert service.submitted.empty()

    @pytest.mark.parametrize("error", [RuntimeError("the person left"), Panic("the person left")])
    def test_what_answer_raises_is_the_result_beside_those_of_tools(
        self, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        def answer(asked: UserAsk) -> str:
            raise error

        service = Service(pending("user_ask", "add", arguments='{"question": "Go on?"}'))
        tools = {"add": lambda question: "3"}
        _, subscription = follow(reactivex.never(), service, tools, answer=answer, run_id=RUN)
        with subscription:
            assert {"call_1": "Error: the person left", "call_2": "3"} == service.outputs()
        assert "node draft: user_ask failed: the person left" in caplog.text

    @pytest.mark.parametrize("given", ["no", " ", 3, "\ud800"])
    def test_an_answer_that_is_not_allowed_is_an_error_for_the_model(self, given: Any) -> None:
        service = Service(pending("user_ask", arguments='{"question": "Go on?", "allow_freeform": false}'))
        _, subscription = follow(reactivex.never(), service, answer=lambda asked: given, run_id=RUN)
        with subscription:
            assert service.outputs()["call_1"].startswith("Error: answer: ")

    @pytest.mark.parametrize("given", ["yes", " yes ", Answer("yes", False)])
    def test_a_tool_named_user_ask_answers_where_nothing_else_does(self, given: Answer | str) -> None:
        def ask(question: str, options: list[Any] | None = None, allow_freeform: bool = True) -> Any:
            return given

        arguments = '{"question": "Go on?", "options": [{"label": "yes"}]}'
        service = Service(pending("user_ask", arguments=arguments))
        _, subscription = follow(reactivex.never(), service, {"user_ask": ask}, run_id=RUN)
        with subscription:
            assert '{"answer":"yes","is_freeform":false}' == service.outputs()["call_1"]

    def test_a_tool_named_user_ask_that_fails_is_an_error_for_the_model(self) -> None:
        def ask(question: str) -> str:
            raise ValueError("the person left")

        service = Service(pending("user_ask", arguments='{"question": "Go on?"}'))
        _, subscription = follow(reactivex.never(), service, {"user_ask": ask}, run_id=RUN)
        with subscription:
            assert "Error: the person left" == service.outputs()["call_1"]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ops.execute_tools([]), "tools"),  # type: ignore[arg-type]
        (lambda: ops.execute_tools({"a": 3}), "function"),  # type: ignore[dict-item]
        (lambda: ops.execute_tools({}, timeout=0), "timeout"),
        (lambda: ops.execute_tools({}, run_id="x"), "run_id"),
    ],
)
def test_bad_arguments_are_refused_by_name(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        make()
    assert field == refused.value.field
