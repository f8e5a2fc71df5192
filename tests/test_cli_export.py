"""``rxruns export``: runs and logs to a receiver of spans on a real socket."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="pip install 'rxruns[otel]'")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExportResult

from rxruns import ops, otel, recorded_events
from rxruns._policies import RetryPolicy
from rxruns.devserver import DevServer
from rxruns.errors import APIError, ExportError
from rxruns.events import RunEvent
from rxruns.otel import _exporter
from rxruns.testing import FakeRuns, replies
from tests.commands import Outcome, Rxruns, process, recorded, started, unfinished
from tests.conftest import HANG
from tests.logs import lines_of
from tests.making import (
    OTHER_RUN,
    RUN,
    delta,
    llm_call,
    node_started,
    node_succeeded,
    run_completed,
    run_started,
    tokens,
)
from tests.observing import run_of
from tests.otlp import OtlpReceiver, accepts, drops, hangs, refuses, tree
from tests.test_cli_view import in_terminal, read_until
from tests.wire import FakeAuthority

pytestmark = pytest.mark.usefixtures("no_leaks")

SECRET = "s3cret-of-the-backend"
CALLED: list[RunEvent] = [
    run_started(1),
    node_started(seq=2),
    delta(seq=3),
    llm_call(seq=4, usage=tokens(100, 20, 120)),
    node_succeeded("draft", seq=5),
    run_completed(6),
]
REJECTED = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="too\x1b old")
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(_exporter, "RETRY", RetryPolicy(6, base_backoff=0.001, max_backoff=0.01))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run.ndjson"
    path.write_bytes(b"".join(lines_of(CALLED)))
    return path


# ---- sources ----


def test_a_run_and_its_log_give_the_same_spans(service: DevServer, rxruns: Rxruns, tmp_path: Path) -> None:
    run_id = started(service)
    log = recorded(service, tmp_path / "log", run_id)
    with OtlpReceiver() as live, OtlpReceiver() as replayed:
        assert (0, "", f"exported 2 spans of 1 run to {live.url}\n") == rxruns(
            "export", run_id, "--otlp", live.url
        )
        assert 0 == rxruns("export", log, "--otlp", replayed.url).code
        assert ["invoke_workflow", "  draft"] == tree(live.spans)
        assert live.spans == replayed.spans


def test_a_run_that_is_given_with_its_log_is_exported_once(
    service: DevServer, rxruns: Rxruns, tmp_path: Path, log: Path
) -> None:
    run_id = started(service)
    with OtlpReceiver() as receiver:
        own, copy = recorded(service, tmp_path / "log", run_id), tmp_path / "copy"
        own.write_bytes(b"".join(own.read_bytes().splitlines(keepends=True)[2:]))
        copy.write_bytes(log.read_bytes())
        outcome = rxruns("export", own, run_id, log, copy, own, "--otlp", receiver.url)
        assert (0, f"exported 5 spans of 2 runs to {receiver.url}\n") == (outcome.code, outcome.err)
        assert 5 == receiver.count == len(receiver.stored)


def test_a_run_in_rotated_logs_is_exported_whole(rxruns: Rxruns, tmp_path: Path, log: Path) -> None:
    lines = lines_of(CALLED)
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"".join(lines[:4]))
    second.write_bytes(b"".join(lines[3:]))
    with OtlpReceiver() as whole, OtlpReceiver() as rotated:
        assert 0 == rxruns("export", log, "--otlp", whole.url).code
        assert 0 == rxruns("export", first, second, "--otlp", rotated.url).code
        assert whole.spans == rotated.spans


def test_a_source_that_fails_does_not_end_the_others(service: DevServer, rxruns: Rxruns, log: Path) -> None:
    run_id = started(service)
    with OtlpReceiver() as receiver:
        code, _, err = rxruns("export", OTHER_RUN, run_id, log, "--otlp", receiver.url)
        assert (3, 5) == (code, receiver.count)
    assert f"rxruns: {OTHER_RUN}: 404 NOT_FOUND" in err


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_log_without_events_is_reported(rxruns: Rxruns, log: Path, content: bytes) -> None:
    log.write_bytes(content)
    with OtlpReceiver() as receiver:
        assert (3, "", f"rxruns: {log}: no events\n") == rxruns("export", log, "--otlp", receiver.url)
        assert [] == receiver.requests


def test_each_incomplete_source_has_its_reason(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    early, broken = tmp_path / "early", tmp_path / "broken"
    early.write_bytes(b"".join(lines_of([run_started(1, OTHER_RUN)])))
    broken.write_bytes(b"".join([*lines_of(CALLED[:2]), b"{no\n", *lines_of(CALLED[2:])]))
    with OtlpReceiver() as receiver:
        code, _, err = rxruns("export", early, broken, "--otlp", receiver.url)
    first, second = err.splitlines()
    assert (3, f"rxruns: run {OTHER_RUN}: the events end before the run, with seq 1") == (code, second)
    assert first.startswith(f"rxruns: {broken}: line 3: ")


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (slice(0, 5), f"run {RUN}: the events end before the run, with seq 5"),
        (slice(2, 6), f"run {RUN}: its first event is missing, the events begin with seq 3"),
    ],
)
def test_a_log_without_an_end_or_a_beginning_is_reported(
    rxruns: Rxruns, log: Path, kept: slice, why: str
) -> None:
    other = [run_started(1, OTHER_RUN), run_completed(2, OTHER_RUN)]
    log.write_bytes(b"".join(lines_of([*CALLED[kept], *other])))
    with OtlpReceiver() as receiver:
        code, _, err = rxruns("export", log, "--otlp", receiver.url)
        assert OTHER_RUN.hex in {span.trace_id for span in receiver.spans}
    assert (3, f"rxruns: {why}") == (code, err.splitlines()[-1])


def test_without_following_an_unfinished_run_has_no_root_yet(service: DevServer, rxruns: Rxruns) -> None:
    script = unfinished(service, run_of(2)[:-1])
    with OtlpReceiver() as receiver:
        assert 0 == rxruns("export", script.run_id, "--no-follow", "--otlp", receiver.url).code
        assert ["draft"] == [span.name for span in receiver.spans]
        assert {script.run_id.hex} == {span.trace_id for span in receiver.spans}
        timed = rxruns("export", script.run_id, "--timeout", "0.5", "--otlp", receiver.url)
    assert (3, True) == (timed.code, "the events end before the run, with seq 5" in timed.err)


# ---- what is exported ----


def test_texts_are_exported_on_request_alone(rxruns: Rxruns, log: Path) -> None:
    with OtlpReceiver() as receiver:
        rxruns("export", log, "--otlp", receiver.url)
        without = str(receiver.spans)
        rxruns("export", log, "--content", "--otlp", receiver.url)
        texts = [event.delta.text_delta for event in CALLED if event.seq == 3]  # type: ignore[attr-defined]
        assert [False, True] == [str(texts[0]) in spans for spans in (without, str(receiver.spans))]


def test_tokens_and_with_prices_the_cost_are_exported(rxruns: Rxruns, log: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"openai/gpt-5": {"input_usd_per_million": 10, "output_usd_per_million": 100}}')
    with OtlpReceiver() as receiver:
        assert 0 == rxruns("export", log, "--otlp", receiver.url, "--prices", prices).code
        (chat,) = (span for span in receiver.spans if span.name.startswith("chat"))
    assert ("CLIENT", 100, 20, 0.003) == (
        chat.kind,
        chat.attributes["gen_ai.usage.input_tokens"],
        chat.attributes["gen_ai.usage.output_tokens"],
        chat.attributes["gen_ai.usage.cost"],
    )


# ---- the backend ----


@pytest.mark.parametrize(
    ("variables", "flags"),
    [
        ({"ENDPOINT": "{url}"}, []),
        ({"ENDPOINT": "{url}/"}, []),
        ({"ENDPOINT": "http://x", "TRACES_ENDPOINT": "{url}/v1/traces"}, []),
        ({"TRACES_ENDPOINT": "http://x"}, ["--otlp", "{url}"]),
        ({}, ["--otlp", "{url}/v1/traces"]),
    ],
)
def test_the_url_is_a_base_except_in_the_variable_for_traces(
    rxruns: Rxruns,
    log: Path,
    variables: dict[str, str],
    flags: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with OtlpReceiver() as receiver:
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value.format(url=receiver.url))
        assert 0 == rxruns("export", log, *(flag.format(url=receiver.url) for flag in flags)).code
        assert ["/v1/traces"] == [request.path for request in receiver.requests]


def test_a_path_is_a_part_of_the_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/api/otel/v1/traces" == _exporter.OtlpExporter("http://localhost/api/otel")._path
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost/api/otel")
    assert "/api/otel" == _exporter.OtlpExporter()._path


def test_headers_and_compression_come_from_the_standard_variables(
    rxruns: Rxruns, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", f"Authorization=Basic%20{SECRET}, x-team = a=b")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with OtlpReceiver() as receiver:
        assert 0 == rxruns("export", log, "--otlp", receiver.url).code
        sent = receiver.requests[0].headers
    expected = {"authorization": f"Basic {SECRET}", "x-team": "a=b", "content-encoding": "gzip"}
    assert expected == {name: sent[name] for name in expected} and "x-other" not in sent


def test_certificates_come_from_the_standard_variables(
    rxruns: Rxruns, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = FakeAuthority(tmp_path)
    with OtlpReceiver(tls=authority.server) as receiver:
        code, _, err = rxruns("export", log, "--otlp", receiver.url)
        assert (3, 1, True) == (code, err.count("\n"), "certificate verify failed" in err)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.bundle)
        assert 0 == rxruns("export", log, "--otlp", receiver.url).code
        assert 3 == receiver.count


def test_a_backend_that_is_slow_refuses_and_drops_loses_nothing(rxruns: Rxruns, log: Path) -> None:
    script = [accepts(pause=0.02), refuses(503), refuses(429, retry_after=0.01), drops()]
    log.write_bytes(b"".join(lines_of([*CALLED, run_started(1, OTHER_RUN), run_completed(2, OTHER_RUN)])))
    with OtlpReceiver(*script) as receiver:
        outcome = rxruns("export", log, "--otlp", receiver.url)
        assert (0, f"exported 4 spans of 2 runs to {receiver.url}\n") == (outcome.code, outcome.err)
        assert 4 == len(receiver.stored)


def test_a_backend_that_is_away_is_named_and_gets_all_spans_the_next_time(rxruns: Rxruns, log: Path) -> None:
    with OtlpReceiver() as receiver:
        with receiver.away():
            code, out, err = rxruns("export", log, "--otlp", receiver.url)
        assert (3, "", 1) == (code, out, err.count("\n"))
        assert err.startswith(f"rxruns: {receiver.url}: POST /v1/traces: NewConnectionError")
        assert 0 == rxruns("export", log, "--otlp", receiver.url).code
        assert 3 == receiver.count


def test_a_refusal_is_final_and_gives_its_reason(rxruns: Rxruns, log: Path) -> None:
    with OtlpReceiver(refuses(401, body=b"no such\x1b[2J project")) as receiver:
        code, _, err = rxruns("export", log, "--otlp", receiver.url)
        assert (3, 1, 1) == (code, err.count("\n"), len(receiver.requests))
    assert err.startswith(f"rxruns: {receiver.url}: 401: no such␛[2J project")


def test_a_redirect_is_an_error_and_gets_no_spans(rxruns: Rxruns, log: Path) -> None:
    with OtlpReceiver(refuses(307)) as receiver:
        code, _, err = rxruns("export", log, "--otlp", receiver.url)
        assert (3, 0, True) == (code, receiver.count, "a redirect is not followed" in err)


def test_a_web_page_is_not_taken_for_a_backend(rxruns: Rxruns, log: Path) -> None:
    with OtlpReceiver(accepts(body=b"<!doctype html>")) as receiver:
        code, _, err = rxruns("export", log, "--otlp", receiver.url)
    assert (3, True) == (code, "the response is a web page: is the URL that of an OTLP/HTTP receiver?" in err)


@pytest.mark.parametrize(
    "body",
    [
        b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too\\u001b old"}}',
        REJECTED.SerializeToString(),
    ],
)
def test_spans_that_the_backend_rejects_are_counted(rxruns: Rxruns, log: Path, body: bytes) -> None:
    with OtlpReceiver(accepts(body=body)) as receiver:
        code, _, err = rxruns("export", log, "--otlp", receiver.url)
    assert (3, "rxruns: the backend rejected 2 spans: too␛ old") == (code, err.splitlines()[-1])


def test_a_library_user_is_warned_once_about_rejected_spans_and_gets_an_error_for_a_redirect(
    log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejects = accepts(body=REJECTED.SerializeToString())
    with OtlpReceiver(rejects, rejects, refuses(302)) as receiver:
        exporter = otel.OtlpExporter(receiver.url)
        spans = recorded_events(log).pipe(otel.spans())
        for _ in range(2):
            spans.pipe(otel.export(exporter)).run()
        with pytest.raises(ExportError) as raised:
            spans.pipe(otel.export(exporter, retry=RetryPolicy(max_attempts=1))).run()

    assert (4, [f"{receiver.url} rejects spans: too\u241b old; further ones are counted"]) == (
        exporter.rejected,
        [record.message for record in caplog.records if "rejects" in record.message],
    )
    assert isinstance(raised.value.__cause__, APIError) and "redirect" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"OK", b"\xff\xff", b'{"a": "\xff"}', b'{"a": ', b'{"a": ' * 50_000]
)
def test_any_other_success_is_one(rxruns: Rxruns, log: Path, body: bytes) -> None:
    with OtlpReceiver(accepts(body=body)) as receiver:
        assert 0 == rxruns("export", log, "--otlp", receiver.url).code


def test_shutdown_ends_a_request_in_progress(log: Path) -> None:
    spans = recorded_events(log).pipe(otel.spans(), ops.to_list()).run()
    with OtlpReceiver(then=hangs()) as receiver, ThreadPoolExecutor() as pool:
        exporter = _exporter.OtlpExporter(receiver.url)
        result = pool.submit(exporter.export, spans)
        receiver.wait_requests(1)
        exporter.shutdown()
        assert SpanExportResult.FAILURE == result.result(HANG) == exporter.export(spans)
        assert 1 == len(receiver.requests)


# ---- credentials ----


def test_credentials_are_never_shown_or_logged(
    rxruns: Rxruns, log: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("opentelemetry", "urllib3", "rxruns"):
        caplog.set_level(logging.DEBUG, name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization=Bearer {SECRET}")
    outcomes: list[Outcome] = []
    echo, bare = f'{{"message": "not valid: Bearer {SECRET}"}}'.encode(), SECRET.encode()
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message=f"no {SECRET}")
    rejects = accepts(body=ExportTraceServiceResponse(partial_success=partial).SerializeToString())
    script = [refuses(401, body=echo), refuses(400, body=bare), refuses(302), rejects]
    with OtlpReceiver(*script) as receiver:
        outcomes += [rxruns("export", log, "--otlp", receiver.url) for _ in script]
        with receiver.away():
            outcomes.append(rxruns("export", log, "--otlp", receiver.url))
        outcomes.append(rxruns("export", log, "--otlp", receiver.url.replace("//", f"//me:{SECRET}@")))
        outcomes.append(rxruns("export", log, "--otlp", f"{receiver.url}?key={SECRET}"))
        for headers in ("{}", "a b={}", "key={}%0Ax: y", "key={}%E2%82%AC", "={}"):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers.format(SECRET))
            outcomes.append(rxruns("export", log, "--otlp", receiver.url))
    assert [*5 * [3], *7 * [2]] == [outcome.code for outcome in outcomes]
    assert [1, 1, 1, 3, *8 * [1]] == [outcome.err.count("\n") for outcome in outcomes]
    assert SECRET not in str(outcomes) + caplog.text
    assert "[hidden]" in outcomes[0].err and "POST /v1/traces" in caplog.text


def test_headers_without_encryption_are_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "key=1")
    for url in ("http://collector.example", "https://collector.example", "http://127.0.0.1:1"):
        _exporter.OtlpExporter(url)
    assert [
        "http://collector.example is not encrypted: others may read the headers on their way"
    ] == caplog.messages


# ---- usage errors ----


@pytest.mark.parametrize(
    ("variables", "flags", "why"),
    [
        ({}, [], "no backend: pass its URL, or set OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({}, ["--otlp", ""], "no backend"),
        ({}, ["--otlp", "localhost:4318"], "otlp must be a URL that starts with http:// or https://"),
        ({}, ["--otlp", "http://ho\nst"], "otlp must be a URL in ASCII"),
        ({"ENDPOINT": "ftp://x"}, [], "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL that starts with"),
        ({"TIMEOUT": "soon"}, ["--otlp", "http://x"], "a number of seconds above 0, got 'soon'"),
        ({"COMPRESSION": "zip"}, ["--otlp", "http://x"], "must be none or gzip, got 'zip'"),
        ({"CERTIFICATE": "/none"}, ["--otlp", "http://x"], "must be an existing file, got '/none'"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_in_one_line(
    rxruns: Rxruns,
    log: Path,
    variables: dict[str, str],
    flags: list[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    code, _, err = rxruns("export", log, *flags)
    assert (2, 1, True) == (code, err.count("\n"), why in err)


def test_a_missing_extra_names_the_command_that_installs_it(
    rxruns: Rxruns, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("rxruns.otel", "opentelemetry"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("rxruns.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    code, _, err = rxruns("export", log, "--otlp", "http://localhost:4318")
    assert (2, True) == (code, "pip install 'rxruns[otel]'" in err)


# ---- processes ----


def variables_of(service: DevServer, receiver: OtlpReceiver) -> dict[str, str]:
    names = {"MODELRELAY_API_KEY": service.api_key, "MODELRELAY_API_BASE_URL": service.url}
    return os.environ | names | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}


def nodes(*names: str) -> list[dict[str, Any]]:
    kinds = ("node_started", "node_succeeded")
    return [{"type": kind, "node_id": name} for name in names for kind in kinds]


def test_after_a_kill_another_export_completes_the_trace_with_each_span_once(service: DevServer) -> None:
    begin, end = run_of(0)[0], run_of(0)[-1]
    script = unfinished(service, [begin, *nodes(*map(str, range(600)))])
    with OtlpReceiver() as receiver:
        environment = variables_of(service, receiver)
        with process("export", script.run_id, env=environment) as killed:
            receiver.wait_spans(512)
            killed.kill()
        for event in [*nodes("last"), end]:
            script.append(event)
        with process("export", script.run_id, env=environment) as again:
            _, err = again.communicate(timeout=60)
        assert (0, f"exported 602 spans of 1 run to {receiver.url}\n") == (again.returncode, err)
        assert 602 == len(receiver.stored) < receiver.count
        assert all(len(set(map(repr, copies))) == 1 for copies in receiver.by_id.values())
        assert ["invoke_workflow", *(f"  {name}" for name in [*range(600), "last"])] == tree(receiver.spans)


def test_ctrl_c_ends_the_wait_for_a_run(service: DevServer) -> None:
    script = unfinished(service, [run_of(0)[0], *nodes(*map(str, range(512)))])
    with (
        OtlpReceiver() as receiver,
        process("export", script.run_id, env=variables_of(service, receiver)) as exporting,
    ):
        receiver.wait_spans(512)
        code, err = interrupted(exporting)
    # The last batch may have been received without being counted yet.
    assert (130, True) == (code, err in ("", f"exported 512 spans of 1 run to {receiver.url}"))


def test_ctrl_c_ends_the_wait_for_a_backend(service: DevServer) -> None:
    with (
        OtlpReceiver(then=hangs()) as receiver,
        process("export", started(service), env=variables_of(service, receiver)) as exporting,
    ):
        receiver.wait_requests(1)
        assert (130, "") == interrupted(exporting)


def interrupted(exporting: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and the messages of a process after Ctrl-C."""
    exporting.send_signal(signal.SIGINT)
    _, err = exporting.communicate(timeout=60)
    return exporting.returncode, err.strip()


def test_on_a_terminal_the_count_is_shown_while_it_grows(service: DevServer) -> None:
    script = unfinished(service, [run_of(0)[0], *nodes(*map(str, range(512)))])
    with (
        OtlpReceiver() as receiver,
        in_terminal(service, "export", script.run_id, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as (
            exporting,
            ours,
        ),
    ):
        read_until(ours, "exported 512 spans of 1 run")
        script.append(run_of(0)[-1])
        output = read_until(ours)
        assert 0 == exporting.wait(60)
    assert f"exported 513 spans of 1 run to {receiver.url}" in output.splitlines()[-1]


def test_hostile_names_and_statuses_are_shown_on_one_line(
    rxruns: Rxruns, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeRuns(replies({"error": "\x1b[2Jgone\n", "code": "NOT_FOUND"}, status=404, to="events")) as fake:
        monkeypatch.setenv("MODELRELAY_API_KEY", fake.api_key)
        monkeypatch.setenv("MODELRELAY_API_BASE_URL", fake.url)
        code, _, err = rxruns("export", RUN, "--otlp", "http://127.0.0.1:1")
    assert (3, 1, False) == (code, err.count("\n"), "\x1b" in err)
