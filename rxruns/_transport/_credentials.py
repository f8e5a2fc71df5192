"""API key and access token: checked, hidden, read at each attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rxruns._transport._redaction import HIDDEN, Redactor
from rxruns.errors import InvalidArgumentError

Secret = str | Callable[[], str] | None

KEY_HEADER = "X-ModelRelay-Api-Key"
TOKEN_HEADER = "Authorization"
KEY_PREFIX = "mr_sk_"


class Credentials:
    """The credentials of a client, which its ``repr`` hides.

    Args:
        api_key: starts with ``mr_sk_``; or a function that returns it, called for each attempt.
        access_token: with or without ``Bearer`` before it; or a function that returns it.

    Raises:
        InvalidArgumentError: neither is given, or one can't be sent. The message never quotes it.

    >>> Credentials("mr_sk_1", None)
    Credentials([hidden])
    """

    __slots__ = ("_access_token", "_api_key")

    def __init__(self, api_key: Secret, access_token: Secret) -> None:
        if api_key is None and access_token is None:
            raise InvalidArgumentError(
                "no credentials: pass api_key or access_token, or make the client with RunsClient.from_env()",
                field="api_key",
            )
        self._api_key = api_key
        self._access_token = access_token
        if not callable(api_key):
            _key_header(api_key)
        if not callable(access_token):
            _token_header(access_token)

    def __repr__(self) -> str:
        return f"Credentials({HIDDEN})"

    def headers(self) -> dict[str, str]:
        """Return the headers of one attempt. Exceptions of the caller's functions pass through."""
        try:
            return _key_header(_current(self._api_key)) | _token_header(_current(self._access_token))
        except InvalidArgumentError as error:
            raise error.with_traceback(None) from None  # its frames hold the secret


def redactor_of(headers: Mapping[str, str]) -> Redactor:
    """Return what removes the secrets of these headers from anything that a service sends back."""
    return Redactor(value.removeprefix("Bearer ") for value in headers.values())


def _current(secret: Secret) -> object:
    return secret() if callable(secret) else secret


def _key_header(key: object) -> dict[str, str]:
    if key is None:
        return {}
    if not isinstance(key, str) or not key.startswith(KEY_PREFIX) or key == KEY_PREFIX:
        raise _refusal("api_key", f"text that starts with {KEY_PREFIX} and continues")
    return {KEY_HEADER: _sendable("api_key", key)}


def _token_header(token: object) -> dict[str, str]:
    if token is None:
        return {}
    if not isinstance(token, str):
        raise _refusal("access_token", "text")
    bare = token[7:] if token[:7].lower() == "bearer " else token
    if not bare.strip():
        raise _refusal("access_token", "a token that isn't blank, or None")
    return {TOKEN_HEADER: f"Bearer {_sendable('access_token', bare)}"}


def _sendable(name: str, value: str) -> str:
    if not all("\x21" <= letter <= "\x7e" for letter in value):
        raise _refusal(name, "printable ASCII without blanks; does it end with a newline of a file?")
    return value


def _refusal(name: str, expectation: str) -> InvalidArgumentError:
    """Make the error of a wrong secret, which the message must not quote."""
    return InvalidArgumentError(f"{name} must be {expectation} (its value is not shown)", field=name)
