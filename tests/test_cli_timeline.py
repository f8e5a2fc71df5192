"""``rxruns timeline``: pages and pictures of runs at a service and of recorded logs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from rxruns.cli import run
from rxruns.devserver import DevServer, Faults, faults
from tests.conftest import eventually
from tests.observing import run_of
from tests.records import line_of, sample
from tests.test_page import data_of

PYTHON = [sys.executable, "-W", "error", "-m", "rxruns"]
Rxruns = Callable[..., tuple[int, str]]


@pytest.fixture
def service(runs_environment: DevServer, monkeypatch: pytest.MonkeyPatch) -> DevServer:
    """A service that the environment names, and no prices."""
    monkeypatch.delenv("RXRUNS_PRICES", raising=False)
    return runs_environment


@pytest.fixture
def rxruns(service: DevServer, capsys: pytest.CaptureFixture[str]) -> Rxruns:
    """Run a command line in this process; its exit code and what it said. Nothing goes to standard output."""

    def outcome(*arguments: object) -> tuple[int, str]:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "" == out
        assert service.api_key not in err
        return code, err

    return outcome


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A recorded log of three events, the last of which ends the run."""
    path = tmp_path / "run.ndjson"
    records = [sample("run_started", seq=1), sample("node_failed", seq=2), sample("run_failed", seq=3)]
    path.write_bytes(b"".join(line_of(record) + b"\n" for record in records))
    return path


def told(path: Path) -> dict[str, object]:
    """What the page says, without its events."""
    content: dict[str, object] = data_of(path.read_text("utf-8"))
    return content


def test_a_recorded_log_becomes_a_page(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    page = tmp_path / "run.html"

    assert (0, f"{page}: 3 events, ✗ failed\n") == rxruns("timeline", log, "-o", page)
    assert [1, 2, 3] == data_of(page.read_text("utf-8"), "event-columns")["seq"]
    assert told(page)["refresh"] is None


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("PNG", b"\x89PNG")])
def test_a_recorded_log_becomes_a_picture(
    rxruns: Rxruns, log: Path, tmp_path: Path, suffix: str, begins: bytes
) -> None:
    picture = tmp_path / f"run.{suffix}"

    assert (0, f"{picture}: 3 events\n") == rxruns("timeline", log, "-o", picture)
    assert picture.read_bytes().startswith(begins)


