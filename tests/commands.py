"""Fixtures that run command lines in the test's process, against a service on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import pytest

from rxruns import block_on, ops, run_events
from rxruns.cli import run
from rxruns.devserver import DevServer
from tests.observing import run_of

PYTHON = [sys.executable, "-W", "error", "-m", "rxruns"]


class Outcome(NamedTuple):
    """The exit code of a command line and its output."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


Rxruns: TypeAlias = Callable[..., Outcome]


@pytest.fixture
def service(runs_environment: DevServer) -> DevServer:
    """A service that the environment names."""
    return runs_environment


@pytest.fixture
def rxruns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rxruns:
    """Run a command line without prices, and check that it never prints the key."""
    monkeypatch.delenv("RXRUNS_PRICES", raising=False)

    def outcome(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert os.environ.get("MODELRELAY_API_KEY", "no key") not in out + err
        return Outcome(code, out, err)

    return outcome


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command line in a process of its own."""
    options = {"stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([*PYTHON, *map(str, arguments)], **options)


def started(service: DevServer, deltas: int = 2, **options: Any) -> UUID:
    """Add a run of ``deltas + 4`` events to the service."""
    return service.add_run(events=run_of(deltas, **options)).run_id


def unfinished(service: DevServer, events: list[dict[str, Any]]) -> Any:
    """Add a run with these events and without its end."""
    script = service.script()
    for event in events:
        script.append(event)
    return script


def recorded(service: DevServer, path: Path, run_id: UUID) -> Path:
    """Record a run of the service into a log."""
    with service.client() as client:
        block_on(run_events(run_id, client=client).pipe(ops.record(path)))
    return path
