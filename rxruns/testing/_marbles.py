"""Runs in virtual time: drawn as marbles, or played at the times of their events. Nothing sleeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import reactivex
from reactivex import Observable
from reactivex.notification import OnCompleted, OnError, OnNext
from reactivex.testing import Recorded, TestScheduler

from rxruns._errors import must_be
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent, TerminalEvent

__all__ = ["Played", "drawn", "play", "subscription_times"]

_Operator = Callable[[Observable[Any]], Observable[Any]]
_SUBSCRIBED = 200.0
_HOUR = 3600.0
_MARBLE = re.compile(r"[^-|#^(),\s]+")


@dataclass(frozen=True)
class Played:
    """The output of a pipeline, in seconds since its subscription.

    Attributes:
        values: pairs of seconds and value.
        completed_at: the time of its completion; None without one.
        error: the error that ended it; None without one.
    """

    values: list[tuple[float, Any]] = field(default_factory=list[tuple[float, Any]])
    completed_at: float | None = None
    error: Exception | None = None


def play(
    log: Sequence[RunEvent],
    *operators: _Operator,
    scheduler: TestScheduler | None = None,
    lasting: float = _HOUR,
) -> Played:
    """Play a run through a pipeline in virtual time, each event at its ``ts``.

    The source behaves like ``run_events``: it is cold, and completes after a terminal event. RxPY passes the
    virtual clock to operators that wait; pass `scheduler` to those that need it as an argument.

    Args:
        log: the events; the first comes at 0 s.
        operators: as for ``pipe``.
        scheduler: a new one, to use in `operators` as well; None: made here.
        lasting: seconds for which a run without an end stays open after its last event.

    >>> from rxruns import ops
    >>> from rxruns.testing import events
    >>> log = events.run(every=1.0).node("draft").text("Hi").after(90).succeeds()
    >>> play(log, ops.debounce(60.0), ops.map(lambda event: event.type)).values
    [(63.0, 'node_output_delta'), (95.0, 'run_completed')]
    """
    started = log[0].ts if log else None
    times: list[Any] = [(event.ts - started).total_seconds() for event in log] if started else []
    messages = [_on_next(time, event) for time, event in zip(times, log, strict=True)]
    if log and isinstance(log[-1], TerminalEvent):
        messages.append(Recorded(times[-1], OnCompleted()))
    scheduler = scheduler or TestScheduler()
    source: Observable[Any] = scheduler.create_cold_observable(messages)
    until = _SUBSCRIBED + max(times, default=0.0) + lasting
    observed = scheduler.start(lambda: source.pipe(*operators), subscribed=_SUBSCRIBED, disposed=until)
    return _played(observed.messages)


def drawn(
    diagram: str, log: Sequence[RunEvent], *operators: _Operator, names: Mapping[str, Any] | None = None
) -> str:
    """Draw the output of a pipeline, one character for each tick, for a run that is drawn as well.

    In both drawings ``a`` is the first event of the log, ``b`` the second and so on, ``|`` completes, ``#``
    is an error and ``(x,y)`` are values of one tick, as in RxPY's marbles.

    Args:
        diagram: the times of the events.
        log: the events.
        operators: as for ``pipe``.
        names: of other values in the output.

    Raises:
        InvalidArgumentError: the diagram names an event that the log lacks, a value has no name, or the
            values of one tick don't fit.

    >>> from rxruns import ops
    >>> from rxruns.testing import events
    >>> log = events.run().node("draft").text("Hi").succeeds()
    >>> drawn("-a-b-c-d-e-f-|", log, ops.for_node("draft"))
    '-----c-d-e---|'
    >>> drawn("-a-b-c-d-e-f-|", log, ops.for_node("draft"), ops.count(), names={"n": 3})
    '-------------(n,|)'
    """
    cast: dict[str | float, Any] = {}
    cast.update(zip(ascii_lowercase, log, strict=False))
    cast.update((names or {}).items())
    for name in _MARBLE.findall(diagram):
        if name not in cast:
            raise must_be("diagram", f"made of names and the log's {len(log)} events, from a on", name)
    source: Observable[Any] = reactivex.from_marbles(diagram, timespan=1.0, lookup=cast)
    observed = TestScheduler().start(
        lambda: source.pipe(*operators), subscribed=_SUBSCRIBED, disposed=_SUBSCRIBED + len(diagram) + _HOUR
    )
    ticks: dict[int, list[str]] = {}
    for message in observed.messages:
        ticks.setdefault(round(message.time - _SUBSCRIBED), []).append(_name(message.value, cast))
    return _diagram(ticks, len(diagram.replace(" ", "")))


def subscription_times(operator: _Operator, events: Sequence[Any]) -> list[tuple[float, float]]:
    """Return when the operator subscribed to its source and left it, with an event at each of 1, 2, 3 ...

    >>> from rxruns import ops
    >>> from rxruns.testing import events
    >>> subscription_times(ops.take(1), events.run())
    [(0.0, 1.0)]
    """
    scheduler = TestScheduler()
    messages = [_on_next(_SUBSCRIBED + time, event) for time, event in enumerate(events, 1)]
    source: Any = scheduler.create_hot_observable(messages)
    scheduler.start(lambda: source.pipe(operator), subscribed=_SUBSCRIBED)
    return [
        (taken.subscribe - _SUBSCRIBED, taken.unsubscribe - _SUBSCRIBED) for taken in source.subscriptions
    ]


def _on_next(time: Any, event: Any) -> Recorded[Any]:  # RxPY's annotation says int; its clock is a float
    return Recorded(time, OnNext(event))


def _played(messages: Sequence[Recorded[Any]]) -> Played:
    values: list[tuple[float, Any]] = []
    for message in messages:
        time = round(message.time - _SUBSCRIBED, 6)  # without the error of floats
        notification: object = message.value
        if isinstance(notification, OnNext):
            values.append((time, notification.value))
        elif isinstance(notification, OnError):
            return Played(values, error=notification.exception)
        else:
            return Played(values, completed_at=time)
    return Played(values)


def _name(notification: object, cast: Mapping[str | float, Any]) -> str:
    if not isinstance(notification, OnNext):
        return "#" if isinstance(notification, OnError) else "|"
    emitted: Any = notification.value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    for name, value in cast.items():
        if value == emitted:
            return str(name)
    raise InvalidArgumentError(f"names lacks a name for {emitted!r}", field="names")


def _diagram(ticks: Mapping[int, list[str]], length: int) -> str:
    drawing = ""
    for tick, names in sorted(ticks.items()):
        if tick < len(drawing):
            raise InvalidArgumentError(
                f"diagram is too short: the values of tick {tick} follow {drawing}; add ticks",
                field="diagram",
            )
        drawing = drawing.ljust(tick, "-") + (names[0] if len(names) == 1 else f"({','.join(names)})")
    has_ended = ticks and ticks[max(ticks)][-1] in ("|", "#")
    return drawing if has_ended else drawing.ljust(length, "-")
