"""The requests of the runs API: which may be served, and what they are answered."""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import msgspec

from rxruns._display._text import visible
from rxruns.devserver._admission import refuse_foreign, refuse_unauthorized
from rxruns.devserver._connections import Connection
from rxruns.devserver._event_schema import event_schema
from rxruns.devserver._json import is_object
from rxruns.devserver._listener import Then
from rxruns.devserver._refusal import Refusal
from rxruns.devserver._request import Head, Request, parse_head, read_body, request_of
from rxruns.devserver._service import Service
from rxruns.devserver._stream import parse_ask, stream
from rxruns.devserver._wire import Answered, Cut, Gone, Wire
from rxruns.devserver.faults import Fault
from rxruns.errors import InvalidArgumentError

__all__ = ["BASE_PATH", "BODY_SECONDS", "Api"]

BASE_PATH = "/api/v1"
BODY_SECONDS = 30.0
"""Seconds for the whole body of a request."""

_AT_ONCE = 2**18
"""Bytes of an answer that the system takes without waiting for the client."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_INCLUDES = frozenset({"steps", "tool_calls"})
_SCHEMA_PATHS = ("/schemas/run_event.schema.json", f"{BASE_PATH}/schemas/run_event.schema.json")
_logger = logging.getLogger("rxruns.devserver")


class Api:
    """Answers the requests to one service, which goes by `hosts` beside localhost and addresses."""

    def __init__(self, service: Service, hosts: frozenset[str], closing: threading.Event) -> None:
        self._service, self._hosts, self._closing = service, hosts, closing

    def admit(self, connection: socket.socket, head: bytes) -> Head | None:
        """The request, if it may be served; None when it was answered, its body unread. Never waits."""
        try:
            asked = parse_head(head)
        except Refusal as refusal:
            self.refuse(connection, refusal)
            return None
        _logger.debug("%s %s", asked.method, visible(asked.path))
        try:
            refuse_foreign(asked, self._hosts)
            if asked.path not in _SCHEMA_PATHS:
                refuse_unauthorized(asked.headers, self._service.api_key, self._service.access_token)
                return asked
            _refuse_method(asked.method, "GET")
        except Refusal as refusal:
            self._service.keep_refused(request_of(asked, b""), asked.size)
            self.refuse(connection, refusal, bodiless=asked.method == "HEAD")
        else:
            self._service.keep_refused(request_of(asked, b""), asked.size)
            self._answer_at_once(connection, 200, event_schema())
        return None

    def refuse(self, connection: socket.socket, refusal: Refusal, *, bodiless: bool = False) -> None:
        """Answer with an error, without a wait. The connection takes no other request."""
        self._answer_at_once(connection, refusal.status, refusal, bodiless=bodiless)

    def serve(self, connection: Connection, head: Head) -> Then:
        """Read the body of an admitted request and answer it."""
        sock = connection.sock
        wire = Wire(sock, _request_id(), self._closing, chunked=head.chunks, keep_open=head.keep_open)
        try:
            if head.expects_continue and len(connection.received) < head.length:
                wire.send(_CONTINUE)
            try:
                raw = read_body(sock, connection.received, head.length, BODY_SECONDS)
            except Refusal as refusal:
                wire.keep_open = False
                _answer(wire, refusal.status, refusal)
                return "drain"
            self._exchange(request_of(head, raw), head.size + len(raw), wire)
        except Answered:
            pass
        except Cut as cut:
            with suppress(Gone):
                wire.end(cut.ending)
        except (Gone, OSError):
            wire.keep_open = False
        return "keep" if wire.keep_open else "close"

    def _answer_at_once(
        self, connection: socket.socket, status: int, body: Any, *, bodiless: bool = False
    ) -> None:
        with suppress(Gone, OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AT_ONCE)
            wire = Wire(connection, _request_id(), self._closing, keep_open=False)
            _answer(wire, status, body, bodiless=bodiless)

    def _exchange(self, request: Request, size: int, wire: Wire) -> None:
        service = self._service
        faults, dice = service.note(request, size)
        with service.watched(wire) if faults else nullcontext():
            for fault in faults:
                fault.before(wire)
            result = self._result(request, wire, faults, dice)
            if result is None:
                return
            for fault in faults:
                fault.after(wire)
            _answer(wire, *result, faults, dice, bodiless=request.method == "HEAD")

    def _result(
        self, request: Request, wire: Wire, faults: Sequence[Fault], dice: random.Random
    ) -> tuple[int, Any] | None:
        """The status and the body of the answer; None where a stream was the answer."""
        try:
            path = self._path(request)
            if path[2:] == ["events"]:
                self._stream(request, path, wire, faults, dice)
                return None
            return 200, self._route(request, path)
        except Refusal as refusal:
            return refusal.status, refusal
        except InvalidArgumentError as error:
            return 500, Refusal(500, "INTERNAL", str(error))
        except (Answered, Cut, Gone):
            raise
        except Exception as error:
            if wire.status is not None:
                raise
            _logger.exception("a request failed")
            return 500, Refusal(500, "INTERNAL", f"the request failed: {type(error).__name__}, see the log")

    def _path(self, request: Request) -> list[str]:
        if not request.path.startswith(f"{BASE_PATH}/"):
            raise Refusal(404, "NOT_FOUND", f"the API is below {BASE_PATH}")
        return request.path.removeprefix(f"{BASE_PATH}/").split("/")

    def _stream(
        self, request: Request, path: Sequence[str], wire: Wire, faults: Sequence[Fault], dice: random.Random
    ) -> None:
        if path[0] != "runs" or request.method != "GET":
            raise _no_route(request, path)
        service = self._service
        run, ask = service.runs.get(_run_id(path[1])), parse_ask(request.query)
        with service.streaming():
            stream(run.log, ask, wire, faults, dice, service.watch, service.keepalive)

    def _route(self, request: Request, path: Sequence[str]) -> dict[str, Any]:
        runs = self._service.runs
        match request.method, *path:
            case "POST", "workflows", "compile":
                plan = runs.compile(_object(request))
                return {"plan_json": plan.spec, "plan_hash": plan.hash}
            case "POST", "workflows", "lint":
                return runs.lint(_object(request), compile=request.query.get("compile") != "false")
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
            case "GET", "runs", run_id, "steps":
                return runs.get(_run_id(run_id)).steps()
            case "GET", "runs", run_id, "steps", step, "tool-calls", tool_id:
                return runs.get(_run_id(run_id)).tool_call(step, unquote(tool_id))
            case "GET", "runs", run_id, "tasks":
                return runs.get(_run_id(run_id)).tasks()
            case "POST", "runs", run_id, "tool-results":
                return runs.get(_run_id(run_id)).take_results(_object(request))
            case _:
                raise _no_route(request, path)


def _answer(
    wire: Wire,
    status: int,
    body: Any,
    faults: Sequence[Fault] = (),
    dice: random.Random | None = None,
    *,
    bodiless: bool = False,
) -> None:
    """Send a whole answer: JSON, the error of a Refusal, or bytes that are JSON already."""
    headers: dict[str, str] = {}
    if isinstance(body, Refusal):
        headers, body = body.headers, body.body(wire.request_id)
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    wire.chunked = False  # a REST answer has a length
    pieces = iter([] if bodiless else [content])
    for fault in faults:
        pieces = fault.pieces(pieces, dice or random.Random(0), wire)
    wire.start(status, {"Content-Type": "application/json", "Content-Length": str(len(content))} | headers)
    for piece in pieces:
        wire.send(piece)


def _request_id() -> str:
    return f"req_{uuid4().hex[:16]}"


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


def _no_route(request: Request, path: Sequence[str]) -> Refusal:
    match path:
        case ["runs"] | ["workflows", "compile" | "lint"] | ["runs", _, "tool-results"]:
            allowed = "POST"
        case ["runs", _] | ["runs", _, "events" | "pending-tools" | "steps" | "tasks"]:
            allowed = "GET"
        case ["runs", _, "steps", _, "tool-calls", _]:
            allowed = "GET"
        case _:
            shown = visible(request.path[:200])
            return Refusal(404, "NOT_FOUND", f"there is no {request.method} {shown} here")
    return _wrong_method(request.method, allowed)


def _refuse_method(method: str, allowed: str) -> None:
    if method != allowed:
        raise _wrong_method(method, allowed)


def _wrong_method(method: str, allowed: str) -> Refusal:
    message = f"the method must be {allowed} here, got {method}"
    return Refusal(405, "METHOD_NOT_ALLOWED", message, headers={"Allow": allowed})
