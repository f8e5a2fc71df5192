"""The outputs of tool calls: text that can be sent, whatever a tool returned or raised."""

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
"""The most bytes of UTF-8 that an output may have: 4 MiB."""

LONGEST_ERROR = 4_000
_LONGEST_TRACEBACK = 20_000

logger = logging.getLogger("rxruns")


class Unsendable(Exception):
    """What a tool returned can't be sent."""


def as_output(returned: object) -> str:
    """Text as it is, all else as JSON.

    Raises:
        Unsendable: it is longer than `MAX_OUTPUT_BYTES`, can't be written as UTF-8, or is a coroutine.
        Exception: it can't be written as JSON.
    """
    if inspect.isawaitable(returned) or inspect.isasyncgen(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise Unsendable("it returned a coroutine: a tool is called on a thread; wrap it with asyncio.run")
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
    return returned if type(returned) is str else data.decode()


def error_output(message: str) -> str:
    """A failure as an output, on which the model goes on: cut where it is long, and always text in UTF-8."""
    text = message.encode("utf-8", "backslashreplace").decode()
    return f"Error: {clipped(text, LONGEST_ERROR)}"


def failed_output(what: str, error: BaseException) -> str:
    """The output of a call that raised; a warning in the log has the traceback."""
    try:
        message = str(error)
    except BaseException:  # its own fault too
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
    """Values that msgspec can't write: paths and pydantic's models, as tools take them."""
    if isinstance(value, PurePath):
        return str(value)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json")
    raise Unsendable(f"Encoding objects of type {type(value).__name__} is unsupported")
