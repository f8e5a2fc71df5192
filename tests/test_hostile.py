"""Bytes and records as hard as they come: text, bad lines, new types, bombs (R6, R8, R16, R17, R29, R30)."""

from __future__ import annotations

import json
import pickle
import random
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from rxruns import ResumePolicy, RetryPolicy, run_events
from rxruns._ndjson._decoder import EventDecoder
from rxruns._ndjson._decoding import RecordError, decode_event, protocol_error
from rxruns._ndjson._framing import BOM, LineSplitter
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import CutAt, Ending, InvalidLine, SplitBytes, Unchunked
from rxruns.errors import APIError, StreamProtocolError, TransportError
from rxruns.events import NodeOutputDelta, RunEvent, UnknownEvent
from tests.bodies import Body, InPieces, Instead, packed
from tests.observing import PLAN, Seen, run_of
from tests.records import line_of, samples
from tests.soak import MIB, both_sizes, measured, patience, peak_of_memory

RUN = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
QUICK = ResumePolicy(base_backoff=0.001, max_backoff=0.01, idle_timeout=20.0)


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer(keepalive=60.0) as server:
        yield server


def follow(
    server: DevServer, run_id: Any, client_options: dict[str, Any] | None = None, **options: Any
) -> Seen:
    """Follow a run until the stream ends, and give what was seen."""
    seen = Seen()
    with server.client(**client_options or {}) as client:
        source = run_events(run_id, client=client, **{"resume": QUICK} | options)
        with source.subscribe(seen):
            seen.wait_end()
    return seen


# ---- R6: characters, line ends and cuts ----

HARD_TEXTS = [
    "é ß ñ",  # 2 bytes each
    "€ 漢字 \ufeff",  # 3 bytes
    "🎈 👩‍💻 𝄞",  # 4 bytes
    "a\u2028b\u2029c",  # line separators that Python's splitlines takes for line ends
    "a\u0085b\x1c\x1d\x1e\x0b\x0cc",  # more of them
    "a\r\nb\rc\nd",
    '\x00\x7f\\"/\b\t',
]
TEXT = "".join(HARD_TEXTS)


def record(seq: int, **fields: Any) -> dict[str, Any]:
    return {
        "envelope_version": "v2",
        "type": "node_output_delta",
        "run_id": str(RUN),
        "seq": seq,
        "ts": "2026-01-31T12:00:00.123456Z",
        "node_id": "draft",
    } | fields


def saying(text: str, seq: int) -> bytes:
    """A line with that text, in UTF-8."""
    return line_of(record(seq, delta={"kind": "message_delta", "text_delta": text}))


HARD_LINES = [saying(text, seq) for seq, text in enumerate([*HARD_TEXTS, TEXT], 1)]
END = line_of(record(len(HARD_LINES) + 1, type="run_canceled", plan_hash=PLAN, error={"message": TEXT}))
BODIES = {
    "LF": b"\n".join([*HARD_LINES, END, b""]),
    "CRLF": b"\r\n".join([*HARD_LINES, END, b""]),
    "byte-order mark": BOM + b"\n".join([*HARD_LINES, END, b""]),
    "blank lines": b"\n" + b"\n\r\n \n".join([*HARD_LINES, END, b"", b""]),
    "without a last newline": b"\n".join([*HARD_LINES, END]),
}
SEQS = list(range(1, len(HARD_LINES) + 2))


def texts_in(events: list[RunEvent]) -> list[str | None]:
    return [event.delta.text_delta for event in events if isinstance(event, NodeOutputDelta)]


def decoded(chunks: list[bytes]) -> list[RunEvent]:
    """The events in these bytes, by the library's own decoder."""
    decoder = EventDecoder()
    fed = [event for chunk in chunks for batch in decoder.feed(chunk) for event in batch.events]
    return fed + [event for batch in decoder.flush() for event in batch.events]


