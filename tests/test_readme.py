"""The code of the README and of the pages in docs runs unchanged against the embedded service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rxruns import charts, workflow
from rxruns.costs import CostTotals
from rxruns.devserver import DevServer
from tests.conftest import ROOT
from tests.otlp import OtlpReceiver

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/howto").glob("*.md")),
]


class Block(NamedTuple):
    """A block of Python under a heading."""

    page: str
    title: str
    code: str


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        before = re.sub(r"^```.*?^```$", "", text[: found.start()], flags=re.DOTALL | re.MULTILINE)
        yield Block(page.name, re.findall(r"^#+ (.*)$", before, flags=re.MULTILINE)[-1], found[1])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Start the renderer of charts, which keeps threads and descriptors: no page leaks them."""
    charts.save(charts.cost_by_model(CostTotals()), tmp_path_factory.mktemp("charts") / "first.svg")


@pytest.fixture
def service(
    renderer: None, no_leaks: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[DevServer]:
    """A service and a backend of spans, which the environment names; they must leave nothing behind."""
    monkeypatch.chdir(tmp_path)  # where blocks write files
    with DevServer(seed=7) as server, OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
        monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
        monkeypatch.delenv("MODELRELAY_ACCESS_TOKEN", raising=False)
        yield server


@pytest.fixture
def run_id(service: DevServer) -> Any:
    """A run with the node of the first block."""
    spec = workflow.chain(workflow.llm("summarize", model="claude-sonnet-4-5", user="Summarize the tides."))
    with service.client() as client:
        return client.create(spec).run_id


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{block.page}: {block.title}" for block in BLOCKS])
def test_each_python_block_of_a_page_runs(
    block: Block, run_id: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not with this module's own `from __future__`.
    exec(compile(block.code, block.page, "exec", dont_inherit=True), {"__name__": "page", "run_id": run_id})

    assert "" == capsys.readouterr().err


def test_the_first_program_of_the_readme_prints_text_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(BLOCKS[0].code, "README.md", "exec", dont_inherit=True), {})

    assert re.fullmatch(r"Hello, tides!\n\d+ tokens, \$0\.\d+\n", capsys.readouterr().out)
