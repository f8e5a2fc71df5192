"""The operator that reports silence.

Threads: the source's thread notes events, and emits completion and errors. One timer at a time, of the
scheduler given to ``subscribe`` or of RxPY's ``TimeoutScheduler``, emits the values. The two take turns to
call the observer. Any thread may dispose, which cancels the timer and never waits.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from msgspec import Struct
from reactivex import Observable, abc
from reactivex.disposable import (
    CompositeDisposable,
    Disposable,
    SerialDisposable,
    SingleAssignmentDisposable,
)
from reactivex.scheduler import TimeoutScheduler, VirtualTimeScheduler

from rxruns._arguments import check_seconds
from rxruns._errors import must_be
from rxruns._streams._merge_runs import RunNotFollowed
from rxruns.events import NodeEvent, RunEvent, TerminalEvent
from rxruns.models import NodeStatus
from rxruns.state._spans import SpanTracker

__all__ = ["Overdue", "overdue"]

_Of = Literal["run", "node"]

_Key: TypeAlias = tuple[int, str | None]
"""A run's id as a number, which is faster to hash than a UUID, and a node's id."""

_LONGEST = 86_400.0
"""Seconds that a timer waits at most; larger numbers overflow."""
_EARLY = 1e-4
"""Seconds that a timer may be early: times are rounded on their way through a scheduler."""


class Overdue(Struct, frozen=True):
    """A run or a node without an event for too long.

    Attributes:
        run_id: the run.
        node_id: wire ``node_id`` of the node; None for a run.
        status: ``"waiting"`` for tool results or an answer, otherwise ``"running"``. A run waits, as in
            ``ops.run_state``, while a node waits and none runs.
        last: the last event of the node or run; its ``seq`` and ``ts`` are the service's.
        since: when it arrived here.
        seconds: the limit that was exceeded.
    """

    run_id: UUID
    node_id: str | None
    status: str
    last: RunEvent
    since: datetime
    seconds: float


def overdue(
    seconds: float, of: _Of = "run"
) -> Callable[[Observable[RunEvent | RunNotFollowed]], Observable[Overdue]]:
    """Emit a value when a run, or a node, hasn't ended and had no event for a time.

    ::

        -a1-b1-a2-----b2-A-----B-|     A and B end the runs a and b; overdue(4)
        --------b--a------b------|

    One value for each silence: the next one follows another event and another silence. Only these values are
    emitted; for the events too, share the source: ``events = run_events(run_id).pipe(ops.share())``.

    With ``of="node"``, a node is watched from its start, or its first event, to its end; other nodes' events
    don't count. A node that waits for tools or a person is silent too, and has the status ``"waiting"``. Runs
    are watched from their first event. Ended runs and nodes, and runs that merge_runs couldn't follow, are
    forgotten.

    The time is that of arrival. If something before this operator, or another subscriber of a shared source,
    is slow, its delay counts as silence. Reconnects aren't events: a limit below ``ResumePolicy`` delays
    reports outages too. A recorded log that is read at once has no silences; with ``speed=1.0`` it has its
    own.

    Values are emitted by one timer of the scheduler given to ``subscribe``, RxPY's ``TimeoutScheduler`` by
    default, whatever the number of runs; never at the same time as completion or an error. A virtual
    scheduler's clock counts, otherwise the system's monotonic clock.

    Args:
        seconds: the longest silence, above 0.
        of: ``"run"`` or ``"node"``.

    Raises:
        InvalidArgumentError: at once, for an argument that can't be used.

    >>> from rxruns.testing import events, play
    >>> log = events.run(every=5.0).node("draft").tool_call("ask").waits().after(90.0).tool_result("yes")
    >>> for at, alert in play(log.succeeds(), overdue(60, of="node")).values:
    ...     print(at, alert.node_id, alert.status, alert.last.type)
    80.0 draft waiting node_waiting
    """
    check_seconds("seconds", seconds)
    if not seconds:
        raise must_be("seconds", "a number above 0", seconds)
    if of not in get_args(_Of):
        raise must_be("of", " or ".join(map(repr, get_args(_Of))), of)

    def alerts(source: Observable[RunEvent | RunNotFollowed]) -> Observable[Overdue]:
        def subscribe(
            observer: abc.ObserverBase[Overdue], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            upstream = SingleAssignmentDisposable()
            watching = _Watching(observer, seconds, of == "node", scheduler, upstream)
            upstream.disposable = source.subscribe(
                watching.on_next, watching.on_error, watching.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(Disposable(watching.stop), upstream)

        return Observable(subscribe)

    return alerts


class _Silences:
    """The silences of one subscription, the longest first. Its owner holds a lock."""

    def __init__(self, of_nodes: bool) -> None:
        self._of_nodes = of_nodes
        self._runs: dict[int, SpanTracker] = {}
        self._quiet: OrderedDict[_Key, tuple[float, RunEvent]] = OrderedDict()

    def note(self, event: RunEvent, now: float) -> None:
        """Begin a silence with an event, unless the event ends what is watched."""
        run = event.run_id.int
        if isinstance(event, TerminalEvent):
            self.forget(run)
            return
        tracker = self._runs.get(run)
        if tracker is None:
            tracker = self._runs[run] = SpanTracker(event.run_id)
        key: _Key = run, None
        if isinstance(event, NodeEvent):
            tracker.step(event)
            if self._of_nodes:
                key = run, event.node_id
                if tracker.open_attempt(event.node_id) is None:
                    self._quiet.pop(key, None)
                    return
        elif self._of_nodes:
            return
        self._quiet[key] = now, event
        self._quiet.move_to_end(key)

    def forget(self, run: int) -> None:
        """Forget a run and its nodes."""
        tracker = self._runs.pop(run, None)
        nodes = () if tracker is None or not self._of_nodes else tracker.open_attempts()
        for node_id in (None, *(attempt.node.id for attempt in nodes)):
            self._quiet.pop((run, node_id), None)

    def began(self) -> float | None:
        """Return the time at which the longest silence began."""
        for began, _ in self._quiet.values():
            return began
        return None

    def take(self, seconds: float, scheduler_now: datetime, now: float) -> Overdue:
        """End the longest silence: its value is emitted once."""
        (run, node_id), (began, last) = self._quiet.popitem(last=False)
        since = scheduler_now - timedelta(seconds=now - began)
        return Overdue(last.run_id, node_id, self._status(run, node_id), last, since, seconds)

    def _status(self, run: int, node_id: str | None) -> str:
        attempts = self._runs[run].open_attempts()
        statuses = {attempt.node.status for attempt in attempts if node_id in (None, attempt.node.id)}
        waits = NodeStatus.WAITING in statuses and NodeStatus.RUNNING not in statuses
        return NodeStatus.WAITING if waits else NodeStatus.RUNNING


class _Watching:
    """One subscription. The timer that waits is for the silence that was the longest when it was set."""

    def __init__(
        self,
        observer: abc.ObserverBase[Overdue],
        seconds: float,
        of_nodes: bool,
        scheduler: abc.SchedulerBase | None,
        upstream: abc.DisposableBase,
    ) -> None:
        self._observer = observer
        self._seconds = seconds
        self._scheduler = scheduler or TimeoutScheduler.singleton()
        self._is_virtual = isinstance(scheduler, VirtualTimeScheduler)
        self._upstream = upstream
        self._silences = _Silences(of_nodes)
        self._timer = SerialDisposable()
        self._has_timer = False
        self._is_stopped = False
        self._lock = threading.Lock()  # guards the silences; never held while others' code runs
        self._emitting = threading.RLock()  # the source's thread and the timer's take turns

    def stop(self) -> None:
        self._is_stopped = True
        self._timer.dispose()

    # ---- the source ----

    def on_next(self, event: RunEvent | RunNotFollowed) -> None:
        with self._lock:
            if isinstance(event, RunEvent):
                self._silences.note(event, self._now())
            elif event.run_id is not None:
                self._silences.forget(event.run_id.int)
            if self._has_timer or self._silences.began() is None:
                return
            self._has_timer = True
        self._wait(self._seconds)

    def on_error(self, error: Exception) -> None:
        with self._emitting:
            self.stop()
            self._observer.on_error(error)

    def on_completed(self) -> None:
        with self._emitting:
            self.stop()
            self._observer.on_completed()

    # ---- the timer ----

    def _now(self) -> float:
        # The time of day may be set back or forth.
        return self._scheduler.to_seconds(self._scheduler.now) if self._is_virtual else time.monotonic()

    def _wait(self, seconds: float) -> None:
        # In place before it is set: the action may run, and set the next one, before `schedule` returns.
        timer = SingleAssignmentDisposable()
        self._timer.disposable = timer
        timer.disposable = self._scheduler.schedule_relative(min(seconds, _LONGEST), self._look)

    def _look(self, scheduler: abc.SchedulerBase, state: object = None) -> None:
        """Emit what is overdue, and wait for what may be next."""
        while not self._is_stopped:
            with self._lock:
                began, now = self._silences.began(), self._now()
                if began is None:
                    self._has_timer = False
                    return
                left = began + self._seconds - now
                value = None
                if left < _EARLY:
                    value = self._silences.take(self._seconds, self._scheduler.now, now)
            if value is None:
                self._wait(left)
                return
            self._emit(value)

    def _emit(self, value: Overdue) -> None:
        try:
            with self._emitting:
                self._observer.on_next(value)
        except BaseException:  # the subscriber's own, on the timer's thread: no dispose follows
            self.stop()
            self._upstream.dispose()
            raise
