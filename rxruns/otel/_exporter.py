"""An exporter of spans over OTLP/HTTP.

The SDK's exporter counts a redirect as success, logs malformed headers with their values, and hides the
reason of a failure. This one sends through the library's own transport: redirects are failures, nothing that
it raises or logs quotes a header, and :meth:`OtlpExporter.shutdown` ends a request in progress.

The reader's thread calls ``export``; any thread may call ``shutdown``.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from rxruns._arguments import check_headers, check_url, is_exposed
from rxruns._display._text import clipped, visible
from rxruns._errors import InvalidArgumentError, must_be
from rxruns._policies import RetryPolicy
from rxruns._transport import Cancellation, Cancelled, Credentials, Request, Transport
from rxruns._transport._answers import Answer
from rxruns._transport._sessions import close_idle, new_session
from rxruns._version import __version__
from rxruns.errors import APIError, TransportError
from rxruns.otel._sdk import ReadableSpan, SpanExporter, SpanExportResult

__all__ = ["OtlpExporter", "setting"]

RETRY = RetryPolicy(max_attempts=6)
"""An outage of about nine seconds is survived; a longer ``Retry-After``, up to two minutes, too."""

CONNECT_TIMEOUT = 5.0
TIMEOUT = 10.0
"""Seconds between bytes: the default of the specification, for the whole request there."""

_PATH = "/v1/traces"
_EXAMPLE = "http://localhost:4318"
_MESSAGE = 200
_PAIR = re.compile(r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(.*?)[ \t]*")

logger = logging.getLogger("rxruns")


class OtlpExporter(SpanExporter):
    """Send spans to one backend over OTLP/HTTP, and raise the reason if it doesn't take them.

    Unlike the SDK's ``OTLPSpanExporter``, it doesn't count a redirect or a web page as success, so no span is
    lost silently. A batch is retried for about nine seconds, or longer if the backend sends ``Retry-After``.

    Certificates, compression, headers and timeout are those of the standard variables
    ``OTEL_EXPORTER_OTLP_…`` and, before them, ``OTEL_EXPORTER_OTLP_TRACES_…``. No message, log or ``repr``
    shows a header.

    Args:
        url: the base URL; ``/v1/traces`` is appended unless it ends in it. None: that of the environment.

    Raises:
        InvalidArgumentError: a URL or a variable is invalid. The value is not quoted.

    Spans that a backend rejects although it accepts their batch are counted; the first time, a warning is
    logged. :meth:`shutdown` ends a request in progress.

    Attributes:
        origin: the address of the backend without a path, safe to show.
        rejected: the number of spans that the backend rejected although it accepted their batches.
        reason: the backend's text about the last of them, without secrets; escape it before you show it.

    >>> OtlpExporter("http://localhost:4318").origin
    'http://localhost:4318'
    """

    def __init__(self, url: str | None = None) -> None:
        endpoint = _endpoint(url)
        parts = urlsplit(endpoint)
        self.origin: str = f"{parts.scheme}://{parts.netloc}"
        self.rejected: int = 0
        self.reason: str = ""
        self._path = parts.path or "/"
        secret = _headers()
        self._is_gzip = _compression() == "gzip"
        self._timeout = _timeout()
        self._cancellation = Cancellation()
        self._session = new_session()
        self._session.verify = _file("CERTIFICATE") or True
        certificate, key = _file("CLIENT_CERTIFICATE"), _file("CLIENT_KEY")
        self._session.cert = (certificate, key) if certificate and key else certificate
        self._transport = Transport(
            base_url=self.origin,
            credentials=_Fixed(secret),
            headers={"User-Agent": f"rxruns/{__version__}"},
            connect_timeout=CONNECT_TIMEOUT,
            session=self._session,
        )
        if secret and is_exposed(endpoint):
            logger.warning("%s is not encrypted: others may read the headers on their way", self.origin)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, with retries.

        Raises:
            APIError, TransportError: the backend didn't take it.
        """
        body, headers = encode_spans(spans).SerializeToString(), {"Content-Type": "application/x-protobuf"}
        if self._is_gzip:
            body, headers = gzip.compress(body, 6), headers | {"Content-Encoding": "gzip"}
        request = Request(
            "POST",
            self._path,
            self._timeout,
            headers=headers,
            body=body,
            retry=RETRY,
            cancellation=self._cancellation,
        )
        try:
            answer = self._transport.request(request)
        except Cancelled:
            return SpanExportResult.FAILURE
        except APIError as error:
            if 300 <= error.status < 400:
                raise _redirected(error) from None
            raise
        self._note_rejected(answer)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End the request in progress and refuse further ones."""
        self._cancellation.cancel()
        close_idle(self._session)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is buffered here."""
        return True

    def _note_rejected(self, answer: Answer) -> None:
        partial = _response(answer).partial_success
        if partial.rejected_spans > 0:
            is_first = not self.rejected
            self.rejected += partial.rejected_spans
            self.reason = clipped(answer.redactor.text(partial.error_message), _MESSAGE)
            if is_first:
                logger.warning(
                    "%s rejects spans: %s; further ones are counted", self.origin, visible(self.reason)
                )


