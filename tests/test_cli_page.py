"""The documentation of the command line: each example runs as printed, and the pictures are current."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rxruns.cli import COMMANDS, cli, run
from rxruns.devserver import DevServer
from tests.conftest import ROOT
from tests.otlp import OtlpReceiver

PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")


class Example(NamedTuple):
    """A command line, and its output on the page."""

    command: str
    printed: str


def examples() -> Iterator[Example]:
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE):
        for found in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE):
            yield Example(found[1], found[2])


def matches(printed: str, expected: str) -> bool:
    """Return True if the output is as expected; ``…`` matches anything, and spaces count as one."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in expected.split("…"))
    return re.fullmatch(pattern.replace(r".*\ ", r".*\ ?"), " ".join(printed.split()), re.DOTALL) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which the examples run, with this ``rxruns`` and the files that the page shows."""
    command = tmp_path / "bin" / "rxruns"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m rxruns "$@"\n')
    command.chmod(0o755)
    for example in examples():
        if example.command.startswith("cat "):
            (tmp_path / example.command.split()[1]).write_text(example.printed)
    return tmp_path


def test_each_example_prints_the_output_on_the_page(folder: Path) -> None:
    with DevServer(seed=7) as server, OtlpReceiver() as receiver:
        (folder / "state").write_text("")  # of the shell: each example has one of its own
        environment = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MODELRELAY_API_KEY": server.api_key,
            "MODELRELAY_API_BASE_URL": server.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        }
        for example in examples():
            if example.command.startswith("export "):
                continue  # to where the page's own service is
            kept = "code=$?; declare -p RUN_ID > state 2>/dev/null; exit $code"
            script = f". ./state; set -o pipefail; {example.command}\n{kept}"
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert 0 == done.returncode, (example.command, done.stderr)
            assert matches(done.stdout, example.printed), (example, done.stdout)
            assert "Traceback" not in done.stderr
            assert server.api_key not in done.stdout + done.stderr


def test_the_page_has_each_command_and_only_flags_that_exist() -> None:
    context = cli.make_context("rxruns", ["demo"])
    names = cli.list_commands(context)
    headings = ", ".join(re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)).split(", ")
    assert ([], sorted(COMMANDS)) == ([name for name in names if name not in headings], sorted(names))

    commands = [cli.get_command(context, name) for name in COMMANDS]
    flags = {
        flag for command in commands if command for parameter in command.params for flag in parameter.opts
    }
    assert set() == {flag for flag in flags if flag.startswith("--") and flag not in PAGE}
    assert set() == set(re.findall(r"--[a-z][a-z-]+", PAGE)) - flags - {"--help"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_of_the_page_gets_its_completion(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"_RXRUNS_COMPLETE={shell}_source rxruns" in PAGE
    monkeypatch.setenv("_RXRUNS_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as exit:
        run([])
    assert (0, True) == (exit.value.code, "_rxruns_completion" in capsys.readouterr().out)


def test_the_pictures_are_not_stale() -> None:
    script = ROOT / "docs" / "screenshots" / "terminal.py"
    pictures = runpy.run_path(str(script), run_name="pictures")["pictures"]()

    kept = {name: (script.parent / name).read_text("utf-8") for name in pictures}
    assert kept == pictures, "run `python docs/screenshots/terminal.py`"
    assert [] == [name for name, picture in pictures.items() if "url(http" in picture]
