"""What a fake service does, step by step. Read aloud, the calls are the story of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from rxruns._ndjson._decoding import encode_event
from rxruns.errors import InvalidArgumentError
from rxruns.events import RunEvent
from rxruns.testing._loopback import HANG
from rxruns.testing._wire import Wire, head

Part = RunEvent | bytes
Call = Literal[
    "create", "compile", "events", "lint", "pending", "results", "status", "steps", "tasks", "tool_call"
]
CALLS: tuple[Call, ...] = get_args(Call)
Then = Literal["go on", "keep", "close"]
"""What comes after a step: the next one of the same answer; the next request; nothing more here."""


class Answer:
    """One answer: a stream of events that may be open, over a wire."""

    def __init__(self, wire: Wire, sent: list[RunEvent]) -> None:
        self.wire = wire
        self.is_open = False
        self._sent = sent

    def send(self, parts: Iterable[Part]) -> None:
        """Send a chunk a part, after the headers where they are still to come."""
        if not self.is_open:
            fields = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
            self.wire.send(head(200, fields))
            self.is_open = True
        for part in parts:
            line = part if isinstance(part, bytes) else encode_event(part) + b"\n"
            if not isinstance(part, bytes):
                self._sent.append(part)  # before it can be read: who has read it may ask for the status
            self.wire.send(b"%x\r\n%b\r\n" % (len(line), line))

    def end(self) -> None:
        """End the stream as a whole one."""
        self.wire.send(b"0\r\n\r\n")
        self.is_open = False

    def reply(self, status: int, body: object, headers: dict[str, str]) -> None:
        """Send a whole answer."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        framing = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.wire.send(head(status, framing | headers) + content)


@dataclass(frozen=True)
class Step:
    """One step of a story.

    Attributes:
        story: how it was told.
        play: does it.
        to: the call that it answers.
        is_last: the steps after it are for the next request.
        is_whole: it is an answer by itself, so it ends a stream that is open and waits for the next request.
        parts: what it sends of a stream.
    """

    story: str
    play: Callable[[Answer], Then] = field(repr=False)
    to: Call = "events"
    is_last: bool = False
    is_whole: bool = False
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return self.story


def sends(*parts: Part | Iterable[RunEvent]) -> Step:
    """The service sends these events, a chunk each: on the stream that is open, else on the next.

    Args:
        parts: events, logs, or bytes: what no well-meant service sends, or a line cut in two.

    Raises:
        InvalidArgumentError: a part is none of them.

    >>> from rxruns.testing import events
    >>> sends(events.run(), b'{"type":')
    sends(run_compiled, run_started, b'{"type":')
    """
    flat: list[Part] = []
    for part in parts:
        events = part if isinstance(part, Iterable) and not isinstance(part, bytes | str) else [part]
        flat.extend(events)
    wrong = [part for part in flat if not isinstance(part, RunEvent | bytes)]
    if wrong:
        raise InvalidArgumentError(f"parts has {wrong[0]!r}: give events, logs or bytes", field="parts")

    def play(answer: Answer) -> Then:
        answer.send(flat)
        return "go on"

    told = ", ".join(repr(part) if isinstance(part, bytes) else part.type for part in flat)
    return Step(f"sends({told})", play, parts=tuple(flat))


def ends() -> Step:
    """The stream ends as a whole one; a run that has not ended is asked for again."""

    def play(answer: Answer) -> Then:
        answer.send(())
        answer.end()
        return "keep"

    return Step("ends()", play, is_last=True)


def drops() -> Step:
    """The connection is closed where the stream stands, or before there is one."""
    return Step("drops()", lambda answer: "close", is_last=True)


def resets() -> Step:
    """The connection is reset where the stream stands, or before there is one."""

    def play(answer: Answer) -> Then:
        answer.wire.reset()
        return "close"

    return Step("resets()", play, is_last=True)


def hangs() -> Step:
    """Nothing more comes, until the client leaves."""

    def play(answer: Answer) -> Then:
        answer.wire.wait_gone()
        return "close"

    return Step("hangs()", play, is_last=True)


def waits_for(event: threading.Event, timeout: float = HANG) -> Step:
    """The story goes on when the test has set `event`, at the latest after so many seconds."""

    def play(answer: Answer) -> Then:
        event.wait(timeout)
        return "go on"

    return Step("waits_for(event)", play)


def refuses(
    status: int = 503,
    code: str | None = None,
    message: str = "refused by the story",
    *,
    retry_after: int | None = None,
    to: Call = "events",
) -> Step:
    """The next request is answered with an error of the service.

    Args:
        status: of HTTP; 408, 429 and 5xx are tried again by a client, others end a stream.
        code: the error's, such as ``"NOT_FOUND"``.
        message: the error's.
        retry_after: seconds, for the header of that name.
        to: the call that is refused.

    Raises:
        InvalidArgumentError: ``to`` is no such call.

    >>> refuses(429, retry_after=1), refuses(401, "UNAUTHORIZED", to="create")
    (refuses(429, to='events'), refuses(401, to='create'))
    """
    error = {"message": message, "status": status} | ({"code": code} if code else {})
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return _whole(f"refuses({status}, to={to!r})", {"error": error}, status, headers, to)


def replies(body: object, status: int = 200, *, to: Call) -> Step:
    """The next request of that kind is answered with this: JSON of an object, or bytes as they are.

    Args:
        body: the answer's.
        status: of HTTP.
        to: the call that is answered; what a story does not mention, the service answers by itself.

    Raises:
        InvalidArgumentError: ``to`` is no such call.

    >>> replies({"accepted": 1, "status": "running"}, to="results")
    replies(200, to='results')
    """
    return _whole(f"replies({status}, to={to!r})", body, status, {}, to)


def _whole(story: str, body: object, status: int, headers: dict[str, str], to: Any) -> Step:
    if to not in CALLS:
        raise InvalidArgumentError(f"to is {to!r}: one of {', '.join(CALLS)}", field="to")

    def play(answer: Answer) -> Then:
        answer.reply(status, body, headers)
        return "keep"

    return Step(story, play, to=to, is_last=True, is_whole=True)
