"""The sources of commands: runs, recorded logs, keys."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result

from rxruns import block_on, ops, run_events
from rxruns.cli._sources import Service, Source, source, source_argument, with_service
from rxruns.devserver import DevServer
from tests.observing import run_of

RUN = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"


@click.command()
@source_argument("sources", nargs=-1)
@click.option("--after", default=0)
@with_service
def count(sources: tuple[Source, ...], after: int, service: Service) -> None:
    """Count the events of each source."""
    for one in sources:
        click.echo(block_on(service.events(one, after_seq=after).pipe(ops.count())))


def counted(*arguments: object, input: str | None = None) -> Result:
    return CliRunner().invoke(count, [str(argument) for argument in arguments], input=input)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN", "MODELRELAY_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_run_and_its_recorded_log_have_the_same_events(tmp_path: Path) -> None:
    with DevServer() as server:
        run_id, log, key = server.add_run(events=run_of(2)).run_id, tmp_path / "log", tmp_path / "key"
        key.write_text(f"{server.api_key}\nnot this\n")
        with server.client() as client:
            block_on(run_events(run_id, client=client).pipe(ops.record(log)))
        flags = ["--base-url", server.url, "--key-file", key]

        assert "6\n6\n" == counted(*flags, run_id, log).output
        assert "2\n2\n" == counted(*flags, "--after", 4, run_id, log).output


def test_a_key_comes_from_standard_input(no_leaks: None) -> None:
    with DevServer() as server:
        run_id = server.add_run(events=run_of(0)).run_id
        counts = counted("--base-url", server.url, "--key-file", "-", run_id, input=server.api_key)

    assert ("4\n", 0) == (counts.output, counts.exit_code)


def test_a_log_needs_no_key(tmp_path: Path) -> None:
    log = tmp_path / "run.ndjson"
    log.write_bytes(b"")

    assert "0\n" == counted(log).output


def test_a_source_that_is_neither_a_run_nor_a_file_is_reported(tmp_path: Path) -> None:
    for wrong, why in (
        (tmp_path, "got the folder"),
        (tmp_path / "none", "must be the id of a run (a UUID) or an existing file, got"),
    ):
        refused = counted(wrong)
        assert 2 == refused.exit_code
        assert refused.output.endswith(f"{why} {str(wrong)!r}.\n")


def test_a_missing_key_is_a_usage_error_that_names_the_variables_to_set() -> None:
    refused = counted(RUN)

    assert 2 == refused.exit_code
    assert "set MODELRELAY_API_KEY or MODELRELAY_ACCESS_TOKEN, or pass --key-file" in refused.output


@pytest.mark.parametrize("key", [b"secret-without-prefix", b"\xff\xfe secret"])
def test_an_invalid_key_is_not_shown(key: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(key)
    refused = counted("--key-file", file, RUN)

    assert 0 != refused.exit_code
    assert "secret" not in refused.output + str(refused.exception)
    assert "not shown" in str(refused.exception)


def test_a_uuid_is_a_run_and_a_dash_is_standard_input() -> None:
    assert [UUID(RUN), Path("/dev/stdin")] == [source(RUN), source("-")]
