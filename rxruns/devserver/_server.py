"""The embedded service: start it, use it, close it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from rxruns._arguments import check_kind, check_path, check_run_id
from rxruns._errors import must_be
from rxruns._loopback import Listener
from rxruns._loopback._connections import LIMITS
from rxruns._ndjson._decoding import encode_event
from rxruns.client import RunsClient
from rxruns.devserver._active import Settings
from rxruns.devserver._admission import check_hosts, is_address
from rxruns.devserver._http import BASE_PATH, Api
from rxruns.devserver._request import Request
from rxruns.devserver._runs import Run, Runs
from rxruns.devserver._service import Service
from rxruns.devserver.faults import Faults
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent

__all__ = ["DevServer", "ScriptedRun"]

_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""The address for clients of a service that listens on all addresses."""


class DevServer:
    """A real HTTP service on loopback that executes workflows with a simulated model, or serves recordings.

    Use it as a context manager, or call :meth:`start` and :meth:`close`, which frees all threads and sockets.

    Args:
        host: the address to listen on, also of IPv6. Protect anything but loopback yourself.
        port: 0 for a free one.
        directory: keeps the log of each run as ``<run_id>.ndjson``, so that the next service on it serves the
            same runs; logs from elsewhere under such a name are served too. None: in memory.
        faults: network faults, see :mod:`rxruns.devserver.faults`.
        seed: of the model's texts; the same spec, input and seed give the same texts and usage.
        delay: seconds between two tokens.
        keepalive: seconds of silence after which a blank line is sent as a keep-alive.
        api_key: None for a random one.
        allow_hosts: names by which clients may call the service, beside `host`, localhost and IP addresses,
            which are always allowed. Any other ``Host`` is refused with 403, and so are requests of web pages
            from elsewhere (``Origin``): a page in your browser must not reach the service.

    Raises:
        InvalidArgumentError: a number is out of range, or a name is not a host name.
        OSError: from :meth:`start`: the port is taken, or the directory can't be used.

    >>> from urllib.request import Request, urlopen
    >>> with DevServer() as server:
    ...     run = server.add_run(events=[{"type": "run_started", "plan_hash": "0" * 64}])
    ...     request = Request(f"{server.url}/runs/{run.run_id}/events")
    ...     request.add_header("X-ModelRelay-Api-Key", server.api_key)
    ...     with urlopen(request) as response:
    ...         print(response.status, response.headers["Content-Type"])
    200 application/x-ndjson
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        directory: str | Path | None = None,
        faults: Faults | None = None,
        *,
        seed: int = 0,
        delay: float = 0.0,
        keepalive: float = 15.0,
        api_key: str | None = None,
        allow_hosts: Iterable[str] = (),
    ) -> None:
        for name, value, least in (("delay", delay, 0.0), ("keepalive", keepalive, 0.001)):
            if not isinstance(value, int | float) or not least <= value < 1e9:
                raise must_be(name, f"seconds, {least:g} or more", value)
        check_kind("host", host, str, "a host name or an address")
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise must_be("port", "an int from 0 to 65535", port, "0 takes a free one")
        if faults is not None:
            check_kind("faults", faults, Faults, "Faults([...]) or None")
        self._host, self._port = host, port
        own_name = [host] if host and not is_address(host) else []
        self._hosts = check_hosts(allow_hosts).union(name.lower() for name in own_name)
        self._directory = None if directory is None else check_path("directory", directory)
        self._settings = Settings(seed, delay)
        self._options = (faults, keepalive, api_key)
        self._started: tuple[Listener, Service] | None = None
        self._closed = threading.Event()

    def __enter__(self) -> DevServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DevServer({self.url!r})" if self._started else "DevServer(not started)"

    def start(self) -> DevServer:
        """Start to listen. Starting twice changes nothing."""
        if self._started is None:
            runs = Runs(self._directory, self._settings)
            listener = Listener(self._host, self._port, LIMITS)
            service = Service(runs, *self._options)
            self._started = (listener, service)
            self._closed.clear()
            listener.start(Api(service, self._hosts))
        return self

    def close(self) -> None:
        """Stop listening, close all connections, wait for all threads. Unfinished runs stay as they are."""
        if self._started is None:
            return
        (listener, service), self._started = self._started, None
        listener.closing.set()
        service.runs.stop()
        listener.close()
        service.runs.close()
        self._closed.set()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until :meth:`close` was called; False after `timeout` seconds."""
        return self._closed.wait(timeout)

    @property
    def url(self) -> str:
        """The base URL for a client."""
        listener, _ = self._running()
        host = _ANY.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{listener.port}{BASE_PATH}"

    @property
    def api_key(self) -> str:
        """The key that requests must send."""
        return self._service.api_key

    @property
    def access_token(self) -> str:
        """A token that is accepted as ``Authorization: Bearer …`` instead of the key."""
        return self._service.access_token

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order, without secrets: the newest 25,000, and at most 16 MiB as sent.

        Of those without the key, or from a foreign host or web page, the newest 1,000 and 1 MiB are kept,
        without their bodies. Requests that are not valid HTTP are not kept.
        """
        return self._service.requests

    @property
    def streams(self) -> int:
        """The number of open streams of events."""
        return self._service.streams

    def wait_for(self, ready: Callable[[DevServer], bool], timeout: float = 10.0) -> bool:
        """Wait until `ready(server)` is true. It is called at each request and when a stream opens or ends.

        Returns:
            False after `timeout` seconds.
        """
        return self._service.wait_for(lambda: ready(self), timeout)

    def use_faults(self, faults: Faults | None) -> None:
        """Use these faults from now on, with connections counted from 0; None: no faults."""
        self._service.use(faults)

    def client(self, **options: Any) -> RunsClient:
        """Make a client of this service; `options` as for :class:`~rxruns.RunsClient`. Close it yourself.

        It ignores proxies of the environment, unless `options` have a `base_url` or a `session`.
        """
        named: dict[str, Any] = {"api_key": self.api_key, "base_url": self.url}
        client = RunsClient(**named | options)
        if "base_url" not in options:
            client._ignore_proxies()
        return client

    def cancel(self, run_id: UUID | str, message: str = "canceled by its owner") -> bool:
        """Cancel a run that is executed here; False if it has ended or isn't executed here."""
        run = self._service.runs.get(check_run_id(run_id))
        return run.execution is not None and run.execution.cancel(message)

    def script(self, run_id: UUID | str | None = None) -> ScriptedRun:
        """Add a run whose events you append one by one while clients follow it.

        >>> with DevServer() as server:
        ...     run = server.script()
        ...     run.append({"type": "run_started", "plan_hash": "0" * 64})["seq"]
        1
        """
        return ScriptedRun(self._service.runs.add(uuid4() if run_id is None else check_run_id(run_id)))

    def add_run(
        self,
        run_id: UUID | str | None = None,
        events: Iterable[Mapping[str, Any]] = (),
        *,
        finish: bool = True,
        status: str | None = None,
    ) -> ScriptedRun:
        """Add a run with these events. Missing fields of their envelopes (run_id, seq, ts) are filled in.

        Args:
            run_id: None for a random one.
            events: as on the wire.
            finish: False to keep streams open after the last one.
            status: for ``GET /runs/{id}``; None: derived from the events.
        """
        run = self.script(run_id)
        for event in events:
            run.append(event)
        run.set_status(status)
        if finish:
            run.finish()
        return run

    def serve_log(self, log: str | os.PathLike[str] | bytes | Iterable[bytes | RunEvent]) -> list[UUID]:
        """Serve a recorded log, which may hold several runs.

        Repeated events are dropped, gaps stay. A run without a terminal event ends with its last line, and
        counts as canceled.

        Args:
            log: the path of a file of NDJSON, or its bytes, or its lines, or events.

        Returns:
            The ids of its runs.

        Raises:
            InvalidArgumentError: a line is not an event, or the run was added before.
            OSError: the file can't be read.

        >>> from rxruns.testing import events
        >>> with DevServer() as server:
        ...     [str(run_id) for run_id in server.serve_log(events.run().node("draft").succeeds())]
        ['7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11']
        """
        if isinstance(log, str | os.PathLike):
            with check_path("log", log).open("rb") as file:
                return self.serve_log(file)
        lines = BytesIO(log) if isinstance(log, bytes) else log
        return [run.run_id for run in self._service.runs.add_log(map(_as_line, lines))]

    @property
    def _service(self) -> Service:
        return self._running()[1]

    def _running(self) -> tuple[Listener, Service]:
        if self._started is None:
            raise InvalidArgumentError("the server is not started: use `with DevServer() as server`")
        return self._started


def _as_line(part: bytes | RunEvent) -> bytes:
    if isinstance(part, RunEvent):
        return encode_event(part)
    check_kind("log", part, bytes, "a path, bytes or events")
    return part


class ScriptedRun:
    """A run that you write. Events have their form on the wire."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self._run.run_id

    def append(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Append an event and return it with its envelope: missing run_id, seq and ts are filled in.

        A terminal event finishes the run. Nothing is checked, so you can try wrong events as well.
        """
        return self._run.log.append(event)

    def append_line(self, line: bytes, seq: int | None = None) -> None:
        """Append any bytes; with a `seq`, only readers from before it receive them."""
        self._run.log.append_line(line, seq)

    def set_status(self, status: str | None) -> None:
        """Set the status for ``GET /runs/{id}``; None: derived from the events."""
        with self._run.log.changed:
            self._run.status = status

    def finish(self, status: str | None = None) -> None:
        """End all streams after the last event, also without a terminal one."""
        if status is not None:
            self.set_status(status)
        self._run.log.end()
