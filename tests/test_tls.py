"""Dispose of a stream behind TLS: thread and socket are gone at once, in every phase (R1, R2)."""

from __future__ import annotations

import pytest

from rxruns import ResumePolicy, RunsClient, run_events
from rxruns.errors import StreamInterruptedError, TransportError
from tests.disposing import (
    BODIES,
    END,
    LINES,
    MARK,
    PHASES,
    RUN,
    Followed,
    SpeaksNoTLS,
    session_that_trusts,
)
from tests.observing import Seen
from tests.soak import both_sizes, measured, patience
from tests.wire import KEY, FakeAuthority, FakeRuns, sends

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> FakeAuthority:
    return FakeAuthority(tmp_path_factory.mktemp("tls"))


@both_sizes
@pytest.mark.parametrize("body", BODIES)
def test_R01_dispose_of_an_idle_stream_behind_tls_frees_thread_and_socket(
    authority: FakeAuthority, body: str, soaking: bool
) -> None:
    with session_that_trusts(authority) as session:
        for _ in range(170 if soaking else 10):
            with FakeRuns(BODIES[body], tls=authority) as service:
                followed = Followed(service, session)
                followed.seen.wait_count(2)
                taken = measured("R1", f"dispose of an idle stream, TLS, {body}", followed.dispose(), MARK)
                assert taken < MARK * patience(soaking)


@both_sizes
@pytest.mark.parametrize("phase", PHASES)
def test_R02_dispose_in_a_phase_behind_tls_frees_thread_and_socket(
    authority: FakeAuthority, phase: str, soaking: bool
) -> None:
    with session_that_trusts(authority) as session:
        for _ in range(100 if soaking else 3):
            with FakeRuns(PHASES[phase], tls=authority) as service:
                followed = Followed(service, session)
                service.wait_requests(1)
                taken = measured("R2", f"dispose {phase}, TLS", followed.dispose(), MARK)
                assert taken < MARK * patience(soaking)


@both_sizes
def test_R02_dispose_during_the_tls_handshake_frees_thread_and_socket(
    authority: FakeAuthority, soaking: bool
) -> None:
    with session_that_trusts(authority) as session:
        for _ in range(100 if soaking else 3):
            with SpeaksNoTLS() as service:
                followed = Followed(service, session)
                service.wait_connections(1)
                taken = measured("R2", "dispose during the TLS handshake", followed.dispose(), MARK)
                assert taken < MARK * patience(soaking)


def test_the_bundle_of_the_environment_is_trusted(
    authority: FakeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    with FakeRuns(sends(LINES + END), tls=authority) as service:
        seen = Seen()
        with RunsClient(api_key=KEY, base_url=service.url) as client:
            run_events(RUN, client=client).subscribe(seen)
            seen.wait_end()
    assert ([1, 2, 3], True) == (seen.seqs, seen.completed)


def test_an_untrusted_certificate_is_an_error_and_the_key_is_not_sent(
    authority: FakeAuthority,
) -> None:
    with FakeRuns(sends(LINES), tls=authority) as service:
        seen = Seen()
        once = ResumePolicy(max_reconnects=1, base_backoff=0.001)
        with RunsClient(api_key=KEY, base_url=service.url) as client:
            run_events(RUN, client=client, resume=once).subscribe(seen)
            seen.wait_end()
        assert isinstance(seen.error, StreamInterruptedError)
        assert isinstance(seen.error.__cause__, TransportError)
        assert "CERTIFICATE_VERIFY_FAILED" in str(seen.error)
        assert [] == service.requests