class _Fixed(Credentials):
    """Headers that are credentials."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def headers(self) -> dict[str, str]:
        return self._headers


def setting(name: str) -> str:
    """Return a standard variable of the exporter: that of traces, else that of all signals, else ``""``."""
    values = (os.environ.get(f"OTEL_EXPORTER_OTLP_{prefix}{name}", "").strip() for prefix in ("TRACES_", ""))
    return next(filter(None, values), "")


def _endpoint(url: str | None) -> str:
    of_traces = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    if url is None and of_traces:  # used as it is, by the specification
        return check_url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", of_traces, _EXAMPLE + _PATH)
    field, value = ("url", url) if url is not None else ("OTEL_EXPORTER_OTLP_ENDPOINT", setting("ENDPOINT"))
    if not value:
        raise InvalidArgumentError(
            f"no backend: pass its URL, or set OTEL_EXPORTER_OTLP_ENDPOINT, for example {_EXAMPLE}",
            field="url",
        )
    base = check_url(field, value, _EXAMPLE)
    return base if base.endswith(_PATH) else base + _PATH


def _headers() -> dict[str, str]:
    """Parse the headers of the environment strictly: a malformed one would be left out silently."""
    headers: dict[str, str] = {}
    for pair in filter(str.strip, setting("HEADERS").split(",")):
        match = _PAIR.fullmatch(pair)
        if match is None:
            raise InvalidArgumentError(
                "OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs separated by commas, with values "
                "URL-encoded (its value is not shown)",
                field="OTEL_EXPORTER_OTLP_HEADERS",
            )
        headers[match[1].lower()] = unquote(match[2])
    return check_headers(headers)


def _compression() -> str:
    value = setting("COMPRESSION").lower() or "none"
    if value not in ("none", "gzip"):
        raise must_be("OTEL_EXPORTER_OTLP_COMPRESSION", "none or gzip", value)
    return value


def _timeout() -> float:
    text = setting("TIMEOUT")
    try:
        seconds = float(text or TIMEOUT)
    except ValueError:
        seconds = math.nan
    if not (0 < seconds < math.inf):
        raise must_be("OTEL_EXPORTER_OTLP_TIMEOUT", "a number of seconds above 0", text)
    return seconds


def _file(name: str) -> str | None:
    path = setting(name)
    if path and not Path(path).is_file():
        raise must_be(f"OTEL_EXPORTER_OTLP_{name}", "an existing file", path)
    return path or None


def _redirected(error: APIError) -> APIError:
    message = (
        "a redirect is not followed, because it would receive the credentials: use the backend's own URL"
    )
    return APIError(message, status=error.status, retries=error.retries)


def _response(answer: Answer) -> ExportTraceServiceResponse:
    """Parse a response. Backends also answer with JSON, or with text of their own.

    Raises:
        TransportError: it is a page, so that the spans went nowhere.
    """
    body = answer.body.strip()
    if body.startswith(b"<"):
        raise TransportError("the response is a web page: is the URL that of an OTLP/HTTP receiver?")
    response: Any = ExportTraceServiceResponse()
    try:
        if body.startswith(b"{"):
            json_format.Parse(body, response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(answer.body)
    except (DecodeError, json_format.ParseError, RecursionError, UnicodeDecodeError):
        return ExportTraceServiceResponse()
    return cast(ExportTraceServiceResponse, response)
