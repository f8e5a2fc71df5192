"""The pending calls of one waiting node: run at the same time, each on its own thread, submitted together.

Tools, `answer` and `approve` are called on the call's thread, results are submitted on the node's. Events are
noted on the source's thread, which also reports the calls that another process has answered.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import NamedTuple
from uuid import UUID

from rxruns._display._text import visible
from rxruns._transport import Cancellation
from rxruns.client import RunsClient
from rxruns.errors import APIError, InvalidArgumentError
from rxruns.events import (
    NodeEvent,
    NodeToolResult,
    NodeUserAnswer,
    NodeUserAsk,
    NodeWaiting,
    ToolCallResult,
    UserAnswer,
    UserAsk,
)
from rxruns.models import (
    RunsPendingToolsNode,
    RunsToolCall,
    RunsToolResultItem,
    RunsToolResultsRequest,
)
from rxruns.operators._calling import ToolRunner
from rxruns.state._nodes import NodeState, PendingTool
from rxruns.tools import PendingCall
from rxruns.tools._answer import ANSWERED, REFUSED
from rxruns.tools._outputs import error_output, failed_output
from rxruns.tools._questions import ASK, question_of

__all__ = ["Answering", "WaitingRun"]

logger = logging.getLogger("rxruns")


class Wait(NamedTuple):
    """One wait of a node, for which results are submitted."""

    node_id: str
    step: int
    request_id: UUID


def _wait_of(pending: RunsPendingToolsNode | PendingTool) -> Wait:
    return Wait(pending.node_id, pending.step, pending.request_id)


class WaitingRun:
    """The waits of one run, and the nodes that are being answered."""

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        self.ended = False
        self.listed = False
        self.pauses = 0
        self.waiting: dict[str, NodeState] = {}
        self.begun: set[Wait] = set()
        self.answering: set[Answering] = set()
        self.questions: dict[tuple[str, str], UserAsk] = {}  # by node id and tool call id

    def note(self, event: NodeEvent) -> bool:
        """Take in an event. Return True if a node began to wait."""
        if isinstance(event, NodeUserAsk):
            self.questions[event.node_id, event.user_ask.tool_call.id] = event.user_ask
        elif isinstance(event, NodeToolResult):
            self._settle(event.node_id, event.tool_result)
        elif isinstance(event, NodeUserAnswer):
            self._settle(event.node_id, event.user_answer)
        begins = isinstance(event, NodeWaiting)
        if begins:
            self.pauses = 0
        if begins or event.node_id in self.waiting:
            node = self.waiting.pop(event.node_id, None) or NodeState(id=event.node_id)
            node = node.step_to(event)
            if node.pending_tools:
                self.waiting[event.node_id] = node
        return begins

    def _settle(self, node_id: str, result: ToolCallResult | UserAnswer) -> None:
        wait = Wait(node_id, result.step, result.request_id)
        for one in self.answering:
            one.settle(wait, result.tool_call.id)

    def begin(self, node: RunsPendingToolsNode) -> bool:
        """Return True for a new wait, and remember it."""
        wait = _wait_of(node)
        is_new = wait not in self.begun
        self.begun.add(wait)
        return is_new

    def has_unanswered(self) -> bool:
        """Return True if a node waits for results that neither an event has shown nor this process began."""
        return any(_wait_of(node.pending_tools[0]) not in self.begun for node in self.waiting.values())

    def end(self) -> None:
        """Stop answering: the run is over, or the subscription."""
        self.ended = True
        for one in self.answering:
            one.stop()
        self.waiting, self.begun, self.answering, self.questions = {}, set(), set(), {}


class _Began(NamedTuple):
    """A tool began to run, at this time of the monotonic clock."""

    place: int
    at: float


class Answering:
    """One waiting node: :meth:`run` runs its calls and submits their results, on a thread of its own."""

    def __init__(
        self, run: WaitingRun, node: RunsPendingToolsNode, runner: ToolRunner, client: RunsClient
    ) -> None:
        self._run_id = run.run_id
        self._wait = _wait_of(node)
        self._runner = runner
        self._questions = run.questions
        self._client = client
        self._calls = [item.tool_call for item in node.tool_calls if runner.accepts(item.tool_call)]
        self._received: SimpleQueue[_Began | tuple[int, str | None] | None] = SimpleQueue()
        self._settled: set[int] = set()
        self._cancellation = Cancellation()
        if len(self._calls) < len(node.tool_calls):
            self._warn("its question waits, since execute_tools was given no answer=")

    def stop(self) -> None:
        """Stop waiting, and submit nothing. Running functions continue: Python can't stop them."""
        self._cancellation.cancel()
        self._received.put(None)

    def settle(self, wait: Wait, call_id: str) -> None:
        """Stop waiting for a call that was answered. Called on the source's thread."""
        if wait == self._wait:
            for place, call in enumerate(self._calls):
                if call.id == call_id:
                    self._settled.add(place)
                    self._received.put((place, None))

    def run(self) -> None:
        """Answer the node.

        Raises:
            RunsError: the error of the submission.
        """
        for place, call in enumerate(self._calls):
            name = f"rxruns-tool-{call.name}"
            threading.Thread(target=self._call, args=(place, call), name=name, daemon=True).start()
        outputs = self._outputs()
        if outputs and not self._cancellation.cancelled:
            self._submit(outputs)

    def _warn(self, problem: str) -> None:
        logger.warning("run %s, node %s: %s", self._run_id, visible(self._wait.node_id), visible(problem))

    # ---- calls ----

    def _call(self, place: int, call: RunsToolCall) -> None:
        """Run one call and pass its output on, whatever happens."""
        output: str | None
        try:
            output = self._answer(call) if call.name == ASK else self._result(place, call)
        except BaseException as error:  # of `answer` or `approve`, or Ctrl-C in a tool: no caller is left
            output = failed_output(f"node {self._wait.node_id}: {call.name}", error)
        self._received.put((place, output))

    def _answer(self, call: RunsToolCall) -> str | None:
        """Let `answer` answer the question of the event, or the one in the arguments if there is no event."""
        question = self._questions.get((self._wait.node_id, call.id))
        try:
            question = question or question_of(call, self._wait.step, self._wait.request_id)
        except InvalidArgumentError as error:
            self._warn(str(error))
            return None
        return self._runner.answer_to(question)

    def _result(self, place: int, call: RunsToolCall) -> str | None:
        """Run a tool, once `approve` has approved the call. Its time starts then, if the call still waits."""
        node_id, step, request_id = self._wait
        approved = self._runner.approved(
            PendingCall(
                run_id=self._run_id, node_id=node_id, step=step, request_id=request_id, tool_call=call
            )
        )
        if not isinstance(approved, RunsToolCall):
            return approved
        if self._cancellation.cancelled or place in self._settled:
            return None
        self._received.put(_Began(place, time.monotonic()))
        return self._runner.tools.call(approved.name, approved.arguments)

    def _outputs(self) -> dict[int, str]:
        """The outputs by the place of their calls, with an error for a tool that takes too long."""
        outputs: dict[int, str] = {}
        missing = set(range(len(self._calls)))
        deadlines: dict[int, float] = {}
        while missing:
            ends = min((deadlines[place] for place in missing & deadlines.keys()), default=None)
            try:
                wait = None if ends is None else max(0.0, ends - time.monotonic())
                received = self._received.get(timeout=wait)
            except Empty:
                late = {place for place in missing & deadlines.keys() if deadlines[place] == ends}
                outputs |= {place: self._too_late(self._calls[place]) for place in late}
                missing -= late
                continue
            if received is None:
                return {}
            if isinstance(received, _Began):
                if self._runner.timeout is not None:
                    deadlines[received.place] = received.at + self._runner.timeout
                continue
            place, output = received
            if output is None:
                outputs.pop(place, None)
            elif place in missing:
                outputs[place] = output
            missing.discard(place)
        return outputs

    def _too_late(self, call: RunsToolCall) -> str:
        problem = f"no result within {self._runner.timeout:g} s"
        self._warn(f"tool {call.name}: {problem}")
        return error_output(problem)

    # ---- results ----

    def _submit(self, outputs: dict[int, str]) -> None:
        """Send all results at once; if they are refused, one by one, so that each can succeed alone."""
        try:
            if (refused := self._refusal(outputs)) is not None:
                self._submit_each(outputs, refused)
        except APIError as error:
            if error.status not in ANSWERED:
                raise
            logger.debug("run %s, node %s: answered already: %s", self._run_id, self._wait.node_id, error)

    def _submit_each(self, outputs: dict[int, str], refused: APIError) -> None:
        """Send each result that is still pending. One that is refused alone is replaced by an error."""
        pending = self._client._calls.pending_tools(self._run_id, cancellation=self._cancellation).pending
        ours = [item for node in pending if _wait_of(node) == self._wait for item in node.tool_calls]
        wanted = {item.tool_call.id for item in ours}
        failure: APIError | None = None
        for place, output in sorted(outputs.items()):
            if self._calls[place].id in wanted:
                problem = self._refusal({place: output}) if len(outputs) > 1 else refused
                if problem is not None:
                    failure = self._replace(place, problem) or failure
        if failure is not None:
            raise failure

    def _replace(self, place: int, refused: APIError) -> APIError | None:
        """Answer a call whose output the service refused."""
        self._warn(f"the output of {self._calls[place].name} was refused: {refused}")
        return self._refusal({place: error_output(f"the service refused the output: {refused}")})

    def _refusal(self, outputs: dict[int, str]) -> APIError | None:
        """Send results. Return the error if the service refuses them; raise any other error."""
        results = tuple(
            RunsToolResultItem(RunsToolCall(self._calls[place].id, self._calls[place].name), output)
            for place, output in sorted(outputs.items())
        )
        request = RunsToolResultsRequest(*self._wait, results)
        try:
            self._client._calls.submit_tool_results(self._run_id, request, cancellation=self._cancellation)
        except APIError as error:
            if error.status not in REFUSED:
                raise
            return error
        return None
