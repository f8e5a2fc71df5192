"""Admission of requests: only for the names of this service, not from foreign web pages, with the key."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from rxruns._display._text import visible
from rxruns._loopback import Head, Refusal
from rxruns.errors import InvalidArgumentError

__all__ = ["check_hosts", "is_address", "refuse_foreign", "refuse_unauthorized"]


def check_hosts(names: Iterable[str]) -> frozenset[str]:
    """Return host names in the form for comparison: lower case.

    Raises:
        InvalidArgumentError: one is not a name, or has a port.

    >>> sorted(check_hosts(["Runs.example", "gateway"]))
    ['gateway', 'runs.example']
    """
    remedy = 'give host names without a port, such as ["runs.example"]'
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidArgumentError(
            f"allow_hosts must be a list of names, got {names!r}; {remedy}", field="allow_hosts"
        )
    found: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name or _name_of(name) != name.lower().rstrip("."):
            raise InvalidArgumentError(
                f"allow_hosts must be names of hosts, got {name!r}; {remedy}", field="allow_hosts"
            )
        found.add(name.lower().rstrip("."))
    return frozenset(found)


def is_address(name: str) -> bool:
    """Return True for an IP address.

    >>> is_address("127.0.0.1"), is_address("::1"), is_address("localhost")
    (True, True, False)
    """
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def refuse_foreign(head: Head, hosts: frozenset[str]) -> None:
    """Refuse foreign hosts, and requests of web pages from another origin.

    A page whose name was pointed to this machine (DNS rebinding) sends its own name as the host. An IP
    address can't be pointed elsewhere.

    Raises:
        Refusal: 400 or 403.
    """
    if head.host is not None:
        name = _name_of(head.host)
        if name is None:
            raise Refusal(400, "INVALID_INPUT", "the header Host must be a host with an optional port")
        if name != "localhost" and name not in hosts and not is_address(name):
            printable = visible(name[:100])
            raise Refusal(
                403,
                "FORBIDDEN",
                f"Host must be localhost, an IP address or a name that was allowed, got {printable}; "
                f"start the service with --allow-host {printable} (allow_hosts of DevServer)",
            )
    origin = head.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{head.host}".lower():
        raise Refusal(403, "FORBIDDEN", "requests of web pages from another origin are refused")


def refuse_unauthorized(headers: Mapping[str, str], key: str, token: str) -> None:
    """Refuse a request without the key or token. If it has both, both must be right.

    Raises:
        Refusal: 401.
    """
    given = False
    sent_key, bearer = headers.get("x-modelrelay-api-key"), headers.get("authorization")
    if sent_key is not None:
        given = _same(sent_key, key)
    if bearer is not None and (sent_key is None or given):
        scheme, _, sent = bearer.partition(" ")
        given = scheme.lower() == "bearer" and (_same(sent, token) | _same(sent, key))
    if not given:
        raise Refusal(401, "UNAUTHORIZED", "send the key of this service in X-ModelRelay-Api-Key")


def _name_of(authority: str) -> str | None:
    """Return the host of ``host:port`` in lower case; None if it has another form."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # which is looked at now
    except ValueError:
        return None
    if parts.netloc != authority or "@" in authority or not parts.hostname:
        return None
    return parts.hostname.rstrip(".")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), expected.encode())
