"""Requests, retries, streams and their errors: the only package that names requests or urllib3.

Their exceptions become a :class:`~rxruns.errors.TransportError` or an :class:`~rxruns.errors.APIError`
here, with theirs as its ``__cause__``. Each request has a :class:`Cancellation`, which ends every phase
except DNS and TCP connect at once; after these nothing more is sent.

``_cancellation`` frees a blocked socket, ``_credentials``, ``_redaction`` and ``_answers`` are values,
``_exchange`` is one request and its progress. ``_chunked`` decodes chunks, ``_response`` reads status and
headers, ``_connections`` and ``_socks`` are urllib3's connections that register their sockets, ``_sessions``
makes requests use those, ``_bodies`` reads, ``_send`` combines them.
"""

from rxruns._transport._answers import Answer, RequestMetrics
from rxruns._transport._bodies import OpenStream
from rxruns._transport._cancellation import Cancellation, Cancelled
from rxruns._transport._credentials import Credentials, Secret
from rxruns._transport._exchange import Request
from rxruns._transport._redaction import Redactor
from rxruns._transport._send import Session, Transport

__all__ = [
    "Answer",
    "Request",
    "Cancellation",
    "Cancelled",
    "Credentials",
    "OpenStream",
    "Redactor",
    "RequestMetrics",
    "Secret",
    "Session",
    "Transport",
]
