"""The programs of docs/howto/otel.md: restarts with cursors, and metrics of live followers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="pip install 'rxruns[otel]'")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from rxruns import block_on, ops, run_events
from rxruns.costs import Price
from rxruns.devserver import DevServer
from rxruns.errors import ExportError
from rxruns.testing import QUICK, FakeRuns, drops, events, sends
from tests.commands import started
from tests.conftest import ROOT
from tests.otlp import OtlpReceiver, accepts, refuses
from tests.test_readme import blocks_of

BLOCKS = {block.title: block.code for block in blocks_of(ROOT / "docs/howto/otel.md")}


def names_of(title: str, **names: Any) -> dict[str, Any]:
    """Run the program under a heading without its last lines, and return the names that it defines."""
    program = BLOCKS[title].rpartition("\n\n\n")[0]
    exec(compile(program, title, "exec", dont_inherit=True), names)
    return names


def test_after_a_restart_only_runs_whose_root_was_not_accepted_are_exported_again(
    service: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = started(service), started(service)
    export, cursors = names_of("Restart")["export"], str(tmp_path / "cursors.db")
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        export([first], cursors)
        receiver.then = refuses(400)
        with pytest.raises(ExportError):
            export([first, second], cursors)
        receiver.then = accepts()
        for _ in range(2):
            export([first, second], cursors)
        assert [first.hex] * 2 + [second.hex] * 2 == [span.trace_id for span in receiver.spans]


def test_live_followers_are_measured() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    prices = {("openai", "gpt-5"): Price(1, 10)}
    meters = names_of("Metrics")["Meters"](meter, prices)
    log = (
        events.run()
        .node("draft")
        .llm_call("gpt-5", "openai", input_tokens=1_000_000, output_tokens=10)
        .succeeds()
    )
    with FakeRuns(sends(log[:3]), drops(), sends(log[3:])) as service, service.client() as client:
        follower = run_events(log.run_id, client=client, resume=QUICK, on_lifecycle=meters.on_lifecycle)
        open_streams: list[int] = []
        look = ops.tap(lambda event: open_streams.append(len(meters.open)))
        block_on(follower.pipe(ops.tap(meters.on_event), look))

    assert {1} == set(open_streams)
    measured = values_of(reader)
    assert len(log) == measured.pop("rxruns.lag")
    assert {
        "rxruns.streams": 0,
        "rxruns.reconnects": 1,
        "rxruns.tokens": 1_000_010,
        "rxruns.cost": pytest.approx(1.0001),
    } == measured


def values_of(reader: InMemoryMetricReader) -> dict[str, Any]:
    """The sum of each counter, and the count of each histogram."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: sum(
            getattr(point, "count", getattr(point, "value", 0)) for point in metric.data.data_points
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
