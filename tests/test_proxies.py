"""Through an HTTP proxy and through SOCKS5 everything holds that holds without one (R34)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest
import requests

from rxruns import RetryPolicy, RunsClient, block_on, ops, run_events
from rxruns._transport._sessions import close_idle
from rxruns.errors import APIError, TransportError
from tests.conftest import HANG
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
from tests.proxies import HTTPProxy, Mute, MuteAfterGreeting, Proxy, SOCKSProxy
from tests.soak import both_sizes, measured, patience
from tests.wire import KEY, Act, FakeAuthority, FakeRuns, cuts, replies, sends

pytest.importorskip("socks", reason="needs PySocks")
pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> FakeAuthority:
    return FakeAuthority(tmp_path_factory.mktemp("tls"))


@dataclass(frozen=True)
class Route:
    """A way to a service: through this proxy, with or without TLS."""

    proxy: type[Proxy]
    tls: FakeAuthority | None

    def session(self, proxy: Proxy, stack: ExitStack) -> requests.Session:
        session = requests.Session() if self.tls is None else session_that_trusts(self.tls)
        session.proxies = {"http": proxy.url, "https": proxy.url}
        session.trust_env = False
        stack.callback(close_idle, session)
        return session


ROUTES = {
    "HTTP proxy": (HTTPProxy, False),
    "HTTP proxy, TLS": (HTTPProxy, True),
    "SOCKS5": (SOCKSProxy, False),
    "SOCKS5, TLS": (SOCKSProxy, True),
}


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, authority: FakeAuthority) -> Route:
    proxy, encrypted = ROUTES[request.param]
    return Route(proxy, authority if encrypted else None)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def disposed(route: Route, act: Act, ready: int) -> float:
    """Seconds that dispose takes after so many events, or after the request where none come."""
    with ExitStack() as stack:
        service = stack.enter_context(FakeRuns(act, tls=route.tls))
        proxy = stack.enter_context(route.proxy())
        followed = Followed(service, route.session(proxy, stack))
        followed.seen.wait_count(ready)
        service.wait_requests(1)
        return followed.dispose()


@both_sizes
@pytest.mark.parametrize("body", BODIES)
def test_R34_dispose_of_an_idle_stream_frees_thread_and_socket(
    route: Route, body: str, soaking: bool, request: pytest.FixtureRequest
) -> None:
    what = f"dispose of an idle stream, {request.node.callspec.params['route']}, {body}"
    for _ in range(100 if soaking else 3):
        assert measured("R34", what, disposed(route, BODIES[body], 2), MARK) < MARK * patience(soaking)


@both_sizes
@pytest.mark.parametrize("phase", PHASES)
def test_R34_dispose_in_a_phase_frees_thread_and_socket(
    route: Route, phase: str, soaking: bool, request: pytest.FixtureRequest
) -> None:
    what = f"dispose {phase}, {request.node.callspec.params['route']}"
    for _ in range(100 if soaking else 3):
        assert measured("R34", what, disposed(route, PHASES[phase], 0), MARK) < MARK * patience(soaking)


@both_sizes
@pytest.mark.parametrize("proxy_class", [Mute, MuteAfterGreeting])
@pytest.mark.parametrize("encrypted", [False, True])
def test_R34_dispose_while_a_socks_proxy_connects_frees_thread_and_socket(
    authority: FakeAuthority, proxy_class: type[Proxy], encrypted: bool, soaking: bool
) -> None:
    for _ in range(100 if soaking else 3):
        with ExitStack() as stack:
            service = stack.enter_context(FakeRuns(tls=authority if encrypted else None))
            proxy = stack.enter_context(proxy_class())
            route = Route(proxy_class, authority if encrypted else None)
            followed = Followed(service, route.session(proxy, stack))
            assert proxy.accepted.wait(HANG)
            service.gone.set()  # it was never reached
            taken = measured("R34", "dispose while a SOCKS proxy connects", followed.dispose(), MARK)
            assert taken < MARK * patience(soaking)


@both_sizes
def test_R34_dispose_during_the_tls_handshake_behind_socks(authority: FakeAuthority, soaking: bool) -> None:
    for _ in range(100 if soaking else 3):
        with ExitStack() as stack:
            service = stack.enter_context(SpeaksNoTLS())
            proxy = stack.enter_context(SOCKSProxy())
            followed = Followed(service, Route(SOCKSProxy, authority).session(proxy, stack))
            service.wait_connections(1)
            taken = measured("R34", "dispose during the TLS handshake, SOCKS5", followed.dispose(), MARK)
            assert taken < MARK * patience(soaking)


def test_a_run_is_followed_through_a_proxy_and_its_connection_is_used_again(
    route: Route, stack: ExitStack
) -> None:
    acts = (sends(LINES, then=cuts), sends(END), replies(b"{}", status=404), replies(b"{}", status=404))
    service = stack.enter_context(FakeRuns(*acts, tls=route.tls))
    proxy = stack.enter_context(route.proxy())
    session = route.session(proxy, stack)
    with RunsClient(api_key=KEY, base_url=service.url, session=session) as client:
        assert 3 == block_on(run_events(RUN, client=client).pipe(ops.count()))
        for _ in range(2):
            with suppress(APIError):
                client.get(RUN)
    first, second, *answers = [asked.connection for asked in service.requests]
    assert (0, 1) == (first, second)  # the first was cut
    assert 1 == len(set(answers))
    assert {("127.0.0.1", service.port)} == set(proxy.targets)


def test_a_socks_proxy_that_is_not_there_is_a_connection_fault(stack: ExitStack) -> None:
    with Mute() as proxy:
        address = proxy.url
    session = stack.enter_context(requests.Session())
    session.proxies = {"http": address}
    retry = RetryPolicy(max_attempts=2, base_backoff=0.001)
    with (
        RunsClient(api_key=KEY, base_url="http://runs.example", session=session, retry=retry) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.get(RUN)
    assert ("connect", 1) == (caught.value.kind, caught.value.retries)


def test_a_socks_proxy_that_never_answers_is_a_timeout(stack: ExitStack) -> None:
    proxy = stack.enter_context(Mute())
    session = stack.enter_context(requests.Session())
    session.proxies = {"http": proxy.url}
    once = RetryPolicy(max_attempts=1)
    client = RunsClient(
        api_key=KEY, base_url="http://runs.example", session=session, retry=once, connect_timeout=0.05
    )
    with client, pytest.raises(TransportError) as caught:
        client.get(RUN)
    assert "timeout" == caught.value.kind
