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

from rxruns._nodes import NodeState
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
from rxruns.tools import USER_ASK, Answer, Tools, user_answer

__all__ = ["AnswerQuestion", "Answering", "ToolRunner", "WaitingRun"]

AnswerQuestion: TypeAlias = Callable[[UserAsk], Answer | str | None]
_Wait: TypeAlias = tuple[str, int, UUID]
"""Node id, step and request id: what results are submitted for."""

_TAKEN = frozenset({404, 409})
"""Statuses that say: nothing is pending there any more. Somebody else was faster, or the run has ended."""

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
        """Whether a call is for us: a question is not, where nobody answers."""
        return call.name != USER_ASK or self.answer is not None


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
        self._came: SimpleQueue[tuple[int, str | None | Exception] | None] = SimpleQueue()
        self._cancellation = Cancellation()

    def stop(self) -> None:
        """Wait no longer, and submit nothing. What a function does goes on: Python can not stop it."""
        self._cancellation.cancel()
        self._came.put(None)

    def run(self) -> None:
        """Answer the node.

        Raises:
            Exception: what ``answer`` raised, or the error of the submission.
        """
        for place, call in enumerate(self._calls):
            name = f"rxruns-tool-{call.name}"
            threading.Thread(target=self._call, args=(place, call), name=name, daemon=True).start()
        outputs = self._outputs()
        if outputs and not self._cancellation.cancelled:
            self._submit(outputs)

    def _call(self, place: int, call: RunsToolCall) -> None:
        """Run one call. What it gives back after the end of the wait is dropped."""
        came: str | None | Exception
        try:
            came = (
                self._answer(call)
                if call.name == USER_ASK
                else self._runner.tools.call(call.name, call.arguments)
            )
        except Exception as error:
            came = error
        self._came.put((place, came))

    def _answer(self, call: RunsToolCall) -> str | None:
        asked = self._questions.get((self._node.node_id, call.id)) or self._question_of(call)
        given = None if asked is None or self._runner.answer is None else self._runner.answer(asked)
        return None if asked is None or given is None else user_answer(asked, given)

    def _question_of(self, call: RunsToolCall) -> UserAsk | None:
        """The question of a call whose event was not seen, from its arguments."""
        envelope = {"step": self._node.step, "request_id": self._node.request_id, "allow_freeform": True}
        tool_call = {"id": call.id, "name": call.name, "arguments": call.arguments or ""}
        try:
            asked = msgspec.json.decode(call.arguments or "", type=dict[str, Any])
            return msgspec.convert({**envelope, **asked, "tool_call": tool_call}, UserAsk)
        except (msgspec.MsgspecError, ValueError) as error:
            logger.warning("node %s: its question can not be read: %s", self._node.node_id, error)
            return None

    def _outputs(self) -> dict[int, str]:
        """The outputs by the place of their calls. A tool that takes too long gives an error of ours."""
        outputs: dict[int, str] = {}
        missing = set(range(len(self._calls)))
        late = {place for place in missing if self._calls[place].name != USER_ASK}
        deadline = None if self._runner.timeout is None else time.monotonic() + self._runner.timeout
        while missing:
            try:
                came = self._next(deadline if late & missing else None)
            except Empty:
                for place in late & missing:
                    outputs[place] = f"Error: no result within {self._runner.timeout:g} s"
                missing -= late
                continue
            if came is None:
                return {}
            place, output = came
            if isinstance(output, Exception):
                raise output
            if place in missing and output is not None:
                outputs[place] = output
            missing.discard(place)
        return outputs

    def _next(self, deadline: float | None) -> tuple[int, str | None | Exception] | None:
        if deadline is None:
            return self._came.get()
        return self._came.get(timeout=max(0.0, deadline - time.monotonic()))

    def _submit(self, outputs: dict[int, str]) -> None:
        results = tuple(
            RunsToolResultItem(RunsToolCall(self._calls[place].id, self._calls[place].name), output)
            for place, output in sorted(outputs.items())
        )
        node = self._node
        request = RunsToolResultsRequest(node.node_id, node.step, node.request_id, results)
        try:
            self._client.submit_tool_results(self._run_id, request, cancellation=self._cancellation)
        except APIError as error:
            if error.status not in _TAKEN:
                raise
            logger.debug("run %s, node %s: answered already: %s", self._run_id, node.node_id, error)
