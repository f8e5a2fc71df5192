"""Export two runs as OpenTelemetry spans, with tokens and cost, while they are read.

``OTEL_EXPORTER_OTLP_ENDPOINT`` names the backend: ``http://localhost:6006`` for Phoenix. Without it, the
spans are printed.
"""

import os
import sys

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from rxruns import RunsClient, block_on, merge_runs, ops, otel
from rxruns.devserver import PRICES, DevServer
from rxruns.workflow import llm, workflow

spec = (
    workflow("praise", model="gpt-4o-mini")
    .llm("cities", user='[[say: ["Lisbon", "Porto"]]]')
    .map_fanout("each", items_from="cities", subnode=llm("one", user="Praise {{item}}"))
    .llm("best", user="Which is best? {{each}}", model="claude-sonnet-4-5")
    .output("text", from_="best")
    .build()
)


def row(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    cost = attributes.get("gen_ai.usage.cost")
    return f"{span.name}{'' if cost is None else f', ${cost:.6f}'}\n"


def new_exporter() -> SpanExporter:
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return otel.OtlpExporter()  # reads the endpoint, and OTEL_EXPORTER_OTLP_HEADERS
    return ConsoleSpanExporter(out=sys.stdout, formatter=row)


def main(client: RunsClient) -> None:
    exporter = new_exporter()
    run_ids = [client.create(spec).run_id for _ in range(2)]
    spans = merge_runs(run_ids, client=client).pipe(
        otel.spans(name="praise", prices=PRICES),
        otel.export(exporter),  # emits a span once the backend has it
    )
    try:
        print(block_on(spans.pipe(ops.count())), "spans exported")
    finally:
        exporter.shutdown()


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
