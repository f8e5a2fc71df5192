"""A Phoenix server of the test's own, where arize-phoenix is installed: ``tox -e phoenix``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import eventually

__all__ = ["Phoenix", "running"]

STARTS = 300.0
"""Seconds: it imports hundreds of modules and creates its database, 15 s on an idle machine."""

_PAUSE = 0.25


class Phoenix:
    """A running server.

    Attributes:
        url: of its pages, its API and its OTLP receiver.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def spans(self, count: int) -> list[dict[str, Any]]:
        """Wait until it has `count` spans, and return all as its API does."""
        assert eventually(lambda: len(self._spans()) >= count), f"{len(self._spans())} spans"
        return self._spans()

    def _spans(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = self._get(
                "/v1/projects/default/spans", limit=100, **({"cursor": cursor} if cursor else {})
            )
            found += answer["data"]
            cursor = answer["next_cursor"]
        return found

    def _get(self, path: str, **parameters: Any) -> Any:
        answer = requests.get(self.url + path, parameters, timeout=60)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running(folder: Path) -> Iterator[Phoenix]:
    """Run Phoenix with its database in `folder`; the test is skipped where it isn't installed."""
    try:
        version("arize-phoenix")
    except PackageNotFoundError:
        pytest.skip("arize-phoenix is not installed here: tox -e phoenix")
    port, grpc_port = _free_port(), _free_port()
    environment = os.environ | {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    output = folder / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "phoenix.server.main", "serve"], env=environment, stdout=file, stderr=file
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            assert _starts(process, f"{url}/healthz"), output.read_text("utf-8")[-2000:]
            yield Phoenix(url)
        finally:
            process.terminate()


def _starts(process: subprocess.Popen[bytes], url: str) -> bool:
    pause, end = threading.Event(), time.monotonic() + STARTS
    while process.poll() is None and time.monotonic() < end:
        if _answers(url):
            return True
        pause.wait(_PAUSE)
    return False


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
