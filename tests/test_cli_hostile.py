"""Any file named on a command line may be hostile: it is refused in one line and in little memory."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from rxruns.cli import run
from tests.records import line_of, sample
from tests.soak import MIB, peak_of_memory
from tests.test_cli_documents import BOMB, CHAIN, MERGE_BOMB

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="no /proc: memory is not measured"
)

Make: TypeAlias = Callable[[Path], object]
Outcomes: TypeAlias = Callable[[list[list[object]]], list[tuple[list[object], int, str]]]
LARGE = 2**18


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Outcomes:
    """Run command lines in little memory; return each with its exit code and stderr."""
    monkeypatch.setenv("MODELRELAY_API_KEY", "mr_sk_test")
    monkeypatch.setenv("MODELRELAY_API_BASE_URL", "http://127.0.0.1:9/api/v1")  # no request is expected

    def run_all(commands: list[list[object]]) -> list[tuple[list[object], int, str]]:
        with peak_of_memory() as grown:
            found = [
                (command, int(run([str(argument) for argument in command])), capsys.readouterr().err)
                for command in commands
            ]
            assert grown() < 140 * MIB
        return found

    return run_all


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
    "brackets": text("[" * LARGE),
    "many": text("{" + ", ".join(f'"{number}": []' for number in range(30_000)) + "}"),
    "escapes": text('"' + "\\n" * LARGE + '"'),
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
    "sixties": text("a: 1" + ":1" * 100_000),
    "infinity": text("a: .inf"),
    "words": text("a " * LARGE),
}
KEYS: dict[str, Make] = ANY | {"binary": raw(b"\xff\xfe")}


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
    suffix: str, files: dict[str, Make], log: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    paths = written(tmp_path, suffix, files)
    prices = [paths[name] for name in (*ANY, "empty", "no object", "digits", "a key twice", "deep")]
    found = outcomes(
        [
            *(["start", path] for path in paths.values()),
            *(["cost", log, "--prices", path] for path in prices),
        ]
    )
    assert [] == [
        (command, err)
        for command, code, err in found
        if code != 2 or err.count("\n") != 1 or not err.startswith(f"rxruns: {command[-1]}: ")
    ]


def test_a_hostile_key_file_is_one_line_and_is_not_shown(tmp_path: Path, outcomes: Outcomes) -> None:
    paths = written(tmp_path, ".key", KEYS).values()
    found = outcomes([["cost", sample("run_started")["run_id"], "--key-file", path] for path in paths])
    assert {(2, 1)} == {(code, err.count("\n")) for _, code, err in found}, found


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


def test_R39_a_hostile_log_is_named_with_the_reason_by_each_command(
    tmp_path: Path, outcomes: Outcomes
) -> None:
    commands: list[list[object]] = []
    for path in written(tmp_path, ".ndjson", LOGS).values():
        log = path if path.exists() else path.with_suffix(".gz")
        commands += [["cost", log], ["cost", log, "--json"], ["events", log], ["compare", log, log]]
        commands += [["replay", log, "--speed", "inf"], ["timeline", log, "-o", tmp_path / "run.html"]]
    assert [] == [
        (command, code, err)
        for command, code, err in outcomes(commands)
        if code not in (2, 3) or f"rxruns: {command[1]}: " not in err.splitlines()[-1]
    ]


OUTPUTS: dict[str, Make] = {
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("no/where"),
}


def test_an_output_that_cannot_be_written_is_named(log: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    paths = [
        *written(tmp_path, ".html", OUTPUTS).values(),
        tmp_path / "no" / "a.html",
        tmp_path / f"{'a' * 300}.html",
    ]
    assert [] == [
        (command, code, err)
        for command, code, err in outcomes([["timeline", log, "-o", path] for path in paths])
        if code not in (2, 3) or str(Path(str(command[-1])).parent) not in err.splitlines()[-1]
    ]
    assert Path("/dev/null").is_char_device()


def test_an_argument_with_a_nul_character_is_refused(log: Path, outcomes: Outcomes) -> None:
    commands: list[list[object]] = [
        ["cost", "a\0b"],
        ["start", "a\0.json"],
        ["timeline", log, "-o", "a\0.html"],
        ["cost", log, "--prices", "\0"],
    ]
    assert {(2, 1)} == {(code, err.count("\n")) for _, code, err in outcomes(commands)}
