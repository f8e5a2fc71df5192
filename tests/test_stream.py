"""One raw connection as an iterator: events in front of a fault are delivered, and any thread may stop it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxruns.client import RunsClient
from rxruns.client._stream import RunEventStream
from rxruns.errors import (
    StreamContentTypeError,
    StreamInterruptedError,
    StreamProtocolError,
    TransportError,
)
from rxruns.events import NodeStarted, RunEvent, UnknownEvent
from tests.conftest import HANG
from tests.wire import KEY, FakeAuthority, FakeRuns, cuts, hangs, sends

pytestmark = pytest.mark.usefixtures("no_leaks")

RUN = "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11"


def line(seq: int, end: bytes = b"\n", **fields: object) -> bytes:
    record = {
        "type": "node_started",
        "run_id": RUN,
        "seq": seq,
        "ts": "2026-01-31T12:00:00Z",
        "node_id": "draft",
    }
    return json.dumps(record | fields, ensure_ascii=False).encode() + end


@pytest.fixture
def client_of() -> Iterator[Callable[..., RunsClient]]:
    clients: list[RunsClient] = []

    def make(service: FakeRuns, **options: Any) -> RunsClient:
        clients.append(RunsClient(api_key=KEY, base_url=service.url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def drain(stream: RunEventStream, into: list[int]) -> None:
    with stream:
        for event in stream:
            into.append(event.seq)


def test_events_are_iterated_to_a_clean_end(client_of: Callable[..., RunsClient]) -> None:
    body = line(1) + b"\n" + b'{"type":"keepalive"}\r\n' + line(2, b"\r\n", type="brand_new")
    with FakeRuns(sends(body, headers={"X-ModelRelay-Request-Id": "req_1"})) as service:
        with client_of(service).stream_events(RUN) as stream:
            events: list[RunEvent] = list(stream)
            assert [] == list(stream)

    assert [(NodeStarted, 1), (UnknownEvent, 2)] == [(type(event), event.seq) for event in events]
    assert "req_1" == stream.request_id
    assert f"RunEventStream(run_id='{RUN}', request_id='req_1')" == repr(stream)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_last_record_without_a_newline_is_delivered(
    framing: str, client_of: Callable[..., RunsClient]
) -> None:
    with FakeRuns(sends(line(1), line(2, b""), framing=framing)) as service:
        with client_of(service).stream_events(RUN) as stream:
            assert [1, 2] == [event.seq for event in stream]


def test_a_blank_tail_is_nothing(client_of: Callable[..., RunsClient]) -> None:
    with FakeRuns(sends(line(1) + b'  {"type":"keepalive"} ')) as service:
        with client_of(service).stream_events(RUN) as stream:
            assert [1] == [event.seq for event in stream]


def test_a_clean_end_within_a_line_is_an_interruption(client_of: Callable[..., RunsClient]) -> None:
    seen: list[int] = []
    with FakeRuns(sends(line(1) + line(2)[:-5])) as service:
        with pytest.raises(StreamInterruptedError) as caught:
            drain(client_of(service).stream_events(RUN), seen)

    assert ([1], RUN, 1, 0) == (
        seen,
        str(caught.value.run_id),
        caught.value.last_seq,
        caught.value.reconnects,
    )


@pytest.mark.parametrize("tail", [b"\n", b""])
def test_a_bad_line_is_an_error_after_the_events_in_front_of_it(
    tail: bytes, client_of: Callable[..., RunsClient]
) -> None:
    seen: list[int] = []
    with FakeRuns(sends(line(1) + line(2) + line(-3, tail) + (line(4) if tail else b""))) as service:
        stream = client_of(service).stream_events(RUN)
        with pytest.raises(StreamProtocolError, match="line 3: not a valid event: seq: ") as caught:
            drain(stream, seen)
        assert [] == list(stream)

    error = caught.value
    assert ([1, 2], 3, 2, RUN) == (seen, error.line_number, error.last_seq, str(error.run_id))
    assert line(-3, b"").decode() == error.raw_data
    assert error.__cause__ is not None


def test_an_included_output_is_an_error_unless_it_was_requested(client_of: Callable[..., RunsClient]) -> None:
    info = {"bytes": 4, "sha256": "0" * 64, "included": True}
    output = {"artifact_key": "node_output.v0", "info": info, "content": None}
    body = line(1, type="node_output", output=output)
    with FakeRuns(sends(body), sends(body)) as service:
        client = client_of(service)
        with client.stream_events(RUN, include_output=True) as stream:
            assert [1] == [event.seq for event in stream]
        with pytest.raises(StreamProtocolError, match="include_output"):
            drain(client.stream_events(RUN), [])


def test_an_over_long_line_is_an_error(client_of: Callable[..., RunsClient]) -> None:
    seen: list[int] = []
    with FakeRuns(sends(line(1) + line(2, text="x" * 300), then=hangs)) as service:
        with pytest.raises(StreamProtocolError, match="longer than 300 bytes") as caught:
            drain(client_of(service, max_line_bytes=300).stream_events(RUN), seen)

    assert ([1], 2, 200) == (seen, caught.value.line_number, len(caught.value.raw_data or ""))


@pytest.mark.parametrize(("then", "kind"), [(cuts, "request"), (hangs, "timeout")])
def test_a_body_that_breaks_or_pauses_for_the_clients_timeout_is_a_transport_error(
    then: Any, kind: str, client_of: Callable[..., RunsClient]
) -> None:
    seen: list[int] = []
    with FakeRuns(sends(line(1) + line(2)[:-5], then=then)) as service:
        with pytest.raises(TransportError) as caught:
            drain(client_of(service, timeout=0.1 if then is hangs else HANG).stream_events(RUN), seen)

    assert ([1], kind) == (seen, caught.value.kind)


@pytest.mark.parametrize("received", ["application/x-ndjson", "Application/NDJSON; charset=utf-8"])
def test_ndjson_has_two_names_in_any_case(received: str, client_of: Callable[..., RunsClient]) -> None:
    with FakeRuns(sends(line(1), headers={"Content-Type": received})) as service:
        with client_of(service).stream_events(RUN) as stream:
            assert [1] == [event.seq for event in stream]


@pytest.mark.parametrize("received", ["text/html", "application/json", "text/event-stream", ""])
def test_another_content_type_is_refused(received: str, client_of: Callable[..., RunsClient]) -> None:
    with FakeRuns(sends(line(1), headers={"Content-Type": received}, then=hangs)) as service:
        with pytest.raises(StreamContentTypeError) as caught:
            client_of(service).stream_events(RUN, after_seq=7)
        assert service.gone.wait(HANG)

    error = caught.value
    assert ("application/x-ndjson", received, 200) == (error.expected, error.received, error.status)
    assert (RUN, 7) == (str(error.run_id), error.last_seq)


@pytest.mark.parametrize("stop", [RunEventStream.cancel, RunEventStream.close])
@pytest.mark.parametrize("tls", [False, True])
def test_another_thread_ends_an_iteration_that_waits(
    stop: Callable[[RunEventStream], None],
    tls: bool,
    client_of: Callable[..., RunsClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = FakeAuthority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    first_received = threading.Event()
    seen: list[int] = []

    def read() -> None:
        for event in stream:
            seen.append(event.seq)
            first_received.set()
        seen.append(-1)

    with FakeRuns(sends(line(1), then=hangs), tls=authority if tls else None) as service:
        stream = client_of(service).stream_events(RUN)
        reading = threading.Thread(target=read)
        reading.start()
        assert first_received.wait(HANG)
        stop(stream)
        reading.join(HANG)

        assert [1, -1] == seen
        assert service.gone.wait(HANG)


def test_a_cancelled_stream_ends_though_more_was_read_already(client_of: Callable[..., RunsClient]) -> None:
    with FakeRuns(sends(line(1) + line(2) + line(3))) as service:
        with client_of(service).stream_events(RUN) as stream:
            first = next(stream)
            stream.cancel()
            stream.cancel()

            assert [1] == [first.seq, *(event.seq for event in stream)]


def test_a_stream_that_was_not_read_is_closed(client_of: Callable[..., RunsClient]) -> None:
    with FakeRuns(sends(line(1), then=hangs)) as service:
        with client_of(service).stream_events(RUN) as stream:
            pass
        assert service.gone.wait(HANG)
        stream.close()

        assert [] == list(stream)


def test_leaving_the_block_early_closes(client_of: Callable[..., RunsClient]) -> None:
    with FakeRuns(sends(line(1) + line(2), then=hangs)) as service:
        with client_of(service).stream_events(RUN) as stream:
            assert 1 == next(stream).seq
        assert service.gone.wait(HANG)