@pytest.mark.parametrize("name", BODIES)
def test_R06_hard_text_is_the_same_wherever_the_bytes_are_cut(name: str) -> None:
    body = BODIES[name]
    whole = decoded([body])
    assert SEQS == [event.seq for event in whole]
    assert [*HARD_TEXTS, TEXT] == texts_in(whole)
    wrong = sum(whole != decoded([body[:cut], body[cut:]]) for cut in range(len(body) + 1))
    wrong += whole != decoded([body[place : place + 1] for place in range(len(body))])
    assert 0 == measured("R6", f"cuts at every byte that were read wrong, {name}", wrong, 0, "")


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("delimited", ["chunked", "close-delimited"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1021])
def test_R06_hard_text_stays_whole_through_a_socket(
    server: DevServer, name: str, delimited: str, size: int
) -> None:
    run = server.add_run(RUN, run_of(0))
    body = [InPieces(lambda _: [BODIES[name]]), SplitBytes(size)]
    server.use_faults(Faults(otherwise=[*body, Unchunked()] if delimited == "close-delimited" else body))
    seen = follow(server, run.run_id)
    assert (seen.error, seen.seqs, texts_in(seen.events)) == (None, SEQS, [*HARD_TEXTS, TEXT])
    assert 1 == len(server.requests)


@both_sizes
@pytest.mark.parametrize("how", ["rst", "fin", "chunk", "end"])
def test_R06_a_connection_that_breaks_at_any_byte_costs_nothing(
    server: DevServer, how: Ending, soaking: bool
) -> None:
    run = server.script(RUN)
    for line in [*HARD_LINES, END]:
        run.append_line(line, seq=json.loads(line)["seq"])
    run.finish("canceled")
    wrong = 0
    with server.client() as client:
        for cut in range(0, len(BODIES["LF"]), 3 if soaking else 29):
            server.use_faults(Faults([CutAt(cut, how), None, None]))
            seen = Seen()
            policy = ResumePolicy(base_backoff=0.0, max_backoff=0.0)
            with run_events(run.run_id, client=client, resume=policy).subscribe(seen):
                seen.wait_end()
            wrong += (seen.error, seen.seqs, texts_in(seen.events)) != (None, SEQS, [*HARD_TEXTS, TEXT])
    assert 0 == measured("R6", f"broken connections ({how}) that were resumed wrong", wrong, 0, "")


