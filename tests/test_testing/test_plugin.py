"""The fixtures for pytest, and their costs in a test run without them: none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

USES = """
from rxruns import block_on, ops, run_events, RunsClient
from rxruns.testing import QUICK, drops, events, sends

LOG = events.run().node("draft").text("Hi").succeeds()

def test_the_client_is_of_the_service(runs_service, runs_client):
    (run_id,) = runs_service.serve_log(LOG)
    assert "run_completed" == block_on(run_events(run_id, client=runs_client)).type

def test_the_environment_has_the_service(runs_environment):
    with RunsClient.from_env() as client:
        assert runs_environment.url.startswith(client.base_url)

def test_a_script_is_played(fake_runs):
    service = fake_runs(sends(LOG[:2]), drops(), sends(LOG[2:]))
    other = fake_runs(sends(LOG))
    for each in (service, other):
        with each.client() as client:
            source = run_events(LOG.run_id, client=client, resume=QUICK)
            assert list(LOG) == block_on(source.pipe(ops.to_list()))
    assert [0, 2] == [request.after_seq for request in service.streams]
"""

UNUSED = """
import sys

def test_nothing_of_rxruns_was_imported():
    assert set() == {name.partition(".")[0] for name in sys.modules} & {"rxruns", "reactivex", "requests"}
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, with the plugin also where the installation is an old one."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = ["-q", "-W", "error", "-p", "pytest_rxruns", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )


def test_the_fixtures_are_a_service_a_client_an_environment_and_a_fake(tmp_path: Path) -> None:
    (tmp_path / "test_uses.py").write_text(USES)
    ran = run_pytest(tmp_path)

    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_test_run_that_uses_none_of_them_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_unused.py").write_text(UNUSED)
    ran = run_pytest(tmp_path)

    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_fixtures_are_described(tmp_path: Path) -> None:
    listed = run_pytest(tmp_path, "--fixtures", "-q").stdout
    for name in ("runs_service", "runs_client", "runs_environment", "fake_runs"):
        assert re.search(rf"^{name} -- .*\n    \S", listed, re.MULTILINE), listed


def test_the_example_passes() -> None:
    ran = run_pytest(ROOT, "-c", os.devnull, "--rootdir", str(ROOT), "examples/test_my_pipeline.py")

    assert re.search(r"^\d passed", ran.stdout, re.MULTILINE), ran.stdout + ran.stderr


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    text = (ROOT / "docs/testing.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?def test_.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for number, block in enumerate(blocks):
        (tmp_path / f"test_block_{number}.py").write_text(block)

    ran = run_pytest(tmp_path)

    assert f"{sum(block.count('def test_') for block in blocks)} passed" in ran.stdout, ran.stdout
