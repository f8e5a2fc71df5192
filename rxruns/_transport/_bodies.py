"""Bodies of responses, read whole up to a limit, or as they arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import requests
from urllib3 import HTTPResponse

from rxruns._transport._cancellation import Cancellation
from rxruns._transport._exchange import FOREIGN, Exchange
from rxruns._transport._redaction import Redactor

_PIECE = 64 * 2**10


class OpenStream:
    """A response whose body is read as it arrives. One thread reads and closes it.

    Attributes:
        status: HTTP status, 2xx.
        headers: by name, in any case.
        request_id: the service's id of the request.
        redactor: removes the request's secrets from the response.
    """

    def __init__(self, response: requests.Response, exchange: Exchange) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.request_id: str | None = exchange.request_id
        self.redactor: Redactor = exchange.redactor
        self._response = response
        self._exchange = exchange

    def chunks(self) -> Iterator[bytes]:
        """Iterate the body's bytes as they arrive, then close.

        Raises:
            TransportError: ``"timeout"`` after the read timeout, ``"request"`` if the body broke.
            Cancelled: its cancellation was cancelled.
        """
        cancellation = self._exchange.request.cancellation
        try:
            for piece in _pieces(self._response):
                cancellation.check()
                yield piece
            cancellation.check()  # a socket that was shut down can look like the end of the body
            return
        except FOREIGN as error:
            foreign = error
        finally:
            self.close()
        raise self._exchange.fault(foreign) from foreign

    def close(self) -> None:
        """Release the connection: to the pool if the body was read to its end; otherwise close it."""
        with closing(self._response, self._exchange.request.cancellation):
            pass


class closing:
    """Close the response, then release its socket."""

    def __init__(self, response: requests.Response, cancellation: Cancellation) -> None:
        self._response = response
        self._cancellation = cancellation

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None:
        self._response.close()
        self._cancellation.release()


def read_bounded(response: requests.Response, cancellation: Cancellation, limit: int) -> bytes:
    """Return the decompressed body; of one above `limit` bytes, a little more than `limit`."""
    body = bytearray()
    while len(body) <= limit and (piece := response.raw.read(_PIECE, decode_content=True)):
        body += piece
    cancellation.check()
    return bytes(body)


def unsupported_encoding(response: requests.Response) -> str | None:
    """Return the ``Content-Encoding`` of a body that urllib3 can't decompress."""
    sent: str = response.headers.get("Content-Encoding", "")
    known = ("", "identity", *HTTPResponse.CONTENT_DECODERS)
    return None if all(name.strip().lower() in known for name in sent.split(",")) else sent


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Read the body's bytes as they arrive."""
    compressed = response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
    while piece := response.raw.read1(_PIECE, decode_content=compressed):
        yield piece
