"""The Observable that our sources return: RxPY's, with a clear error where somebody iterates over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from reactivex import Observable, abc

if TYPE_CHECKING:
    from rxruns._streams._lease import ClientLease

__all__ = ["SourceObservable"]

_T = TypeVar("_T", covariant=True)


class SourceObservable(Observable[_T]):
    """An Observable of ours, and what it is piped into; what ``reactivex.merge`` and the like make is RxPY's.

    RxPY's Observable has ``__getitem__`` alone, which Python takes for a sequence: a loop over one would give
    Observables for ever and subscribe to nothing. (RxPY's ``sequence_equal`` asks whether its argument is
    iterable: give it ``reactivex.defer(lambda _: source)``.)

    Args:
        subscribe: as for RxPY's Observable.
        lease: the client that the events are read with; None for a recorded log.

    >>> list(SourceObservable())
    Traceback (most recent call last):
    ...
    TypeError: an Observable can't be iterated over: use `for event in rxruns.iterate(source)`, or \
`rxruns.block_on(source)` for its last value
    """

    def __init__(
        self, subscribe: abc.Subscription[_T] | None = None, lease: ClientLease | None = None
    ) -> None:
        super().__init__(subscribe)
        self._lease = lease

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "an Observable can't be iterated over: use `for event in rxruns.iterate(source)`, or "
            "`rxruns.block_on(source)` for its last value"
        )

    def __contains__(self, value: object) -> bool:
        return value in iter(self)  # without it Python would put a message of its own over ours

    if not TYPE_CHECKING:  # its types are RxPY's own

        def pipe(self, *operators: Any) -> Any:
            """As RxPY's; each operator gets, and the result is, an Observable of this class."""
            result: Any = self
            for operator in operators:
                result = operator(result)
                if type(result) is Observable:  # no layer is added: an event costs what it cost before
                    result = SourceObservable(result._subscribe_core, self._lease)
            return result
