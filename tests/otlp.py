"""An OTLP/HTTP receiver of spans on loopback, which keeps what it accepted and plays a script of faults.

Other processes reach it through its URL. It keeps every request, so measure memory in the exporter's process.
"""

from __future__ import annotations

import gzip
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from rxruns._loopback import Gone, Listener, Wire
from rxruns.testing import Request
from rxruns.testing._loopback import Loopback
from tests.conftest import HANG

__all__ = ["PATH", "Answer", "OtlpReceiver", "Received", "accepts", "drops", "hangs", "refuses", "tree"]

PATH = "/v1/traces"
"""The path of traces in OTLP/HTTP."""

SpanId: TypeAlias = tuple[str, str]
"""A trace id and a span id, in hexadecimal."""


@dataclass(frozen=True)
class Answer:
    """The answer to one batch.

    Attributes:
        status: HTTP status; None: the connection is closed without an answer.
        pause: seconds before the answer; None: until the client hangs up.
        stores: True if the spans are kept.
        headers: besides those of the content.
        body: instead of an empty response.
    """

    status: int | None = 200
    pause: float | None = 0.0
    stores: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def accepts(*, pause: float = 0.0, body: bytes = b"") -> Answer:
    """Accept a batch, after `pause` seconds, with a body of your own."""
    return Answer(pause=pause, body=body)


def refuses(status: int = 503, *, retry_after: float | None = None, body: bytes = b"") -> Answer:
    """Refuse a batch, with ``Retry-After`` if there are seconds."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Answer(status, stores=False, headers=headers, body=body)


def drops(*, stores: bool = True) -> Answer:
    """Close the connection without an answer, by default after the batch was stored."""
    return Answer(None, stores=stores)


def hangs(*, stores: bool = False) -> Answer:
    """Never answer."""
    return Answer(pause=None, stores=stores)


@dataclass(frozen=True)
class Received:
    """A span that was accepted. Ids are hexadecimal, times nanoseconds since the epoch.

    Attributes:
        parent_id: ``""`` for a root span.
        kind: ``"CLIENT"``, for example.
        events: the name, the time and the attributes of each.
        status: ``"UNSET"``, ``"OK"`` or ``"ERROR"``.
        message: of the status.
        scope: the name of the instrumentation scope.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    events: tuple[tuple[str, int, Mapping[str, Any]], ...]
    links: tuple[tuple[SpanId, Mapping[str, Any]], ...]
    status: str
    message: str
    resource: Mapping[str, Any]
    scope: str

    @property
    def id(self) -> SpanId:
        """The key under which a backend stores it."""
        return self.trace_id, self.span_id


