"""``rxruns timeline``: pages and pictures of runs at a service and of recorded logs."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from rxruns.devserver import DevServer, Faults, faults
from tests.commands import Outcome, Rxruns, process, started, unfinished
from tests.conftest import eventually
from tests.observing import run_of
from tests.records import line_of, sample
from tests.test_page import data_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A recorded log of three events, the last of which ends the run."""
    path = tmp_path / "run.ndjson"
    append(path, sample("run_started", seq=1), sample("node_failed", seq=2), sample("run_failed", seq=3))
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "run.html"


def append(log: Path, *records: dict[str, Any]) -> None:
    with log.open("ab") as file:
        file.writelines(line_of(record) + b"\n" for record in records)


def content(path: Path) -> Any:
    """The data of a page, without its events."""
    return data_of(path.read_text("utf-8"))


def test_a_recorded_log_becomes_a_page(rxruns: Rxruns, log: Path, page: Path) -> None:
    assert (0, "", f"{page}: 3 events, ✗ failed\n") == rxruns("timeline", log, "-o", page)
    assert [1, 2, 3] == data_of(page.read_text("utf-8"), "event-columns")["seq"]
    assert content(page)["refresh"] is None


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("PNG", b"\x89PNG")])
def test_a_recorded_log_becomes_a_picture(
    rxruns: Rxruns, log: Path, tmp_path: Path, suffix: str, begins: bytes
) -> None:
    picture = tmp_path / f"run.{suffix}"

    assert (0, "", f"{picture}: 3 events\n") == rxruns("timeline", log, "-o", picture)
    assert picture.read_bytes().startswith(begins)


def test_a_run_at_the_service_is_drawn_as_it_is_now_whatever_its_length_and_status(
    rxruns: Rxruns, service: DevServer, page: Path
) -> None:
    runs = {
        unfinished(service, run_of(2)[:-2]).run_id: "4 events, ► running",
        started(service, 2_500): "2,504 events, ✓ succeeded",
        started(service, 1, ends="run_failed"): "5 events, ✗ failed",
    }
    for run_id, summary in runs.items():
        assert (0, "", f"{page}: {summary}\n") == rxruns("timeline", run_id, "-o", page)


def test_prices_give_the_cost(rxruns: Rxruns, log: Path, page: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"openai/gpt-5": {"input_usd_per_million": 3, "output_usd_per_million": 15}}')
    append(log, sample("node_llm_call", seq=4))

    assert 0 == rxruns("timeline", log, "-o", page, "--prices", prices).code
    assert "$0.000084" == content(page)["costs"]["cost"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.gif", ".html, .png or .svg"),
        ("run", ".html, .png or .svg"),
        ("run.html.gz", ".html, .png or .svg"),
        ("nowhere/run.html", "must be in an existing folder"),
    ],
)
def test_a_wrong_output_file_is_a_usage_error(
    rxruns: Rxruns, log: Path, tmp_path: Path, name: str, message: str
) -> None:
    code, _, err = rxruns("timeline", log, "-o", tmp_path / name)

    assert (2, True) == (code, message in err)
    assert [log] == list(tmp_path.iterdir())


