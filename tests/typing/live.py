"""Typed uses of live values, tools and bridges: checked by mypy and pyright, never run."""

from decimal import Decimal
from typing import assert_type

from reactivex import Observable

from rxruns import RetryPolicy, RunsClient, aio, iterate
from rxruns import operators as ops
from rxruns.costs import Price
from rxruns.events import NodeLLMCall, NodeOutputDelta, RunEvent, UserAsk
from rxruns.state import Nodes, NodeSpan, NodeState, NodeText, RunState, Timed
from rxruns.tools import Answer, Approved, Decision, Denied, PendingCall, Tools, pending
from rxruns.tools import answer as answer_call

tools = Tools()


@tools.tool
def add(a: int, b: int = 1) -> int:
    return a + b


@tools.tool("files.read")
def read(path: str) -> str:
    return path


assert_type(add(1), int)
assert_type(read("x"), str)


def live(source: Observable[RunEvent], deltas: Observable[NodeOutputDelta]) -> None:
    assert_type(source.pipe(ops.text()), Observable[NodeText])
    assert_type(source.pipe(ops.text("draft", "check")), Observable[NodeText])
    assert_type(source.pipe(ops.of_type(NodeOutputDelta), ops.text()), Observable[NodeText])
    assert_type(source.pipe(ops.run_state(), ops.last()), Observable[RunState])
    assert_type(source.pipe(ops.run_state(RunState())), Observable[RunState])
    assert_type(source.pipe(ops.node_spans(open_spans=True)), Observable[NodeSpan])
    assert_type(deltas.pipe(ops.event_time()), Observable[Timed[NodeOutputDelta]])
    source.pipe(ops.text(), ops.tap(lambda text: print(text.piece, end="")))


def clients() -> None:
    with RunsClient.from_env(
        timeout=5.0, headers={"X-Mine": "1"}, retry=RetryPolicy(max_attempts=1)
    ) as client:
        assert_type(client, RunsClient)
    RunsClient.from_env(timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def state(run: RunState, span: NodeSpan, event: RunEvent) -> None:
    assert_type(run.step(event), RunState)
    assert_type(run.nodes, Nodes)
    assert_type(run.nodes["draft"], NodeState)
    assert_type(run.nodes["draft"].text, str)
    assert_type(run.costs.usd, Decimal | None)
    assert_type([tool.tool_call.arguments for tool in run.pending_tools], list[str])
    assert_type(span.duration, float | None)


def the_elements_type_stays(calls: Observable[NodeLLMCall]) -> None:
    prices = {("openai", "gpt-5"): Price(1, 2)}
    assert_type(
        calls.pipe(
            ops.budget("1.50", prices, ignore_unpriced=True),
            ops.handoff(100, overflow="drop_oldest", on_dropped=lambda total: print(total)),
            ops.execute_tools(tools, timeout=5.0, answer=answer),
            ops.execute_tools({"add": add}, answer=lambda question: Answer("yes", False)),
            ops.execute_tools(tools, approve=approve),
            ops.execute_tools(tools, approve=lambda call: Denied(call.tool_call.name)),
        ),
        Observable[NodeLLMCall],
    )
    ops.execute_tools(tools, approve=lambda call: "yes")  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]


def approve(call: PendingCall) -> Decision:
    if call.arguments.get("amount", 0) > 100:
        return Denied("too expensive")
    return Approved({"amount": 100}) if call.node_id == "pay" else True


def from_elsewhere(client: RunsClient) -> None:
    calls = pending("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", client=client)
    assert_type(calls, tuple[PendingCall, ...])
    assert_type(calls[0].question, UserAsk | None)
    assert_type(answer_call(calls[0], "yes"), PendingCall)
    answer_call(calls[0].run_id, output={"a": 1}, node_id="draft", client=client)


def answer(question: UserAsk) -> str | None:
    return question.options[0].label if question.options else None


def loop(source: Observable[NodeText]) -> None:
    for text in iterate(source, capacity=10):
        assert_type(text, NodeText)
    with iterate(source) as texts:
        assert_type(next(texts), NodeText)


async def asynchronous(source: Observable[NodeText]) -> None:
    async for text in aio.iterate(source):
        assert_type(text, NodeText)
    async with aio.events("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11", after_seq=3) as events:
        assert_type(await anext(events), RunEvent)
    assert_type(await aio.last(source), NodeText | None)
