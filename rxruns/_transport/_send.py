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
from rxruns._transport._exchange import FOREIGN, Exchange, Request
from rxruns._transport._sessions import close_idle, new_session, note_sockets_of, renew_in_children
from rxruns.errors import APIError, RunsError, TransportError

Session = requests.Session

MAX_BODY = 64 * 2**20
"""Bytes of a response that isn't a stream, decompressed: a small gzip must not fill the memory."""

_MAX_ERROR_BODY = 64 * 2**10

logger = logging.getLogger("rxruns")
T = TypeVar("T")


class Transport:
    """Sends requests to one service. Safe to use from many threads.

    Args:
        base_url: without a trailing slash.
        credentials: read at each attempt.
        headers: the caller's own, sent with each request.
        connect_timeout: seconds for each TCP connect.
        session: the caller's own, which is not closed here; its adapters are changed to note their sockets.
        on_request: gets the metrics of each request. Its exceptions are logged, and don't affect the request.
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
        """Ignore proxies of the environment, unless the session is the caller's own."""
        if self._owns_session:
            self._session.trust_env = False  # which also makes requests ignore this variable:
            self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True

    def request(self, request: Request) -> Answer:
        """Send, retry as the policy says, and read the whole response.

        Raises:
            APIError: the service answered with an error status, or with a redirect.
            TransportError: no whole response was received, or one above 64 MiB.
            Cancelled: its cancellation was cancelled.
        """

        def read(response: requests.Response, exchange: Exchange) -> Answer:
            with closing(response, request.cancellation):
                body = read_bounded(response, request.cancellation, MAX_BODY)
            if len(body) > MAX_BODY:
                raise TransportError(f"{request}: a response above {MAX_BODY:,} bytes", kind="other")
            return Answer(response.status_code, exchange.request_id, body, exchange.redactor)

        return self._perform(request, read)

    def open_stream(self, request: Request) -> OpenStream:
        """Send, retry as the policy says, and return at the headers of a 2xx response.

        Raises:
            APIError, TransportError, Cancelled: as in :meth:`request`.
        """
        return self._perform(request, OpenStream)

    def _perform(self, request: Request, consume: Callable[[requests.Response, Exchange], T]) -> T:
        exchange = Exchange(request)
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
        """Attempt until it succeeds, or the policy gives up."""
        request = exchange.request
        while True:
            exchange.begin()
            try:
                return self._attempt(exchange, consume)
            except (APIError, TransportError) as error:
                logger.debug("%s: attempt %d: %s", request, exchange.attempts, error)
                if request.retry is None or not request.may_retry(error, exchange.attempts):
                    raise
                retry_after = error.retry_after if isinstance(error, APIError) else None
                delay = request.retry.delay(exchange.attempts, retry_after)
            if request.cancellation.wait(delay):
                raise Cancelled

    def _attempt(self, exchange: Exchange, consume: Callable[[requests.Response, Exchange], T]) -> T:
        """Make one attempt. Release the socket on every way out, unless `consume` took the response over."""
        exchange.request.cancellation.check()
        auth = _Auth(self._credentials.headers())
        exchange.redactor = auth.redactor
        try:
            response = self._send(exchange, auth)
            logger.debug(
                "%s: attempt %d: status %s, request %s",
                exchange.request,
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
            exchange.request.cancellation.release()
            raise
        exchange.request.cancellation.release()
        raise exchange.fault(foreign) from foreign

    def _send(self, exchange: Exchange, auth: AuthBase) -> requests.Response:
        request, session = exchange.request, self._session
        prepared = session.prepare_request(
            requests.Request(
                request.method,
                self._base_url + request.path,
                headers={**self._headers, **request.headers},
                params=urlencode(request.params, safe=","),
                data=request.body,
                auth=auth,
            )
        )
        url = prepared.url or self._base_url
        # With verify=None, requests keeps the session's own choice over REQUESTS_CA_BUNDLE.
        verify = None if session.verify is True else session.verify
        settings = session.merge_environment_settings(url, {}, True, verify, None)
        note_sockets_of(session, url, settings["proxies"])
        # A hook, because requests would read the body of a redirect, and parse its target.
        prepared.hooks["response"].append(_check_status(exchange))
        timeout = (self._connect_timeout, request.read_timeout)
        with used_for(exchange):
            return session.send(prepared, timeout=timeout, allow_redirects=False, **settings)

    def _report(self, exchange: Exchange, error: RunsError | None) -> None:
        if self._on_request is None:
            return
        metrics = RequestMetrics(
            method=exchange.request.method,
            path=exchange.request.path,
            status=exchange.status,
            latency=time.monotonic() - exchange.started,
            attempts=exchange.attempts,
            request_id=exchange.request_id,
            error=error,
        )
        try:
            self._on_request(metrics)
        except Exception:
            logger.exception("%s: on_request raised; ignored", exchange.request)


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
            raise TransportError(f"{exchange.request}: unexpected status {status}")
        if 300 <= status < 400:
            response.close()
            raise status_error(status, response.headers)

    return check


def _check_encoding(response: requests.Response, exchange: Exchange) -> None:
    """Raise an error for a body that can't be unpacked."""
    if encoding := unsupported_encoding(response):
        response.close()
        raise TransportError(
            f"{exchange.request}: the response's Content-Encoding must be one of the requested ones, "
            f"got {visible(encoding)!r}; is there a proxy that compresses?"
        )


def _refusal(response: requests.Response, exchange: Exchange) -> APIError:
    """The error of an error status. A body that breaks counts as empty, an endless one is cut."""
    cancellation = exchange.request.cancellation
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
