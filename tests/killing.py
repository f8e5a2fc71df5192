"""Processes that are killed in the middle of their work, as ``kill -9`` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice

from tests.conftest import ROOT


def killed(program: str, arguments: Sequence[str], lines: int) -> list[bytes]:
    """Run a Python program until it has written this many lines, kill it, and return all that it wrote."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = list(islice(process.stdout, lines))
        process.send_signal(signal.SIGKILL)
        return seen + process.stdout.readlines()  # written before the signal arrived
