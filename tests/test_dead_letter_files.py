"""Files with dead letters are read like recorded logs: by ``recorded_events``, folds and the command line."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns import CostTotals, Price, recorded_events
from rxruns._ndjson._dead_letter import dead_letter_event, encode_dead_letter
from rxruns._ndjson._decoding import decode_event, encode_event
from rxruns.errors import StreamProtocolError
from rxruns.events import RunEvent
from rxruns.folds import By, RunStates, fold_logs
from tests.commands import Rxruns
from tests.folding import folded_here
from tests.logs import COMPRESSED, PACK, read
from tests.making import OTHER_RUN, RUN, delta, in_turn, llm_call, run_completed, run_started, tokens, unknown
from tests.observing import Seen
from tests.records import examples, line_of, records

EVENTS = [
    *in_turn(run_started(), delta(), llm_call(usage=tokens(3, 5))),
    unknown(seq=4, news=1),
    run_completed(seq=5),
]
PRICES = {("openai", "gpt-5"): Price("1.25", "10")}


def letter(event: RunEvent, message: str = "no route") -> bytes:
    return encode_dead_letter(event, ConnectionError(message), 3) + b"\n"


LETTERS = [letter(event) for event in EVENTS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dead.ndjson"


# ---- lines ----


@examples(200)
@given(record=records, message=st.text())
def test_the_event_of_a_dead_letter_is_the_event(record: dict[str, Any], message: str) -> None:
    event = decode_event(line_of(record))
    assert event is not None
    line = letter(event, message)
    assert (1, event) == (line.count(b"\n"), dead_letter_event(line))


NO_LETTERS: dict[str, bytes] = {
    "an event": encode_event(EVENTS[0]),
    "no error": b'{"event":%s}' % encode_event(EVENTS[0]),
    "an error that is not an object": b'{"error":"no","event":%s}' % encode_event(EVENTS[0]),
    "no event": b'{"error":{}}',
    "a bad event": b'{"error":{},"event":{"type":"run_started"}}',
    "a keep-alive": b'{"error":{},"event":{"type":"keepalive"}}',
    "a letter in a letter": b'{"error":{},"event":%s}' % LETTERS[0].rstrip(),
    "a letter that was cut": LETTERS[0][:-20],
    "an event that is nested too deep": b'{"error":{},"event":%s}' % (b'{"a":' * 300 + b"1" + b"}" * 300),
    "an error that is nested too deep": b'{"error":{"a":%s},"event":{}}' % (b"[" * 100_000 + b"]" * 100_000),
    "an event that is not UTF-8": LETTERS[0].replace(b'"type":"run_started"', b'"type":"\xff"'),
}


@pytest.mark.parametrize("line", NO_LETTERS.values(), ids=NO_LETTERS)
def test_another_line_is_not_a_dead_letter(line: bytes) -> None:
    assert dead_letter_event(line) is None


# ---- recorded_events ----


@pytest.mark.parametrize("format", [pytest.param("plain"), *COMPRESSED])
@pytest.mark.parametrize("end", [b"\n", b"", b"\r\n"])
def test_a_file_with_dead_letters_is_read_like_a_log(
    path: Path, format: str, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(PACK[format](b"".join(LETTERS)[:-1] + end))
    seen = read(path)
    assert (EVENTS, True, []) == (seen.events, seen.completed, caplog.records)


def test_dead_letters_and_events_may_be_mixed(path: Path) -> None:
    path.write_bytes(LETTERS[0] + encode_event(EVENTS[1]) + b"\n" + b"".join(LETTERS[2:]))
    assert EVENTS == read(path).events


def test_a_letter_that_a_killed_process_left_twice_is_read_once(path: Path) -> None:
    path.write_bytes(LETTERS[1] + letter(EVENTS[1], "another error") + LETTERS[3])
    assert [EVENTS[1], EVENTS[3]] == read(path).events


@pytest.mark.parametrize("format", [pytest.param("plain"), *COMPRESSED])
def test_letters_of_several_passes_are_put_in_order(path: Path, format: str) -> None:
    first, second = [LETTERS[1], LETTERS[4]], [LETTERS[0], LETTERS[2], LETTERS[4]]
    path.write_bytes(PACK[format](b"".join(first + second)))
    assert [EVENTS[place] for place in (0, 1, 2, 4)] == read(path).events


def test_letters_in_any_order_are_read_in_that_of_their_events(path: Path) -> None:
    dice = random.Random(14)
    for _ in range(50):
        lines = dice.choices(LETTERS, k=7)
        path.write_bytes(b"".join(lines))
        assert [event for event, line in zip(EVENTS, LETTERS, strict=True) if line in lines] == (
            read(path).events
        )


def test_letters_arrive_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"".join(LETTERS),))
    writer.start()
    assert EVENTS == read(pipe).events
    writer.join()


def test_a_torn_last_letter_is_left_out_with_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(LETTERS[0] + LETTERS[1][:-10])
    seen = read(path)
    assert (EVENTS[:1], True) == (seen.events, seen.completed)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


def test_another_line_is_refused_as_in_any_log(path: Path) -> None:
    for line in NO_LETTERS.values():
        if line == NO_LETTERS["an event"] or line == NO_LETTERS["a letter that was cut"]:
            continue
        path.write_bytes(line + b"\n" + LETTERS[1])
        refused: list[StreamProtocolError] = []
        seen = Seen()
        recorded_events(path, on_invalid=refused.append).subscribe(seen)
        assert (EVENTS[1:2], 1) == (seen.wait_end().events, len(refused))


# ---- folds and the command line ----


@pytest.mark.parametrize("fold", [CostTotals(PRICES), By("run_id", CostTotals(PRICES)), RunStates()])
@pytest.mark.parametrize("lines", [LETTERS, [LETTERS[2], *LETTERS], LETTERS[::-1]])
def test_a_fold_over_dead_letters_is_the_fold_of_their_events(
    path: Path, fold: Any, lines: list[bytes]
) -> None:
    log = path.with_name("log")
    log.write_bytes(b"".join(encode_event(event) + b"\n" for event in EVENTS))
    path.write_bytes(b"".join(lines)[:-1])
    assert folded_here(fold, log) == folded_here(fold, path) == fold_logs(path, fold, every_line=True)


def test_the_events_of_a_file_are_written(rxruns: Rxruns, path: Path) -> None:
    path.write_bytes(b"".join(LETTERS))
    outcome = rxruns("events", path)
    assert (0, [json.loads(encode_event(event)) for event in EVENTS]) == (outcome.code, outcome.events)


def test_the_cost_of_dead_letters_is_that_of_their_events(rxruns: Rxruns, path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(encode_event(event) + b"\n" for event in EVENTS))
    path.write_bytes(b"".join(LETTERS))
    assert rxruns("cost", log, "--json")[:2] == rxruns("cost", path, "--json")[:2]


def test_the_cost_of_dead_letters_without_the_end_of_their_run_is_marked(rxruns: Rxruns, path: Path) -> None:
    path.write_bytes(LETTERS[2] + letter(llm_call(usage=tokens(1, 1), seq=2, run_id=OTHER_RUN)))
    outcome = rxruns("cost", path)
    assert 3 == outcome.code
    assert f"rxruns: {path}: run {RUN}: " in outcome.err
