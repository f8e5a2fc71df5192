"""API key and access token: checked, kept out of sight, asked for at each attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rxruns._transport._redaction import HIDDEN, Redactor
from rxruns.errors import InvalidArgumentError

Secret = str | Callable[[], str] | None

KEY_HEADER = "X-ModelRelay-Api-Key"
TOKEN_HEADER = "Authorization"
KEY_PREFIX = "mr_sk_"


class Credentials:
    """What proves who asks. Shows nothing of it in its ``repr``.

    Args:
        api_key: starts with ``mr_sk_``; or a function that gives it, called for each attempt.
        access_token: with or without ``Bearer`` before it; or a function that gives it.

    Raises:
        InvalidArgumentError: neither is given, or one can not be sent. The message never shows it.

    >>> Credentials("mr_sk_1", None)
    Credentials([hidden])
    """

    __slots__ = ("_access_token", "_api_key")

    def __init__(self, api_key: Secret, access_token: Secret) -> None:
        if api_key is None and access_token is None:
            raise InvalidArgumentError(
                "no credentials: give api_key or access_token, or make the client with RunsClient.from_env()",
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
        """The headers of one attempt. What a function of the caller's raises passes through."""
        try:
            return _key_header(_asked(self._api_key)) | _token_header(_asked(self._access_token))
        except InvalidArgumentError as error:
            raise error.with_traceback(None) from None  # its frames hold the secret


def redactor_of(headers: Mapping[str, str]) -> Redactor:
    """What removes the secrets of these headers from all that a service may send back."""
    return Redactor(value.removeprefix("Bearer ") for value in headers.values())


def _asked(secret: Secret) -> object:
    return secret() if callable(secret) else secret


def _key_header(key: object) -> dict[str, str]:
    if key is None:
        return {}
    if not isinstance(key, str) or not key.startswith(KEY_PREFIX) or key == KEY_PREFIX:
        raise InvalidArgumentError(
            f"api_key has to be text that starts with {KEY_PREFIX} and goes on (it is not shown here)",
            field="api_key",
        )
    return {KEY_HEADER: _sendable("api_key", key)}


def _token_header(token: object) -> dict[str, str]:
    if token is None:
        return {}
    if not isinstance(token, str):
        raise InvalidArgumentError("access_token has to be text (it is not shown here)", field="access_token")
    bare = token[7:] if token[:7].lower() == "bearer " else token
    if not bare.strip():
        raise InvalidArgumentError("access_token is blank: give a token, or None", field="access_token")
    return {TOKEN_HEADER: f"Bearer {_sendable('access_token', bare)}"}


def _sendable(name: str, value: str) -> str:
    if not all("\x21" <= letter <= "\x7e" for letter in value):
        raise InvalidArgumentError(
            f"{name} has blanks, control characters or others that a header can not carry; "
            "a newline from a file, perhaps? (it is not shown here)",
            field=name,
        )
    return value
