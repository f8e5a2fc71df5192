"""The steps of a fake service. In order, they read as the script of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rxruns._errors import must_be
from rxruns._loopback import NDJSON, Ending, Gone, Wire, chunk, head_of
from rxruns._ndjson._decoding import encode_event
from rxruns.events import RunEvent
from rxruns.testing._loopback import HANG

Part = RunEvent | bytes
Call = Literal[
    "create", "compile", "events", "lint", "pending", "results", "status", "steps", "tasks", "tool_call"
]
CALLS: tuple[Call, ...] = get_args(Call)
Then = Literal["next", "keep", "close"]
"""After a step: the next step of the same answer; the next request; the end of the connection."""


class Answer:
    """One response, or a stream of events. It is played to the end, also when the client hangs up."""

    def __init__(self, wire: Wire, sent: list[RunEvent]) -> None:
        self.wire = wire
        self.is_open = False
        self._sent = sent

    def send(self, parts: Iterable[Part]) -> None:
        """Send each part as a chunk, after the headers when the stream begins."""
        if not self.is_open:
            self._send(head_of(200, {"Content-Type": NDJSON, "Transfer-Encoding": "chunked"}))
            self.is_open = True
        for part in parts:
            line = part if isinstance(part, bytes) else encode_event(part) + b"\n"
            if not isinstance(part, bytes):
                self._sent.append(part)  # first: a client that has read it may request the status
            self._send(chunk(line))

    def end(self) -> None:
        """End the stream cleanly."""
        self._send(b"0\r\n\r\n")
        self.is_open = False

    def _send(self, content: bytes) -> None:
        with suppress(Gone):
            self.wire.send(content)


@dataclass(frozen=True)
class Step:
    """One step of a script.

    Attributes:
        call: the call that made it, for its repr.
        play: does it.
        to: the call that it answers.
        is_last: the steps after it are for the next request.
        is_whole: it is an answer by itself: it ends an open stream and waits for the next request.
        parts: the events and bytes that it sends of a stream.
    """

    call: str
    play: Callable[[Answer], Then] = field(repr=False)
    to: Call = "events"
    is_last: bool = False
    is_whole: bool = False
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return self.call


def sends(*parts: Part | Iterable[RunEvent]) -> Step:
    """Send events, a chunk each: on the open stream, else on the next one.

    Args:
        parts: events, logs, or bytes, such as a line cut in two.

    Raises:
        InvalidArgumentError: a part is of another type.

    >>> from rxruns.testing import events
    >>> sends(events.run(), b'{"type":')
    sends(run_compiled, run_started, b'{"type":')
    """
    flat: list[Part] = []
    for part in parts:
        events = part if isinstance(part, Iterable) and not isinstance(part, bytes | str) else [part]
        flat.extend(events)
    for part in flat:
        if not isinstance(part, RunEvent | bytes):
            raise must_be("parts", "events, logs or bytes", part)

    def play(answer: Answer) -> Then:
        answer.send(flat)
        return "next"

    names = ", ".join(repr(part) if isinstance(part, bytes) else part.type for part in flat)
    return Step(f"sends({names})", play, parts=tuple(flat))


def ends() -> Step:
    """End the stream cleanly. A client that follows a run which hasn't ended connects again."""

    def play(answer: Answer) -> Then:
        answer.send(())
        answer.end()
        return "keep"

    return Step("ends()", play, is_last=True)


def drops() -> Step:
    """Close the connection inside the stream, or before there is one."""
    return _breaks("drops()", "fin")


def resets() -> Step:
    """Reset the connection inside the stream, or before there is one."""
    return _breaks("resets()", "rst")


def _breaks(call: str, ending: Ending) -> Step:
    def play(answer: Answer) -> Then:
        answer.wire.end(ending)
        return "close"

    return Step(call, play, is_last=True)


def hangs() -> Step:
    """Send nothing more until the client hangs up."""

    def play(answer: Answer) -> Then:
        answer.wire.wait_gone()
        return "close"

    return Step("hangs()", play, is_last=True)


def waits_for(event: threading.Event, timeout: float = HANG) -> Step:
    """Wait until the test sets `event`, at most `timeout` seconds."""

    def play(answer: Answer) -> Then:
        event.wait(timeout)
        return "next"

    return Step("waits_for(event)", play)


def refuses(
    status: int = 503,
    code: str | None = None,
    message: str = "refused by the script",
    *,
    retry_after: int | None = None,
    to: Call = "events",
) -> Step:
    """Answer the next request with an error of the service.

    Args:
        status: the HTTP status. A client retries 408, 429 and 5xx; the others end a stream.
        code: of the error, such as ``"NOT_FOUND"``.
        message: of the error.
        retry_after: seconds, for the ``Retry-After`` header.
        to: the call that is refused.

    Raises:
        InvalidArgumentError: ``to`` is not a call.

    >>> refuses(429, retry_after=1), refuses(401, "UNAUTHORIZED", to="create")
    (refuses(429, to='events'), refuses(401, to='create'))
    """
    error = {"message": message, "status": status} | ({"code": code} if code else {})
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return _whole(f"refuses({status}, to={to!r})", {"error": error}, status, headers, to)


def replies(body: object, status: int = 200, *, to: Call) -> Step:
    """Answer the next request for `to`.

    Args:
        body: an object, sent as JSON, or bytes.
        status: the HTTP status.
        to: the call that is answered. Calls without a step are answered from the events sent so far.

    Raises:
        InvalidArgumentError: ``to`` is not a call.

    >>> replies({"accepted": 1, "status": "running"}, to="results")
    replies(200, to='results')
    """
    return _whole(f"replies({status}, to={to!r})", body, status, {}, to)


def _whole(call: str, body: object, status: int, headers: dict[str, str], to: Any) -> Step:
    if to not in CALLS:
        raise must_be("to", f"one of {', '.join(CALLS)}", to)

    def play(answer: Answer) -> Then:
        answer.wire.reply(status, body, headers)
        return "keep"

    return Step(call, play, to=to, is_last=True, is_whole=True)
