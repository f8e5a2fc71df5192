"""The operator that runs the tools which a run waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, TypeVar
from uuid import UUID

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxruns._arguments import check_callback, check_run_id, check_timeout
from rxruns._streams._lease import ClientLease
from rxruns._streams._observable import SourceObservable
from rxruns._transport import Cancellation
from rxruns.client import RunsClient
from rxruns.errors import APIError, InvalidArgumentError, TransportError
from rxruns.events import NodeEvent, RunEvent, TerminalEvent
from rxruns.models import RunsPendingToolsNode
from rxruns.operators._answering import Answering, AnswerQuestion, ToolRunner, WaitingRun
from rxruns.tools import Tools

__all__ = ["execute_tools"]

_E = TypeVar("_E", bound=RunEvent)
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds until the service is asked again about a wait that it does not list, doubled up to a limit."""


def execute_tools(
    tools: Tools | Mapping[str, Callable[..., Any]],
    *,
    run_id: UUID | str | None = None,
    client: RunsClient | None = None,
    timeout: float | None = None,
    answer: AnswerQuestion | None = None,
) -> Callable[[Observable[_E]], Observable[_E]]:
    """Run the tool calls that a run waits for and submit their results; pass every event on.

    ::

        -started-waiting(add)--------------result(3)-completed-|
        -started-waiting(add)--------------result(3)-completed-|
                             add(1, 2) = 3 ^ is submitted

    What is open is asked of the service: at subscription if ``run_id`` is given, else at a run's first event,
    and whenever a node waits. So a tool is not run again for a wait of the past, in a log that is read from
    its start. Each wait (node, step, request id) is answered once per subscription; a conflict (409) means
    that somebody else was faster. Calls of a node run at once, each on a thread of its own, never on the
    source's.

    Args:
        tools: the functions by name. Each call is answered, with what its function returns or with
            ``Error: <message>``: for whatever it raises, an unknown name, arguments that don't fit, an output
            that can't be sent. A warning is logged for each error.
        run_id: the run, where it is known: its open calls are then answered before any event comes.
        client: asks and submits; None takes that of the ``run_events`` or ``start_run`` that this is piped
            to, else one from the environment, closed with the last subscription.
        timeout: seconds that the calls of a node have; then the result of those that are missing is an error.
            A function that is late is not stopped, its result is dropped. None for no limit.
        answer: gets the :class:`~rxruns.events.UserAsk` of a ``user_ask`` call and gives the answer: text, a
            :class:`rxruns.tools.Answer`, or None to leave it to somebody else. What it raises is the result,
            as of a tool. Without it a tool named ``user_ask`` answers; without that too, questions are left
            alone, and a warning is logged.

    Raises:
        InvalidArgumentError: at once, for an argument that can not be used.

    ``on_error`` gets what asking or submitting fails with. Results that the service refuses together (400,
    413, 422) are sent one by one; one that it refuses alone is answered with an error in its place.
    Completion waits for results that are on their way, unless the runs have ended. Dispose stops all waiting;
    a function that runs is left to end.

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
    if not isinstance(tools, Mapping):
        raise InvalidArgumentError(f"tools is {tools!r}: give Tools, or functions by name", field="tools")
    given = None if client is None else ClientLease(client)
    environment = ClientLease(None)
    check_timeout("timeout", timeout)
    check_callback("answer", answer)
    run = None if run_id is None else check_run_id(run_id)
    runner = ToolRunner(tools if isinstance(tools, Tools) else Tools(tools), timeout, answer)

    def executing(source: Observable[_E]) -> Observable[_E]:
        lease = given or _lease_of(source) or environment

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


def _lease_of(source: Observable[Any]) -> ClientLease | None:
    """The client with which a run is followed, of an Observable that follows one."""
    return source._lease if isinstance(source, SourceObservable) else None


def _naming_service(error: Exception, client: RunsClient) -> Exception:
    """An error of a service that was assumed, with its address: it may not be that of the run."""
    hint = f"execute_tools asked {client.base_url}, the environment's service; client= names another"
    if isinstance(error, APIError):
        error.message = f"{error.message} ({hint})"
    elif isinstance(error, TransportError):
        error.args = (f"{error} ({hint})",)
    return error


class _Acting:
    """One subscription. A thread asks the service what is open; each waiting node has one that answers."""

    def __init__(
        self, observer: abc.ObserverBase[Any], runner: ToolRunner, lease: ClientLease, *, is_assumed: bool
    ) -> None:
        self._observer = observer
        self._runner = runner
        self._lease = lease
        self._client = lease.acquire()
        self._is_assumed = is_assumed
        self._runs: dict[UUID, WaitingRun] = {}
        self._to_ask: SimpleQueue[WaitingRun | None] = SimpleQueue()
        self._timers: set[threading.Timer] = set()
        self._at_work = 0  # questions to the service and answers that are on their way
        self._source_completed = False
        self._stopped = False
        self._cancellation = Cancellation()
        self._lock = threading.RLock()  # of what is known; never held while the observer is called
        self._emitting = threading.RLock()  # the source's thread and ours take turns

    def start(self, run_id: UUID | None) -> None:
        threading.Thread(target=self._ask_in_turn, name="rxruns-pending-tools", daemon=True).start()
        if run_id is not None:
            self._first(run_id)

    def stop(self) -> None:
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            answering = [one for run in self._runs.values() for one in run.end()]
            timers = list(self._timers)
        self._cancellation.cancel()
        self._to_ask.put(None)
        for one in answering:
            one.stop()
        for timer in timers:
            timer.cancel()
        self._lease.release()

    # ---- the source ----

    def on_next(self, event: RunEvent) -> None:
        run = self._runs.get(event.run_id) or self._first(event.run_id)
        if isinstance(event, NodeEvent):
            if run.concerns(event):
                with self._lock:
                    if run.note(event):
                        self._ask(run)
        elif isinstance(event, TerminalEvent):
            with self._lock:
                answering = run.end()
            for one in answering:
                one.stop()
        try:
            with self._emitting:
                self._observer.on_next(event)
        except BaseException:  # the subscriber's own: nobody will dispose
            self.stop()
            raise

    def on_error(self, error: Exception) -> None:
        with self._emitting:
            self._observer.on_error(error)

    def on_completed(self) -> None:
        with self._lock:
            self._source_completed = True
            ready = self._at_work == 0 or all(run.ended for run in self._runs.values())
        if ready:
            self._complete()

    def _complete(self) -> None:
        with self._emitting:
            self._observer.on_completed()

    # ---- our threads ----

    def _first(self, run_id: UUID) -> WaitingRun:
        with self._lock:
            run = self._runs[run_id] = WaitingRun(run_id)
            self._ask(run)
        return run

    def _ask(self, run: WaitingRun) -> None:
        with self._lock:
            if not self._stopped:
                self._at_work += 1
                self._to_ask.put(run)

    def _ask_in_turn(self) -> None:
        while (run := self._to_ask.get()) is not None:
            self._work(run, lambda run=run: self._ask_service(run))  # type: ignore[misc]

    def _work(self, run: WaitingRun, work: Callable[[], object]) -> None:
        """Do what was counted as work. If it fails, or completion waited for it, tell the observer."""
        try:
            work()
        except Exception as error:
            if not (run.ended or self._stopped):
                self.on_error(_naming_service(error, self._client) if self._is_assumed else error)
        with self._lock:
            self._at_work -= 1
            ready = self._source_completed and self._at_work == 0
        if ready:
            self._complete()

    def _ask_service(self, run: WaitingRun) -> None:
        if run.ended or (run.asked and not run.unanswered()):
            return
        open_ = self._client._calls.pending_tools(run.run_id, cancellation=self._cancellation).pending
        with self._lock:
            if run.ended or self._stopped:
                return
            run.asked = True
            for node in open_:
                self._begin(run, node)
            if run.unanswered() and not self._source_completed:
                self._ask_later(run)

    def _ask_later(self, run: WaitingRun) -> None:
        """What the service does not list is of the past, and its answer will follow; or the list lags."""
        pause = min(_PAUSE * 2**run.pauses, _LONGEST_PAUSE)
        run.pauses += 1

        def ask() -> None:
            with self._lock:
                self._timers.discard(timer)
                self._ask(run)

        timer = threading.Timer(pause, ask)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    def _begin(self, run: WaitingRun, node: RunsPendingToolsNode) -> None:
        if not run.begin(node):
            return
        answering = Answering(run, node, self._runner, self._client)
        run.at_work.add(answering)
        self._at_work += 1

        def answer() -> None:
            self._work(run, answering.run)
            with self._lock:
                run.at_work.discard(answering)

        threading.Thread(target=answer, name=f"rxruns-tools-{node.node_id}", daemon=True).start()
