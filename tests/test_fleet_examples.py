"""What the example of a fleet promises beyond what it prints: ids from a pipe, failures told, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rxruns.devserver import DevServer
from tests.conftest import ROOT
from tests.observing import run_of


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's here")
def test_a_fleet_is_followed_from_standard_input_until_ctrl_c() -> None:
    with DevServer() as server:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "MODELRELAY_API_KEY": server.api_key,
            "MODELRELAY_API_BASE_URL": server.url,
        }
        run = server.add_run(events=run_of(1)[:2], finish=False)
        command = [sys.executable, str(ROOT / "examples" / "follow_a_fleet.py"), "-"]
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write(f"{run.run_id}\nnot an id\n")
            process.stdin.flush()
            assert "run_ids[1] is 'not an id'" in process.stderr.readline()
            assert server.wait_for(lambda server: server.streams == 1)
            process.send_signal(signal.SIGINT)
            assert 0 == process.wait(10)
            assert "stopped following; the runs go on\n" == process.stdout.read()
            assert "" == process.stderr.read()
        assert server.wait_for(lambda server: server.streams == 0)