def test_a_folder_without_write_permission_is_a_usage_error(
    rxruns: Rxruns, log: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere

    code, _, err = rxruns("timeline", log, "-o", page)
    assert (2, True) == (code, "must be in a writable folder" in err)


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_a_file_that_cannot_be_written_is_named(
    rxruns: Rxruns, log: Path, tmp_path: Path, suffix: str
) -> None:
    long = tmp_path / ("a" * 252 + suffix)

    message = f"rxruns: {long} could not be written: File name too long\n"
    assert (3, "", message) == rxruns("timeline", log, "-o", long)


def test_a_missing_extra_names_the_command_that_installs_it(
    rxruns: Rxruns, log: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("rxruns.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("rxruns.charts", raising=False)
    monkeypatch.setitem(sys.modules, "altair", None)

    code, _, err = rxruns("timeline", log, "-o", page.with_suffix(".png"))
    assert (2, True) == (code, "pip install 'rxruns[charts]'" in err)
    assert 0 == rxruns("timeline", log, "-o", page).code


def test_one_run_of_a_log_with_two_is_selected(rxruns: Rxruns, log: Path, page: Path) -> None:
    other = str(UUID(int=5))
    code, _, err = rxruns("timeline", log, "-o", page, "--run", other)
    assert (2, True) == (code, f"has no event of run {other}, but of 7f9c2ba4-" in err)
    assert not page.exists()

    append(log, sample("run_canceled", seq=1, run_id=other))
    code, _, err = rxruns("timeline", log, "-o", page)
    assert (2, True) == (code, f"has several runs, for example {other} and 7f9c2ba4-" in err)
    assert (0, "", f"{page}: 1 event, ⊘ canceled\n") == rxruns("timeline", log, "-o", page, "--run", other)


def test_a_log_without_events_and_a_missing_run_write_nothing(
    rxruns: Rxruns, service: DevServer, page: Path, tmp_path: Path
) -> None:
    log = tmp_path / "empty.ndjson"
    log.write_bytes(b"")

    assert (3, "", f"rxruns: {log}: no events\n") == rxruns("timeline", log, "-o", page)
    assert 3 == rxruns("timeline", uuid4(), "-o", page).code
    assert [log] == list(tmp_path.iterdir())


def test_a_log_with_an_invalid_line_is_drawn_up_to_it(rxruns: Rxruns, log: Path, page: Path) -> None:
    append(log, {"type": "node_started"})

    code, _, err = rxruns("timeline", log, "-o", page)
    assert (3, True) == (code, "3 events" in err and "seq" in err)
    assert content(page)["note"].startswith("The run could not be read to its end: ")


@pytest.mark.parametrize("name", ["run.png", "run.svg", "run.html"])
def test_only_a_run_is_followed_and_only_into_a_page(
    rxruns: Rxruns, log: Path, tmp_path: Path, name: str
) -> None:
    source = log if name == "run.html" else uuid4()
    code, _, err = rxruns("timeline", source, "-o", tmp_path / name, "--refresh", "2")
    assert (2, True) == (code, "--refresh needs a run id and -o FILE.html" in err)


def test_a_page_is_rewritten_until_the_run_has_ended(
    rxruns: Rxruns, service: DevServer, page: Path, tmp_path: Path
) -> None:
    *events, last = run_of(2)
    live = unfinished(service, events)
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(rxruns("timeline", live.run_id, "-o", page, "--refresh", "0.1"))
    )
    thread.start()

    assert eventually(lambda: page.exists() and content(page)["run"]["lastSeq"] == 5)
    assert 0.1 == content(page)["refresh"]
    live.append(last)
    thread.join(30)

    assert [(0, f"{page}: 6 events, ✓ succeeded")] == [
        (code, err.splitlines()[-1]) for code, _, err in outcomes
    ]
    assert (None, None) == (content(page)["refresh"], content(page)["note"])
    assert [page] == list(tmp_path.iterdir())


def test_a_run_that_cannot_be_followed_leaves_a_page_with_the_reason(
    rxruns: Rxruns, service: DevServer, page: Path
) -> None:
    broken = Faults([(faults.InvalidLine(after_events=3),)])
    with DevServer(faults=broken, api_key=service.api_key) as server:
        run_id = started(server, 5)
        code, _, err = rxruns("timeline", run_id, "-o", page, "--refresh", "0.1", "--base-url", server.url)

    assert (3, True) == (code, f"{page}: 3 events" in err)
    assert "The run could not be read to its end" in content(page)["note"]
    assert content(page)["refresh"] is None


def test_ctrl_c_leaves_a_page_that_no_longer_reloads(service: DevServer, page: Path) -> None:
    live = unfinished(service, run_of(2)[:-1])
    with process("timeline", live.run_id, "-o", page, "--refresh", "0.1") as writing:
        assert eventually(lambda: page.exists() and content(page)["run"]["lastSeq"] == 5, within=60)
        writing.send_signal(signal.SIGINT)
        _, err = writing.communicate(timeout=30)

    assert 130 == writing.returncode
    assert "Traceback" not in err
    assert f"{page}: 5 events, ► running" == err.splitlines()[1]
    assert content(page)["refresh"] is None
    assert "This page is no longer updated" in content(page)["note"]
