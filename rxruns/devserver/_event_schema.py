"""The JSON Schema of an event, made from the structs that events are decoded into."""

from __future__ import annotations

from functools import cache
from typing import Union

import msgspec

from rxruns.events import KNOWN_EVENTS

__all__ = ["event_schema"]


@cache
def event_schema() -> bytes:
    """Return the JSON Schema of the known event types.

    >>> sorted(msgspec.json.decode(event_schema()))
    ['$defs', '$schema', 'discriminator', 'oneOf', 'title']
    """
    schema = msgspec.json.schema(Union[KNOWN_EVENTS])  # noqa: UP007
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RunEvent",
        "oneOf": schema.pop("anyOf"),
    }
    # Patterns in a JSON Schema are those of JavaScript, without \A and \Z.
    return msgspec.json.encode(about | schema).replace(rb'"\\A', b'"^').replace(rb'\\Z"', b'$"')
