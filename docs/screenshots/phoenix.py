"""Make the picture of a run in Phoenix again: ``python docs/screenshots/phoenix.py``.

Needs Chromium, arize-phoenix and the extra dev, as in ``tox -e phoenix``.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(DOCS / "screenshots"), str(DOCS.parent)]

import reactivex  # noqa: E402
import sample  # noqa: E402
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: E402

from rxruns import otel  # noqa: E402
from rxruns.events import NodeEvent, PayloadArtifact, PayloadInfo, RunCompleted, RunEvent  # noqa: E402
from tests.browser import chromium, executable  # noqa: E402
from tests.phoenix import running  # noqa: E402

PICTURE = DOCS / "static/phoenix.png"
SIZE = {"width": 1440, "height": 900}
LIGHT = 'localStorage.setItem("arize-phoenix-theme", "light")'
SHOWN = "chat claude-sonnet-4-5"


def main() -> None:
    """Export the run to a Phoenix of its own, and take a picture of its trace."""
    path = executable()
    if path is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as phoenix, chromium(path) as browser:
        exporter = OTLPSpanExporter(f"{phoenix.url}/v1/traces")
        spans = otel.spans(prices=sample.PRICES, content=True, name="harbour report")
        reactivex.from_iterable(ended()).pipe(spans, otel.export(exporter)).run()
        exporter.shutdown()
        phoenix.spans(20)
        context = browser.new_context(viewport=SIZE, color_scheme="light")
        context.add_init_script(LIGHT)
        page = context.new_page()
        page.goto(f"{phoenix.url}/redirects/traces/{sample.RUN.hex}", wait_until="networkidle")
        page.get_by_text(SHOWN).first.click()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)  # its panels slide in
        page.get_by_role("dialog").screenshot(path=PICTURE)
        context.close()


def ended() -> list[RunEvent]:
    """The run of the other pictures without the node that waits, and with an end."""
    events = [
        event
        for event in sample.events()
        if not (isinstance(event, NodeEvent) and event.node_id == "approve")
    ]
    last = events[-1]
    outputs = PayloadArtifact(
        artifact_key="outputs", info=PayloadInfo(bytes=2, sha256=sample.PLAN, included=False)
    )
    end = RunCompleted(
        run_id=sample.RUN,
        seq=last.seq + 1,
        ts=last.ts + timedelta(seconds=0.2),
        plan_hash=sample.PLAN,
        outputs=outputs,
    )
    return [*events, end]


if __name__ == "__main__":
    main()
