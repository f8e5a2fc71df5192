"""The requests of the runs API, on the standard library's threading server."""

from __future__ import annotations

import errno
import hmac
import logging
import random
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import msgspec

from rxruns.devserver._json import is_object
from rxruns.devserver._log import now
from rxruns.devserver._refusal import Refusal
from rxruns.devserver._stream import parse_ask, stream
from rxruns.devserver._wire import Answered, Cut, Gone, Wire
from rxruns.devserver.faults import Fault
from rxruns.errors import InvalidArgumentError

if TYPE_CHECKING:
    from rxruns.devserver._service import Service

__all__ = ["Listener", "Request"]

BASE_PATH = "/api/v1"
MAX_BODY = 16 * 2**20
HIDDEN = "<hidden>"
_SECRET = ("authorization", "x-modelrelay-api-key")
_INCLUDES = frozenset({"steps", "tool_calls"})
_logger = logging.getLogger("rxruns.devserver")


@dataclass(frozen=True)
class Request:
    """What a client asked. Headers have lower-case names; of keys and tokens only the presence is kept.

    `at` is the time as on the wire, `body` the decoded JSON, None where there is none.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    at: str

    @property
    def is_stream(self) -> bool:
        """Whether a stream of events was asked for."""
        return self.path.endswith("/events")


class Listener(ThreadingHTTPServer):
    """Accepts connections; knows the threads and sockets at work, so that closing frees them all."""

    daemon_threads = True
    request_queue_size = 512

    service: Service

    def __init__(self, address: tuple[str, int]) -> None:
        self.closing = threading.Event()
        self._at_work: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        # Not HTTPServer's own: it looks the host's name up, which can take seconds.
        try:
            TCPServer.server_bind(self)
        except OSError as error:
            host, port, *_ = map(str, self.server_address)
            remedy = "; port 0 takes a free one" if error.errno == errno.EADDRINUSE else ""
            error.strerror = f"can not listen on {host}:{port}: {error.strerror}{remedy}"
            raise
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        thread = threading.Thread(
            target=self.process_request_thread, args=arguments, name="devserver-connection", daemon=True
        )
        with self._lock:
            self._at_work[request] = thread
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._at_work[request]

    def handle_error(self, request: Any, client_address: Any) -> None:
        _logger.exception("a request failed")

    def free_connections(self) -> None:
        """Break all connections and wait for their threads."""
        with self._lock:
            at_work = dict(self._at_work)
        for connection in at_work:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in at_work.values():
            thread.join()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        _logger.debug(format, *args)

    def _serve(self) -> None:
        wire = Wire(self.connection, f"req_{uuid4().hex[:16]}", self.server.closing)
        try:
            self._exchange(wire)
        except Answered:
            pass
        except Cut as cut:
            with suppress(Gone):
                wire.end(cut.ending)
        except Gone:
            wire.keep_open = False
        if not wire.keep_open:
            self.close_connection = True
            # Both, or the socket stays open until the buffered reader is collected.
            self.rfile.close()
            self.connection.close()

    def _exchange(self, wire: Wire) -> None:
        try:
            request = self._read()
        except Refusal as refusal:
            wire.keep_open = False  # the rest of the body is still under way
            _answer(wire, refusal.status, refusal.body(wire.request_id), (), random.Random(0))
            return
        service = self.server.service
        faults, dice = service.note(request)
        with service.watched(wire) if faults else nullcontext():
            for fault in faults:
                fault.before(wire)
            try:
                self._authorize()
                path = self._path(request)
                if path[2:] == ["events"]:
                    self._stream(request, path, wire, faults, dice)
                    return
                status, body = 200, self._route(request, path)
            except Refusal as refusal:
                status, body = refusal.status, refusal.body(wire.request_id)
            except InvalidArgumentError as error:
                status, body = 500, Refusal(500, "INTERNAL", str(error)).body(wire.request_id)
            for fault in faults:
                fault.after(wire)
            _answer(wire, status, body, faults, dice)

    def _read(self) -> Request:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > MAX_BODY or "Transfer-Encoding" in self.headers:
            raise Refusal(413, "INVALID_INPUT", f"send a body with a length up to {MAX_BODY} bytes")
        raw = self.rfile.read(int(length))
        try:
            body = msgspec.json.decode(raw) if raw else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = raw.decode("utf-8", "replace")
        url = urlsplit(self.path)
        headers = {
            name.lower(): HIDDEN if name.lower() in _SECRET else value for name, value in self.headers.items()
        }
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        return Request(self.command, url.path, query, headers, body, now())

    def _authorize(self) -> None:
        service, given = self.server.service, False
        key, bearer = self.headers.get("X-ModelRelay-Api-Key"), self.headers.get("Authorization")
        if key is not None:
            given = _same(key, service.api_key)
        if bearer is not None and (key is None or given):
            scheme, _, token = bearer.partition(" ")
            given = scheme.lower() == "bearer" and (
                _same(token, service.access_token) | _same(token, service.api_key)
            )
        if not given:
            raise Refusal(401, "UNAUTHORIZED", "send the key of this service in X-ModelRelay-Api-Key")

    def _path(self, request: Request) -> list[str]:
        if not request.path.startswith(f"{BASE_PATH}/"):
            raise Refusal(404, "NOT_FOUND", f"the API is below {BASE_PATH}")
        return request.path.removeprefix(f"{BASE_PATH}/").split("/")

    def _stream(
        self, request: Request, path: Sequence[str], wire: Wire, faults: Sequence[Fault], dice: random.Random
    ) -> None:
        if path[0] != "runs" or request.method != "GET":
            raise _no_route(request)
        service = self.server.service
        run, ask = service.runs.get(_run_id(path[1])), parse_ask(request.query)
        with service.streaming():
            stream(run.log, ask, wire, faults, dice, service.watch, service.keepalive)

    def _route(self, request: Request, path: Sequence[str]) -> dict[str, Any]:
        runs = self.server.service.runs
        match request.method, *path:
            case "POST", "workflows", "compile":
                plan = runs.compile(_object(request))
                return {"plan_json": plan.spec, "plan_hash": plan.hash}
            case "POST", "runs":
                body = _object(request)
                if request.query.get("stream") == "true":
                    body = {"stream": True} | body
                run = runs.create(body)
                state = run.response(frozenset())
                return {name: state[name] for name in ("run_id", "status", "plan_hash")}
            case "GET", "runs", run_id:
                return runs.get(_run_id(run_id)).response(_include(request))
            case "GET", "runs", run_id, "pending-tools":
                return runs.get(_run_id(run_id)).pending_tools()
            case "POST", "runs", run_id, "tool-results":
                return runs.get(_run_id(run_id)).take_results(_object(request))
            case _:
                raise _no_route(request)


def _answer(wire: Wire, status: int, body: Any, faults: Sequence[Fault], dice: random.Random) -> None:
    content = msgspec.json.encode(body)
    wire.chunked = False  # a REST answer has a length
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    pieces = iter([content])
    for fault in faults:
        pieces = fault.pieces(pieces, dice, wire)
    wire.start(status, headers)
    for piece in pieces:
        wire.send(piece)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _run_id(text: str) -> UUID:
    try:
        run_id = UUID(text)
    except ValueError:
        run_id = UUID(int=0)
    if run_id.int == 0:
        raise Refusal(400, "INVALID_INPUT", "invalid run id", {"run_id": "expected a UUID that is not nil"})
    return run_id


def _include(request: Request) -> frozenset[str]:
    asked = frozenset(name.strip() for name in request.query.get("include", "").split(",") if name.strip())
    if asked - _INCLUDES:
        raise Refusal(400, "INVALID_INPUT", "invalid query", {"include": "expected steps, tool_calls"})
    return asked


def _object(request: Request) -> dict[str, Any]:
    if not is_object(request.body):
        raise Refusal(400, "INVALID_INPUT", "the body has to be a JSON object")
    return request.body


def _no_route(request: Request) -> Refusal:
    return Refusal(404, "NOT_FOUND", f"there is no {request.method} {request.path} here")
