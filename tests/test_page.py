"""The page as a file: its data, its policy, and how it is written."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import runpy
import stat
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from rxruns import ops
from rxruns.errors import InvalidArgumentError, StoreError
from rxruns.events import (
    RunEvent,
)
from rxruns.page import RunPage, write_page
from rxruns.page._document import json_block
from tests import records
from tests.conftest import ROOT
from tests.faulty_files import no_room
from tests.making import (
    NOON,
    OTHER_RUN,
    delta,
    in_turn,
    llm_call,
    node_failed,
    node_started,
    node_succeeded,
    run_canceled,
    run_completed,
    run_started,
    tokens,
    unknown,
)
from tests.waiting import tool_result, waiting


def data_of(html: str, id: str = "content") -> Any:
    """Return one of the page's data blocks."""
    (block,) = re.findall(rf'<script type="application/json" id="{id}">(.*?)</script>', html)
    return msgspec.json.decode(block)


def content_of(*events: RunEvent, **options: Any) -> Any:
    page = RunPage()
    for event in events:
        page.add(event)
    return data_of(page.html(**options))


def attempts(*events: RunEvent, **options: Any) -> Any:
    return content_of(*events, **options)["nodes"][0]["attempts"]


_NODES = st.sampled_from(["a", "b", "c"])
_EVENTS = st.one_of(
    st.builds(node_started, _NODES),
    st.builds(node_succeeded, _NODES),
    st.builds(node_failed, _NODES),
    st.builds(waiting, st.just(3), node_id=_NODES),
    st.builds(tool_result, st.just(4), node_id=_NODES),
    st.builds(lambda node_id: delta("word", node_id), _NODES),
    st.builds(
        lambda node_id, usage: msgspec.structs.replace(llm_call(usage=usage), node_id=node_id),
        _NODES,
        st.sampled_from([None, tokens(1, 2), tokens(5)]),
    ),
)


@given(st.lists(_EVENTS, max_size=25), st.sampled_from([None, run_completed(), run_canceled()]))
def test_its_bars_are_the_spans_of_the_operator(events: list[RunEvent], end: RunEvent | None) -> None:
    log = in_turn(run_started(), *events, *([] if end is None else [end]))
    spans = reactivex.from_iterable(log).pipe(ops.node_spans(), ops.to_list()).run() if events else []
    content = content_of(*log)

    def seconds(at: Any) -> float | None:
        return None if at is None else (at - NOON).total_seconds() * 1000

    expected = {
        (span.node_id, span.attempt, seconds(span.started_at), seconds(span.ended_at), span.tokens)
        for span in spans
        if span.started_at is not None
    }
    assert expected == {
        (node["id"], attempt["number"], attempt["start"], attempt["end"], attempt["tokens"])
        for node in content["nodes"]
        for attempt in node["attempts"]
        if attempt["start"] is not None
    }


def test_a_wait_lasts_until_its_last_result_or_the_end_of_its_run_and_a_start_may_be_missing() -> None:
    (attempt,) = attempts(*in_turn(node_started(), waiting(3), tool_result(4), node_succeeded()))
    assert [[1000, 2000]] == attempt["waits"]
    assert (0, 3000, "succeeded") == (attempt["start"], attempt["end"], attempt["status"])

    (attempt,) = attempts(*in_turn(node_started(), waiting(3), run_canceled()))
    assert ([[1000, 2000]], 2000, "canceled") == (attempt["waits"], attempt["end"], attempt["status"])

    (attempt,) = attempts(*in_turn(delta(), node_succeeded()))
    assert (None, 0, 1000) == (attempt["start"], attempt["seen"], attempt["end"])


def test_an_open_run_is_drawn_until_now_and_reloads() -> None:
    events = in_turn(node_started(), delta())
    ended = in_turn(node_started(), delta(), run_completed())

    assert 1000 == content_of(*events)["run"]["now"]
    assert 60_000 == content_of(*events, now=NOON + timedelta(minutes=1))["run"]["now"]
    assert 1000 == content_of(*events, now=NOON)["run"]["now"]  # a clock that is behind the service's
    assert 2000 == content_of(*ended, now=NOON + timedelta(1))["run"]["now"]
    assert [2, None] == [content_of(*log, refresh=2)["refresh"] for log in (events, ended)]


def test_a_page_takes_each_event_once_and_of_one_run() -> None:
    page = RunPage()
    for event in in_turn(node_started(), delta()) * 2:
        page.add(event)
    with pytest.raises(InvalidArgumentError, match="an event of run"):
        page.add(node_started(seq=3, run_id=OTHER_RUN))

    assert [1, 2] == data_of(page.html(), "event-columns")["seq"]
    assert 2 == page.state.last_seq


