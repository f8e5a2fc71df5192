"""The Observable that our sources return: RxPY's, with a clear error for a loop over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from reactivex import Observable, abc

if TYPE_CHECKING:
    from rxruns._streams._lease import ClientLease

__all__ = ["SourceObservable"]

_T = TypeVar("_T", covariant=True)


class SourceObservable(Observable[_T]):
    """An Observable of ours, or one that was piped from it. ``reactivex.merge`` and the like return RxPY's.

    RxPY's Observable has only ``__getitem__``, so Python treats it as a sequence: a loop over one would yield
    Observables for ever and subscribe to nothing. (RxPY's ``sequence_equal`` checks whether its argument is
    iterable: pass it ``reactivex.defer(lambda _: source)``.)

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
        return value in iter(self)  # without it, Python would replace the message by its own

    if not TYPE_CHECKING:  # its types are RxPY's own

        def pipe(self, *operators: Any) -> Any:
            """As RxPY's, with an Observable of this class for each operator, and as the result."""
            result: Any = self
            for operator in operators:
                result = operator(result)
                if type(result) is Observable:  # without another layer: events cost the same
                    result = SourceObservable(result._subscribe_core, self._lease)
            return result
