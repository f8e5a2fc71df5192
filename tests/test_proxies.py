"""Streams through an HTTP proxy and through SOCKS5 are disposed and resumed as without one (R34)."""

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
    """Measure the seconds of dispose after `ready` events, or after the request for 0."""
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


def test_a_run_is_followed_through_a_proxy_and_its_connection_is_reused(
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
    first, second, *others = [request.connection for request in service.requests]
    assert (0, 1) == (first, second)  # the first was cut
    assert 1 == len(set(others))
    assert {("127.0.0.1", service.port)} == set(proxy.targets)


@pytest.mark.parametrize(("is_open", "kind"), [(False, "connect"), (True, "timeout")])
def test_a_socks_proxy_that_is_closed_or_silent_is_a_fault(
    is_open: bool, kind: str, stack: ExitStack
) -> None:
    url = stack.enter_context(Mute()).url
    if not is_open:
        stack.close()
    session = stack.enter_context(requests.Session())
    session.proxies = {"http": url}
    options = {"retry": RetryPolicy(2, 0.001), "connect_timeout": 0.05 if is_open else 5.0}
    with RunsClient(api_key=KEY, base_url="http://runs.example", session=session, **options) as client:  # type: ignore[arg-type]
        with pytest.raises(TransportError) as caught:
            client.get(RUN)
    assert (kind, 1) == (caught.value.kind, caught.value.retries)
