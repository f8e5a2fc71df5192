"""One small HTTP server for loopback: under the embedded service, the testing kit's fake and our own tests.

It accepts connections, parses requests strictly, and writes responses. A handler decides what is answered and
what goes wrong: a reset, a cut inside a chunk, a stall. It knows nothing of runs.
"""

from __future__ import annotations

from rxruns._loopback._handler import Handler
from rxruns._loopback._listener import Listener
from rxruns._loopback._refusal import Refusal
from rxruns._loopback._request import Head
from rxruns._loopback._wire import NDJSON, Answered, Cut, Ending, Gone, Wire, chunk, head_of

__all__ = [
    "NDJSON",
    "Answered",
    "Cut",
    "Ending",
    "Gone",
    "Handler",
    "Head",
    "Listener",
    "Refusal",
    "Wire",
    "chunk",
    "head_of",
]
