"""The parts of the OpenTelemetry SDK that spans are made of. No other module of rxruns names the SDK."""

from __future__ import annotations

try:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.util import BoundedList
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rxruns.otel needs the OpenTelemetry SDK: pip install 'rxruns[otel]'", name=error.name
    ) from error

__all__ = [
    "BoundedList",
    "Event",
    "InstrumentationScope",
    "OTELResourceDetector",
    "ReadableSpan",
    "Resource",
    "SpanContext",
    "SpanExportResult",
    "SpanExporter",
    "SpanKind",
    "Status",
    "StatusCode",
    "TraceFlags",
]
