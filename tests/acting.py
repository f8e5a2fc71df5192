"""A client without a network, and subscriptions to `execute_tools` over a subject."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from uuid import UUID

from reactivex import Subject

from rxruns import RunsClient, block_on, run_events, workflow
from rxruns import operators as ops
from rxruns.errors import APIError
from rxruns.events import NodeWaiting
from rxruns.models import (
    RunsPendingToolCall,
    RunsPendingToolsNode,
    RunsPendingToolsResponse,
    RunsToolCall,
    RunsToolResultsRequest,
    RunsToolResultsResponse,
)
from tests.conftest import HANG
from tests.making import CALL_ID
from tests.observing import Seen


class Service(RunsClient):
    """A client that answers without a network: the lists of pending calls, and a status for submissions."""

    def __init__(self, *pending: Any) -> None:
        self._calls: Any = self
        self.pending = list(pending)
        self.listings: SimpleQueue[UUID] = SimpleQueue()
        self.submitted: SimpleQueue[RunsToolResultsRequest] = SimpleQueue()
        self.refuses: Callable[[dict[str, str]], int | None] = lambda outputs: None

    def pending_tools(self, run_id: Any, *, cancellation: Any = None) -> RunsPendingToolsResponse:
        self.listings.put(run_id)
        found = self.pending.pop(0) if len(self.pending) > 1 else self.pending[0] if self.pending else ()
        if isinstance(found, Exception):
            raise found
        return RunsPendingToolsResponse(run_id, found() if callable(found) else found)

    def submit_tool_results(
        self, run_id: Any, request: RunsToolResultsRequest, *, cancellation: Any = None
    ) -> RunsToolResultsResponse:
        self.submitted.put(request)
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
    """Not an ``Exception``, like a panic of a Rust module."""


class Gate:
    """A tool that signals its start and returns when the test opens it."""

    def __init__(self) -> None:
        self._began = threading.Semaphore(0)
        self.end = threading.Event()

    def __call__(self) -> str:
        self._began.release()
        assert self.end.wait(HANG)
        return "done"

    def wait(self) -> None:
        assert self._began.acquire(timeout=HANG)


class Executing:
    """A subscription to `execute_tools` over a subject."""

    def __init__(self, service: Service, tools: Any, options: dict[str, Any]) -> None:
        self.service = service
        self.source: Subject[Any] = Subject()
        self.seen = Seen()
        operator = ops.execute_tools(tools or {"add": lambda: "3"}, client=service, **options)
        self.subscription = self.source.pipe(operator).subscribe(self.seen)

    def completes(self) -> bool:
        """Complete the source and wait for the end. Return True if every submission was looked at."""
        self.source.on_completed()
        return self.seen.wait_end().completed and self.service.submitted.empty()


@contextmanager
def executing(*lists: Any, tools: Any = None, **options: Any) -> Iterator[Executing]:
    """Execute tools against a service with these lists of pending calls."""
    execution = Executing(Service(*lists), tools, options)
    with execution.subscription:
        yield execution


def waiting_run(
    client: RunsClient, *tools: Any, prompt: str = "[[ask: Go?]]", nodes: tuple[str, ...] = ("ask",)
) -> UUID:
    """Start a run whose nodes call these tools, and return its id when all of them wait."""
    builder = workflow.WorkflowBuilder(model="gpt-4o")
    for node in nodes:
        builder.llm(node, user=prompt, tools=[*tools], tool_execution="client")
        builder.output(node, node)
    run_id = client.create(builder.build()).run_id
    waits = run_events(run_id, client=client).pipe(ops.of_type(NodeWaiting), ops.take(len(nodes)))
    block_on(waits)
    return run_id
