"""The HTML file around the content: script, style and data in one, closed to everything else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from rxruns._display._text import status_label

_SCRIPTS = (
    "format.js",
    "rows.js",
    "folding.js",
    "gestures.js",
    "timeline.js",
    "usage.js",
    "nodes.js",
    "events.js",
    "main.js",
)
_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
"""Inside a script element nothing may look like markup: not its end, not a comment that hides it."""


def document(told: dict[str, Any], events: dict[str, Any]) -> str:
    """The page with its data."""
    run = told["run"]
    title = f"{status_label(run['status'])}: run {run['id'] or 'without events'}"
    parts = {"title": escape(title), "content": json_block(told), "events": json_block(events)}
    return "".join(parts.get(piece, piece) for piece in _frame())


def json_block(value: Any) -> str:
    """The value as JSON that may stand inside a script element.

    >>> json_block("</script><!--")
    '"\\\\u003c/script\\\\u003e\\\\u003c!--"'
    """
    return msgspec.json.encode(value).decode().translate(_ESCAPES)


@cache
def _frame() -> tuple[str, ...]:
    """All that is the same in every page, in pieces: between them stand the names of what is not."""
    script = "".join(_source(name) for name in _SCRIPTS)
    style = _source("page.css")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    fixed = {"policy": policy, "style": style, "script": script}
    return tuple(fixed.get(piece, piece) for piece in re.split(r"\{\{(\w+)\}\}", _source("page.html")))


def _source(name: str) -> str:
    return (files("rxruns.page") / name).read_text("utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
