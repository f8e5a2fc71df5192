"""The outputs of tool calls: text that can be sent, whatever a tool returns or raises."""

from __future__ import annotations

import inspect
import logging
import traceback
from pathlib import PurePath
from typing import Any

import msgspec

from rxruns._display._text import clipped, visible

__all__ = ["LONGEST_ERROR", "MAX_OUTPUT_BYTES", "as_output", "error_output", "failed_output"]

MAX_OUTPUT_BYTES = 4 * 2**20
"""The longest output, in bytes of UTF-8: 4 MiB."""

LONGEST_ERROR = 4_000
_LONGEST_TRACEBACK = 20_000

logger = logging.getLogger("rxruns")


class Unsendable(Exception):
    """The value that a tool returned can't be sent."""


def as_output(returned: object) -> str:
    """Return text as it is, any other value as JSON.

    Raises:
        Unsendable: it is longer than `MAX_OUTPUT_BYTES`, can't be encoded as UTF-8, or is a coroutine.
        Exception: it can't be encoded as JSON.
    """
    if inspect.isawaitable(returned) or inspect.isasyncgen(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise Unsendable("the tool returned a coroutine: wrap the function with asyncio.run")
    try:
        data = (
            returned.encode() if isinstance(returned, str) else msgspec.json.encode(returned, enc_hook=_plain)
        )
    except UnicodeEncodeError as error:
        found = error.object[error.start : error.start + 1]
        raise Unsendable(
            f"the output can't be sent as UTF-8: it has {found!r} at position {error.start}"
        ) from error
    if len(data) > MAX_OUTPUT_BYTES:
        raise Unsendable(f"the output of {len(data):,} bytes is larger than {MAX_OUTPUT_BYTES:,} bytes")
    return data.decode()


def error_output(message: str) -> str:
    """An error as an output for the model: valid UTF-8, and shortened if it is long."""
    text = message.encode("utf-8", "backslashreplace").decode()
    return f"Error: {clipped(text, LONGEST_ERROR)}"


def failed_output(what: str, error: BaseException) -> str:
    """The output of a call that raised; the traceback is logged as a warning."""
    try:
        message = str(error)
    except BaseException:  # `__str__` raised too
        message = ""
    message = message or type(error).__name__
    lines = clipped("".join(traceback.format_exception(error)), _LONGEST_TRACEBACK).split("\n")
    logger.warning(
        "%s failed: %s\n%s",
        visible(what),
        visible(clipped(message, LONGEST_ERROR)),
        "\n".join(f"  {visible(line)}" for line in lines),
    )
    return error_output(message)


def _plain(value: Any) -> object:
    """Convert values that msgspec can't encode: paths and pydantic's models, as in arguments."""
    if isinstance(value, PurePath):
        return str(value)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json")
    raise Unsendable(f"Encoding objects of type {type(value).__name__} is unsupported")
