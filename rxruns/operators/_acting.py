"""The operator that answers a run's tool calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar
from uuid import UUID

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxruns._arguments import check_callback, check_kind, check_run_id, check_timeout
from rxruns._streams._lease import ClientLease
from rxruns._streams._observable import SourceObservable
from rxruns._transport import Cancellation
from rxruns.client import RunsClient
from rxruns.errors import APIError, TransportError
from rxruns.events import NodeEvent, RunEvent, TerminalEvent
from rxruns.models import RunsPendingToolsNode
from rxruns.operators._answering import Answering, WaitingRun
from rxruns.operators._calling import AnswerQuestion, ApproveCall, ToolRunner
from rxruns.tools import Tools

__all__ = ["execute_tools"]

_E = TypeVar("_E", bound=RunEvent)
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds until the next request about a wait that the service doesn't list; doubled up to the longest."""


def execute_tools(
    tools: Tools | Mapping[str, Callable[..., Any]],
    *,
    run_id: UUID | str | None = None,
    client: RunsClient | None = None,
    timeout: float | None = None,
    answer: AnswerQuestion | None = None,
    approve: ApproveCall | None = None,
) -> Callable[[Observable[_E]], Observable[_E]]:
    """Run the tool calls that a run waits for and submit their results; pass every event on.

    ::

        -started-waiting(add)--------------result(3)-completed-|
        -started-waiting(add)--------------result(3)-completed-|
                             add(1, 2) = 3 ^ is submitted

    The service lists the pending calls: it is asked at subscription if ``run_id`` is given, else at a run's
    first event, and whenever a node begins to wait. So reading a log from its start doesn't run the calls of
    past waits again. Each wait (node, step, request id) is answered once per subscription; a conflict (409)
    means that another process answered first. The calls of a node run at the same time, each on its own
    thread, never on the source's.

    Args:
        tools: the functions by name. Each call is answered with what its function returns, or with
            ``Error: <message>`` if it raises, if its name is unknown, if the arguments don't fit or if the
            output can't be sent. A warning is logged for each error.
        run_id: the run, if it is known; its pending calls are then answered before any event arrives.
        client: lists the calls and submits the results. None: the client of the ``run_events`` or
            ``start_run`` that this is piped to, else one from the environment, closed with the last
            subscription.
        timeout: seconds for each tool, from its start; a call without a result by then is answered with an
            error. Its function isn't stopped, but its result is dropped. None for no limit.
        answer: receives the :class:`~rxruns.events.UserAsk` of a ``user_ask`` call and returns the answer:
            text, a :class:`rxruns.tools.Answer`, or None to leave the question to another process. If it
            raises, the error is the result, as for a tool. Without it, a tool named ``user_ask`` answers;
            without that too, questions stay unanswered and a warning is logged.
        approve: receives each tool call as a :class:`rxruns.tools.PendingCall`, but no question, before its
            name and arguments are checked. It returns True or :class:`rxruns.tools.Approved` to run the call,
            perhaps with other arguments; :class:`rxruns.tools.Denied` to send the model a reason instead; or
            None to leave the call to another process. It may take its time, on the call's own thread. If it
            raises, or returns anything else, the error is the result and the tool doesn't run; nor does it
            if the call was answered meanwhile.

    Raises:
        InvalidArgumentError: at once, for an invalid argument.

    ``on_error`` receives the errors of listing and submitting. Results that the service refuses together
    (400, 413, 422) are sent one by one; a result that it refuses alone is replaced by an error. Completion
    waits for results in progress, unless the runs have ended. Dispose stops all waiting; a function that is
    running is left to end.

    >>> from rxruns import block_on, start_run, workflow
    >>> from rxruns.devserver import DevServer
    >>> from rxruns.events import NodeToolResult
    >>> from rxruns import operators as ops
    >>> tools = Tools({"clock": lambda: "12:00"})
    >>> node = workflow.llm("ask", model="claude-sonnet-4-5", user="What time is it?", tools=tools,
    ...                     tool_execution="client")
    >>> with DevServer() as server, server.client() as client:
    ...     block_on(start_run(workflow.chain(node), client=client).pipe(
    ...         execute_tools(tools, client=client),
    ...         ops.of_type(NodeToolResult),
    ...     )).tool_result.output
    '12:00'
    """
    check_kind("tools", tools, Mapping, "Tools, or a mapping of names to functions")
    given = None if client is None else ClientLease(client)
    environment = ClientLease(None)
    check_timeout("timeout", timeout)
    check_callback("answer", answer)
    check_callback("approve", approve)
    run = None if run_id is None else check_run_id(run_id)
    runner = ToolRunner(tools if isinstance(tools, Tools) else Tools(tools), timeout, answer, approve)

    def executing(source: Observable[_E]) -> Observable[_E]:
        lease = given or (source._lease if isinstance(source, SourceObservable) else None) or environment

        def subscribe(
            observer: abc.ObserverBase[_E], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            acting = _Acting(observer, runner, lease, is_assumed=lease is environment)
            acting.start(run)
            subscription = source.subscribe(
                acting.on_next, acting.on_error, acting.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(subscription, Disposable(acting.stop))

        return Observable(subscribe)

    return executing


def _naming_service(error: Exception, client: RunsClient) -> Exception:
    """Add the address of the environment's service to its error: the run may belong to another service."""
    hint = f"execute_tools asked {client.base_url}, the environment's service; client= names another"
    if isinstance(error, APIError):
        error.message = f"{error.message} ({hint})"
    elif isinstance(error, TransportError):
        error.args = (f"{error} ({hint})",)
    return error


class _Acting:
    """One subscription: a thread that lists the pending calls, and a thread for each waiting node."""

    def __init__(
        self, observer: abc.ObserverBase[Any], runner: ToolRunner, lease: ClientLease, *, is_assumed: bool
    ) -> None:
        self._observer = observer
        self._runner = runner
        self._lease = lease
        self._client = lease.acquire()
        self._is_assumed = is_assumed
        self._runs: dict[UUID, WaitingRun] = {}
        self._to_list: SimpleQueue[WaitingRun | None] = SimpleQueue()
        self._timers: set[threading.Timer] = set()
        self._active = 0  # listings and answers in progress
        self._source_completed = False
        self._stopped = False
        self._cancellation = Cancellation()
        self._lock = threading.RLock()  # guards the state; never held while the observer is called
        self._emitting = threading.RLock()  # the source's thread and ours take turns

    def start(self, run_id: UUID | None) -> None:
        threading.Thread(target=self._list_in_turn, name="rxruns-pending-tools", daemon=True).start()
        if run_id is not None:
            self._add(run_id)

    def stop(self) -> None:
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            for run in self._runs.values():
                run.end()
            for timer in self._timers:
                timer.cancel()
        self._cancellation.cancel()
        self._to_list.put(None)
        self._lease.release()

    # ---- the source ----

    def on_next(self, event: RunEvent) -> None:
        run = self._runs.get(event.run_id) or self._add(event.run_id)
        with self._lock:
            if isinstance(event, TerminalEvent):
                run.end()
            elif isinstance(event, NodeEvent) and run.note(event):
                self._list(run)
        try:
            with self._emitting:
                self._observer.on_next(event)
        except BaseException:  # the subscriber's own: no dispose follows
            self.stop()
            raise

    def on_error(self, error: Exception) -> None:
        with self._emitting:
            self._observer.on_error(error)

    def on_completed(self) -> None:
        with self._lock:
            self._source_completed = True
        self._complete_if_ready()

    def _complete_if_ready(self) -> None:
        with self._lock:
            is_ready = self._source_completed and (
                self._active == 0 or all(run.ended for run in self._runs.values())
            )
        if is_ready:
            with self._emitting:
                self._observer.on_completed()

    # ---- our threads ----

    def _add(self, run_id: UUID) -> WaitingRun:
        with self._lock:
            run = self._runs[run_id] = WaitingRun(run_id)
            self._list(run)
        return run

    def _list(self, run: WaitingRun) -> None:
        with self._lock:
            if not self._stopped:
                self._active += 1
                self._to_list.put(run)

    def _list_in_turn(self) -> None:
        while (run := self._to_list.get()) is not None:
            self._work(run, partial(self._list_pending, run))

    def _work(self, run: WaitingRun, work: Callable[[], object]) -> None:
        """Do a piece of work that `_active` counts; emit its error, or the completion that waited for it."""
        try:
            work()
        except Exception as error:
            if not (run.ended or self._stopped):
                self.on_error(_naming_service(error, self._client) if self._is_assumed else error)
        with self._lock:
            self._active -= 1
        self._complete_if_ready()

    def _list_pending(self, run: WaitingRun) -> None:
        if run.ended or (run.listed and not run.has_unanswered()):
            return
        pending = self._client._calls.pending_tools(run.run_id, cancellation=self._cancellation).pending
        with self._lock:
            if run.ended or self._stopped:
                return
            run.listed = True
            for node in pending:
                self._begin(run, node)
            if run.has_unanswered() and not self._source_completed:
                self._list_later(run)

    def _list_later(self, run: WaitingRun) -> None:
        """List again after a pause: an unlisted wait was answered in the past, or the list lags."""
        pause = min(_PAUSE * 2**run.pauses, _LONGEST_PAUSE)
        run.pauses += 1

        def list_again() -> None:
            with self._lock:
                self._timers.discard(timer)
                self._list(run)

        timer = threading.Timer(pause, list_again)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    def _begin(self, run: WaitingRun, node: RunsPendingToolsNode) -> None:
        if not run.begin(node):
            return
        answering = Answering(run, node, self._runner, self._client)
        run.answering.add(answering)
        self._active += 1

        def answer() -> None:
            self._work(run, answering.run)
            with self._lock:
                run.answering.discard(answering)

        threading.Thread(target=answer, name=f"rxruns-tools-{node.node_id}", daemon=True).start()
