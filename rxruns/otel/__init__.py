"""Runs as OpenTelemetry spans, for any backend that takes OTLP. Extra ``otel``.

:func:`spans` turns events into finished spans, :func:`export` hands them to an exporter, such as
:class:`OtlpExporter`::

    exporter = otel.OtlpExporter("http://localhost:4318")
    block_on(run_events(run_id).pipe(otel.spans(), otel.export(exporter)))

=============================  =========  ==================================================================
span                           kind       its time
=============================  =========  ==================================================================
``invoke_workflow {name}``     internal   the root: from the run's first event to its last
the id of a node               internal   an attempt of the node
``chat {model}``               client     a model call. The log has only its end: its start is the end of
                                          the step before, and ``rxruns.start_estimated`` is true
``execute_tool {name}``        internal   from the call to its result
=============================  =========  ==================================================================

Each span has ``rxruns.run_id``, each span of a node ``rxruns.node_id`` and ``rxruns.attempt``. The attributes
of model calls and tools are those of the semantic conventions for generative AI, version 1.41.0. Runs and
nodes also have the OpenInference kind ``CHAIN``, which Phoenix shows. Waits, questions and answers are events
of a node's span. A failure is the span's status, with ``error.type``.
Children of a fan-out are under it, as far as their ids show it.

The resource is ``service.name=rxruns``, unless ``OTEL_SERVICE_NAME`` or ``OTEL_RESOURCE_ATTRIBUTES`` name
another.
"""

from __future__ import annotations

from rxruns.otel._export import export
from rxruns.otel._exporter import OtlpExporter
from rxruns.otel._spans import spans

__all__ = ["OtlpExporter", "export", "spans"]
