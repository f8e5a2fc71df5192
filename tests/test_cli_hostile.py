"""Every file that a command line names may be anything: it is refused in a line, in little memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HANG
from tests.records import line_of, sample
from tests.test_cli_documents import BOMB, CHAIN, MERGE_BOMB

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="no /proc: memory is not measured"
)

Make = Callable[[Path], object]
MIB = 2**20

RUNS = """
import contextlib, io, json, re, sys
from rxruns.cli import run
outcomes = []
for arguments in json.load(sys.stdin):
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    outcomes.append((int(code), err.getvalue()))
# Not `ru_maxrss`, which a process has of the one that started it.
with open("/proc/self/status") as status:
    peak = re.search(r"VmHWM:\\s+([0-9]+)", status.read())
print(json.dumps([outcomes, int(peak[1]) * 1024]))
"""
"""Runs command lines one after the other. Gives their exit codes, what they printed to stderr, and the most
memory they took."""


def text(content: str) -> Make:
    return lambda path: path.write_text(content, "utf-8")


def raw(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


ANY: dict[str, Make] = {
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "huge": sparse,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "missing": lambda path: None,
}
DOCUMENTS: dict[str, Make] = ANY | {
    "empty": text(""),
    "UTF-16": raw('{"kind": "workflow"}'.encode("utf-16")),
    "Latin-1": raw('{"a": "é"}'.encode("latin-1")),
    "NUL": raw(b"\0" * 1_000),
    "no object": text("[1, 2]"),
    "a number": text("7"),
    "digits": text('{"a": ' + "9" * 5_000 + "}"),
    "a key twice": text('{"a": 1, "a": 2}'),
    "deep": text('{"a": ' * 50_000),
    "brackets": text("[" * MIB),
    "many": text("{" + ", ".join(f'"{number}": []' for number in range(100_000)) + "}"),
    "escapes": text('"' + "\\n" * (MIB - 2) + '"'),
}
YAML: dict[str, Make] = DOCUMENTS | {
    "aliases": text(BOMB),
    "merged aliases": text(MERGE_BOMB),
    "a chain of aliases": text(CHAIN),
    "an alias inside": text("a: &a [*a]"),
    "a bad date": text("a: !!timestamp 2026-02-30"),
    "a bad integer": text("a: !!int three"),
    "a bad bool": text("a: !!bool maybe"),
    "a bad tag": text("a: !!python/object/apply:os.system [ls]"),
    "an unknown tag": text("a: !secret x"),
    "sixties": text("a: 1" + ":1" * 500_000),
    "infinity": text("a: .inf"),
    "words": text("a " * (MIB // 2)),
}
KEYS: dict[str, Make] = ANY | {"binary": raw(b"\xff\xfe")}


def outcomes(commands: list[list[Any]]) -> tuple[list[tuple[int, str]], int]:
    """Exit code and standard error of each command line, and the memory of them all."""
    environment = os.environ | {
        "MODELRELAY_API_KEY": "mr_sk_test",
        "MODELRELAY_API_BASE_URL": "http://127.0.0.1:9/api/v1",  # nothing may get as far as that
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNS],
        input=json.dumps([[str(argument) for argument in command] for command in commands]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=10 * HANG,
    )
    assert "" == done.stderr
    found, memory = json.loads(done.stdout)
    return [(code, said) for code, said in found], memory


def written(tmp_path: Path, suffix: str, files: dict[str, Make]) -> dict[str, Path]:
    paths = {}
    for number, (name, make) in enumerate(files.items()):
        paths[name] = tmp_path / f"{number}{suffix}"
        make(paths[name])
    return paths


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "good.ndjson"
    lines = [sample("run_started", seq=1), sample("node_started", seq=2)]
    path.write_bytes(b"".join(line_of(line) + b"\n" for line in lines))
    return path


@pytest.mark.parametrize(("suffix", "files"), [(".json", DOCUMENTS), (".yaml", YAML)])
def test_R39_a_hostile_spec_or_price_list_is_one_line_and_exit_code_2(
    suffix: str, files: dict[str, Make], log: Path, tmp_path: Path
) -> None:
    paths = written(tmp_path, suffix, files)
    commands: list[list[Any]] = [
        command for path in paths.values() for command in (["start", path], ["cost", log, "--prices", path])
    ]
    found, memory = outcomes(commands)
    offenders = {
        (command[0], said)
        for command, (code, said) in zip(commands, found, strict=True)
        if code != 2 or said.count("\n") != 1 or not said.startswith(f"rxruns: {command[-1]}: ")
    }
    assert set() == offenders
    assert memory < 200 * MIB


def test_a_hostile_key_file_is_one_line_and_is_not_shown(tmp_path: Path) -> None:
    paths = written(tmp_path, ".key", KEYS)
    commands: list[list[Any]] = [
        ["cost", sample("run_started")["run_id"], "--key-file", path] for path in paths.values()
    ]
    found, memory = outcomes(commands)
    assert {(2, 1)} == {(code, said.count("\n")) for code, said in found}, found
    assert memory < 200 * MIB


LLM_CALL = sample("node_llm_call", seq=2)
LOGS: dict[str, Make] = {
    "huge token counts": raw(
        line_of(sample("run_started", seq=1))
        + b"\n"
        + line_of(LLM_CALL).replace(b'"input_tokens":3', b'"input_tokens":1' + b"0" * 4_000)
        + b"\n"
    ),
    "5,000 digits": raw(
        line_of(LLM_CALL).replace(b'"input_tokens":3', b'"input_tokens":' + b"9" * 5_000) + b"\n"
    ),
    "deep": raw(b"[" * MIB + b"\n"),
    "binary": raw(bytes(range(256)) * 100 + b"\n"),
    "empty": raw(b""),
    "a gzip bomb": lambda path: path.with_suffix(".gz").write_bytes(gzip.compress(b" " * (100 * MIB))),
    "not gzip": lambda path: path.with_suffix(".gz").write_bytes(b"plain"),
}


def test_R39_a_hostile_log_is_named_with_the_reason_by_each_command(tmp_path: Path) -> None:
    paths = written(tmp_path, ".ndjson", LOGS)
    commands: list[list[Any]] = []
    for path in (path if path.exists() else path.with_suffix(".gz") for path in paths.values()):
        commands += [["cost", path], ["cost", path, "--json"], ["events", path]]
        commands += [["replay", path, "--speed", "inf"], ["timeline", path, "-o", tmp_path / "run.html"]]
    found, memory = outcomes(commands)
    offenders = {
        (command[0], code, said)
        for command, (code, said) in zip(commands, found, strict=True)
        if code not in (2, 3) or f"rxruns: {command[1]}: " not in said.splitlines()[-1]
    }
    assert set() == offenders
    assert memory < 200 * MIB


OUTPUTS: dict[str, Make] = {
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("no/where"),
}


def test_an_output_that_can_not_be_written_is_named(log: Path, tmp_path: Path) -> None:
    paths = [
        *written(tmp_path, ".html", OUTPUTS).values(),
        tmp_path / "no" / "a.html",
        tmp_path / f"{'a' * 300}.html",
    ]
    found, _ = outcomes([["timeline", log, "-o", path] for path in paths])
    offenders = [
        (code, said)
        for path, (code, said) in zip(paths, found, strict=True)
        if code not in (2, 3) or str(path.parent) not in said.splitlines()[-1]
    ]
    assert [] == offenders
    assert Path("/dev/null").is_char_device()


def test_an_argument_with_a_nul_character_is_refused(log: Path) -> None:
    commands = [
        ["cost", "a\0b"],
        ["start", "a\0.json"],
        ["timeline", log, "-o", "a\0.html"],
        ["cost", log, "--prices", "\0"],
    ]
    found, _ = outcomes(commands)
    assert {(2, 1)} == {(code, said.count("\n")) for code, said in found}, found
