"""The transport: attempts, retries, metrics."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase

from rxruns._display._text import visible
from rxruns._transport._answers import Answer, RequestMetrics, api_error, request_id_of, status_error
from rxruns._transport._bodies import OpenStream, closing, read_bounded, unsupported_encoding
from rxruns._transport._cancellation import Cancelled
from rxruns._transport._connections import used_for
from rxruns._transport._credentials import Credentials, redactor_of
from rxruns._transport._exchange import FOREIGN, Ask, Exchange
from rxruns._transport._sessions import close_idle, new_session, note_sockets_of, renew_in_children
from rxruns.errors import APIError, RunsError, TransportError

Session = requests.Session

MAX_BODY = 64 * 2**20
"""Bytes of an answer that is no stream, unpacked: a small gzip must not fill the memory."""

_MAX_ERROR_BODY = 64 * 2**10

logger = logging.getLogger("rxruns")
T = TypeVar("T")


class Transport:
    """Sends requests to one service. Safe to use from many threads.

    Args:
        base_url: without a trailing slash.
        credentials: asked at each attempt.
        headers: the caller's own, sent with each request.
        connect_timeout: seconds for each TCP connect.
        session: the caller's own, which is not closed here; its adapters are made to note their sockets.
        on_request: gets the metrics of each request. What it raises is logged, and the request goes on.
    """

    def __init__(
        self,
        *,
        base_url: str,
        credentials: Credentials,
        headers: Mapping[str, str],
        connect_timeout: float | None,
        session: requests.Session | None = None,
        on_request: Callable[[RequestMetrics], object] | None = None,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._headers = dict(headers)
        self._connect_timeout = connect_timeout
        self._on_request = on_request
        self._owns_session = session is None
        self._session = new_session() if session is None else session
        renew_in_children(self._session)

    def close(self) -> None:
        """Close idle connections, unless the session is the caller's own."""
        if self._owns_session:
            close_idle(self._session)

    def ignore_proxies(self) -> None:
        """Take no proxies from the environment, unless the session is the caller's own."""
        if self._owns_session:
            self._session.trust_env = False  # with which requests would forget this, too:
            self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True

    def request(self, ask: Ask) -> Answer:
        """Send, retry as the policy says, and read the whole answer.

        Raises:
            APIError: the service answered with an error status, or with a redirect.
            TransportError: no whole answer came, or one above 64 MiB.
            Cancelled: its cancellation was cancelled.
        """

        def read(response: requests.Response, exchange: Exchange) -> Answer:
            with closing(response, ask.cancellation):
                body = read_bounded(response, ask.cancellation, MAX_BODY)
            if len(body) > MAX_BODY:
                raise TransportError(f"{ask}: the answer is larger than {MAX_BODY:,} bytes", kind="other")
            return Answer(response.status_code, exchange.request_id, body, exchange.redactor)

        return self._perform(ask, read)

    def open_stream(self, ask: Ask) -> OpenStream:
        """Send, retry as the policy says, and return once the headers of a 2xx answer are there.

        Raises:
            APIError, TransportError, Cancelled: as in :meth:`request`.
        """
        return self._perform(ask, OpenStream)

    def _perform(self, ask: Ask, consume: Callable[[requests.Response, Exchange], T]) -> T:
        exchange = Exchange(ask)
        try:
            result = self._persist(exchange, consume)
        except (APIError, TransportError) as error:
            error.retries = exchange.attempts - 1
            error.__traceback__ = None  # frames keep what was sent and received
            self._report(exchange, error)
            raise error.with_traceback(None) from error.__cause__
        self._report(exchange, None)
        return result

    def _persist(self, exchange: Exchange, consume: Callable[[requests.Response, Exchange], T]) -> T:
        """Attempt until it works, or the policy gives up."""
        ask = exchange.ask
        while True:
            exchange.begin()
            try:
                return self._attempt(exchange, consume)
            except (APIError, TransportError) as error:
                logger.debug("%s: attempt %d: %s", ask, exchange.attempts, error)
                if ask.retry is None or not ask.may_retry(error, exchange.attempts):
                    raise
                retry_after = error.retry_after if isinstance(error, APIError) else None
                delay = ask.retry.delay(exchange.attempts, retry_after)
            if ask.cancellation.wait(delay):
                raise Cancelled

    def _attempt(self, exchange: Exchange, consume: Callable[[requests.Response, Exchange], T]) -> T:
        """One attempt. The socket is let go of on every way out, unless `consume` took the response over."""
        exchange.ask.cancellation.check()
        auth = _Auth(self._credentials.headers())
        exchange.redactor = auth.redactor
        try:
            response = self._send(exchange, auth)
            logger.debug(
                "%s: attempt %d: status %s, request %s",
                exchange.ask,
                exchange.attempts,
                exchange.status,
                exchange.request_id,
            )
            if not response.ok:
                raise _refusal(response, exchange)
            _check_encoding(response, exchange)
            return consume(response, exchange)
        except FOREIGN as error:
            foreign = error
        except BaseException:
            exchange.ask.cancellation.release()
            raise
        exchange.ask.cancellation.release()
        raise exchange.fault(foreign) from foreign

    def _send(self, exchange: Exchange, auth: AuthBase) -> requests.Response:
        ask, session = exchange.ask, self._session
        prepared = session.prepare_request(
            requests.Request(
                ask.method,
                self._base_url + ask.path,
                headers={**self._headers, **ask.headers},
                params=urlencode(ask.params, safe=","),
                data=ask.body,
                auth=auth,
            )
        )
        url = prepared.url or self._base_url
        # requests would put REQUESTS_CA_BUNDLE over the session's own choice if not asked here.
        verify = None if session.verify is True else session.verify
        settings = session.merge_environment_settings(url, {}, True, verify, None)
        note_sockets_of(session, url, settings["proxies"])
        # A hook, because requests would read the body of a redirect, and parse its target.
        prepared.hooks["response"].append(_check_status(exchange))
        timeout = (self._connect_timeout, ask.read_timeout)
        with used_for(exchange):
            return session.send(prepared, timeout=timeout, allow_redirects=False, **settings)

    def _report(self, exchange: Exchange, error: RunsError | None) -> None:
        if self._on_request is None:
            return
        metrics = RequestMetrics(
            method=exchange.ask.method,
            path=exchange.ask.path,
            status=exchange.status,
            latency=time.monotonic() - exchange.started,
            attempts=exchange.attempts,
            request_id=exchange.request_id,
            error=error,
        )
        try:
            self._on_request(metrics)
        except Exception:
            logger.exception("on_request raised; %s goes on", exchange.ask)


