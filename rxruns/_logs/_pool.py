"""Fold parts of logs in this process and in others, which it starts and ends."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from signal import Signals
from types import TracebackType
from typing import Any, Self, TypeVar

from rxruns._errors import InvalidArgumentError, RunsError
from rxruns._logs._source import OnRead

__all__ = ["Pool", "check_importable", "serve"]

_R = TypeVar("_R")

# Not multiprocessing: that would import the main program again, which may call `fold_logs` without a guard.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from rxruns._logs._pool import serve; serve()"


class Pool:
    """A :class:`~rxruns._logs._engine.Runner` of this process and others. Use it as a context manager.

    This process folds parts too. Whenever it has read some bytes, it gives further parts to the others.

    Args:
        others: processes besides this one.
        on_read: is called on this thread with the number of bytes that were read since the last call.
    """

    def __init__(self, others: int, on_read: OnRead) -> None:
        self._others, self._on_read = others, on_read
        self._workers: list[_Worker] = []
        self._calls: deque[tuple[int, tuple[Any, ...]]] = deque()
        self._work: Callable[..., Any]
        self._results: dict[int, Any] = {}
        self._errors: dict[int, Exception] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    def map(self, work: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Return the results of the work on each group of arguments.

        Raises:
            RunsError: a process ended before its work.
            Exception: raised by the work: of several errors, that of the first group.
        """
        self._work, self._results, self._errors = work, {}, {}
        self._calls.extend(enumerate(zip(*arguments, strict=True)))
        if not self._workers:
            self._workers = [_Worker() for _ in range(min(self._others, len(self._calls) - 1))]
        for worker in self._workers:
            self._give(worker)
        while self._calls:
            index, call = self._calls.popleft()
            try:
                self._results[index] = work(*call, on_read=self._on_own_read)
            except _CallbackError as error:
                raise error.error from None
            except Exception as error:
                self._fail(index, error)
        while any(worker.index is not None for worker in self._workers):
            self._receive(None)
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._results[index] for index in range(len(self._results))]

    def results(self, function: Callable[[Any], _R], tasks: Sequence[Any]) -> list[_R]:
        """Return the function's value for each result."""
        return [function(task) for task in tasks]

    def combined(self, combine: Callable[[list[_R]], _R], tasks: Sequence[_R]) -> _R:
        """Return all results combined."""
        return combine(list(tasks))

    @contextmanager
    def tasks(self, tasks: list[Any], progress: bool) -> Generator[list[Any]]:
        """Return the tasks, which are done."""
        yield tasks

    def _on_own_read(self, count: int) -> None:
        try:
            self._on_read(count)
            self._receive(0)
        except Exception as error:  # must not be taken for one of the file
            raise _CallbackError(error) from error

    def _receive(self, timeout: float | None) -> None:
        """Take what the others sent, and give those that are done the next part."""
        busy = {worker.receiving: worker for worker in self._workers if worker.index is not None}
        for connection in wait(list(busy), timeout) if busy else ():
            worker = busy[connection]  # type: ignore[index]
            kind, value = worker.receive()
            if kind == "read":
                self._on_read(value)
                continue
            index = worker.index
            assert index is not None
            if kind == "failed":
                self._fail(index, value)
            else:
                self._results[index] = value
            worker.index = None
            self._give(worker)

    def _give(self, worker: _Worker) -> None:
        if self._calls:
            index, call = self._calls.popleft()
            worker.send(index, self._work, call)

    def _fail(self, index: int, error: Exception) -> None:
        """Keep the error. Parts before this one may fail too; those after it aren't needed."""
        self._errors[index] = error
        self._calls.clear()


class _CallbackError(Exception):
    """An error of `on_read`, or of another process, on its way through the work of this one."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Worker:
    """Another process, and its current part.

    Attributes:
        index: of the call that it works on; None: it waits.
        receiving: the connection that it sends to.
    """

    def __init__(self) -> None:
        # In a group of its own, so that Ctrl-C in a terminal reaches this process alone, which then ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._sending = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self.receiving = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()
        self.index: int | None = None
        self._call: tuple[Any, ...] = ()

    def send(self, index: int, work: Callable[..., Any], call: tuple[Any, ...]) -> None:
        """Let it do a call."""
        self.index, self._call = index, call
        with suppress(BrokenPipeError):  # it has ended, which `receive` finds out
            self._sending.send((work, call))

    def receive(self) -> tuple[str, Any]:
        """Return its next message.

        Raises:
            RunsError: it has ended.
        """
        try:
            message: tuple[str, Any] = self.receiving.recv()
        except (EOFError, ConnectionError):
            raise RunsError(self._death()) from None
        return message

    def end(self) -> None:
        """Kill it, and free what belongs to it."""
        self._process.kill()
        self._process.wait()
        self._sending.close()
        self.receiving.close()

    def _death(self) -> str:
        status = self._process.wait()
        how = f"was killed by {Signals(-status).name}" if status < 0 else f"ended with status {status}"
        part = self._call[0]
        return (
            f"process {self._process.pid} {how} while it folded {part.path}, bytes {part.begin} to {part.end}"
        )


def serve() -> None:
    """Do calls until the process that sends them closes the connection. Runs in a process of its own."""
    receiving = Connection(os.dup(0), writable=False)
    sending = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # the output of the user's code
    with suppress(EOFError, ConnectionError):  # the other process has ended
        while True:
            request = receiving.recv_bytes()
            sending.send_bytes(_answer(request, lambda count: sending.send(("read", count))))


def _answer(request: bytes, on_read: OnRead) -> bytes:
    try:
        work, call = pickle.loads(request)
        return pickle.dumps(("done", work(*call, on_read=on_read)))
    except Exception as error:
        return pickle.dumps(("failed", _sendable(error)))


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunsError(f"{type(error).__name__}: {error}")
    return error


def check_importable(fold: object) -> None:
    """Refuse a fold that another process can't import.

    Raises:
        InvalidArgumentError: with the reason.
    """
    try:
        sent = pickle.dumps(fold)
    except Exception as error:
        reason = str(error)
    else:
        if b"__main__" not in sent:
            return
        reason = "a class or function of it is defined in the main program"
    raise InvalidArgumentError(
        f"fold can't be sent to other processes: {reason}; define it in a module that they can import, or "
        "pass processes=1",
        field="fold",
    )
