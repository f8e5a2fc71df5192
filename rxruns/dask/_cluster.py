"""Dask, as far as it is needed: the client, parts of the work sent out, their results combined in a tree.

Nothing else here names Dask. It has no types of its own, so what comes from it is Any.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rxruns.errors import InvalidArgumentError

try:
    import cloudpickle as _cloudpickle  # type: ignore[import-untyped]
    import distributed as _distributed
except ImportError as error:
    raise ImportError("rxruns.dask needs Dask: pip install 'rxruns[dask]'") from error

__all__ = ["Cluster", "distributed", "pickled"]

_R = TypeVar("_R")

distributed: Any = _distributed
_pickling: Any = _cloudpickle
_FAN_IN = 8
"""How many values one task combines."""


class Cluster:
    """What a Dask client gives access to.

    Args:
        client: a ``distributed.Client``; None: the one that is current.

    Raises:
        InvalidArgumentError: there is none, or it is asynchronous.
    """

    def __init__(self, client: Any = None) -> None:
        self.client: Any = _current() if client is None else client
        if not isinstance(self.client, distributed.Client):
            raise InvalidArgumentError(
                f"dask_client is {type(client).__name__}: give a distributed.Client", field="dask_client"
            )
        if self.client.asynchronous:
            raise InvalidArgumentError(
                "dask_client is asynchronous: give one that was made with asynchronous=False, and call this "
                "on a thread of its own",
                field="dask_client",
            )

    @property
    def threads(self) -> int:
        """How many tasks can be at work at once."""
        counts: dict[str, int] = self.client.nthreads()
        return max(1, sum(counts.values()))

    def map(self, work: Callable[..., Any], *parts: Sequence[Any]) -> list[Any]:
        """The futures of ``work`` on each part."""
        futures: list[Any] = self.client.map(work, *parts, pure=False)
        return futures

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """The future of one call."""
        return self.client.submit(work, *arguments, pure=False)

    def results(self, function: Callable[[Any], _R], futures: Sequence[Any]) -> list[_R]:
        """Return the function's value for the result of each future, computed on the workers."""
        results: list[_R] = self.client.gather(self.map(function, futures))
        return results

    def combined(self, combine: Callable[[list[_R]], _R], futures: Sequence[Any]) -> _R:
        """The result of a tree of tasks, each of which combines some results in their order."""
        level: list[Any] = list(futures)
        while len(level) > 1:
            groups: list[list[Any]] = [level[at : at + _FAN_IN] for at in range(0, len(level), _FAN_IN)]
            level = [self.submit(combine, group) if len(group) > 1 else group[0] for group in groups]
        result: _R = level[0].result()
        return result

    @contextmanager
    def tasks(self, futures: list[Any], progress: bool) -> Generator[list[Any]]:
        """The futures, which are cancelled when the block is left by an exception, such as Ctrl-C."""
        try:
            if progress:
                distributed.progress(futures)
            yield futures
        except BaseException:
            self.client.cancel(futures, force=True)
            raise


def pickled(value: object) -> bytes:
    """The bytes in which a value goes to a worker."""
    sent: bytes = _pickling.dumps(value)
    return sent


def _current() -> Any:
    try:
        return distributed.get_client()
    except ValueError:
        raise InvalidArgumentError(
            "there is no Dask client: make one first, `Client(LocalCluster())` for the cores of this "
            "machine, or give dask_client=",
            field="dask_client",
        ) from None
