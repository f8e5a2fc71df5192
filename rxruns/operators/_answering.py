"""The calls that one waiting node has open: run at once, each on its own thread, and submitted together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from rxruns._display._text import visible
from rxruns._transport import Cancellation
from rxruns.client import RunsClient
from rxruns.errors import APIError
from rxruns.events import NodeEvent, NodeUserAsk, NodeWaiting, UserAsk
from rxruns.models import (
    RunsPendingToolsNode,
    RunsToolCall,
    RunsToolResultItem,
    RunsToolResultsRequest,
)
from rxruns.state._nodes import NodeState
from rxruns.tools import USER_ASK, Answer, Tools, user_answer
from rxruns.tools._outputs import error_output, failed_output

__all__ = ["AnswerQuestion", "Answering", "ToolRunner", "WaitingRun"]

AnswerQuestion: TypeAlias = Callable[[UserAsk], Answer | str | None]
_Wait: TypeAlias = tuple[str, int, UUID]
"""Node id, step and request id: what results are submitted for."""

_ASK: str = USER_ASK["function"]["name"]

_TAKEN = frozenset({404, 409})
"""Statuses that say: nothing is pending there any more. Somebody else was faster, or the run has ended."""

_REFUSED = frozenset({400, 413, 422})
"""Statuses that say: a result, or all of them together, can't be taken."""

logger = logging.getLogger("rxruns")


class WaitingRun:
    """What is known of one run."""

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        self.ended = False
        self.asked = False
        self.pauses = 0
        self.waiting: dict[str, NodeState] = {}
        self.begun: set[_Wait] = set()
        self.at_work: set[Answering] = set()
        self.questions: dict[tuple[str, str], UserAsk] = {}  # by node id and tool call id

    def concerns(self, event: NodeEvent) -> bool:
        """Whether the event begins a wait, or belongs to a node that waits: few do."""
        return event.node_id in self.waiting or isinstance(event, (NodeWaiting, NodeUserAsk))

    def note(self, event: NodeEvent) -> bool:
        """Take in an event. Whether a node waits that did not before."""
        if isinstance(event, NodeUserAsk):
            self.questions[event.node_id, event.user_ask.tool_call.id] = event.user_ask
        begins = isinstance(event, NodeWaiting)
        if begins:
            self.pauses = 0
        if begins or event.node_id in self.waiting:
            node = self.waiting.get(event.node_id) or NodeState(id=event.node_id)
            node = node.step_to(event)
            if node.pending_tools:
                self.waiting[event.node_id] = node
            else:
                self.waiting.pop(event.node_id, None)
        return begins

    def begin(self, node: RunsPendingToolsNode) -> bool:
        """Whether a wait is new."""
        wait = (node.node_id, node.step, node.request_id)
        if wait in self.begun:
            return False
        self.begun.add(wait)
        return True

    def unanswered(self) -> bool:
        """Whether a node waits that nobody was seen to answer, and that we have not begun to."""
        waits = (node.pending_tools[0] for node in self.waiting.values())
        return any((wait.node_id, wait.step, wait.request_id) not in self.begun for wait in waits)

    def end(self) -> set[Answering]:
        """The run is over: what was at work is of no use any more."""
        self.ended = True
        at_work, self.at_work = self.at_work, set()
        self.waiting, self.begun, self.questions = {}, set(), {}
        return at_work


class ToolRunner(msgspec.Struct, frozen=True):
    """What answers calls: functions, the seconds that each has, and who asks people."""

    tools: Tools
    timeout: float | None
    answer: AnswerQuestion | None

    def takes(self, call: RunsToolCall) -> bool:
        """Whether a call is for us: a question is not, where nothing answers it."""
        return call.name != _ASK or self.answer is not None or _ASK in self.tools

    def answer_to(self, asked: UserAsk) -> str | None:
        """The output of a question's call; None leaves it to others."""
        if self.answer is not None:
            given = self.answer(asked)
            return None if given is None else user_answer(asked, given)
        output = self.tools.call(_ASK, asked.tool_call.arguments)
        if output.startswith("Error: "):
            return output
        try:
            return user_answer(asked, msgspec.json.decode(output, type=Answer))
        except msgspec.MsgspecError:  # text
            return user_answer(asked, output)


