"""What callers pass: checked before anything is sent."""

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
from reactivex import Observable

from rxruns._errors import must_be
from rxruns.errors import InvalidArgumentError, StreamProtocolError
from rxruns.events import MAX_INTEGER, NIL

MAX_PAGE = 10_000
"""The most events that one connection may be limited to."""

OnInvalid = Literal["raise"] | Callable[[StreamProtocolError], object]

_INCLUDABLE = ("steps", "tool_calls")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")


def check_id(value: object, field: str) -> UUID:
    """The UUID that is meant, which must not be the nil one."""
    try:
        found = value if isinstance(value, UUID) else msgspec.convert(value, UUID)
    except msgspec.ValidationError:
        raise InvalidArgumentError(
            f"{field} is {value!r}: give a uuid.UUID or its text", field=field
        ) from None
    if found == NIL:
        raise InvalidArgumentError(f"{field} is required: it must not be the nil UUID", field=field)
    return found


def check_run_id(value: object) -> UUID:
    """The run's id, of a UUID or its text."""
    return check_id(value, "run_id")


def check_run_ids(value: object) -> None:
    """Refuse what gives no ids, one id too: its text would be taken letter by letter."""
    if isinstance(value, str | UUID):
        raise InvalidArgumentError("run_ids is one id: give [run_id]", field="run_ids")
    check_kind("run_ids", value, Iterable, "give an iterable of ids")


def check_after_seq(value: object) -> None:
    """Refuse what is no ``seq`` to go on after."""
    check_whole_number("after_seq", value, at_least=0)


def check_limit(value: object) -> None:
    """Refuse what is no number of events; None is no limit."""
    if value is not None:
        check_whole_number("limit", value, at_least=1)


def check_include(include: Iterable[str]) -> str:
    """The names to include, as the query wants them."""
    check_kind("include", include, Iterable, "give some of " + ", ".join(map(repr, _INCLUDABLE)))
    names = (include,) if isinstance(include, str) else tuple(include)
    for name in names:
        if name not in _INCLUDABLE:
            raise InvalidArgumentError(
                f"include has {name!r}: it may have {' and '.join(map(repr, _INCLUDABLE))}", field="include"
            )
    return ",".join(names)


def check_whole_number(name: str, value: object, *, at_least: int) -> None:
    """Raise `InvalidArgumentError` unless `value` is an int from `at_least` to 2**63 - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise InvalidArgumentError(
            f"{name} is {_shown(value)}: give a whole number, {at_least} or more", field=name
        )
    if value > MAX_INTEGER:
        raise InvalidArgumentError(f"{name} must be at most 2**63 - 1, got {_shown(value)}", field=name)


def check_seconds(name: str, value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is a finite number of seconds, 0 or more."""
    if not _is_number(value) or value < 0:
        raise InvalidArgumentError(f"{name} is {_shown(value)}: give seconds, 0 or more", field=name)


def check_timeout(name: str, value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is None or a finite number of seconds above 0."""
    if value is not None and (not _is_number(value) or value <= 0):
        raise InvalidArgumentError(
            f"{name} is {_shown(value)}: give seconds above 0, or None for no limit", field=name
        )


def check_flag(name: str, value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is a bool."""
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{name} is {value!r}: give True or False", field=name)


def _shown(value: object) -> str:
    """The value as a message quotes it. Python refuses to print an integer of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return f"an {type(value).__name__} of thousands of digits"


def _is_number(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # which no NaN is


def check_callback(name: str, value: object) -> None:
    """Refuse what can not be called; None is no callback."""
    if value is not None and not callable(value):
        raise InvalidArgumentError(f"{name} is {value!r}: give a function, or None", field=name)


def check_on_invalid(value: object) -> None:
    """Refuse anything but ``"raise"`` or a function."""
    if value != "raise" and not callable(value):
        raise must_be("on_invalid", "'raise' or a function", value)


def check_kind(name: str, value: object, kind: type[Any] | UnionType, remedy: str) -> None:
    """Refuse what is no instance of a class, or of one of several."""
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{name} is {value!r}: {remedy}", field=name)


def check_source(value: object) -> None:
    """Refuse what is no Observable."""
    check_kind("source", value, Observable, "give an Observable, such as run_events(run_id)")


def check_path(name: str, value: str | os.PathLike[str]) -> Path:
    """The path that is meant, which the file system can take."""
    check_kind(name, value, str | os.PathLike, "give a path, as text or a pathlib.Path")
    try:
        path = Path(value)
        if os.fspath(value) and b"\0" not in os.fsencode(path):
            return path
    except (TypeError, UnicodeEncodeError):  # a path of bytes; a lone surrogate
        pass
    raise InvalidArgumentError(
        f"{name} must be a path in text, not empty and without NUL characters, got {value!r}", field=name
    )


def check_base_url(value: object) -> str:
    """The base URL without a trailing slash. One that is refused is not shown: it may hold a password."""
    remedy = "give one such as https://api.modelrelay.ai/api/v1"
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise InvalidArgumentError(f"base_url has to be a URL in ASCII: {remedy}", field="base_url")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    else:
        if "@" in parts.netloc or "?" in value or "#" in value:
            raise InvalidArgumentError(
                f"base_url must not carry a password, a query or a fragment: {remedy}", field="base_url"
            )
    if not usable:
        raise InvalidArgumentError(
            f"base_url has to start with http:// or https:// and name a host: {remedy}", field="base_url"
        )
    return value.rstrip("/")


def is_exposed(base_url: str) -> bool:
    """Whether credentials would cross a network without TLS."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def check_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The caller's own headers. A value is never shown: it may be a secret."""
    checked = dict(headers or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidArgumentError(f"headers has {name!r}, which is no header's name", field="headers")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            raise InvalidArgumentError(
                f"headers[{name!r}] has to be text without control characters or blanks around it "
                "(it is not shown here)",
                field="headers",
            )
    return checked


def path_segment(name: str, value: object) -> str:
    """Text as one segment of a URL's path: any text but the two that mean a place.

    >>> path_segment("tool_id", "call/1 ä")
    'call%2F1%20%C3%A4'
    """
    if not isinstance(value, str) or value in ("", ".", ".."):
        raise InvalidArgumentError(f"{name} must be an id, got {value!r}", field=name)
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name} must be text in UTF-8, got {value!r}", field=name) from None


def filled(name: str, value: str | None) -> str | None:
    """Trimmed text; a blank one counts as not given."""
    if value is not None and not isinstance(value, str):
        raise InvalidArgumentError(f"{name} is {value!r}: give text, or None", field=name)
    return (value or "").strip() or None
