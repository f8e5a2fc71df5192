"""`execute_tools(approve=...)`: yes, no with a reason, other arguments, or left to others."""

from __future__ import annotations

import json
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from reactivex import Observable

from rxruns import block_on, start_run, workflow
from rxruns import operators as ops
from rxruns.devserver import DevServer
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeToolResult, RunEvent, UserAsk
from rxruns.models import RunsToolCall
from rxruns.tools import Approved, Denied, PendingCall, Tools, answer
from tests.acting import Gate, Panic, executing, pending
from tests.conftest import HANG, eventually
from tests.making import CALL_ID, RUN, run_completed, run_started
from tests.waiting import call, tool_result, waiting

pytestmark = pytest.mark.usefixtures("no_leaks")
ARGUMENTS = '{"a": 1, "b": 2}'
tools = Tools()


@tools.tool
def add(a: int, b: int = 1) -> int:
    return a + b


def outputs_of(decision: object, *names: str, arguments: str | None = ARGUMENTS, **options: Any) -> Any:
    """The outputs that are submitted for calls about which `approve` decides like this."""

    def approve(call: PendingCall) -> Any:
        if isinstance(decision, BaseException):
            raise decision
        return decision

    calls = pending(*names or ("add",), arguments=arguments)
    with executing(calls, tools=tools, approve=approve, run_id=RUN, **options) as run:
        return run.service.outputs()