@pytest.mark.parametrize("raw", [b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x1e", b"\x00"])
def test_R06_a_raw_control_character_in_text_breaks_its_own_line_only(server: DevServer, raw: bytes) -> None:
    # JSON wants them escaped. What must not happen: that one line is taken for two.
    run = server.add_run(RUN, run_of(1))
    server.use_faults(Faults([InvalidLine(1, saying("a!b", 2).replace(b"!", raw))]))
    refused: list[StreamProtocolError] = []
    seen = follow(server, run.run_id, on_invalid=refused.append)
    assert (seen.seqs, [error.line_number for error in refused]) == ([1, 2, 3, 4, 5], [2])


# ---- R8: framing is linear, lines are bounded ----

KIB = 2**10


def timed(action: Callable[[], object]) -> float:
    started = time.thread_time()  # of this thread's own work: others may be busy
    action()
    return time.thread_time() - started


LONG: dict[str, list[bytes]] = {
    "8 MiB of a line in pieces of 1 KiB": [b"x" * KIB] * (8 * KIB) + [b"\n"],
    "80,000 lines in one piece": [(saying("piece", 7) + b"\n") * 80_000],
    "a line of 32 MiB, which is too long, in pieces of 1 KiB": [b"x" * KIB] * (32 * KIB) + [b"\n"],
}


@both_sizes
@pytest.mark.parametrize("what", LONG)
def test_R08_framing_is_linear(what: str, soaking: bool) -> None:
    taken = min(timed(lambda: [*map(LineSplitter().feed, LONG[what])]) for _ in range(3))
    assert measured("R8", what, taken, 0.3) < 0.3 * patience(soaking)


@both_sizes
def test_R08_a_line_over_the_limit_is_a_typed_error(server: DevServer, soaking: bool) -> None:
    limit = 16 * MIB if soaking else MIB
    run = server.add_run(RUN, run_of(0))
    good = line_of(record(1, type="node_started")) + b"\n"
    pieces = [good, *[b"y" * 64 * KIB] * (limit // (64 * KIB)), b"y"]
    server.use_faults(Faults(otherwise=Body(lambda: pieces)))
    started, busy = time.perf_counter(), time.process_time()
    seen = follow(server, run.run_id, {"max_line_bytes": limit})
    measured("R8", "16 MiB of a line through a socket, to its error", time.perf_counter() - started, 0.3)
    assert time.process_time() - busy < 0.3 * patience(soaking)  # its own work: others may be busy
    assert isinstance(seen.error, StreamProtocolError)
    assert (seen.seqs, seen.error.line_number, seen.error.raw_data) == ([1], 2, "y" * 200)
    assert "max_line_bytes" in str(seen.error)


# ---- R16: bad lines ----

DEEP = 100_000
BAD_LINES: dict[str, bytes] = {
    "invalid JSON": b'{"type": "node_started", "seq": 2,',
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "two records on a line": line_of(record(2, type="node_started")) * 2,
    "an array": b"[1, 2]",
    "a number": b"42",
    "text": b'"node_started"',
    "null": b"null",
    "an empty object": b"{}",
    "without its payload": line_of(record(2)),
    "seq is text": line_of(record("2", type="node_started")),  # type: ignore[arg-type]
    "seq is a float": line_of(record(1.9, type="node_started")),  # type: ignore[arg-type]
    "seq is true": line_of(record(True, type="node_started")),
    "seq is 0": line_of(record(0, type="node_started")),
    "a huge seq": line_of(record(2, type="node_started")).replace(b'"seq":2', b'"seq":2' + b"0" * 5000),
    "the nil run": line_of(record(2, type="node_started", run_id="0" * 8 + "-0000-0000-0000-" + "0" * 12)),
    "a time without a zone": line_of(record(2, type="node_started", ts="2026-01-31T12:00:00")),
    "an empty node": line_of(record(2, type="node_started", node_id="")),
    "another envelope": line_of(record(2, type="node_started", envelope_version="v3")),
    "NaN": line_of(record(2, type="node_started", node_id="N")).replace(b'"N"', b"NaN"),
    "Infinity": line_of(record(2, type="node_started", more=0)).replace(b'"more":0', b'"more":Infinity'),
    "not UTF-8": line_of(record(2, type="node_started", node_id="!")).replace(b"!", b"\xff\xfe"),
    "not UTF-8 in an undeclared field": line_of(record(2, type="node_started", more="!")).replace(
        b"!", b"\xc3\x28"
    ),
    "a UTF-8 surrogate": line_of(record(2, type="node_started", more="!")).replace(b"!", b"\xed\xa0\x80"),
    "a lone escaped surrogate": line_of(record(2, type="node_started", node_id="!")).replace(
        b"!", b"\\ud800"
    ),
    "UTF-16": line_of(record(2, type="node_started")).decode().encode("utf-16-be"),
    "NUL bytes": b"\x00" * 50,
    "deep arrays": b"[" * DEEP,
    "deep arrays, closed": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep in an unknown type": b'{"type":"news","more":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep in an undeclared field": line_of(record(2, type="node_started", more=0)).replace(
        b'"more":0', b'"more":' + b"[" * DEEP + b"]" * DEEP
    ),
}


EVIL = "a\n\x1b[31m\u202e\x85\u2028"


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate the places in a record, as keys and indexes."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*place, key))


def replaced(value: Any, place: tuple[Any, ...], part: Any) -> Any:
    """The record with another part in that place."""
    if not place:
        return part
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], part)
    return copy


@pytest.mark.parametrize("wire_type", samples())
def test_no_message_about_a_bad_line_has_a_control_character_of_it(wire_type: str) -> None:
    messages: set[str] = set()
    sample = samples()[wire_type]
    for place in places(sample):
        for part in (EVIL, {EVIL: EVIL}, [EVIL], {EVIL: {EVIL: 1}}, [{EVIL: [EVIL]}]):
            line = line_of(replaced(sample, place, part))
            try:
                decode_event(line)
            except RecordError as error:
                messages.add(str(protocol_error(error, line, 1)))
    assert messages
    assert [] == [text for text in messages if not text.isprintable()]


@pytest.mark.parametrize("name", BAD_LINES)
def test_R16_a_bad_line_is_a_typed_error_with_its_number_and_its_start(server: DevServer, name: str) -> None:
    line = BAD_LINES[name]
    run = server.add_run(RUN, run_of(1))
    server.use_faults(Faults(otherwise=InvalidLine(1, line)))
    seen = follow(server, run.run_id)
    assert isinstance(seen.error, StreamProtocolError)
    assert (seen.seqs, seen.error.line_number, seen.error.run_id, seen.error.last_seq) == (
        [1],
        2,
        run.run_id,
        1,
    )
    assert seen.error.raw_data == line[:800].decode("utf-8", "replace")[:200]
    assert len(str(seen.error)) < 1000
    assert str(pickle.loads(pickle.dumps(seen.error))) == str(seen.error)
    assert 1 == len(server.requests)


def test_R16_a_function_gets_all_bad_lines_and_the_events_between_them_are_emitted(
    server: DevServer,
) -> None:
    run = server.script(RUN)
    good = run_of(len(BAD_LINES))[:-1]
    for event, line in zip(good, BAD_LINES.values(), strict=False):
        run.append(event)
        run.append_line(line)
    run.append(run_of(0)[-1])
    refused: list[StreamProtocolError] = []
    seen = follow(server, run.run_id, on_invalid=refused.append)
    assert (seen.error, seen.completed) == (None, True)
    assert list(range(1, len(BAD_LINES) + 2)) == [event.seq for event in seen.events]
    assert list(range(2, 2 * len(BAD_LINES) + 1, 2)) == [error.line_number for error in refused]


# ---- R17: tolerated input ----


def test_R17_unknown_fields_and_types_arrive_and_keep_alives_and_blank_lines_do_not(
    server: DevServer,
) -> None:
    run = server.script(RUN)
    known = samples()
    for wire_type in ("run_completed", "run_failed", "run_canceled", "node_output"):
        del known[wire_type]  # terminal, or with an output that was not requested
    sent: list[str] = []
    for record in known.values():
        del record["seq"], record["run_id"]
        inner = {name: value | {"new": 1} for name, value in record.items() if isinstance(value, dict)}
        run.append(record | inner | {"new": {"deep": [1, None]}, "null": None})
        run.append({"type": f"{record['type']}_v9", "node_id": "draft", "more": {"of": "it"}})
        sent += [record["type"], f"{record['type']}_v9"]
        for line in (b"", b"   ", b"\t\r", b'{"type":"keepalive"}', b'{"type": "keepalive", "ts": 5}\r'):
            run.append_line(line)
    run.append(run_of(0)[-1])
    refused: list[StreamProtocolError] = []
    seen = follow(server, run.run_id, on_invalid=refused.append)
    assert ([], None) == (refused, seen.error)
    assert [*sent, "run_completed"] == [event.type for event in seen.events]
    unknown = [event for event in seen.events if isinstance(event, UnknownEvent)]
    assert [{"of": "it"}] * len(known) == [event.record["more"] for event in unknown]


# ---- R29: mutated records ----


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Valid records with a bit flipped, a piece cut out or doubled, or a value of another type put in."""
    dice = random.Random(seed)
    records = list(samples().values())
    lines = [line_of(record) for record in records]
    values: list[Any] = [
        None,
        True,
        0,
        -1,
        1.5,
        10**30,
        "",
        " ",
        "x",
        [],
        [1],
        {},
        {"a": 1},
        "2026",
        str(RUN),
        1e308,
    ]

    def swapped(value: Any) -> Any:
        if isinstance(value, dict) and value and dice.random() < 0.9:
            name = dice.choice(list(value))
            return value | {name: swapped(value[name])}
        if isinstance(value, list) and value and dice.random() < 0.9:
            return [swapped(value[0]), *value[1:]]
        return dice.choice(values)

    for _ in range(count):
        how, line = dice.randrange(6), bytearray(dice.choice(lines))
        place = dice.randrange(len(line))
        end = min(len(line), place + dice.randint(1, 20))
        if how == 0:
            line[place] ^= 1 << dice.randrange(8)
        elif how == 1:
            for place in dice.sample(range(len(line)), 3):
                line[place] = dice.randrange(256)
        elif how == 2:
            del line[place:]
        elif how == 3:
            del line[place:end]
        elif how == 4:
            line[place:place] = line[place:end]
        else:
            line[:] = line_of(swapped(dice.choice(records)))
        yield bytes(line).replace(b"\n", b" ")


@both_sizes
def test_R29_a_mutated_record_is_an_event_or_a_typed_error(soaking: bool) -> None:
    count = 100_000 if soaking else 10_000
    decode = decode_event
    events = refused = 0
    slowest = 0.0
    for line in mutants(count, seed=29):
        started = time.thread_time()
        try:
            event = decode(line)
        except RecordError as error:
            refused += 1
            assert str(error), line
        else:
            assert event is None or isinstance(event, RunEvent)
            events += 1
        slowest = max(slowest, time.thread_time() - started)
    assert min(events, refused) > count / 50  # both happen, or the mutants are too tame or too wild
    measured("R29", f"neither event nor typed error, of {count:,} mutated records", 0, 0, "")
    assert measured("R29", "the slowest record", slowest, 1.0) < 20.0


def test_R29_mutated_records_in_a_stream_cost_no_good_one(server: DevServer) -> None:
    run = server.add_run(RUN, run_of(0))
    good = [saying("piece", seq) for seq in range(1, 1000)]
    bad = [line for line in mutants(2_000, seed=30) if not _is_event(line)][: len(good)]
    lines = [line for pair in zip(good, bad, strict=True) for line in pair]
    end = line_of(record(1000, type="run_canceled", plan_hash=PLAN, error={"message": "no luck"}))
    server.use_faults(Faults(otherwise=Instead(lambda: [*lines, end])))
    refused: list[StreamProtocolError] = []
    seen = follow(server, run.run_id, on_invalid=refused.append)
    assert (seen.error, seen.completed, seen.seqs) == (None, True, list(range(1, 1001)))


def _is_event(line: bytes) -> bool:
    """Return whether a line is an event of the run, or has a ``seq``, which would move the cursor."""
    try:
        return decode_event(line) is not None
    except RecordError as error:
        return error.seq is not None


# ---- R30: bombs ----

SMALL = {"max_line_bytes": MIB}
BOUND = 32 * MIB
"""Bytes that a bomb may cost, with lines of 1 MiB: pieces of the network, what unpacks them, the line."""


@cache
def bomb_of(letter: bytes, size: int, times: int = 1) -> bytes:
    """Compress `size` MiB of a letter, `times` times."""
    return packed([letter * MIB] * size, times)


@both_sizes
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("piece", [1_000, 10**9])
def test_R30_a_gzip_bomb_on_the_stream_is_a_typed_error_in_bounded_memory(
    server: DevServer, times: int, piece: int, soaking: bool
) -> None:
    bomb = bomb_of(b"0", 256 if soaking else 128, times)
    encoding = {"Content-Encoding": ", ".join(["gzip"] * times)}
    pieces = [bomb[start : start + piece] for start in range(0, len(bomb), piece)]
    server.use_faults(Faults(otherwise=Body(lambda: pieces, encoding)))
    run = server.add_run(RUN, run_of(0))
    with peak_of_memory() as grown:
        seen = follow(server, run.run_id, SMALL)
        peak = measured("R30", f"RSS for a gzip bomb on the stream, packed x {times}", grown(), BOUND, "MiB")
    assert isinstance(seen.error, StreamProtocolError)
    assert "max_line_bytes" in str(seen.error)
    assert peak < BOUND


@both_sizes
def test_R30_a_gzip_bomb_of_blank_lines_is_read_in_bounded_memory(server: DevServer, soaking: bool) -> None:
    bomb = bomb_of(b"\n", 4 if soaking else 1)
    server.use_faults(Faults([Body(lambda: [bomb], {"Content-Encoding": "gzip"})]))
    run = server.add_run(RUN, run_of(0))
    with peak_of_memory() as grown:
        seen = follow(server, run.run_id, SMALL)
        peak = measured("R30", "RSS for a gzip bomb of blank lines on the stream", grown(), BOUND, "MiB")
    assert (seen.error, seen.seqs) == (None, [1, 2, 3, 4])  # skipped, and then the stream was resumed
    assert peak < BOUND


@both_sizes
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("times", [1, 2])
def test_R30_a_gzip_bomb_on_a_request_is_a_typed_error_in_bounded_memory(
    server: DevServer, status: int, times: int, soaking: bool
) -> None:
    bomb = bomb_of(b"0", 256 if soaking else 128, times)
    encoding = {"Content-Encoding": ", ".join(["gzip"] * times)}
    server.use_faults(Faults(rest=[Body(lambda: [bomb], encoding, "application/json", status)]))
    bound = 3 * 64 * MIB  # an answer may have 64 MiB, unpacked, and is joined once
    with server.client() as client, peak_of_memory() as grown:
        with pytest.raises((APIError, TransportError)):
            client.get(RUN)
        peak = measured(
            "R30", f"RSS for a gzip bomb as an answer with status {status}", grown(), bound, "MiB"
        )
    assert peak < bound


@both_sizes
def test_R30_an_endless_line_is_a_typed_error_in_bounded_memory(server: DevServer, soaking: bool) -> None:
    run = server.add_run(RUN, run_of(1))
    piece = b"0" * (64 * KIB)

    def endless() -> Iterator[bytes]:
        return (piece for _ in range(16_000 if soaking else 1_000))

    skipped = Faults([Body(lambda: [*endless(), b"\n"]), None])
    refused: list[StreamProtocolError] = []
    for script, options in ((Faults(otherwise=Body(endless)), {}), (skipped, {"on_invalid": refused.append})):
        server.use_faults(script)
        with peak_of_memory() as grown:
            seen = follow(server, run.run_id, SMALL, **options)
            peak = measured("R30", "RSS for an endless line", grown(), BOUND, "MiB")
        assert isinstance(seen.error, StreamProtocolError) == (not options)
        assert peak < BOUND
    assert ([1], [1, 2, 3, 4, 5]) == ([error.line_number for error in refused], seen.seqs)


@both_sizes
@pytest.mark.parametrize("status", [200, 500])
def test_R30_an_endless_answer_is_a_typed_error_in_bounded_memory(
    server: DevServer, status: int, soaking: bool
) -> None:
    piece = b"0" * (64 * KIB)
    endless = Body(
        lambda: (piece for _ in range(20_000 if soaking else 2_000)), {}, "application/json", status
    )
    server.use_faults(Faults(rest=[endless] * 3))
    bound = 3 * 64 * MIB
    with server.client() as client, peak_of_memory() as grown:
        with pytest.raises((APIError, TransportError)):
            client.get(RUN)
        peak = measured("R30", f"RSS for an endless answer with status {status}", grown(), bound, "MiB")
    assert peak < bound


def test_R30_endless_headers_are_a_typed_error(server: DevServer) -> None:
    many = {f"X-Header-{number}": "x" * 1000 for number in range(10_000)}
    run = server.add_run(RUN, run_of(1))
    flood = Body(lambda: [b"{}"], many)
    server.use_faults(Faults(rest=[flood], otherwise=flood))
    once = {"retry": RetryPolicy(max_attempts=1)}
    with server.client(**once) as client, pytest.raises(TransportError):
        client.get(RUN)
    assert isinstance(follow(server, run.run_id, once, resume=None).error, TransportError)
