"""Checks of arguments, made before anything is sent. Each raises the error that `must_be` makes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeGuard
from urllib.parse import quote, urlsplit
from uuid import UUID

import msgspec

from rxruns._errors import InvalidArgumentError, must_be
from rxruns.errors import StreamProtocolError
from rxruns.events import MAX_INTEGER, NIL

MAX_PAGE = 10_000
"""The most events that one connection may be limited to."""

OnInvalid = Literal["raise"] | Callable[[StreamProtocolError], object]

_INCLUDABLE = ("steps", "tool_calls")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")


def check_id(value: object, field: str) -> UUID:
    """Return the UUID of an id; the nil UUID is refused."""
    try:
        found = value if isinstance(value, UUID) else msgspec.convert(value, UUID)
    except msgspec.ValidationError:
        found = NIL
    if found == NIL:
        raise must_be(field, "a uuid.UUID or its text, and not the nil UUID", value)
    return found


def check_run_id(value: object) -> UUID:
    """Return the UUID of a run."""
    return check_id(value, "run_id")


def check_run_ids(value: object) -> None:
    """Require an iterable of ids. A single id is refused: its text would be read letter by letter."""
    if isinstance(value, str | UUID):
        raise must_be("run_ids", "an iterable of ids", value, "pass [run_id]")
    check_kind("run_ids", value, Iterable, "an iterable of ids")


def check_after_seq(value: object) -> None:
    """Require a ``seq`` to start after."""
    check_whole_number("after_seq", value, at_least=0)


def check_limit(value: object) -> None:
    """Require a maximum number of events, or None."""
    if value is not None:
        check_whole_number("limit", value, at_least=1)


def check_include(include: Iterable[str]) -> str:
    """Return the names to include, as the query has them."""
    expectation = "some of " + ", ".join(map(repr, _INCLUDABLE))
    check_kind("include", include, Iterable, expectation)
    names = (include,) if isinstance(include, str) else tuple(include)
    for name in names:
        if name not in _INCLUDABLE:
            raise must_be("include", expectation, name)
    return ",".join(names)


def check_whole_number(name: str, value: object, *, at_least: int) -> None:
    """Require an int from `at_least` to 2**63 - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= MAX_INTEGER:
        raise must_be(name, f"an int from {at_least} to 2**63 - 1", value)


def check_seconds(name: str, value: object) -> None:
    """Require a finite number of seconds, 0 or more."""
    if not _is_number(value) or value < 0:
        raise must_be(name, "a number of seconds, 0 or more", value)


def check_timeout(name: str, value: object) -> None:
    """Require a finite number of seconds above 0, or None."""
    if value is not None and (not _is_number(value) or value <= 0):
        raise must_be(name, "a number of seconds above 0, or None for no limit", value)


def check_flag(name: str, value: object) -> None:
    """Require a bool."""
    check_kind(name, value, bool, "a bool")


def check_text(name: str, value: object) -> None:
    """Require text."""
    check_kind(name, value, str, "a str")


def _is_number(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # False for NaN


def check_callback(name: str, value: object) -> None:
    """Require a function, or None."""
    if value is not None and not callable(value):
        raise must_be(name, "a function or None", value)


def check_on_invalid(value: object) -> None:
    """Require ``"raise"`` or a function."""
    if value != "raise" and not callable(value):
        raise must_be("on_invalid", "'raise' or a function", value)


def check_kind(
    name: str, value: object, kind: type[Any] | UnionType, expectation: str, remedy: str = ""
) -> None:
    """Require an instance of a class, or of one of several. `must_be` gets the expectation and the remedy."""
    if not isinstance(value, kind):
        raise must_be(name, expectation, value, remedy)


def check_path(name: str, value: str | os.PathLike[str]) -> Path:
    """Return the path, which the file system accepts."""
    try:
        path = Path(value)
        if os.fspath(value) and b"\0" not in os.fsencode(path):
            return path
    except (TypeError, UnicodeEncodeError):  # another kind of object, a path of bytes, a lone surrogate
        pass
    raise must_be(name, "a path as str or pathlib.Path, not empty and without NUL characters", value)


def check_base_url(value: object) -> str:
    """Return the base URL of a runs service without a trailing slash."""
    return check_url("base_url", value, "https://api.modelrelay.ai/api/v1")


def check_url(name: str, value: object, example: str) -> str:
    """Return a base URL without a trailing slash. A refused one isn't quoted: it may hold a password."""
    form = f"{name} must be %s, such as {example} (its value is not shown)"
    problem = None
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise InvalidArgumentError(form % "a URL in ASCII", field=name)
    try:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            problem = "a URL that starts with http:// or https:// and has a host"
        elif "@" in parts.netloc or "?" in value or "#" in value:
            problem = "a URL without a password, a query or a fragment"
    except ValueError:
        problem = "a URL that starts with http:// or https:// and has a host"
    if problem:
        raise InvalidArgumentError(form % problem, field=name)
    return value.rstrip("/")


def is_exposed(base_url: str) -> bool:
    """Return True if credentials would cross a network without TLS."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def check_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the caller's own headers. A value is never quoted: it may be a secret."""
    checked = dict(headers or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise must_be("headers", "a mapping with the names of headers as keys", name)
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            raise InvalidArgumentError(
                f"headers[{name!r}] must be Latin-1 text without control characters or blanks around it "
                "(its value is not shown)",
                field="headers",
            )
    return checked


def path_segment(name: str, value: object) -> str:
    """Quote text as one segment of a URL's path. Only ``.`` and ``..`` are refused, and empty text.

    >>> path_segment("tool_id", "call/1 ä")
    'call%2F1%20%C3%A4'
    """
    try:
        if isinstance(value, str) and value not in ("", ".", ".."):
            return quote(value, safe="")
    except UnicodeEncodeError:  # a lone surrogate
        pass
    raise must_be(name, "an id in text", value)


def filled(name: str, value: str | None) -> str | None:
    """Return trimmed text; blank text counts as None."""
    check_kind(name, value, str | None, "a str or None")
    return (value or "").strip() or None
