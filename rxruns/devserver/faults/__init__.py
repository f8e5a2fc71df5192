"""Network faults between a service and its client, scripted and repeatable.

A :class:`Faults` value has one entry per connection:

>>> from rxruns.devserver.faults import CutAt, Faults, Refuse, Status
>>> faults = Faults([CutAt(100), Refuse(), Status(503, retry_after=1), None], seed=7)

The first stream of events breaks after 100 bytes, the second is refused, the third gets a 503 that asks the
client to come back in a second, and from the fourth on nothing fails. An entry that is a tuple is several
faults at once. Pass the value to :class:`~rxruns.devserver.DevServer` as `faults`.
"""

from __future__ import annotations

from rxruns._loopback import Answered, Cut, Ending, Wire
from rxruns.devserver.faults._bodies import (
    CloseAfter,
    CutAt,
    CutRandomly,
    Duplicates,
    Gap,
    InvalidLine,
    Silence,
    SplitBytes,
)
from rxruns.devserver.faults._responses import (
    Delay,
    LoseResponse,
    NoAnswer,
    Redirect,
    Refuse,
    Replay,
    Status,
    Unchunked,
    WrongContentType,
)
from rxruns.devserver.faults._script import Fault, Faults

__all__ = [
    "Answered",
    "CloseAfter",
    "Cut",
    "CutAt",
    "CutRandomly",
    "Delay",
    "Duplicates",
    "Ending",
    "Fault",
    "Faults",
    "Gap",
    "InvalidLine",
    "LoseResponse",
    "NoAnswer",
    "Redirect",
    "Refuse",
    "Replay",
    "Silence",
    "SplitBytes",
    "Status",
    "Unchunked",
    "Wire",
    "WrongContentType",
]
