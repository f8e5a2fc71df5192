"""Removal of secrets that a service may echo, from text in any spelling and from exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from rxruns.errors import RunsError

HIDDEN = "[hidden]"

_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_HELD_BODIES = ("data", "valid_data", "partial", "doc", "unparsed_data")
"""Attributes in which exceptions of marshmallow, http.client, json and urllib3 keep received data."""


class Redactor:
    """Replaces secrets by ``[hidden]``, even if they are JSON-escaped, URL-encoded or HTML-escaped.

    Args:
        secrets: of printable ASCII.

    >>> Redactor(["mr_sk_a/b+"]).text(r"plain mr_sk_a/b+, JSON mr_sk_a\\/b\\u002B, URL mr_sk_a%2Fb%2b")
    'plain [hidden], JSON [hidden], URL [hidden]'
    """

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = ["".join(map(_spellings, secret)) for secret in secrets if secret]
        self._pattern = re.compile("|".join(spelled)) if spelled else None

    def __repr__(self) -> str:
        return f"Redactor({HIDDEN})"

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def clean(self, error: BaseException, *, keep: BaseException | None = None) -> None:
        """Remove secrets and frames from an exception, its causes and its contexts, in place.

        A frame keeps the values of its variables, and tools such as pytest and rich print them. Our own
        errors are made without secrets, so they lose only their frames.

        Args:
            keep: the caller's own exception, which was being handled at the time. It stays as it is.
        """
        seen: list[BaseException] = [] if keep is None else [keep]
        pending = [error]
        while pending:
            current = pending.pop()
            if any(current is other for other in seen):
                continue
            seen.append(current)
            current.__traceback__ = None
            if not isinstance(current, RunsError):
                self._empty_foreign(current, pending)
            pending += [cause for cause in (current.__cause__, current.__context__) if cause is not None]

    def _empty_foreign(self, error: BaseException, pending: list[BaseException]) -> None:
        if isinstance(error, UnicodeDecodeError):
            error.object = b""
            error.args = (error.encoding, b"", 0, 0, error.reason)
        elif type(error) is ValueError:  # int() quotes a part of its argument
            error.args = ()
        else:
            error.args = tuple(self._value(value, pending) for value in error.args)
        for name, value in list(vars(error).items()):
            is_body = name in _HELD_BODIES
            setattr(error, name, _empty(value) if is_body else self._value(value, pending))

    def _value(self, value: object, pending: list[BaseException]) -> Any:
        """Clean a value of an exception. One that may hold anything, such as a request, becomes None."""
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case bytes():
                return b""  # received data, in which a secret may be cut
            case BaseException():
                pending.append(value)
                return value
            case list() | tuple():
                items = cast("list[object] | tuple[object, ...]", value)
                return type(items)(self._value(item, pending) for item in items) if _is_plain(items) else None
            case dict():
                pairs = cast(dict[object, object], value).items()
                return {self._value(name, pending): self._value(item, pending) for name, item in pairs}
            case _:
                return None


def _empty(value: object) -> object:
    """Return an empty value of the same type: some exceptions measure their body to print it."""
    if isinstance(value, str | bytes):
        return type(value)()
    return value if isinstance(value, int) else None


def _is_plain(items: object) -> bool:
    return type(items) in (list, tuple)


def _spellings(char: str) -> str:
    """Return a pattern of all spellings of a character in JSON, URLs, HTML and Python's ``repr``."""
    code = f"{ord(char):02x}"
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
    named = f"|{_NAMED[char]}" if char in _NAMED else ""
    # The longest first: a character may be the start of its escaped form.
    return (
        rf"(?:\\{{1,16}}(?:u00|x){digits}|%(?:25){{0,3}}{digits}"
        rf"|&(?:#(?:0*{ord(char)}|[xX]0*{digits}){named});|\\{{0,16}}{re.escape(char)})"
    )
