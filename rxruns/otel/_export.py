"""The operator that hands spans to an exporter, in batches, without dropping any.

Threads: ``on_next`` exports on the thread that calls it, the reader's, so a slow backend slows the source. A
batch that is 5 seconds old while the source is silent is exported on a thread of the scheduler. One lock
orders the two; the exporter and the subscriber are called under it, by one thread at a time. Dispose never
takes the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import TimeoutScheduler

from rxruns._arguments import check_kind, check_whole_number
from rxruns._errors import must_be
from rxruns._policies import RetryPolicy
from rxruns.errors import ExportError
from rxruns.otel._delivery import Delivery
from rxruns.otel._sdk import ReadableSpan, SpanExporter

__all__ = ["export"]

PATIENCE = timedelta(seconds=5)
"""The time after which a batch is exported although it isn't full."""


def export(
    exporter: SpanExporter,
    *,
    batch: int = 512,
    retry: RetryPolicy = RetryPolicy(),
    scheduler: abc.SchedulerBase | None = None,
) -> Callable[[Observable[ReadableSpan]], Observable[ReadableSpan]]:
    """Hand spans to an exporter in batches, and emit them once their batch has succeeded.

    ::

        source        -a-b-R-----c--------------|     R: the root span of a run
        exporter      -----[abR]-----[c]---------     5 s after c
        result        -----abR-------c----------|

    A batch is exported when it is full, at a root span, at completion, and 5 s after its oldest span. The
    source's thread exports, so a slow backend slows the source down, and for ``run_events`` the service:
    nothing is dropped and at most ``batch`` spans wait. Spans that ended before an error of the source are
    exported before it.

    Args:
        exporter: any exporter, such as :class:`OtlpExporter`. Give it a timeout, and shut it down yourself.
            Its verdict counts: ``OTLPSpanExporter`` reports redirects and rejected spans as success.
        batch: the most spans of one batch; fewer for a backend that refuses large requests.
        retry: for batches that the exporter fails to export. ``OtlpExporter`` retries by itself, too.
        scheduler: runs the timer of 5 seconds; None: a thread of its own.

    Raises:
        InvalidArgumentError: an argument is invalid.

    When the attempts are used up, ``on_error`` receives an :class:`~rxruns.errors.ExportError`. ``run_id``
    is that of the first span that was not exported; all spans of that run's events up to ``last_seq`` were.
    Dispose ends a wait for the next attempt at once. A call of the exporter in progress is left to end.

    >>> import reactivex
    >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    >>> from rxruns import otel
    >>> from rxruns.testing import events
    >>> exporter = InMemorySpanExporter()
    >>> log = events.run().node("draft").succeeds()
    >>> root = reactivex.from_iterable(log).pipe(otel.spans(), otel.export(exporter)).run()
    >>> root.name, [span.name for span in exporter.get_finished_spans()]
    ('invoke_workflow', ['draft', 'invoke_workflow'])
    """
    if not callable(getattr(exporter, "export", None)):
        raise must_be("exporter", "a SpanExporter", exporter, "such as OtlpExporter()")
    check_whole_number("batch", batch, at_least=1)
    check_kind("retry", retry, RetryPolicy, "a RetryPolicy")
    if scheduler is not None:
        check_kind("scheduler", scheduler, abc.SchedulerBase, "a scheduler of RxPY, or None")
    timer = scheduler or TimeoutScheduler.singleton()

    def exported(source: Observable[ReadableSpan]) -> Observable[ReadableSpan]:
        def subscribe(
            observer: abc.ObserverBase[ReadableSpan], scheduler_: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            exporting = _Exporting(observer, Delivery(exporter, retry), batch, timer)
            exporting.upstream.disposable = source.subscribe(
                exporting.on_next, exporting.on_error, exporting.on_completed, scheduler=scheduler_
            )
            return Disposable(exporting.stop)

        return Observable(subscribe)

    return exported


class _Exporting:
    """One subscription: the spans that wait for their batch, and the timer."""

    def __init__(
        self,
        observer: abc.ObserverBase[ReadableSpan],
        delivery: Delivery,
        size: int,
        scheduler: abc.SchedulerBase,
    ) -> None:
        self.upstream: SingleAssignmentDisposable = SingleAssignmentDisposable()
        self._observer = observer
        self._delivery = delivery
        self._size = size
        self._scheduler = scheduler
        self._timer = SerialDisposable()
        self._is_armed = False
        self._lock = threading.RLock()  # held while the exporter and the observer are called
        self._waiting: list[ReadableSpan] = []
        self._oldest = scheduler.now  # when the first of them arrived
        self._is_due = False  # a root span waits, or they have waited for long enough, or the source ended
        self._source_error: Exception | None = None
        self._end: Callable[[], None] | None = None
        self._is_draining = False

    def stop(self) -> None:
        self._delivery.cancel()
        self._timer.dispose()
        self.upstream.dispose()

    # ---- the source ----

    def on_next(self, span: ReadableSpan) -> None:
        with self._lock:
            if self._delivery.cancelled:
                return
            if not self._waiting:
                self._oldest = self._scheduler.now
            self._waiting.append(span)
            self._is_due = self._is_due or span.parent is None
            self._drain()

    def on_error(self, error: Exception) -> None:
        self._source_error = error
        self._finish(partial(self._observer.on_error, error))

    def on_completed(self) -> None:
        self._finish(self._observer.on_completed)

    def _finish(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._end, self._is_due = end, True
            self._drain()

    # ---- batches, under the lock ----

    def _drain(self) -> None:
        """Export what is due. The observer may cause more: the outer call exports that too."""
        if self._is_draining:
            return
        self._is_draining = True
        try:
            while self._waiting and (self._is_due or len(self._waiting) >= self._size):
                self._export_batch()
            self._is_due = False
            if self._delivery.cancelled:
                return
            if self._end is not None:
                self._timer.dispose()
                self._end()
            elif self._waiting and not self._is_armed:
                self._arm(PATIENCE)
        except BaseException:  # the subscriber's own: no dispose follows
            self.stop()
            raise
        finally:
            self._is_draining = False

    def _export_batch(self) -> None:
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        try:
            self._delivery.deliver(batch)
        except ExportError as error:
            self._give_up(error)
            return
        for span in batch:
            if self._delivery.cancelled:
                self._waiting.clear()
                return
            self._observer.on_next(span)

    def _give_up(self, error: ExportError) -> None:
        if error.__cause__ is None:
            error.__cause__ = self._source_error
        self.stop()
        self._waiting.clear()
        self._observer.on_error(error)

    # ---- the timer ----

    def _arm(self, delay: timedelta) -> None:
        self._is_armed = True
        self._timer.disposable = self._scheduler.schedule_relative(delay, self._on_timer)

    def _on_timer(self, scheduler: abc.SchedulerBase, state: object = None) -> None:
        with self._lock:
            self._is_armed = False
            if not self._waiting or self._delivery.cancelled:
                return
            waited = self._scheduler.now - self._oldest
            if timedelta(0) <= waited < PATIENCE:  # otherwise the clock was set
                self._arm(PATIENCE - waited)
            else:
                self._is_due = True
                self._drain()