@pytest.mark.parametrize("wire_type", list(records.samples()))
def test_each_type_of_event_is_written_whole(wire_type: str, tmp_path: Path) -> None:
    from rxruns import recorded_events

    record = records.sample(wire_type)
    log = tmp_path / "run.ndjson"
    log.write_bytes(records.line_of(record))
    page = RunPage()
    recorded_events(log).subscribe(page.add)
    columns = data_of(page.html(), "event-columns")

    (body,), (shape,) = columns["body"], columns["shape"]
    written = body
    if wire_type == "node_output_delta":
        kind, model, response_id = columns["shapes"][shape]
        delta = {"kind": kind, "text_delta": body, "model": model, "response_id": response_id}
        written = {"delta": delta}
    envelope = ("type", "run_id", "seq", "ts", "node_id", "envelope_version")
    assert {key: value for key, value in record.items() if key not in envelope} == (written or {})
    assert ([wire_type], [7]) == (columns["types"], columns["seq"])


def test_a_number_that_a_browser_could_not_hold_is_written_as_text() -> None:
    page = RunPage()
    page.add(unknown(1, big=[2**53 + 1, -(10**400)], fits=2**53))

    assert [{"big": [str(2**53 + 1), str(-(10**400))], "fits": 2**53}] == data_of(
        page.html(), "event-columns"
    )["body"]


@given(st.text())
def test_nothing_in_a_data_block_looks_like_markup(text: str) -> None:
    block = json_block({text: text})

    assert {text: text} == msgspec.json.decode(block)
    assert not set(block) & set("<>&\u2028\u2029")


def test_the_policy_allows_only_the_script_and_the_style_of_the_page() -> None:
    html = RunPage().html()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)

    for tag in ("script", "style"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert ["data:,"] == re.findall(r'\b(?:src|href)="([^#][^"]*)"', html)
    assert not re.search(r"https?:|@import|url\(|\{\{\w", html)


@pytest.mark.parametrize("synced", [True, False])
def test_a_write_that_fails_leaves_the_existing_file(
    synced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.html"
    path.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    if synced:
        monkeypatch.setattr(os, "fsync", full)
    limit = nullcontext() if synced else no_room(4096)
    with limit, pytest.raises(StoreError) as failed:
        write_page(path, in_turn(node_started()))
    assert isinstance(failed.value.__cause__, OSError)
    assert (str(path), "before") == (failed.value.path, path.read_text())
    assert [path] == list(tmp_path.iterdir())


def test_a_node_costs_no_more_calls_among_many_nodes_than_among_few() -> None:
    def calls(nodes: int) -> int:
        ids = [f"n{number}" for number in range(nodes)]
        log = in_turn(*map(node_started, ids), *map(node_succeeded, ids))
        count = 0

        def note(*called: object) -> None:
            nonlocal count
            count += 1

        page = RunPage()
        sys.setprofile(note)
        try:
            for event in log:
                page.add(event)
            page.html()
        finally:
            sys.setprofile(None)
        return count

    few, many = calls(500), calls(5_000)
    assert many / 5_000 <= 1.1 * few / 500


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path), lambda path: path.symlink_to("no/where")],
)
def test_only_a_regular_file_is_replaced(make: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    make(path)
    before = path.lstat().st_ino
    with pytest.raises(StoreError, match=r"run\.html could not be written: ") as failed:
        write_page(path, [])
    assert (str(path), before) == (failed.value.path, path.lstat().st_ino)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["a\0.html", "", "\udfff.html"])
def test_text_that_is_not_a_path_is_a_wrong_argument(path: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        write_page(path, [])
    assert "path" == refused.value.field


def test_a_new_file_has_the_usual_permissions_and_may_have_a_long_name(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 250 + ".html")
    write_page(path, [])
    assert [path] == list(tmp_path.iterdir())
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "plain").stat().st_mode == path.stat().st_mode


def test_a_file_keeps_its_permissions_and_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "run.html", tmp_path / "latest.html"
    path.write_text("")
    path.chmod(0o640)
    link.symlink_to(path)
    write_page(link, [])

    assert 0o640 == stat.S_IMODE(path.stat().st_mode)
    assert link.is_symlink()
    assert path.read_text("utf-8").startswith("<!doctype html>")


def test_events_are_written_as_a_page_in_one_call(tmp_path: Path) -> None:
    page = write_page(tmp_path / "run.html", in_turn(node_started(), node_succeeded()))

    assert "succeeded" == page.state.nodes["draft"].status
    assert page.html() == (tmp_path / "run.html").read_text("utf-8")


def test_the_run_of_the_screenshots_has_everything_that_they_show() -> None:
    events = runpy.run_path(str(ROOT / "docs/screenshots/sample.py"))["events"]()
    content = content_of(*events)
    attempts = [attempt["status"] for node in content["nodes"] for attempt in node["attempts"]]

    assert list(range(1, len(events) + 1)) == [event.seq for event in events]
    assert ("waiting", 2) == (content["run"]["status"], attempts.count("failed"))
    assert [1] == [len(node["questions"]) for node in content["nodes"] if node["questions"]]
