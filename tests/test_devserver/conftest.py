"""A bare HTTP client, so that the service is tested without the client of rxruns."""

from __future__ import annotations

import copy
import http.client
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from rxruns.devserver import DevServer
from tests.conftest import HANG

STARTED = {"type": "run_started", "plan_hash": "0" * 64}
DELTA = {
    "type": "node_output_delta",
    "node_id": "a",
    "delta": {"kind": "message_delta", "text_delta": "é\u2028"},
}
ENDED = {"type": "run_canceled", "plan_hash": "0" * 64, "error": {"message": "enough"}}


def seqs(events: bytes | Iterable[dict[str, Any]]) -> list[int]:
    """The ``seq`` of each event, or of each line of a body."""
    records = map(json.loads, events.splitlines()) if isinstance(events, bytes) else events
    return [record["seq"] for record in records]


def all_of(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def fields(self) -> dict[str, str]:
        """The messages of an error, by field."""
        return {item["field"]: item["message"] for item in self.body["fields"]}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.content.splitlines()]


class Api:
    """Sends requests to one server."""

    def __init__(self, server: DevServer) -> None:
        self.server = server
        self.address = urlsplit(server.url)

    def connect(self) -> http.client.HTTPConnection:
        assert self.address.hostname
        return http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=HANG)

    def headers(self) -> dict[str, str]:
        return {"X-ModelRelay-Api-Key": self.server.api_key}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
        **query: Any,
    ) -> Answer:
        target = self.address.path + path + (f"?{urlencode(query)}" if query else "")
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        used = connection or self.connect()
        try:
            used.request(method, target, content, self.headers() if headers is None else headers)
            response = used.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            if connection is None:
                used.close()

    def get(self, path: str, **query: Any) -> Answer:
        return self.ask("GET", path, **query)

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        return self.ask("POST", path, body, **options)

    def start(self, spec: dict[str, Any], **options: Any) -> str:
        answer = self.post("/runs", {"spec": spec, **options})
        assert 200 == answer.status, answer.content
        return str(answer.body["run_id"])

    def events(self, run_id: object, **query: Any) -> list[dict[str, Any]]:
        return self.get(f"/runs/{run_id}/events", **query).events

    def state(self, run_id: object, **query: Any) -> Any:
        return self.get(f"/runs/{run_id}", **query).body

    def until(self, run_id: object, kind: str) -> list[dict[str, Any]]:
        """Follow a run up to the first event of that type, and return the events."""
        found = []
        with self.follow(run_id) as response:
            while not found or found[-1]["type"] != kind:
                found.append(json.loads(response.readline()))
        return found

    @contextmanager
    def follow(self, run_id: object, **query: Any) -> Iterator[http.client.HTTPResponse]:
        connection = self.connect()
        target = f"{self.address.path}/runs/{run_id}/events" + (f"?{urlencode(query)}" if query else "")
        try:
            connection.request("GET", target, headers=self.headers())
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def connected(self) -> socket.socket:
        """A socket that is connected to the server."""
        assert self.address.hostname and self.address.port
        return socket.create_connection((self.address.hostname, self.address.port), timeout=HANG)

    def raw(self, run_id: object) -> socket.socket:
        """A socket on which a stream was requested."""
        connection = self.connected()
        connection.sendall(self.head(f"GET {self.address.path}/runs/{run_id}/events HTTP/1.1"))
        return connection

    def head(self, first: str, *lines: str, host: str = "localhost") -> bytes:
        """The bytes of a request with the key of the service."""
        key = f"X-ModelRelay-Api-Key: {self.server.api_key}"
        return "\r\n".join([first, f"Host: {host}", key, *lines, "", ""]).encode("latin-1")


@pytest.fixture
def serve() -> Iterator[Callable[..., Api]]:
    """Start servers that are closed at the end of the test."""
    started: list[DevServer] = []

    def start(**options: Any) -> Api:
        started.append(DevServer(**options).start())
        return Api(started[-1])

    yield start
    for server in started:
        server.close()


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    return serve()


@pytest.fixture(scope="session")
def check_event(event_json_schema: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Check an event against the contract's schema."""
    return Draft7Validator(event_json_schema, format_checker=FormatChecker()).validate


@pytest.fixture(scope="session")
def check_answer(openapi: dict[str, Any]) -> Callable[[str, Any], None]:
    """Check an answer against a component of the contract's OpenAPI description."""
    components = copy.deepcopy(openapi["components"])
    # The description's own pattern is escaped once too often.
    components["schemas"]["ToolName"]["pattern"] = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"

    @cache
    def validator(name: str) -> Draft202012Validator:
        schema = {"$ref": f"#/components/schemas/{name}", "components": components}
        return Draft202012Validator(schema, format_checker=FormatChecker())

    def check(name: str, answer: Any) -> None:
        validator(name).validate(answer)

    return check


def llm(name: str, user: str = "", **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "llm", "model": "gpt-4o", "user": user, **fields}


def workflow(*nodes: dict[str, Any], out: str | None = None, **fields: Any) -> dict[str, Any]:
    outputs = [{"name": "out", "from": out or nodes[-1]["id"]}]
    return {"kind": "workflow", "nodes": list(nodes), "outputs": outputs, **fields}
