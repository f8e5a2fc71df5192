"""The README's code runs as it stands, against the embedded service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from rxruns import ops, workflow
from rxruns.devserver import DevServer
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
TITLES = [re.findall(r"^#+ (.*)$", README[: README.index(block)], flags=re.MULTILINE)[-1] for block in BLOCKS]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
    """A service that the environment names, as the README tells people to."""
    with DevServer(seed=7) as server:
        monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
        monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
        monkeypatch.delenv("MODELRELAY_ACCESS_TOKEN", raising=False)
        yield server


@pytest.fixture
def run_id(service: DevServer) -> Any:
    """A run with the node that the first block asks for."""
    spec = workflow.chain(workflow.llm("summarize", model="claude-sonnet-4-5", user="Summarize the tides."))
    with service.client() as client:
        return client.create(spec).run_id


@pytest.mark.parametrize("block", BLOCKS, ids=TITLES)
def test_each_python_block_of_the_readme_runs(
    block: str, run_id: Any, no_leaks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {name for name in re.findall(r"\bops\.(\w+)", block) if not hasattr(ops, name)}
    if missing:
        pytest.skip(f"not there yet: {missing}")

    exec(compile(block, "README.md", "exec"), {"__name__": "readme", "run_id": run_id})

    assert "" == capsys.readouterr().err


def test_what_the_readme_prints_is_what_it_says(
    service: DevServer, run_id: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(BLOCKS[TITLES.index("Filter")], "README.md", "exec"), {"run_id": run_id})

    printed = capsys.readouterr().out.splitlines()
    assert "node_started" == printed[0].split()[1]
    assert "run_completed" == printed[-1].split()[1]


def test_every_link_to_a_file_leads_to_one() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)

    assert [] == [target for target in targets if not (ROOT / target).exists()]
