"""The command line for users and scripts: demo, serve, help and exit codes."""

from __future__ import annotations

import http.client
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click
import pytest

import rxruns.__main__
from rxruns import ResumePolicy, RunsClient, workflow
from rxruns.cli import COMMANDS, cli, run
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Status
from rxruns.errors import InvalidArgumentError, TransportError
from tests.commands import PYTHON, Rxruns, process
from tests.test_cli_view import read_until
from tests.wire import has_ipv6


def test_the_demo_shows_a_run_to_its_totals() -> None:
    demo = subprocess.run([*PYTHON, "demo", "--delay", "0"], capture_output=True, text=True, timeout=60)
    assert (demo.returncode, demo.stderr) == (0, "")
    lines = demo.stdout.splitlines()
    assert 'weather asks for get_weather({"city": "Lisbon"})' in lines
    assert "weather got sunny in Lisbon, 24 degrees" in lines
    assert lines[-2] == "run completed"
    assert re.search(r"^run \S{36} succeeded  .*, 6 calls, .* tokens, \$0\.\d{6}$", lines[-1])
    assert "\x1b" not in demo.stdout


def test_on_a_terminal_the_demo_redraws_a_table() -> None:
    outer, inner = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*PYTHON, "demo", "--delay", "0.002"], stdin=inner, stdout=inner, stderr=inner, env=environment
    ) as process:
        os.close(inner)
        output = read_until(outer)
        assert process.wait(60) == 0
    os.close(outer)
    assert "translation" in output
    assert "✓ succeeded" in output
    assert "\x1b[" in output
    assert "6/6 nodes" in output[-3000:]


@pytest.mark.parametrize("key", [None, "mr_sk_very_own"])
def test_serve_runs_until_ctrl_c_and_prints_only_a_key_that_it_made(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELRELAY_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("MODELRELAY_API_KEY", key)
    with process("serve", "--port", "0", stdout=subprocess.PIPE) as serving:
        assert serving.stdout is not None and serving.stderr is not None
        lines = [serving.stdout.readline() for _ in range(3)]
        assert lines[0].startswith("serving on http://127.0.0.1:")
        assert (key is None) == ("MODELRELAY_API_KEY=mr_sk_" in lines[2])
        serving.send_signal(signal.SIGINT)
        assert 130 == serving.wait(30)
        assert "" == serving.stderr.read().strip()


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, str, str]]:
    """Run `rxruns serve` with these options and yield what it prints: its address, URL and key."""
    with process("serve", "--port", "0", *options, stdout=subprocess.PIPE, stderr=None) as server:
        assert server.stdout is not None
        first, url, key = (server.stdout.readline().strip() for _ in range(3))
        yield first, url.partition("=")[2], key.partition("=")[2]
        server.send_signal(signal.SIGINT)
        server.wait(30)


@pytest.mark.parametrize(
    ("host", "printed"),
    [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")],
)
def test_serve_prints_an_address_that_can_be_used(host: str, printed: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("no IPv6 here")
    with serving("--host", host) as (first, url, key):
        assert re.fullmatch(rf"http://{re.escape(printed)}:\d+/api/v1", url)
        assert first.startswith(f"serving on {url} ")
        with RunsClient(api_key=key, base_url=url) as client:
            spec = workflow.chain(workflow.llm("a", user="Hello", model="gpt-4o"))
            assert "running" == client.create(spec).status


def test_serve_accepts_the_allowed_host_names() -> None:
    with serving("--allow-host", "one", "--allow-host", "two") as (_, url, key):
        address, statuses = urlsplit(url), []
        for name in ("one", "TWO", "three"):
            connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
            headers = {"Host": f"{name}:{address.port}", "X-ModelRelay-Api-Key": key}
            connection.request("POST", "/api/v1/runs", b"{}", headers)
            statuses.append(connection.getresponse().status)
            connection.close()
    assert [400, 400, 403] == statuses


def test_wrong_options_of_serve_are_usage_errors(rxruns: Rxruns) -> None:
    with DevServer() as server:
        port = server.url.split(":")[2].split("/")[0]
        taken = rxruns("serve", "--port", port)
    errors = {
        f"127.0.0.1:{port}: Address already in use; port 0 takes a free one\n": taken,
        "Error: Not a directory: /dev/null/runs\n": rxruns(
            "serve", "--port", "0", "--directory", "/dev/null/runs"
        ),
        "got 'a:80'": rxruns("serve", "--port", "0", "--allow-host", "a:80"),
    }
    assert [] == [outcome for end, outcome in errors.items() if outcome[0] != 2 or end not in outcome.err]


def test_giving_up_on_a_run_is_reported_once(
    runs_environment: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ResumePolicy, "delay", lambda *_: 0.0)
    runs_environment.use_faults(Faults(otherwise=Status(503)))
    assert run(["events", str(runs_environment.script().run_id)]) == 3
    reconnecting, gave_up = capsys.readouterr().err.splitlines()
    assert "reconnecting in 0 s" in reconnecting
    assert gave_up.startswith("rxruns: gave up after 5 reconnects without an event: ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["--help"], 0), (["nonsense"], 2), (["demo", "--delay", "soon"], 2)],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert run(arguments) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidArgumentError("no"), 2),
        (TransportError("gone"), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_errors_have_their_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    assert run([]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_each_command_has_help_with_an_example_and_a_whole_line_in_the_list(rxruns: Rxruns) -> None:
    assert "..." not in rxruns("--help").out.split("Commands:")[1]
    for name in COMMANDS:
        code, out, _ = rxruns(name, "--help")
        assert (0, True) == (code, f"Example: rxruns {name}" in out)


def test_a_missing_extra_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("rxruns.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as exit:
        rxruns.__main__.main()
    assert exit.value.code == 2
    assert "pip install 'rxruns[cli]'" in capsys.readouterr().err
