"""Fold parts of logs in this process and in others, which it starts and ends."""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from signal import SIGKILL, Signals
from types import TracebackType
from typing import Any, Self, TypeVar

from rxruns._errors import InvalidArgumentError, RunsError
from rxruns._logs._source import OnRead

__all__ = ["Pool", "check_importable", "serve"]

_R = TypeVar("_R")


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
        self._start(min(self._others, len(self._calls) - 1) - len(self._workers))
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

    def _start(self, count: int) -> None:
        for _ in range(count):
            try:
                self._workers.append(_Worker(self._workers))
            except OSError:  # no more processes are allowed: those that are there do the work
                return

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

    def __init__(self, others: Sequence[_Worker]) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._sending = Connection(ours_out, readable=False)
        self.receiving = Connection(ours_in, writable=False)
        start = _forked if _is_single_threaded() else _spawned
        try:
            self._process = start(theirs_in, theirs_out, [self, *others])
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self.index: int | None = None
        self._call: tuple[Any, ...] = ()
        self._status: int | None = None

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
        if self._status is None:
            os.kill(self._process, SIGKILL)
        self._wait()
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._sending.close()
        self.receiving.close()

    def _death(self) -> str:
        status = self._wait()
        how = f"was killed by {Signals(-status).name}" if status < 0 else f"ended with status {status}"
        part = self._call[0]
        return f"process {self._process} {how} while it folded {part.path}, bytes {part.begin} to {part.end}"

    def _wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        return self._status


def _is_single_threaded() -> bool:
    """Return True if a fork is safe: threads of libraries count too, which Python doesn't know."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


# Both are in a group of their own, so that Ctrl-C in a terminal reaches this process alone, which ends them.


def _forked(receiving: int, sending: int, workers: Sequence[_Worker]) -> int:
    """Start a process in 10 ms; to import rxruns takes 400."""
    process = os.fork()
    if process == 0:
        try:
            os.setpgid(0, 0)
            for worker in workers:  # else the end of the other process would not close them
                worker.close()
            sys.stdout = sys.stderr  # the output of the user's code, and not what is buffered in stdout
            _serve(Connection(receiving, writable=False), Connection(sending, readable=False))
        finally:
            os._exit(0)
    return process


def _spawned(receiving: int, sending: int, workers: Sequence[_Worker]) -> int:
    # multiprocessing would import the main program again, which may call `fold_logs` without a guard.
    code = "import sys; sys.path[:] = sys.argv[1:]; from rxruns._logs._pool import serve; serve()"
    command = [sys.executable, "-c", code, *sys.path]
    redirected = [(os.POSIX_SPAWN_DUP2, receiving, 0), (os.POSIX_SPAWN_DUP2, sending, 1)]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=redirected, setpgroup=0)


def serve() -> None:
    """Do calls that arrive on standard input. Runs in a process of its own."""
    receiving, sending = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # the output of the user's code
    _serve(Connection(receiving, writable=False), Connection(sending, readable=False))


def _serve(receiving: Connection, sending: Connection) -> None:
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