class _Auth(AuthBase):
    """Sets our headers last. Without an ``auth``, requests would put credentials of a .netrc over them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.redactor = redactor_of(headers)

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers.update(self._headers)
        return prepared


def _check_status(exchange: Exchange) -> Callable[..., None]:
    def check(response: requests.Response, **options: object) -> None:
        for name, value in response.headers.items():
            response.headers[name] = visible(exchange.redactor.text(value))  # some proxies quote the request
        exchange.status = status = response.status_code
        exchange.request_id = request_id_of(response.headers)
        if status < 200:
            response.close()
            raise TransportError(f"{exchange.ask}: an unexpected status {status} in the place of an answer")
        if 300 <= status < 400:
            response.close()
            raise status_error(status, response.headers)

    return check


def _check_encoding(response: requests.Response, exchange: Exchange) -> None:
    """Raise an error for a body that can't be unpacked."""
    if encoding := unsupported_encoding(response):
        response.close()
        raise TransportError(
            f"{exchange.ask}: the response's Content-Encoding must be one that was asked for, "
            f"got {visible(encoding)!r}; is there a proxy that compresses?"
        )


def _refusal(response: requests.Response, exchange: Exchange) -> APIError:
    """The error of an error status. A body that breaks counts as empty, an endless one is cut."""
    cancellation = exchange.ask.cancellation
    with closing(response, cancellation):
        try:
            body = (
                b""
                if unsupported_encoding(response)
                else read_bounded(response, cancellation, _MAX_ERROR_BODY)
            )
        except FOREIGN:
            cancellation.check()
            body = b""
    error = api_error(response.status_code, response.headers, body[:_MAX_ERROR_BODY], exchange.redactor)
    exchange.request_id = error.request_id
    return error