def test_a_run_at_the_service_is_drawn_as_it_is_now(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    live = service.script()
    for event in run_of(2)[:-2]:
        live.append(event)
    page = tmp_path / "run.html"

    code, said = rxruns("timeline", live.run_id, "-o", page)
    assert (0, f"{page}: 4 events, ► running\n") == (code, said)


def test_a_long_run_is_read_to_its_end(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    long = service.add_run(events=run_of(2_500)).run_id

    assert (0, f"{page}: 2,504 events, ✓ succeeded\n") == rxruns("timeline", long, "-o", page)


def test_a_run_that_failed_is_drawn_all_the_same(rxruns: Rxruns, service: DevServer, tmp_path: Path) -> None:
    failed = service.add_run(events=run_of(1, ends="run_failed")).run_id
    page = tmp_path / "run.html"

    assert (0, f"{page}: 5 events, ✗ failed\n") == rxruns("timeline", failed, "-o", page)


def test_prices_give_the_cost(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    prices, page = tmp_path / "prices.json", tmp_path / "run.html"
    prices.write_text('{"openai/gpt-5": {"input_usd_per_million": 3, "output_usd_per_million": 15}}')
    with log.open("ab") as more:
        more.write(line_of(sample("node_llm_call", seq=4)) + b"\n")

    assert 0 == rxruns("timeline", log, "-o", page, "--prices", prices)[0]
    assert "$0.000084" == told(page)["costs"]["cost"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["run.gif", "run", "run.html.gz"])
def test_another_suffix_is_a_usage_error_that_names_the_three(
    rxruns: Rxruns, log: Path, tmp_path: Path, name: str
) -> None:
    code, said = rxruns("timeline", log, "-o", tmp_path / name)

    assert 2 == code
    assert ".html, .png or .svg" in said
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_not_there_is_a_usage_error(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    code, said = rxruns("timeline", log, "-o", tmp_path / "nowhere" / "run.html")

    assert 2 == code
    assert "there is no folder" in said


def test_a_missing_extra_says_what_to_install(
    rxruns: Rxruns, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("rxruns.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("rxruns.charts", raising=False)
    monkeypatch.setitem(sys.modules, "altair", None)

    code, said = rxruns("timeline", log, "-o", tmp_path / "run.png")
    assert 2 == code
    assert "pip install 'rxruns[charts]'" in said
    assert 0 == rxruns("timeline", log, "-o", tmp_path / "run.html")[0]


def test_of_a_log_with_two_runs_one_is_chosen(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    page, other = tmp_path / "run.html", str(UUID(int=5))
    with log.open("ab") as more:
        more.write(line_of(sample("run_canceled", seq=1, run_id=other)) + b"\n")

    code, said = rxruns("timeline", log, "-o", page)
    assert 2 == code
    assert f"holds several runs, such as {other} and 7f9c2ba4-" in said
    assert (0, f"{page}: 1 event, ⊘ canceled\n") == rxruns("timeline", log, "-o", page, "--run", other)


def test_a_run_that_is_not_in_the_log_is_said_with_one_that_is(
    rxruns: Rxruns, log: Path, tmp_path: Path
) -> None:
    page = tmp_path / "run.html"

    code, said = rxruns("timeline", log, "-o", page, "--run", UUID(int=5))
    assert 2 == code
    assert f"holds no event of run {UUID(int=5)}, but of 7f9c2ba4-" in said
    assert not page.exists()


def test_a_log_without_events_is_not_drawn(rxruns: Rxruns, tmp_path: Path) -> None:
    page, log = tmp_path / "run.html", tmp_path / "empty.ndjson"
    log.write_bytes(b"")

    assert (3, f"rxruns: {log}: there is no event in it\n") == rxruns("timeline", log, "-o", page)
    assert not page.exists()


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_a_file_that_can_not_be_written_is_named(
    rxruns: Rxruns, log: Path, tmp_path: Path, suffix: str
) -> None:
    long = tmp_path / ("a" * 252 + suffix)

    said = f"rxruns: {long} could not be written: File name too long\n"
    assert (3, said) == rxruns("timeline", log, "-o", long)


def test_a_folder_that_nothing_can_be_written_into_is_a_usage_error(
    rxruns: Rxruns, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere

    code, said = rxruns("timeline", log, "-o", tmp_path / "run.html")
    assert 2 == code
    assert f"nothing can be written into the folder {str(tmp_path)!r}" in said


def test_a_log_that_breaks_is_drawn_as_far_as_it_goes(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    with log.open("ab") as more:
        more.write(b'{"type": "node_started"}\n')

    code, said = rxruns("timeline", log, "-o", page)
    assert 3 == code
    assert "3 events" in said and "seq" in said
    assert str(told(page)["note"]).startswith("Not all of the run could be read: ")


def test_a_run_that_is_not_there_writes_nothing(rxruns: Rxruns, tmp_path: Path) -> None:
    code, _ = rxruns("timeline", uuid4(), "-o", tmp_path / "run.html")

    assert 3 == code
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["-o", "run.png"], ["-o", "run.svg"]])
def test_only_a_page_is_refreshed(
    rxruns: Rxruns, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, said = rxruns("timeline", uuid4(), *arguments, "--refresh", "2")
    assert 2 == code
    assert "--refresh follows a run into a page" in said


def test_a_recorded_log_is_not_followed(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    code, said = rxruns("timeline", log, "-o", tmp_path / "run.html", "--refresh", "2")

    assert 2 == code
    assert "give a run id" in said


def test_a_page_is_written_again_until_the_run_has_ended(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    live = service.script()
    *events, last = run_of(2)
    for event in events:
        live.append(event)
    page = tmp_path / "run.html"
    outcome: list[tuple[int, str]] = []
    thread = threading.Thread(
        target=lambda: outcome.append(rxruns("timeline", live.run_id, "-o", page, "--refresh", "0.1"))
    )
    thread.start()

    assert eventually(lambda: page.exists() and told(page)["run"]["lastSeq"] == 5)  # type: ignore[index]
    assert 0.1 == told(page)["refresh"]
    live.append(last)
    thread.join(30)

    ((code, said),) = outcome
    assert 0 == code
    assert said.splitlines()[-1] == f"{page}: 6 events, ✓ succeeded"
    assert told(page)["refresh"] is None and told(page)["note"] is None
    assert [page] == list(tmp_path.iterdir())


def test_a_run_that_can_not_be_followed_leaves_a_page_that_says_so(
    rxruns: Rxruns, service: DevServer, tmp_path: Path
) -> None:
    page = tmp_path / "run.html"
    story = Faults([(faults.InvalidLine(after_events=3),)])
    with DevServer(faults=story, api_key=service.api_key) as broken:
        run_id = broken.add_run(events=run_of(5)).run_id
        code, said = rxruns("timeline", run_id, "-o", page, "--refresh", "0.1", "--base-url", broken.url)

    assert 3 == code
    assert f"{page}: 3 events" in said
    assert "Not all of the run could be read" in str(told(page)["note"])
    assert told(page)["refresh"] is None


def test_ctrl_c_leaves_a_page_that_no_longer_reloads(service: DevServer, tmp_path: Path) -> None:
    live = service.script()
    for event in run_of(2)[:-1]:
        live.append(event)
    page = tmp_path / "run.html"
    command = [*PYTHON, "timeline", str(live.run_id), "-o", str(page), "--refresh", "0.1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(lambda: page.exists() and told(page)["run"]["lastSeq"] == 5, within=60)  # type: ignore[index]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)

    assert 130 == process.returncode
    assert "Traceback" not in said
    assert f"{page}: 5 events, ► running" == said.splitlines()[1]
    assert told(page)["refresh"] is None
    assert "Nobody follows the run any more" in str(told(page)["note"])