class OtlpReceiver(Loopback):
    """A backend of spans, started as a context manager.

    Args:
        script: the answers to the first batches, in order.
        then: the answer to each batch after them.
        tls: the server's side of it; None: plain HTTP.

    Attributes:
        then: may be changed.
        malformed: the requests that were answered with 400, because they aren't OTLP.
    """

    def __init__(self, *script: Answer, then: Answer = Answer(), tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.malformed: list[Request] = []
        self._script, self.then = list(script), then
        self._kept: list[tuple[Mapping[str, Any], str, Span]] = []
        self._batches: list[int] = []
        self._port = 0

    def __enter__(self) -> Self:
        super().__enter__()
        self._port = self.port
        return self

    @property
    def url(self) -> str:
        """The base URL, the value of ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def traces_url(self) -> str:
        """The URL of traces, the argument of ``OTLPSpanExporter``."""
        return self.url + PATH

    @property
    def count(self) -> int:
        """The number of accepted spans, each as often as it was received."""
        return len(self._kept)

    @property
    def batches(self) -> list[int]:
        """The number of spans in each accepted batch."""
        with self._changed:
            return list(self._batches)

    @property
    def spans(self) -> list[Received]:
        """The accepted spans in the order received, each as often as it was received."""
        with self._changed:
            kept = list(self._kept)
        return [_received(span, resource, scope) for resource, scope, span in kept]

    @property
    def by_id(self) -> dict[SpanId, list[Received]]:
        """The accepted spans by id, each as often as it was received."""
        found: dict[SpanId, list[Received]] = {}
        for span in self.spans:
            found.setdefault(span.id, []).append(span)
        return found

    @property
    def stored(self) -> dict[SpanId, Received]:
        """The spans as a backend has them: one for each id, the last received."""
        return {span.id: span for span in self.spans}

    def wait_until(self, holds: Callable[[Self], bool], timeout: float = HANG) -> Self:
        """Wait until `holds` after a request or an accepted batch."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self), timeout), f"{self.count} spans"
        return self

    def wait_spans(self, count: int, timeout: float = HANG) -> Self:
        """Wait until `count` spans were accepted."""
        return self.wait_until(lambda receiver: receiver.count >= count, timeout)

    @contextmanager
    def away(self) -> Iterator[threading.Event]:
        """Refuse connections inside the block. Yields an event: once set, it accepts them again."""
        if self._listener is not None:
            self._listener.close()
        returns = threading.Event()
        back = threading.Thread(target=self._return, args=(returns,))
        back.start()
        try:
            yield returns
        finally:
            returns.set()
            back.join()

    def _return(self, returns: threading.Event) -> None:
        returns.wait(HANG)
        self._listener = Listener("127.0.0.1", self._port, tls=self._tls)
        self._listener.start(self._received)

    def _answer(self, request: Request, wire: Wire) -> bool:
        try:
            spans = list(_spans(request))
        except (DecodeError, ValueError, OSError, EOFError, zlib.error):
            with self._changed:
                self.malformed.append(request)
            wire.reply(400, b"not OTLP", {"Content-Type": "text/plain"})
            return False
        with self._changed:
            answer = self._script.pop(0) if self._script else self.then
        if answer.pause != 0.0:
            wire.watch()
            wire.pause(answer.pause)
        if answer.stores:
            with self._changed:
                self._kept += spans
                self._batches.append(len(spans))
                self._changed.notify_all()
        if answer.status is None:
            raise Gone
        content = answer.body or ExportTraceServiceResponse().SerializeToString()
        wire.reply(answer.status, content, {"Content-Type": "application/x-protobuf", **answer.headers})
        return True


def tree(spans: Iterable[Received]) -> list[str]:
    """Draw the names of spans, indented below their parents, in the order of their starts.

    A span whose parent is missing is drawn after a ``?``.
    """
    stored = {span.id: span for span in spans}
    ordered = sorted(stored.values(), key=lambda span: (span.start, span.name))

    def below(parent: SpanId, depth: int) -> Iterator[str]:
        for span in ordered:
            if (span.trace_id, span.parent_id) == parent:
                yield "  " * depth + span.name
                yield from below(span.id, depth + 1)

    lines = [
        line for trace in dict.fromkeys(span.trace_id for span in ordered) for line in below((trace, ""), 0)
    ]
    orphans = [span for span in ordered if span.parent_id and (span.trace_id, span.parent_id) not in stored]
    return lines + [f"? {span.name}" for span in orphans]


def _spans(request: Request) -> Iterator[tuple[Mapping[str, Any], str, Span]]:
    if (request.method, request.path) != ("POST", PATH):
        raise ValueError(f"{request.method} {request.path}")
    if request.headers.get("content-type") != "application/x-protobuf":
        raise ValueError("the content type is not that of OTLP")
    body = request.body
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield resource, scope.scope.name, span


def _received(span: Span, resource: Mapping[str, Any], scope: str) -> Received:
    return Received(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=tuple((one.name, one.time_unix_nano, _attributes(one.attributes)) for one in span.events),
        links=tuple(
            ((one.trace_id.hex(), one.span_id.hex()), _attributes(one.attributes)) for one in span.links
        ),
        status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        message=span.status.message,
        resource=resource,
        scope=scope,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)