class TestDecisions:
    @pytest.mark.parametrize(
        ("decision", "output"),
        [
            (True, "3"),
            (Approved(), "3"),
            (Approved({"a": 40, "b": 2}), "42"),
            (Approved({"a": 40}), "41"),
            (Approved({}), "Error: add: a is missing"),
            (Approved({"a": "40"}), "Error: add: a: Expected `int`, got `str`"),
            (Approved({"a": 1, "c": 2}), "Error: add: c is unknown (known: a, b)"),
            (Approved({"a": object()}), "Error: Encoding objects of type object is unsupported"),
            (Denied("too expensive"), "Error: the call was denied: too expensive"),
            (Denied("x" * 9000), "Error: the call was denied: xxx"),
            (RuntimeError("no one answers"), "Error: no one answers"),
            (Panic("index out of bounds"), "Error: index out of bounds"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_each_decision_has_its_output(self, decision: object, output: str) -> None:
        assert outputs_of(decision)["call_1"].startswith(output)
        assert len(outputs_of(decision)["call_1"]) < 4_100

    @pytest.mark.parametrize("decision", [False, 1, "yes", {"a": 1}, Approved, Denied])
    def test_any_other_value_is_an_error_and_the_tool_does_not_run(self, decision: object) -> None:
        expected = (
            "Error: the result of approve must be True, tools.Approved(...), tools.Denied(reason) or None"
        )
        assert outputs_of(decision)["call_1"].startswith(expected)

    def test_a_call_that_is_left_to_others_is_not_submitted_beside_the_ones_that_ran(self) -> None:
        calls = pending("add", "book", "add", arguments=ARGUMENTS)
        mine = {"approve": lambda call: True if call.tool_call.name == "add" else None}
        with executing(calls, tools=tools, run_id=RUN, **mine) as run:
            assert {"call_1": "3", "call_3": "3"} == run.service.outputs()

    def test_nothing_is_submitted_if_all_calls_are_left_to_others(self) -> None:
        with executing(pending("add"), approve=lambda call: None) as run:
            run.source.on_next(run_started())
            assert run.completes()

    def test_the_call_has_the_ids_of_its_wait(self) -> None:
        calls: SimpleQueue[PendingCall] = SimpleQueue()

        def approve(call: PendingCall) -> Denied:
            calls.put(call)
            return Denied("no")

        with executing(pending("add", step=2, arguments=ARGUMENTS), approve=approve, run_id=RUN):
            found = calls.get(timeout=HANG)
        tool_call = RunsToolCall("call_1", "add", ARGUMENTS)
        expected = PendingCall(run_id=RUN, node_id="draft", step=2, request_id=CALL_ID, tool_call=tool_call)
        assert expected == found
        assert {"a": 1, "b": 2} == found.arguments

    def test_unknown_tools_and_wrong_arguments_are_decided_about_too(self) -> None:
        assert {"call_1": "Error: the call was denied: no"} == outputs_of(Denied("no"), "unknown")
        assert {"call_1": "Error: the call was denied: no"} == outputs_of(Denied("no"), arguments="{")
        assert outputs_of(True, "unknown")["call_1"].startswith("Error: there is no tool unknown")

    def test_questions_go_to_answer_alone(self) -> None:
        def reply(question: UserAsk) -> str:
            return "yes"

        calls = pending("user_ask", "add", arguments='{"question": "Continue?"}')
        with executing(calls, approve=lambda call: Denied("no"), answer=reply, run_id=RUN) as run:
            outputs = run.service.outputs()
        assert {"answer": "yes", "is_freeform": True} == json.loads(outputs["call_1"])
        assert "Error: the call was denied: no" == outputs["call_2"]

    def test_a_denial_is_logged_but_is_not_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", "rxruns"):
            outputs_of(Denied("too \x1b[31mexpensive"))
        expected = f"run {RUN}, node draft: add was denied: too ␛[31mexpensive"
        assert [("INFO", expected)] == [(one.levelname, one.getMessage()) for one in caplog.records]


@pytest.mark.parametrize("reason", ["", " \n", None, 3])
def test_a_denial_without_a_reason_is_refused(reason: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="^reason must be text that isn't blank, got "):
        Denied(reason)


@pytest.mark.parametrize("arguments", ['{"a": 1}', ["a"], 3])
def test_arguments_that_are_not_a_mapping_are_refused(arguments: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="^arguments must be a mapping of names"):
        Approved(arguments)


def test_approve_must_be_a_function() -> None:
    with pytest.raises(InvalidArgumentError, match="^approve must be a function or None, got True$"):
        ops.execute_tools(tools, approve=True)  # type: ignore[arg-type]


class TestThreads:
    def test_an_approval_may_take_longer_than_the_tools(
        self, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        approval, tools = Gate(), {"gate": gate, "add": lambda: "3"}

        def approve(call: PendingCall) -> Any:
            if call.tool_call.name == "gate":
                approval.wait()  # so that the other call has begun before
                return True
            return True if approval() else None

        calls = pending("add", "gate")
        with executing(calls, tools=tools, approve=approve, timeout=0.2, run_id=RUN) as run:
            assert eventually(lambda: "tool gate: no result within 0.2 s" in caplog.text)
            assert run.service.submitted.empty()
            approval.end.set()
            assert {"call_1": "3", "call_2": "Error: no result within 0.2 s"} == run.service.outputs()

    def test_after_dispose_an_approved_tool_does_not_run_and_nothing_is_submitted(self, gate: Gate) -> None:
        ran: list[str] = []

        def approve(call: PendingCall) -> Any:
            gate()
            return True

        calls = pending("add")
        with executing(calls, tools={"add": lambda: ran.append("add")}, approve=approve, run_id=RUN) as run:
            gate.wait()
            thread = next(one for one in threading.enumerate() if one.name == "rxruns-tool-add")
            run.subscription.dispose()
        gate.end.set()
        thread.join(HANG)
        assert [] == ran
        assert run.service.submitted.empty()

    @pytest.mark.parametrize("event", [tool_result(2), run_completed()], ids=["answered", "ended"])
    def test_a_tool_does_not_run_if_its_call_was_answered_or_its_run_ended_meanwhile(
        self, gate: Gate, event: RunEvent
    ) -> None:
        ran: list[str] = []

        def approve(call: PendingCall) -> Any:
            gate()
            return True

        calls = pending("add")
        with executing(calls, tools={"add": lambda: ran.append("add")}, approve=approve) as run:
            run.source.on_next(waiting(1))
            gate.wait()
            thread = next(one for one in threading.enumerate() if one.name == "rxruns-tool-add")
            run.source.on_next(event)
            gate.end.set()
            thread.join(HANG)
            assert [] == ran
            assert run.completes()

    def test_another_result_of_the_node_does_not_settle_a_call(self, gate: Gate) -> None:
        def approve(call: PendingCall) -> Any:
            gate()
            return True

        with executing(pending("add", step=1), approve=approve) as run:
            run.source.on_next(waiting(1, call(), step=1))
            gate.wait()
            for other in (tool_result(2, "call_2", step=1), tool_result(3), tool_result(4, node_id="other")):
                run.source.on_next(other)
            gate.end.set()
            assert {"call_1": "3"} == run.service.outputs()

    def test_a_result_that_another_process_sent_first_is_not_sent_beside_others(self, gate: Gate) -> None:
        with executing(pending("add", "gate"), tools={"add": lambda: "3", "gate": gate}) as run:
            run.source.on_next(waiting(1, call(), call("gate", "call_2")))
            gate.wait()
            assert eventually(lambda: "rxruns-tool-add" not in [one.name for one in threading.enumerate()])
            run.source.on_next(tool_result(2))
            gate.end.set()
            assert {"call_2": "done"} == run.service.outputs()

    @pytest.mark.parametrize("status", [404, 409])
    def test_an_approved_call_that_was_answered_meanwhile_is_harmless(self, status: int) -> None:
        with executing(pending("add"), approve=lambda call: True, run_id=RUN) as run:
            run.service.refuses = lambda outputs: status
            run.service.outputs()
            assert run.completes()


class TestAgainstAService:
    def results(self, source: Observable[RunEvent]) -> list[str]:
        events = block_on(source.pipe(ops.of_type(NodeToolResult), ops.to_list()), default=[])
        return [event.tool_result.output for event in events]

    def spec(self, *names: str) -> workflow.WorkflowSpec:
        node = workflow.llm("a", model="gpt-4o", user="Hi", tools=[*names], tool_execution="client")
        return workflow.chain(node)

    def test_yes_no_and_other_arguments_reach_the_run(self) -> None:
        decisions: dict[str, Any] = {
            "pay": Denied("no budget"),
            "look": True,
            "add": Approved({"a": 1, "b": 2}),
        }
        functions = {"pay": lambda: "paid", "look": lambda: "seen", "add": add}
        with DevServer() as server, server.client() as client:
            source = start_run(self.spec(*functions), client=client).pipe(
                ops.execute_tools(functions, approve=lambda call: decisions[call.tool_call.name])
            )
            results = self.results(source)
        assert ["Error: the call was denied: no budget", "seen", "3"] == results

    def test_a_call_that_is_left_to_others_is_answered_by_another_process(self) -> None:
        with DevServer() as server, server.client() as client:

            def approve(call: PendingCall) -> bool | None:
                if call.tool_call.name == "look":
                    return True
                answer(call, output={"paid": 7}, client=client)  # as another process would
                return None

            source = start_run(self.spec("pay", "look"), client=client).pipe(
                ops.execute_tools({"look": lambda: "seen"}, approve=approve)  # type: ignore[arg-type]
            )
            assert ['{"paid":7}', "seen"] == self.results(source)