class Answering:
    """One waiting node: :meth:`run` runs its calls and submits their results, on a thread of its own."""

    def __init__(
        self,
        run: WaitingRun,
        node: RunsPendingToolsNode,
        runner: ToolRunner,
        client: RunsClient,
    ) -> None:
        self._run_id = run.run_id
        self._node = node
        self._runner = runner
        self._questions = run.questions
        self._client = client
        self._calls = [item.tool_call for item in node.tool_calls if runner.takes(item.tool_call)]
        self._came: SimpleQueue[tuple[int, str | None] | None] = SimpleQueue()
        self._cancellation = Cancellation()
        if len(self._calls) < len(node.tool_calls):
            logger.warning(
                "run %s, node %s: its question waits, since execute_tools was given no answer=",
                self._run_id,
                visible(node.node_id),
            )

    def stop(self) -> None:
        """Wait no longer, and submit nothing. What a function does goes on: Python can not stop it."""
        self._cancellation.cancel()
        self._came.put(None)

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

    def _call(self, place: int, call: RunsToolCall) -> None:
        """Run one call, which is answered whatever happens. What comes too late is dropped."""
        output: str | None
        try:
            output = (
                self._answer(call)
                if call.name == _ASK
                else self._runner.tools.call(call.name, call.arguments)
            )
        except BaseException as error:  # of `answer`, or Ctrl-C in a tool: this thread has no one to raise to
            output = failed_output(f"node {self._node.node_id}: {call.name}", error)
        self._came.put((place, output))

    def _answer(self, call: RunsToolCall) -> str | None:
        asked = self._questions.get((self._node.node_id, call.id)) or self._question_of(call)
        return None if asked is None else self._runner.answer_to(asked)

    def _question_of(self, call: RunsToolCall) -> UserAsk | None:
        """The question of a call whose event was not seen, from its arguments."""
        envelope = {"step": self._node.step, "request_id": self._node.request_id, "allow_freeform": True}
        tool_call = {"id": call.id, "name": call.name, "arguments": call.arguments or ""}
        try:
            asked = msgspec.json.decode(call.arguments or "", type=dict[str, Any])
            return msgspec.convert({**envelope, **asked, "tool_call": tool_call}, UserAsk)
        except (msgspec.MsgspecError, ValueError) as error:
            logger.warning(
                "node %s: its question can't be read: %s", visible(self._node.node_id), visible(str(error))
            )
            return None

    def _outputs(self) -> dict[int, str]:
        """The outputs by the place of their calls. A tool that takes too long gives an error of ours."""
        outputs: dict[int, str] = {}
        missing = set(range(len(self._calls)))
        late = {place for place in missing if self._calls[place].name != _ASK}
        deadline = None if self._runner.timeout is None else time.monotonic() + self._runner.timeout
        while missing:
            try:
                came = self._next(deadline if late & missing else None)
            except Empty:
                for place in late & missing:
                    outputs[place] = self._too_late(place)
                missing -= late
                continue
            if came is None:
                return {}
            place, output = came
            if place in missing and output is not None:
                outputs[place] = output
            missing.discard(place)
        return outputs

    def _too_late(self, place: int) -> str:
        problem = f"no result within {self._runner.timeout:g} s"
        name = visible(self._calls[place].name)
        logger.warning("node %s: tool %s: %s", visible(self._node.node_id), name, problem)
        return error_output(problem)

    def _next(self, deadline: float | None) -> tuple[int, str | None] | None:
        if deadline is None:
            return self._came.get()
        return self._came.get(timeout=max(0.0, deadline - time.monotonic()))

    def _submit(self, outputs: dict[int, str]) -> None:
        """Send all results at once; if they are refused, one by one, so that one costs no other."""
        try:
            if (refused := self._refusal(outputs)) is not None:
                self._submit_each(outputs, refused)
        except APIError as error:
            if error.status not in _TAKEN:
                raise
            logger.debug("run %s, node %s: answered already: %s", self._run_id, self._node.node_id, error)

    def _submit_each(self, outputs: dict[int, str], refused: APIError) -> None:
        """Send each result that is still wanted. One that is refused alone becomes an error of ours."""
        pending = self._client._calls.pending_tools(self._run_id, cancellation=self._cancellation).pending
        wanted = {item.tool_call.id for node in pending if self._is_ours(node) for item in node.tool_calls}
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
        logger.warning(
            "run %s, node %s: the output of %s was refused: %s",
            self._run_id,
            visible(self._node.node_id),
            visible(self._calls[place].name),
            visible(str(refused)),
        )
        return self._refusal({place: error_output(f"the service refused the output: {refused}")})

    def _refusal(self, outputs: dict[int, str]) -> APIError | None:
        """Send results. The error of a service that can't take them is returned, any other is raised."""
        try:
            self._send(outputs)
        except APIError as error:
            if error.status not in _REFUSED:
                raise
            return error
        return None

    def _is_ours(self, node: RunsPendingToolsNode) -> bool:
        return (node.node_id, node.step, node.request_id) == (
            self._node.node_id,
            self._node.step,
            self._node.request_id,
        )

    def _send(self, outputs: dict[int, str]) -> None:
        results = tuple(
            RunsToolResultItem(RunsToolCall(self._calls[place].id, self._calls[place].name), output)
            for place, output in sorted(outputs.items())
        )
        node = self._node
        request = RunsToolResultsRequest(node.node_id, node.step, node.request_id, results)
        self._client._calls.submit_tool_results(self._run_id, request, cancellation=self._cancellation)
