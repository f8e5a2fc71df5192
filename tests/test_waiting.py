"""A node that waits for its client, with no subscriber that answers, gets one warning in the log."""

from __future__ import annotations

import logging

import pytest

from rxruns import ResumePolicy, run_events
from rxruns._streams import _waiting
from rxruns.testing import FakeRuns, Step, drops, ends, events, sends
from tests.observing import Seen

pytestmark = pytest.mark.usefixtures("no_leaks")

BLANK = b"\n"
CALLED = events.run().node("draft").tool_call("search")
WAITS = CALLED.waits()
GOES_ON = WAITS.tool_result("found").text("one")
ENDED = GOES_ON.succeeds()
FEW = ResumePolicy(max_reconnects=2, base_backoff=0.001, max_backoff=0.002, idle_timeout=20.0)


def warnings_of(caplog: pytest.LogCaptureFixture, *script: Step) -> list[str]:
    seen = Seen()
    with caplog.at_level(logging.WARNING), FakeRuns(*script) as service, service.client() as client:
        with run_events(ENDED.run_id, client=client, resume=FEW).subscribe(seen):
            seen.wait_end()
    assert len(ENDED) == len(seen.events)
    return [record.getMessage() for record in caplog.records if "waited" in record.getMessage()]


@pytest.mark.parametrize(
    "quiet",
    [[sends(BLANK * 3)], [sends(BLANK), drops()], [ends(), ends()], [sends(b'{"type":"keepalive"}\n')]],
    ids=str,
)
def test_a_wait_that_nothing_ends_is_logged_once(
    quiet: list[Step], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiting, "PATIENCE", 0.0)
    (message,) = warnings_of(caplog, sends(WAITS), *quiet, *quiet, sends(ENDED[len(WAITS) :]))
    assert f"run {ENDED.run_id}: node 'draft' has waited for its client" in message
    assert f"ops.execute_tools(...), or `rxruns answer {ENDED.run_id}` in a terminal" in message


def test_a_wait_that_was_answered_is_not_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiting, "PATIENCE", 0.0)
    assert [] == warnings_of(caplog, sends(GOES_ON), sends(BLANK), sends(ENDED[len(GOES_ON) :]))


def test_a_tool_that_takes_its_time_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert [] == warnings_of(caplog, sends(WAITS), sends(BLANK), sends(ENDED[len(WAITS) :]))
