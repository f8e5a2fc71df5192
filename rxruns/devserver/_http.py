"""The runs API: admit requests and route them."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from rxruns._display._text import visible
from rxruns._loopback import Answered, Cut, Gone, Handler, Head, Refusal, Wire
from rxruns.devserver._admission import refuse_foreign, refuse_unauthorized
from rxruns.devserver._event_schema import event_schema
from rxruns.devserver._json import is_object
from rxruns.devserver._request import Request, request_of
from rxruns.devserver._service import Service
from rxruns.devserver._stream import parse_query, stream
from rxruns.devserver.faults._script import Fault, through
from rxruns.errors import InvalidArgumentError

__all__ = ["BASE_PATH", "Api"]

BASE_PATH = "/api/v1"
_INCLUDES = frozenset({"steps", "tool_calls"})
_SCHEMA_PATHS = ("/schemas/run_event.schema.json", f"{BASE_PATH}/schemas/run_event.schema.json")
_logger = logging.getLogger("rxruns.devserver")


class Api(Handler):
    """Answers the requests to one service. Its names are `hosts`, localhost and IP addresses."""

    def __init__(self, service: Service, hosts: frozenset[str]) -> None:
        self._service, self._hosts = service, hosts

    def admit(self, head: Head) -> bytes | None:
        """Refuse foreign hosts, web pages and requests without the key; the schema of events is for all."""
        _logger.debug("%s %s", head.method, visible(head.path))
        try:
            refuse_foreign(head, self._hosts)
            if head.path not in _SCHEMA_PATHS:
                refuse_unauthorized(head.headers, self._service.api_key, self._service.access_token)
                return None
            if head.method != "GET":
                raise _wrong_method(head.method, "GET")
        except Refusal:
            self._service.keep_refused(request_of(head, b""), len(head.raw))
            raise
        self._service.keep_refused(request_of(head, b""), len(head.raw))
        return event_schema()

    def exchange(self, head: Head, body: bytes, connection: int, wire: Wire) -> None:
        """Answer an admitted request, through the faults that are scripted for it."""
        service, request = self._service, request_of(head, body)
        faults, dice = service.note(request, len(head.raw) + len(body))
        try:
            if faults:
                wire.watch()
            for fault in faults:
                fault.before(wire)
            result = self._result(request, wire, faults, dice)
            if result is None:
                return
            for fault in faults:
                fault.after(wire)
            wire.reply(*result, change=lambda pieces: through(faults, pieces, dice, wire))
        except (Answered, Cut, Gone, OSError):
            raise
        except Exception:
            _logger.exception("a request failed")
            wire.keep_open = False

    def _result(
        self, request: Request, wire: Wire, faults: Sequence[Fault], dice: random.Random
    ) -> tuple[int, object, Mapping[str, str]] | None:
        """Return the status, the body and the headers of the response; None after a stream."""
        try:
            path = self._path(request)
            if path[2:] == ["events"]:
                self._stream(request, path, wire, faults, dice)
                return None
            return 200, self._route(request, path), {}
        except Refusal as error:
            refusal = error
        except InvalidArgumentError as error:
            refusal = Refusal(500, "INTERNAL", str(error))
        except (Answered, Cut, Gone):
            raise
        except Exception as error:
            if wire.status is not None:
                raise
            _logger.exception("a request failed")
            refusal = Refusal(500, "INTERNAL", f"the request failed: {type(error).__name__}, see the log")
        return refusal.status, refusal.body(wire.request_id), refusal.headers

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
        run, query = service.runs.get(_run_id(path[1])), parse_query(request.query)
        with service.streaming():
            stream(run.log, query, wire, faults, dice, service.keepalive)

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


def _run_id(text: str) -> UUID:
    try:
        run_id = UUID(text)
    except ValueError:
        run_id = UUID(int=0)
    if run_id.int == 0:
        raise Refusal(400, "INVALID_INPUT", "invalid run id", {"run_id": "expected a UUID that is not nil"})
    return run_id


def _include(request: Request) -> frozenset[str]:
    names = frozenset(name.strip() for name in request.query.get("include", "").split(",") if name.strip())
    if names - _INCLUDES:
        raise Refusal(400, "INVALID_INPUT", "invalid query", {"include": "expected steps, tool_calls"})
    return names


def _object(request: Request) -> dict[str, Any]:
    if not is_object(request.body):
        raise Refusal(400, "INVALID_INPUT", "the body must be a JSON object")
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
            printable = visible(request.path[:200])
            return Refusal(404, "NOT_FOUND", f"there is no {request.method} {printable} here")
    return _wrong_method(request.method, allowed)


def _wrong_method(method: str, allowed: str) -> Refusal:
    message = f"the method must be {allowed} here, got {method}"
    return Refusal(405, "METHOD_NOT_ALLOWED", message, headers={"Allow": allowed})
