"""The operator that applies others to each run on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, overload

from reactivex import Observable, Subject, abc, compose
from reactivex import operators as rx

from rxruns._errors import must_be
from rxruns._streams._merge_runs import RunNotFollowed
from rxruns.events import RunEvent, TerminalEvent
from rxruns.operators._stateful import Handlers, stateful

__all__ = ["each_run"]

_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")
_D = TypeVar("_D")

_Operator: TypeAlias = Callable[[Observable[_A]], Observable[_B]]


@overload
def each_run(first: _Operator[RunEvent, _A], /) -> _Operator[RunEvent, _A]: ...
@overload
def each_run(first: _Operator[RunEvent, _A], second: _Operator[_A, _B], /) -> _Operator[RunEvent, _B]: ...
@overload
def each_run(
    first: _Operator[RunEvent, _A], second: _Operator[_A, _B], third: _Operator[_B, _C], /
) -> _Operator[RunEvent, _C]: ...
@overload
def each_run(
    first: _Operator[RunEvent, _A],
    second: _Operator[_A, _B],
    third: _Operator[_B, _C],
    fourth: _Operator[_C, _D],
    /,
    *more: _Operator[Any, Any],
) -> _Operator[RunEvent, Any]: ...
def each_run(*operators: Callable[[Observable[Any]], Observable[Any]]) -> Any:
    """Apply operators to each run of a merged stream on its own, and merge what they emit.

    ::

        -a1-b1-a2-B-A-|     A and B end the runs a and b
        ----------b-a-|     each_run(ops.count()): b = 2, a = 3

    The stream of a run completes right after its terminal event, and its memory is freed, so that this also
    suits runs that arrive without end. What is open when the source completes completes then; an error of the
    source is passed on.

    An error of one run's operators ends the whole stream. To continue with the others, handle it inside:
    ``each_run(ops.budget("0.50", prices), ops.catch(lambda error, source: reactivex.empty()))``. Later events
    of that run are ignored.

    A :class:`~rxruns.RunNotFollowed`, which ``merge_runs(..., on_run_error="emit")`` emits, completes the
    stream of its run and is emitted as it is, after what the operators emit.

    Args:
        operators: operators, as for ``pipe``. Each run has its own state of them.

    Raises:
        InvalidArgumentError: at once, if an operator can't be called.

    >>> from uuid import UUID
    >>> import reactivex
    >>> from rxruns import ops
    >>> from rxruns.testing import events
    >>> runs = [events.run(UUID(int=number)).node("draft").node_succeeds().succeeds() for number in (1, 2)]
    >>> turns = reactivex.from_iterable([event for pair in zip(*runs) for event in pair])
    >>> states = turns.pipe(each_run(ops.run_state(), ops.last()), ops.to_list()).run()
    >>> [(state.run_id.int, str(state.status)) for state in states]
    [(1, 'succeeded'), (2, 'succeeded')]
    """

    for operator in operators:
        if not callable(operator):
            raise must_be("operators", "operators, as for pipe", operator)

    def handlers(observer: abc.ObserverBase[Observable[Any]]) -> Handlers[RunEvent | RunNotFollowed]:
        open_runs: dict[int, Subject[RunEvent]] = {}

        def complete(event: RunNotFollowed) -> None:
            run = None if event.run_id is None else open_runs.pop(event.run_id.int, None)
            if run is not None:
                run.on_completed()
            alone: Subject[RunNotFollowed] = Subject()
            observer.on_next(alone)
            alone.on_next(event)
            alone.on_completed()

        def on_next(event: RunEvent | RunNotFollowed) -> None:
            if isinstance(event, RunNotFollowed):
                complete(event)
                return
            number = event.run_id.int
            run = open_runs.get(number)
            if run is None:
                run = open_runs[number] = Subject()
                observer.on_next(run.pipe(*operators))
            run.on_next(event)
            if isinstance(event, TerminalEvent):
                open_runs.pop(number).on_completed()

        def on_completed() -> None:
            for run in list(open_runs.values()):
                run.on_completed()
            observer.on_completed()

        return on_next, on_completed

    return compose(stateful(handlers), rx.merge_all())
