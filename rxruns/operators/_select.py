"""Operators that select events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from reactivex import Observable
from reactivex import operators as rx

from rxruns._errors import must_be
from rxruns.events import RunEvent

__all__ = ["check_node_ids", "for_node", "of_type"]

_E = TypeVar("_E", bound=RunEvent)
_E1 = TypeVar("_E1", bound=RunEvent)
_E2 = TypeVar("_E2", bound=RunEvent)
_E3 = TypeVar("_E3", bound=RunEvent)
_E4 = TypeVar("_E4", bound=RunEvent)


def for_node(*node_ids: str) -> Callable[[Observable[_E]], Observable[_E]]:
    """Pass on the events of the given nodes (wire ``node_id``).

    ::

        -a1-b1-a2-c1-b2-|
        -a1----a2-------|     for_node("a")

    Args:
        node_ids: one or more ids. Events of the run itself have no node and are skipped.

    Raises:
        InvalidArgumentError: there is no id, or one that isn't text or is empty.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeStarted
    >>> run = {"run_id": UUID(int=1), "ts": datetime.now(timezone.utc)}
    >>> events = [NodeStarted(**run, seq=1, node_id="draft"), NodeStarted(**run, seq=2, node_id="check")]
    >>> reactivex.of(*events).pipe(for_node("check")).run().seq
    2
    """
    if not node_ids:
        raise must_be("node_ids", "one or more ids", node_ids)
    wanted = check_node_ids(node_ids)
    return rx.filter(lambda event: getattr(event, "node_id", None) in wanted)


def check_node_ids(node_ids: Iterable[object]) -> frozenset[str]:
    """The ids as a set, each of them text that isn't empty."""
    wanted: set[str] = set()
    for node_id in node_ids:
        if not isinstance(node_id, str) or not node_id:
            raise must_be("node_ids", "text that isn't empty", node_id)
        wanted.add(node_id)
    return frozenset(wanted)


@overload
def of_type(event_class: type[_E1], /) -> Callable[[Observable[object]], Observable[_E1]]: ...
@overload
def of_type(
    first: type[_E1], second: type[_E2], /
) -> Callable[[Observable[object]], Observable[_E1 | _E2]]: ...
@overload
def of_type(
    first: type[_E1], second: type[_E2], third: type[_E3], /
) -> Callable[[Observable[object]], Observable[_E1 | _E2 | _E3]]: ...
@overload
def of_type(
    first: type[_E1], second: type[_E2], third: type[_E3], fourth: type[_E4], /
) -> Callable[[Observable[object]], Observable[_E1 | _E2 | _E3 | _E4]]: ...
@overload
def of_type(*event_classes: type[_E]) -> Callable[[Observable[object]], Observable[_E]]: ...
def of_type(*event_classes: type[Any]) -> Callable[[Observable[Any]], Observable[Any]]:
    """Pass on the events of the given classes; type checkers know the result.

    ::

        -started-delta-delta-output-|
        ---------delta-delta--------|     of_type(NodeOutputDelta)

    Args:
        event_classes: one or more classes of :mod:`rxruns.events`; a category such as ``TerminalEvent``
            includes its subclasses.

    Raises:
        InvalidArgumentError: there is no class, or one that isn't an event class.

    >>> from datetime import datetime, timezone
    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns.events import NodeEvent, NodeStarted, NodeSucceeded
    >>> node = {"run_id": UUID(int=1), "ts": datetime.now(timezone.utc), "node_id": "draft"}
    >>> events = reactivex.of(NodeStarted(**node, seq=1), NodeSucceeded(**node, seq=2))
    >>> events.pipe(of_type(NodeSucceeded)).run().seq
    2
    """
    if not event_classes:
        raise must_be("event_classes", "one or more event classes", event_classes)
    for event_class in event_classes:
        if not isinstance(event_class, type) or not issubclass(event_class, RunEvent):
            raise must_be("event_classes", "event classes, such as NodeOutputDelta", event_class)
    return rx.filter(_of_class(event_classes))


def _of_class(classes: tuple[type, ...]) -> Callable[[object], bool]:
    """`isinstance`, called once for each event class: on a struct it takes longer than an operator."""
    known: dict[type, bool] = {}

    def is_one(event: object) -> bool:
        kind = type(event)
        verdict = known.get(kind)
        if verdict is None:
            verdict = known[kind] = issubclass(kind, classes)
        return verdict

    return is_one
