"""The use of Dask: its client, tasks for parts of the work, their results combined in a tree.

No other module names Dask. It has no types of its own, so its values are Any.
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
"""Values that one task combines."""


class Cluster:
    """The cluster of a Dask client.

    Args:
        client: a ``distributed.Client``; None: the current one.

    Raises:
        InvalidArgumentError: there is none, or it is asynchronous.
    """

    def __init__(self, client: Any = None) -> None:
        self.client: Any = _current() if client is None else client
        if not isinstance(self.client, distributed.Client):
            raise InvalidArgumentError(
                f"dask_client must be a distributed.Client, got {type(client).__name__}", field="dask_client"
            )
        if self.client.asynchronous:
            raise InvalidArgumentError(
                "dask_client must not be asynchronous; make one with asynchronous=False, and call this "
                "on a thread of its own",
                field="dask_client",
            )

    @property
    def threads(self) -> int:
        """The number of tasks that can run at once."""
        counts: dict[str, int] = self.client.nthreads()
        return max(1, sum(counts.values()))

    def map(self, work: Callable[..., Any], *parts: Sequence[Any]) -> list[Any]:
        """Submit ``work`` for each part, and return the futures."""
        futures: list[Any] = self.client.map(work, *parts, pure=False)
        return futures

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Submit one call, and return its future."""
        return self.client.submit(work, *arguments, pure=False)

    def results(self, function: Callable[[Any], _R], futures: Sequence[Any]) -> list[_R]:
        """Return the function's value for the result of each future, computed on the workers."""
        results: list[_R] = self.client.gather(self.map(function, futures))
        return results

    def combined(self, combine: Callable[[list[_R]], _R], futures: Sequence[Any]) -> _R:
        """Wait for the result of a tree of tasks, each of which combines some results in order."""
        level: list[Any] = list(futures)
        while len(level) > 1:
            groups: list[list[Any]] = [level[at : at + _FAN_IN] for at in range(0, len(level), _FAN_IN)]
            level = [self.submit(combine, group) if len(group) > 1 else group[0] for group in groups]
        result: _R = level[0].result()
        return result

    @contextmanager
    def tasks(self, futures: list[Any], progress: bool) -> Generator[list[Any]]:
        """Cancel the futures when an exception, such as Ctrl-C, leaves the block."""
        try:
            if progress:
                distributed.progress(futures)
            yield futures
        except BaseException:
            self.client.cancel(futures, force=True)
            raise


def pickled(value: object) -> bytes:
    """Pickle a value as Dask does for a worker."""
    sent: bytes = _pickling.dumps(value)
    return sent


def _current() -> Any:
    try:
        return distributed.get_client()
    except ValueError:
        raise InvalidArgumentError(
            "no Dask client is active: make one first, `Client(LocalCluster())` for the cores of this "
            "machine, or pass dask_client=",
            field="dask_client",
        ) from None
