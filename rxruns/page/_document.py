"""The HTML file around the data: script, style and data in one file that may load nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from rxruns._display._palette import DARK, LIGHT, custom_properties
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
"""Inside a script element nothing may look like markup, neither its end nor a comment that hides it."""


def document(data: dict[str, Any], events: dict[str, Any]) -> str:
    """Return the page with its data."""
    run = data["run"]
    title = f"{status_label(run['status'])}: run {run['id'] or 'without events'}"
    return _filled(_frame(), title=escape(title), content=json_block(data), events=json_block(events))


def json_block(value: Any) -> str:
    """Return the value as JSON that is safe inside a script element.

    >>> json_block("</script><!--")
    '"\\\\u003c/script\\\\u003e\\\\u003c!--"'
    """
    return msgspec.json.encode(value).decode().translate(_ESCAPES)


@cache
def _frame() -> str:
    """Return the parts that are the same in every page, with the names of the others in braces."""
    script = "".join(_source(name) for name in _SCRIPTS)
    style = _filled(_source("page.css"), light=custom_properties(LIGHT), dark=custom_properties(DARK))
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
    return _filled(_source("page.html"), policy=policy, style=style, script=script)


def _filled(template: str, **parts: str) -> str:
    """Replace the names in double braces, in one pass: a replacement is not searched again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda name: parts.get(name[1], name[0]), template)


def _source(name: str) -> str:
    return (files("rxruns.page") / name).read_text("utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
